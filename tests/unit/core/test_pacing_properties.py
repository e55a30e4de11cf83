"""Ledger and pace against a real bucket: odd arrivals, foreign spending, odd clocks, late and no headers."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from stoq_provider.core.http import RateLimit
from stoq_provider.core.pacing import Pace
from stoq_provider.core.rate_limit import PointsBudget

from .paced import CONNECTIONS, START, Call, Client, load, most_within, simulate
from .shop import STOQ, Server

gaps = st.sampled_from([0.0, 0.0, 0.01, 0.3, 5.0, 70.0])
ways = st.sampled_from([0.0, 0.02, 0.3, 4.0, 25.0])
costs = st.sampled_from([1, 1, 1, 2])
sharing = st.sampled_from([(0.0, 1.0), (0.5, 0.5)])
shares = st.sampled_from([0.3, 0.8, 0.9])
servers = st.builds(
    Server,
    aligned=st.booleans(),
    rounding=st.sampled_from([math.ceil, math.floor, round]),
    penalty=st.sampled_from([0, 25]),
)
steps = st.lists(
    st.tuples(st.floats(0, 120), st.sampled_from([-1e8, -3600.0, -30.0, -1.0, 1.0, 30.0, 3600.0, 1e8])),
    max_size=3,
)


@st.composite
def arrivals(draw):
    """Draw a few hundred calls: odd ones among rows of usual ones."""
    calls, at = [], 0.0
    for _ in range(draw(st.integers(1, 8))):
        at += draw(gaps)
        calls.append(Call(at, draw(costs), draw(ways), draw(ways)))
        cost = draw(costs)
        for _ in range(draw(st.sampled_from([0, 3, 30, 150]))):
            at += 0.01
            calls.append(Call(at, cost))
    return calls


@st.composite
def clients(draw, **more):
    free, portion = draw(sharing)
    made = {name: draw(what) for name, what in more.items()}
    return Client(draw(arrivals()), draw(shares), free=free, portion=portion, **made)


def sane(client, longest):
    assert all(math.isfinite(wait) and 0 <= wait <= longest for wait in client.waits)
    assert client.done, "everything is sent in the end"


@settings(max_examples=40)
@given(server=servers, client=clients(sees_headers=st.booleans()))
def test_when_nobody_else_spends_the_limit_is_never_passed(server, client):
    simulate(server, client)
    assert client.refused == 0
    assert most_within(client.sent, 60.0) <= client.budget.allowance
    # A read waits for at most two windows: writes that went out at once are paid for afterwards.
    sane(client, 121.0)


@settings(max_examples=40)
@given(server=servers, client=clients(steps=steps))
def test_when_the_clock_jumps_meanwhile_no_more_is_refused_than_was_under_way(server, client):
    """Set forward, it lets the budget forget; it learns again from answers, which know no later call."""
    simulate(server, client)
    assert client.refused <= CONNECTIONS
    sane(client, 121.0)


@settings(max_examples=40)
@given(
    server=servers,
    client=clients(steps=steps),
    part=st.floats(0, 1),
    clumps=st.sampled_from([0.5, 7.0, 60.0]),
)
def test_while_others_spend_any_part_of_the_points_all_is_sent_and_refusals_are_obeyed(
    server, client, part, clumps
):
    points = int(6 * clumps * part)
    simulate(server, client, foreign=[(n * clumps, points) for n in range(int(600 / clumps))])
    sane(client, 121.0 + server.penalty)
    for since, until in client.closed:
        assert not [at for at, _ in client.sent if since < at < until - 1e-6]


@settings(max_examples=8)
@given(
    server=servers,
    first=st.sampled_from([0.02, 0.5, 2.0]),
    second=st.sampled_from([0.02, 0.5, 2.0]),
    foreign=st.sampled_from([0, 1]),
)
def test_two_that_share_a_server_use_most_of_it(server, first, second, foreign):
    pair = [Client(load(240, a_second=8, there=way, back=way)) for way in (first, second)]
    simulate(server, *pair, foreign=[(t, foreign) for t in range(240)], until=240)
    went = sum(len(client.sent) - client.refused for client in pair)
    # Eight connections carry no more than that.
    carried = sum(min(360.0, 60 * 8 / (2 * way)) for way in (first, second))
    assert went >= 0.8 * 4 * min(360 - 60 * foreign, carried)
    for client in pair:
        for since, until in client.closed:
            assert not [at for at, _ in client.sent if since < at < until - 1e-6]


numbers = st.one_of(st.none(), st.integers(0, 400))
seconds = st.one_of(st.none(), st.floats(0, 120), st.floats(0, 1e9))
limits = st.builds(RateLimit, numbers, numbers, seconds, st.one_of(st.none(), st.floats(0, 90)))
deeds = st.one_of(
    st.tuples(st.just("spend"), st.sampled_from([1, 2])),
    st.tuples(st.just("learn"), limits),
    st.tuples(
        st.just("step"), st.one_of(st.floats(0, 10), st.floats(-100, 100), st.sampled_from([-1e8, 86_400.0]))
    ),
)


@settings(max_examples=200)
@given(
    history=st.lists(deeds, max_size=60),
    share=st.floats(0, 1),
    burst=st.sampled_from([0.0, 1.0, 5.76]),
    free=st.floats(0, 1),
    portion=st.floats(0.01, 1),
)
def test_whatever_the_headers_and_the_clock_do_the_pace_lets_one_through_soon(
    history, share, burst, free, portion
):
    now = START
    kept = PointsBudget(STOQ, share)
    pace = Pace(kept, burst=burst, free=free, portion=portion)
    for what, about in history:
        if what == "step":
            now += about
        elif what == "learn":
            kept.update(about, now)
        else:
            kept.spend(about, now)
            pace.spend(about, now)
        wait = pace.wait(now)
        assert math.isfinite(wait)
        assert 0 <= wait <= 2 * STOQ.window
    now += pace.wait(now) + 1e-6
    assert pace.wait(now) == 0
