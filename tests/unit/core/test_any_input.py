"""Whatever comes back from a store or a trigger, in whatever order: a value, or the error that says so."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from stoq_provider.core.events import JobEnd, WaitEvent, WaitState
from stoq_provider.core.http import MalformedResponse
from stoq_provider.core.lifecycle import (
    JobProgress,
    Outcome,
    PollResult,
    PollResultKind,
    WatchRules,
    advance,
    give_up,
    outcome_of,
)
from stoq_provider.core.models import JobHandle, JobState, JobStatus
from stoq_provider.core.notes import ListNote, PieceNote, PlanNote, PokeNote, PreparedNote, ResponseNote
from stoq_provider.core.records import RepeatSafety, SubmissionRecord, decide
from tests.fuzz.strategies import NOTES, RECORDS, TRIGGERS, WAITS, any_json, changed

KINDS = (ListNote, PieceNote, PlanNote, PokeNote, PreparedNote, ResponseNote)
FORMS = {
    WaitEvent: [wait["event"] for wait in WAITS.values()],
    WaitState: [trigger["state"] for trigger in TRIGGERS],
    JobHandle: [job for trigger in TRIGGERS for job in trigger["jobs"]],
    JobEnd: [end for wait in WAITS.values() for end in wait["event"]["jobs"]],
    JobStatus: [end["status"] for wait in WAITS.values() for end in wait["event"]["jobs"]],
    SubmissionRecord: [*RECORDS.values()],
    **{kind: [*NOTES.values()] for kind in KINDS},
}
written = st.sampled_from([(kind, form) for kind, forms in FORMS.items() for form in forms]).flatmap(
    lambda pair: st.tuples(st.just(pair[0]), changed(pair[1]) | any_json)
)


@given(written)
def test_any_json_is_a_form_that_can_be_written_again_or_a_typed_error(given_form):
    kind, form = given_form
    with suppress(MalformedResponse):
        value = kind.from_dict(form)
        again = value.to_dict()
        # Compared as texts: NaN, which the details of a job may hold, is not equal to itself.
        assert repr(kind.from_dict(again).to_dict()) == repr(again)
        if isinstance(value, JobStatus):
            assert value.describe()
            assert all(isinstance(text, str) for text in value.error_texts)
        if isinstance(value, SubmissionRecord):
            decide(value, clears=1, on_clear="resubmit", repeat=RepeatSafety.SAFE, repeat_expired=True)
            value.end()


T0 = 1_780_000_000.0
RULES = WatchRules(grace=30.0, unhealthy_after=900.0, record_life=86_400.0)
HANDLE = JobHandle("stoq", "bulk_release", "job_1", "/jobs/job_1", 47)
results = st.sampled_from(
    [
        *(PollResult.seen(JobStatus("job_1", state.value, state)) for state in JobState),
        *(PollResult(kind, text="why") for kind in PollResultKind if kind is not PollResultKind.SEEN),
    ]
)
seconds = st.sampled_from([0.0, 1.0, 29.0, 30.0, 31.0, 900.0, 86_400.0, -60.0])
steps = st.lists(st.tuples(seconds, results), max_size=30)


@given(st.none() | st.just(T0 - 10), st.none() | st.just(T0 - 5), steps)
def test_any_order_of_anything_a_poll_brings(submitted_at, seen_at, steps):
    handle = JobHandle(HANDLE.system, HANDLE.kind, HANDLE.job_id, HANDLE.status_url, 47, submitted_at)
    progress, now = JobProgress(handle, T0, seen_at), T0
    for passed, result in steps:
        now += passed
        before, progress = progress, advance(progress, result, now, RULES)
        kind, status = result.kind, result.status
        assert progress.handle is handle
        if status is not None:
            assert progress.outcome is outcome_of(status.state), "what the server says counts"
            assert (progress.status, progress.seen_at, progress.bad_count) == (status, now, 0)
        else:
            assert progress.seen_at == before.seen_at
            assert progress.outcome not in (
                Outcome.SUCCEEDED,
                Outcome.PARTIAL,
                Outcome.WAITING,
                Outcome.FAILED,
            )
            assert progress.outcome is not Outcome.CANCELLED, "nor is it made up"
        if kind is PollResultKind.THROTTLED:
            assert progress.outcome is None, "a 429 is no failure of the job"
        if kind is PollResultKind.BAD and progress.outcome:
            assert progress.outcome is Outcome.UNHEALTHY
            assert progress.bad_since is not None
            assert now - progress.bad_since >= RULES.unhealthy_after
        if kind is PollResultKind.MISSING and progress.outcome is Outcome.EXPIRED:
            last = progress.seen_at if progress.seen_at is not None else submitted_at
            assert last is not None
            assert now - last >= RULES.record_life
        if progress.ended:
            break
    end = give_up(progress)
    assert end.outcome is (progress.outcome or Outcome.TIMEOUT)
    assert JobEnd.from_dict(JobEnd.of(end).to_dict()).outcome is end.outcome
