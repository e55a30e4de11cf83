"""The budget against a real bucket: with slow, late and reordered answers, other spenders, odd clocks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoq_provider.core.http import RateLimit
from stoq_provider.core.rate_limit import PointsBudget

from .shop import STOQ, Server, run

CONNECTIONS = 8
IN_FLIGHT = CONNECTIONS * STOQ.write
"""Points of calls that may be under way at once: what of them falls into which window nobody can know."""

gaps = st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.05, 0.3, 5.0, 70.0])
ways = st.sampled_from([0.0, 0.02, 0.05, 0.3, 1.5, 4.0, 25.0])
servers = st.builds(
    Server,
    aligned=st.booleans(),
    rounding=st.sampled_from([math.ceil, math.floor, round]),
    penalty=st.sampled_from([0, 25]),
)
call = st.tuples(gaps, st.sampled_from([1, 2]), ways, ways)
fast = st.tuples(st.sampled_from([0.0, 0.01]), st.sampled_from([1, 2]), st.just(0.02), st.just(0.03))


@st.composite
def traffic(draw):
    """Draw a few hundred calls: a pattern of odd ones among rows of fast ones."""
    odd = draw(st.lists(call, min_size=1, max_size=12))
    calls = []
    for one in odd:
        calls += [one, *[draw(fast)] * draw(st.sampled_from([0, 3, 30, 150]))]
    return calls


@settings(max_examples=60)
@given(server=servers, calls=traffic(), share=st.sampled_from([0.3, 0.8, 0.9]))
def test_when_nobody_else_spends_nothing_is_refused(server, calls, share):
    done = run(server, calls, share=share, connections=CONNECTIONS)
    assert done.refused_of_ours == 0
    assert len(done.sent) == len(calls)
    assert max(done.ours.values()) <= int(360 * share) + IN_FLIGHT
    assert busiest_minute(done.sent) <= int(360 * share)


def busiest_minute(sent):
    """Return the most points that were sent in any stretch of a window's length."""
    first, points, most = 0, 0, 0
    for at, cost in sent:
        points += cost
        while sent[first][0] + STOQ.window <= at:
            points -= sent[first][1]
            first += 1
        most = max(most, points)
    return most


@settings(max_examples=60)
@given(
    server=servers,
    calls=traffic(),
    foreign=st.lists(st.tuples(st.floats(0, 150), st.sampled_from([1, 20, 100, 300])), max_size=30),
    share=st.sampled_from([0.3, 0.8, 1.0]),
)
def test_after_a_refusal_nothing_is_sent_before_its_time(server, calls, foreign, share):
    done = run(server, calls, foreign=foreign, share=share, connections=CONNECTIONS)
    for since, until in done.closed:
        # What is sent in the very moment of the answer was decided before it.
        assert not [at for at, _ in done.sent if since < at < until - 1e-6]
    assert all(math.isfinite(wait) and 0 <= wait <= 61.0 + server.penalty for wait in done.waits)
    assert len(done.sent) == len(calls), "everything is sent in the end"


@pytest.mark.parametrize("aligned", [True, False])
def test_the_simulation_does_refuse_who_keeps_no_budget(aligned):
    """Else the properties above would be worth nothing."""
    server = Server(aligned)
    granted = [server.charge(2, 1_000_000_000.0 + n / 100)[0] for n in range(300)]
    assert (granted.count(True), server.refused) == (180, 120)


numbers = st.one_of(st.none(), st.integers(0, 400))
seconds = st.one_of(st.none(), st.floats(0, 120), st.floats(0, 1e9))
limits = st.builds(RateLimit, numbers, numbers, seconds, st.one_of(st.none(), st.floats(0, 90)))
steps = st.one_of(
    st.floats(0, 10),
    st.floats(-100, 100),
    st.sampled_from([-86_400.0, 86_400.0, -1e8]),
)
deeds = st.one_of(
    st.tuples(st.just("spend"), st.sampled_from([1, 2])),
    st.tuples(st.just("learn"), limits),
    st.tuples(st.just("step"), steps),
)


@settings(max_examples=300)
@given(st.lists(deeds, max_size=60), st.floats(0, 1))
def test_whatever_the_headers_and_the_clock_do(history, share):
    now = 1_000_000_000.0
    kept = PointsBudget(STOQ, share)
    for what, about in history:
        if what == "step":
            now += about
        elif what == "learn":
            kept.update(about, now)
        else:
            kept.spend(about, now)
        left = kept.available(now)
        assert 0 <= left <= 400
        for cost in (1, 2):
            wait = kept.wait(cost, now)
            assert math.isfinite(wait)
            assert wait >= 0
            assert (wait == 0) == (left >= cost)
    # Closed for at most 90 s, then at most one window.
    for _ in range(3):
        wait = kept.wait(2, now)
        assert wait <= 90.0
        now += wait * (1 + 1e-9) + 1e-6
    assert kept.wait(2, now) == 0


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.integers(0, 360), st.floats(0, 55), st.sampled_from([0, 1, 2])), min_size=1, max_size=30
    )
)
def test_within_a_window_the_estimate_never_rises(rows):
    now, ends = 1_000_000_000.0, 1_000_000_060.0
    kept = PointsBudget(STOQ)
    kept.spend(1, now)
    kept.update(RateLimit(remaining=359, reset_in=60.0), now)
    before = kept.available(now)
    for remaining, at, cost in sorted(rows, key=lambda row: row[1]):
        kept.update(RateLimit(360, remaining, ends - (now + at)), now + at)
        kept.spend(cost, now + at)
        left = kept.available(now + at)
        assert left <= max(0, before - cost)
        assert left <= remaining
        before = left
