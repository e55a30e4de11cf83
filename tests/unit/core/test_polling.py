"""When to look again, when to stop, and what is logged about it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stoq_provider.core.http import Decoded, Problem, ProblemKind, RateLimit
from stoq_provider.core.lifecycle import JobProgress, Outcome, PollResult, WatchRules
from stoq_provider.core.models import JobHandle, JobState, JobStatus
from stoq_provider.core.polling import JITTER, LONGEST_BACKOFF, LONGEST_STRETCH, Cadence, Poller

T0 = 1_000_000.0
BULK = Cadence(then=15.0, steps=((60.0, 5.0),))
EXPORT = Cadence(then=10.0)
NOTHING = RateLimit()


def handle(job_id="job_1", kind="bulk_release", submitted_at=T0):
    return JobHandle("stoq", kind, job_id, f"/jobs/{job_id}", 47, submitted_at)


def poller(*jobs, now=T0, jitter=0.0, deadline=T0 + 86_400, **options):
    return Poller(
        jobs or [JobProgress(handle(), T0)],
        cadence=lambda kind: EXPORT if kind.startswith("export") else BULK,
        rules=WatchRules(),
        deadline=deadline,
        now=now,
        jitter=lambda: jitter,
        **options,
    )


def seen(word="running", **fields):
    states = {"running": JobState.RUNNING, "completed": JobState.SUCCEEDED, "failed": JobState.FAILED}
    return PollResult.seen(JobStatus("job_1", word, states.get(word, JobState.UNKNOWN), **fields))


def problem(kind, retry_after=None):
    return PollResult.of_problem(
        Decoded(problem=Problem(kind, ("broken",)), rate_limit=RateLimit(retry_after=retry_after))
    )


DOWN = problem(ProblemKind.UNAVAILABLE)
MISSING = problem(ProblemKind.NOT_FOUND)


def next_wait(poll, result, now, job_id="job_1", limit=NOTHING):
    poll.record(job_id, result, limit, now)
    return poll.wait(now)


@pytest.mark.parametrize(
    ("cadence", "age", "interval"),
    [
        (BULK, 0, 5),
        (BULK, 59.9, 5),
        (BULK, 60, 15),
        (BULK, 1e9, 15),
        (EXPORT, 0, 10),
        (EXPORT, 1e9, 10),
        (Cadence(30.0, ((10.0, 1.0), (20.0, 2.0))), 10, 2),
        (Cadence(30.0, ((10.0, 1.0), (20.0, 2.0))), 20, 30),
    ],
)
def test_cadence(cadence, age, interval):
    assert cadence.interval(age) == interval


class TestIntervals:
    @pytest.mark.parametrize(("age", "interval"), [(0, 5), (55, 5), (60, 15), (86_000, 15)])
    def test_by_the_age_of_the_job(self, age, interval):
        assert next_wait(poller(), seen(), T0 + age) == interval

    @pytest.mark.parametrize("kind", ["export", "export:revenue"])
    def test_by_kind(self, kind):
        assert next_wait(poller(JobProgress(handle(kind=kind), T0)), seen(), T0 + 5) == 10

    def test_age_counts_from_submission_not_from_the_wait(self):
        poll = poller(JobProgress(handle(submitted_at=T0 - 300), T0))
        assert next_wait(poll, seen(), T0 + 5) == 15

    def test_without_a_submission_time_age_counts_from_the_wait(self):
        poll = poller(JobProgress(handle(submitted_at=None), T0))
        assert next_wait(poll, seen(), T0 + 5) == 5
        assert next_wait(poll, seen(), T0 + 65) == 15

    def test_a_job_from_the_future_is_young(self):
        assert next_wait(poller(JobProgress(handle(submitted_at=T0 + 500), T0)), seen(), T0) == 5

    @pytest.mark.parametrize(
        ("jitter", "interval"), [(0.0, 15.0), (0.5, 15 * (1 + JITTER / 2)), (1.0, 15 * (1 + JITTER))]
    )
    def test_jitter_only_lengthens(self, jitter, interval):
        assert next_wait(poller(jitter=jitter), seen(), T0 + 100) == pytest.approx(interval)

    @pytest.mark.parametrize("poll_interval", [1.0, 7.0, 300.0])
    def test_the_user_may_name_another(self, poll_interval):
        for age in (0, 100):
            assert next_wait(poller(poll_interval=poll_interval), seen(), T0 + age) == poll_interval

    @pytest.mark.parametrize(
        ("retry_after", "interval"), [(None, 15.0), (3.0, 15.0), (24.0, 24.0), (3600.0, 3600.0)]
    )
    def test_retry_after_is_obeyed_and_never_shortens(self, retry_after, interval):
        assert next_wait(poller(), problem(ProblemKind.RATE_LIMITED, retry_after), T0 + 100) == interval

    def test_retry_after_of_a_503(self):
        assert next_wait(poller(), problem(ProblemKind.UNAVAILABLE, 45.0), T0 + 100) == 45.0


class TestBackoff:
    def test_it_doubles_from_the_second_bad_answer_up_to_a_bound(self):
        poll = poller()
        now, waits = T0 + 10, []
        for _ in range(8):
            waits.append(next_wait(poll, DOWN, now))
            now += 1
        assert waits == [5, 10, 20, 40, LONGEST_BACKOFF, LONGEST_BACKOFF, LONGEST_BACKOFF, LONGEST_BACKOFF]

    def test_it_never_shortens_a_long_interval(self):
        poll = poller(poll_interval=300.0)
        assert [next_wait(poll, DOWN, T0 + n) for n in range(3)] == [300.0] * 3

    def test_a_good_answer_ends_it(self):
        poll = poller()
        for n in range(4):
            next_wait(poll, DOWN, T0 + n)
        assert next_wait(poll, seen(), T0 + 10) == 5

    def test_a_404_in_the_grace_is_not_bad(self):
        poll = poller()
        assert [next_wait(poll, MISSING, T0 + n) for n in (1, 6, 11)] == [5, 5, 5]


class TestDeadline:
    @pytest.mark.parametrize("result", [seen(), DOWN, problem(ProblemKind.RATE_LIMITED, 3600.0)])
    def test_the_last_look_is_at_the_deadline_itself(self, result):
        poll = poller(deadline=T0 + 102)
        assert next_wait(poll, result, T0 + 100) == 2
        assert poll.due(T0 + 101.999) == ()
        assert poll.due(T0 + 102) == (handle(),)

    @pytest.mark.parametrize(
        ("result", "outcome"),
        [
            (seen(), Outcome.TIMEOUT),
            (DOWN, Outcome.TIMEOUT),
            (problem(ProblemKind.RATE_LIMITED), Outcome.TIMEOUT),
            (seen("completed"), Outcome.SUCCEEDED),
            (seen("failed"), Outcome.FAILED),
        ],
    )
    def test_what_the_last_look_brings(self, result, outcome):
        poll = poller(deadline=T0 + 102)
        poll.record("job_1", result, NOTHING, T0 + 102)
        assert poll.jobs[0].outcome is outcome
        assert (poll.due(T0 + 103), poll.wait(T0 + 103), poll.done) == ((), 0.0, True)

    def test_a_look_before_the_deadline_is_not_the_last(self):
        poll = poller(deadline=T0 + 102)
        poll.record("job_1", seen(), NOTHING, T0 + 101.999)
        assert not poll.jobs[0].ended

    def test_a_deadline_that_has_passed_allows_one_look(self):
        poll = poller(deadline=T0 - 5)
        assert poll.due(T0) == (handle(),)


class TestFirstPoll:
    @pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
    def test_eager_is_at_once(self, jitter):
        assert poller(eager=True, jitter=jitter).due(T0) == (handle(),)

    @pytest.mark.parametrize(("jitter", "wait"), [(0.0, 4.0), (0.5, 2.75), (1.0, 1.5)])
    def test_a_new_job_is_due_half_to_one_interval_after_submission(self, jitter, wait):
        assert poller(now=T0 + 1, jitter=jitter).wait(T0 + 1) == wait

    def test_a_job_seen_elsewhere_is_due_one_interval_after_that(self):
        poll = poller(JobProgress(handle(submitted_at=T0 - 300), T0, T0 - 4))
        assert poll.wait(T0) == 11

    @pytest.mark.parametrize("jitter", [0.0, 0.25, 0.999])
    def test_overdue_jobs_are_spread_over_one_interval(self, jitter):
        poll = poller(JobProgress(handle(submitted_at=T0 - 300), T0, T0 - 50), jitter=jitter)
        assert poll.wait(T0) == pytest.approx(15 * jitter)

    @pytest.mark.parametrize("submitted_at", [None, T0 - 300])
    def test_an_old_job_that_nobody_has_looked_at_is_due_at_once(self, submitted_at):
        poll = poller(JobProgress(handle(submitted_at=submitted_at), T0), jitter=0.5)
        assert poll.due(T0)

    def test_a_sign_of_life_from_the_future_makes_nobody_wait_long(self):
        assert poller(JobProgress(handle(), T0, T0 + 7200)).wait(T0) == 5

    def test_never_after_the_deadline(self):
        assert poller(deadline=T0 + 3).wait(T0) == 3


class TestNextPoll:
    def test_the_first_poll_and_the_last_have_priority(self):
        poll = poller(deadline=T0 + 12)
        assert [(w.due_at, w.priority) for w in poll.next_polls()] == [(T0 + 5, True)]
        poll.record("job_1", seen(), RateLimit(), T0 + 5)
        assert poll.next_poll("job_1").priority is False
        poll.record("job_1", seen(), RateLimit(), T0 + 10)
        assert (poll.next_poll("job_1").due_at, poll.next_poll("job_1").priority) == (T0 + 12, True)

    def test_a_job_that_has_ended_wants_nothing(self):
        poll = poller()
        poll.record("job_1", seen("completed"), RateLimit(), T0 + 5)
        assert (poll.next_poll("job_1"), poll.next_polls()) == (None, [])

    def test_an_expired_wait_ends_every_job(self):
        poll = poller()
        poll.expire()
        assert [progress.outcome for progress in poll.jobs] == [Outcome.TIMEOUT]
        assert poll.done


class TestManyJobs:
    def make(self):
        jobs = [
            JobProgress(handle("a"), T0),
            JobProgress(handle("b", submitted_at=T0 + 1), T0),
            JobProgress(handle("c", "export:x"), T0),
        ]
        return poller(*jobs, now=T0 + 1)

    def test_the_next_of_them_decides(self):
        poll = self.make()
        assert poll.wait(T0 + 1) == 4
        assert [h.job_id for h in poll.due(T0 + 5)] == ["a"]
        assert [h.job_id for h in poll.due(T0 + 20)] == ["a", "b", "c"]

    def test_an_ended_job_is_polled_no_more_and_the_others_are(self):
        poll = self.make()
        poll.record("b", seen("completed"), NOTHING, T0 + 6)
        assert [h.job_id for h in poll.due(T0 + 500)] == ["a", "c"]
        assert [w.handle.job_id for w in poll.jobs] == ["a", "b", "c"]
        assert [w.ended for w in poll.jobs] == [False, True, False]
        poll.record("a", seen("failed"), NOTHING, T0 + 500)
        poll.record("c", seen("completed"), NOTHING, T0 + 500)
        assert poll.done
        assert poll.polls == 3

    def test_wake_makes_all_of_them_due(self):
        poll = self.make()
        poll.record("b", seen("completed"), NOTHING, T0)
        poll.wake(T0 + 0.5)
        assert [h.job_id for h in poll.due(T0 + 0.5)] == ["a", "c"]

    def test_wake_delays_none(self):
        poll = self.make()
        poll.wake(T0 + 500)
        assert [h.job_id for h in poll.due(T0 + 5)] == ["a"]

    def test_no_job_is_nothing_to_wait_for(self):
        none = Poller([], cadence=lambda _: BULK, rules=WatchRules(), deadline=T0, now=T0, jitter=lambda: 0.0)
        assert none.done

    def test_a_job_that_had_ended_is_not_polled(self):
        assert poller(replace(JobProgress(handle(), T0), outcome=Outcome.FAILED)).done


class TestNotes:
    def test_only_what_changed_is_logged(self):
        poll = poller()
        lines = [
            poll.record("job_1", result, RateLimit(remaining=350 - n), T0 + 5 * n)
            for n, result in enumerate(
                [
                    seen(),
                    seen(),
                    seen(total=47, processed=12),
                    seen(total=47, processed=12),
                    seen("completed"),
                ]
            )
        ]
        assert [note and note.text for note in lines] == [
            "job_1: running; 350 points left; next poll in 5 s",
            None,
            "job_1: running, 12 of 47 items; 348 points left; next poll in 5 s",
            None,
            "job_1: completed; 346 points left",
        ]
        assert not any(note.warning for note in lines if note)

    @pytest.mark.parametrize(
        ("result", "text", "warning"),
        [
            pytest.param(seen("archived"), "a status this package does not know", True, id="unknown status"),
            pytest.param(DOWN, "no good response (broken)", True, id="5xx"),
            pytest.param(PollResult.bad("no status"), "no good response (no status)", True, id="garbage"),
            pytest.param(MISSING, "not known to the server (broken)", True, id="404"),
            pytest.param(problem(ProblemKind.RATE_LIMITED, 9.0), "points are spent", False, id="429"),
        ],
    )
    def test_odd_things_are_warned_of_once(self, result, text, warning):
        poll = poller()
        first = poll.record("job_1", result, NOTHING, T0 + 5)
        assert text in first.text
        assert first.warning is warning
        assert poll.record("job_1", result, NOTHING, T0 + 10) is None
        assert poll.record("job_1", seen(), NOTHING, T0 + 15).warning is False
        assert poll.record("job_1", result, NOTHING, T0 + 20).warning is warning

    def test_points_are_those_of_the_last_header(self):
        poll = poller()
        assert poll.points_left is None
        poll.record("job_1", seen(), RateLimit(remaining=12), T0)
        poll.record("job_1", DOWN, NOTHING, T0 + 5)
        assert poll.points_left == 12


class TestPointsAreShort:
    """One round of polls takes longer than the interval: points go to those who may have ended."""

    def poll(self, seconds=100.0, **more):
        return poller(round_time=lambda: seconds, **more)

    def test_a_job_that_says_how_far_it_is_waits_for_half_of_the_rest(self):
        assert next_wait(self.poll(), seen(progress=50.0), T0 + 100) == 50.0
        assert next_wait(self.poll(), seen(total=10, processed=8), T0 + 100) == pytest.approx(15.0)

    def test_but_not_for_ever(self):
        assert next_wait(self.poll(500.0), seen(progress=1.0), T0 + 100) == LONGEST_STRETCH

    def test_nor_for_more_than_a_round(self):
        """Forty jobs in a row take 8 s: a forecast that is wrong must not hide one for minutes."""
        assert next_wait(self.poll(8.25), seen(progress=1.0), T0 + 10) == 8.25

    def test_thirty_jobs_take_turns_at_the_documented_interval(self):
        assert next_wait(self.poll(6.25), seen(progress=1.0), T0 + 10) == 5.0

    @pytest.mark.parametrize(
        "status", [{}, {"progress": 0.0}, {"progress": 100.0}, {"total": 0, "processed": 0}]
    )
    def test_one_that_does_not_tell_keeps_its_interval(self, status):
        assert next_wait(self.poll(), seen(**status), T0 + 100) == 15.0

    def test_with_points_for_all_progress_changes_nothing(self):
        assert next_wait(self.poll(22.25), seen(progress=10.0), T0 + 100) == 15.0
        assert next_wait(self.poll(22.75), seen(progress=10.0), T0 + 100) == 22.75

    def test_the_interval_of_the_user_stays(self):
        assert next_wait(self.poll(poll_interval=7.0), seen(progress=10.0), T0 + 100) == 7.0
