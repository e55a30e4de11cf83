"""Whatever the server does and however time passes: the poller ends, and is never in a hurry."""

from __future__ import annotations

import math
from itertools import cycle

from hypothesis import given
from hypothesis import strategies as st

from stoq_provider.core.http import Decoded, Problem, ProblemKind, RateLimit
from stoq_provider.core.lifecycle import JobProgress, PollResult, WatchRules
from stoq_provider.core.models import JobHandle, JobState, JobStatus
from stoq_provider.core.polling import LONGEST_BACKOFF, Cadence, Poller

T0 = 1_000_000.0
CADENCE = Cadence(then=15.0, steps=((60.0, 5.0),))
IDS = ("a", "b", "c")


def sight_of(what, retry_after):
    if isinstance(what, JobState):
        return PollResult.seen(JobStatus("x", what.value, what))
    return PollResult.of_problem(
        Decoded(problem=Problem(what), rate_limit=RateLimit(retry_after=retry_after))
    )


OPEN = [JobState.RUNNING, JobState.UNKNOWN]
whats = st.one_of(
    st.sampled_from([*OPEN, *ProblemKind]),
    st.sampled_from([*OPEN, ProblemKind.UNAVAILABLE, ProblemKind.RATE_LIMITED]),
    st.sampled_from(list(JobState)),
)
results = st.builds(sight_of, whats, st.one_of(st.none(), st.floats(0, 1e6)))
units = st.floats(0, 1)


@given(
    timeout=st.floats(0, 400),
    poll_interval=st.one_of(st.none(), st.floats(1, 1000)),
    eager=st.booleans(),
    ages=st.lists(st.one_of(st.none(), st.floats(-3600, 90_000)), min_size=1, max_size=3),
    brought=st.lists(results, min_size=1, max_size=30),
    # A sleep takes as long as asked, or longer: machines are put to sleep.
    oversleeps=st.lists(st.sampled_from([0.0, 0.001, 3.0, 300.0]), min_size=1, max_size=10),
    jitters=st.lists(units, min_size=1, max_size=10),
)
def test_it_ends_by_the_deadline_and_keeps_its_distance(
    timeout, poll_interval, eager, ages, brought, oversleeps, jitters
):
    now, deadline = T0, T0 + timeout
    brought, oversleeps, jitters = cycle(brought), cycle(oversleeps), cycle(jitters)
    jobs = [
        JobProgress(JobHandle("stoq", "bulk", name, f"/{name}", None, age and T0 - age), T0)
        for name, age in zip(IDS, ages, strict=False)
    ]
    poller = Poller(
        jobs,
        cadence=lambda _: CADENCE,
        rules=WatchRules(),
        deadline=deadline,
        now=now,
        poll_interval=poll_interval,
        jitter=lambda: next(jitters),
        eager=eager,
    )
    shortest = poll_interval or 5.0
    polled_at: dict[str, float] = {}
    ended: set[str] = set()
    polls_at_most = int(timeout / shortest + 3) * len(ages)
    for _ in range(2 * polls_at_most):
        due, wait = poller.due(now), poller.wait(now)
        assert math.isfinite(wait)
        assert (wait > 0) is not (bool(due) or poller.done)
        if wait:
            assert now + wait <= deadline + 1e-6
            now += wait + next(oversleeps)
        for handle in due:
            name = handle.job_id
            assert name not in ended
            if name in polled_at:
                assert now - polled_at[name] >= shortest - 1e-6 or now >= deadline
            polled_at[name] = now
            poller.record(name, next(brought), RateLimit(), now)
            ended |= {w.handle.job_id for w in poller.jobs if w.ended}
    assert poller.done
    assert ended == {w.handle.job_id for w in jobs}


@given(
    result=results.filter(lambda s: s.status is None or s.status.state in OPEN),
    age=st.floats(0, 86_000),
    jitter=units,
    bad=st.integers(0, 2000),
)
def test_a_poll_is_due_no_earlier_than_the_documented_interval(result, age, jitter, bad):
    now = T0 + age
    progress = JobProgress(JobHandle("stoq", "bulk", "a", "/a", None, T0), T0, now, now if bad else None, bad)
    poller = Poller(
        [progress],
        cadence=lambda _: CADENCE,
        rules=WatchRules(),
        deadline=1e12,
        now=now,
        jitter=lambda: jitter,
    )
    poller.record("a", result, RateLimit(), now)
    wait = poller.wait(now)
    if poller.done:
        return
    retry_after = result.retry_after or 0.0
    assert wait >= max(CADENCE.interval(age), retry_after) - 1e-6
    assert wait <= max(LONGEST_BACKOFF * 1.1, retry_after) + 1e-6
