"""The pace of a shop's reads: rule by rule, and over simulated hours."""

from __future__ import annotations

import itertools
import math

import pytest

from stoq_provider.core.http import RateLimit
from stoq_provider.core.pacing import Pace
from stoq_provider.core.rate_limit import PointsBudget

from .paced import START, Call, Client, load, longest_rest, most_within, simulate
from .shop import STOQ, Server

T0 = 1_000_000.0
USUAL = 60 / 288
"""Seconds a point, with a share of 0.8."""


def nearly(seconds):
    """Allow for the points that were spent before: they belong to the same stretch."""
    return pytest.approx(seconds, rel=0.01)


class Spender:
    """A budget and its pace, and somebody who spends whenever both let him."""

    def __init__(self, **sharing):
        self.budget = PointsBudget(STOQ)
        self.pace = Pace(self.budget, **{"burst": 0.0, **sharing})

    def wait(self, now=T0):
        return self.pace.wait(now)

    def spend(self, cost=1, now=T0):
        self.budget.spend(cost, now)
        self.pace.spend(cost, now)

    def at_once(self, now=T0):
        """Return how many reads go in one moment."""
        reads = 0
        while self.pace.wait(now) == 0 and self.budget.wait(1, now) == 0:
            self.spend(now=now)
            reads += 1
        return reads

    def shown(self, remaining, reset_in, now=T0):
        self.budget.update(RateLimit(limit=360, remaining=remaining, reset_in=reset_in), now)


class TestOneCallAfterTheOther:
    def test_our_part_is_spread_over_the_window(self):
        spender = Spender()
        assert spender.wait() == 0
        spender.spend()
        assert spender.wait() == nearly(USUAL)
        assert spender.wait(T0 + 1.01 * USUAL) == 0

    def test_a_write_takes_the_time_of_two_reads(self):
        spender = Spender()
        spender.spend(2)
        assert spender.wait() == nearly(2 * USUAL)

    @pytest.mark.parametrize(("burst", "reads"), [(0.0, 1), (1.5, 2), (4.5, 5), (9.5, 10)])
    @pytest.mark.parametrize("idle", [0.0, 30.0, 86_400.0])
    def test_what_was_missed_is_made_up_for_within_the_burst(self, burst, reads, idle):
        spender = Spender(burst=burst)
        spender.spend(now=T0 - 60)
        spender.budget.available(T0)
        assert spender.at_once(T0 + idle) == reads
        assert 0 < spender.wait(T0 + idle) <= 1.05 * USUAL

    def test_after_the_burst_it_is_as_even_as_before(self):
        spender = Spender(burst=4.5)
        spender.at_once()
        assert [spender.at_once(T0 + n * 1.01 * USUAL) for n in range(1, 20)] == [1] * 19


class TestANewWindow:
    def test_owes_nothing_to_the_last_one(self):
        spender = Spender()
        spender.shown(remaining=9, reset_in=10)
        spender.spend(2)
        assert spender.wait(T0 + 9.9) > 5
        assert spender.wait(T0 + 10) == 0

    def test_is_no_second_chance_for_what_we_spent(self):
        """The stretch of a minute still counts; see the budget."""
        spender = Spender(free=1.0)
        spender.shown(remaining=360, reset_in=10)
        assert spender.at_once() == 288
        assert spender.at_once(T0 + 10) == 0
        assert spender.at_once(T0 + 60) == 288


class TestOthers:
    def test_their_part_leaves_our_pace_alone(self):
        spender = Spender()
        spender.shown(remaining=360 - 40, reset_in=60)
        spender.spend()
        assert spender.wait() == nearly(USUAL)

    def test_it_slows_down_as_they_take_more_than_that(self):
        waits = []
        for remaining in (360, 200, 100, 50, 10):
            spender = Spender()
            spender.shown(remaining=remaining, reset_in=40)
            spender.spend()
            left, seconds = spender.budget.until_renewal(T0)
            assert spender.wait() == nearly(max(USUAL, seconds / left))
            waits.append(spender.wait())
        assert waits == sorted(waits)
        assert waits[0] == nearly(USUAL)
        assert waits[-1] > 10

    def test_it_is_never_faster_than_our_part_though_nothing_was_spent_so_far(self):
        spender = Spender()
        spender.shown(remaining=360, reset_in=5)
        spender.spend()
        assert spender.wait() == nearly(USUAL)

    def test_nothing_left_is_not_for_ever(self):
        spender = Spender()
        spender.shown(remaining=0, reset_in=30)
        spender.spend()
        assert 0 < spender.wait() <= 30
        assert spender.wait(T0 + 30) == 0


class TestAWorker:
    @pytest.mark.parametrize(("free", "reads"), [(0.25, 72), (0.5, 144), (0.75, 216), (1.0, 288)])
    def test_spends_the_free_part_as_fast_as_it_likes(self, free, reads):
        spender = Spender(free=free)
        assert spender.at_once() == reads
        assert spender.wait() > 0

    def test_has_no_free_part_where_others_were_quicker(self):
        spender = Spender(free=0.5)
        spender.shown(remaining=140, reset_in=60)
        assert spender.at_once() == 1

    def test_leaves_half_of_the_rest_to_others(self):
        polite, greedy = Spender(portion=0.5), Spender(portion=1.0)
        for spender in (polite, greedy):
            spender.shown(remaining=100, reset_in=60)
            spender.spend()
        assert polite.wait() == pytest.approx(2 * greedy.wait())


class TestAClockThatJumps:
    @pytest.mark.parametrize("back", [0.5, 30.0, 119.0, 3600.0, 1e9])
    def test_back_delays_by_no_more_than_two_windows(self, back):
        spender = Spender()
        spender.spend(2)
        assert 0 <= spender.wait(T0 - back) <= min(2 * 60, back + 2.1 * USUAL)
        assert spender.wait(T0 - back + 121) == 0

    @pytest.mark.parametrize("forward", [59.0, 61.0, 3600.0, 1e9])
    def test_forward_allows_no_more_than_the_burst(self, forward):
        spender = Spender(burst=4.5)
        spender.at_once()
        assert spender.at_once(T0 + forward) == 5


ALIGNED_IDS = ["aligned", "opened by the first call"]
ALIGNED = pytest.mark.parametrize("aligned", [True, False], ids=ALIGNED_IDS)


def alternating(*axes):
    """Combine the axes, and let windows be aligned or not in turn, so that every two values meet."""
    cases = itertools.product(*(range(len(axis)) for axis in axes))
    return [(sum(case) % 2 == 0, *(axis[n] for axis, n in zip(axes, case, strict=True))) for case in cases]


# Windows that a call opens begin a little later each time, so that only an hour shows them all; aligned ones
# are alike from the second one on.
@pytest.mark.parametrize(("aligned", "minutes"), [(True, 10), (False, 60)], ids=ALIGNED_IDS)
def test_an_hour_under_load_is_even(aligned, minutes):
    server, client = Server(aligned), Client(load(60 * minutes, a_second=5))
    simulate(server, client, until=60 * minutes)
    burst = 0.02 * 288
    assert client.refused == 0
    assert most_within(client.sent, 60) <= 288
    # The burst once as such, and once at the start of a window, which owes nothing.
    for seconds in (1, 5, 10, 30):
        assert most_within(client.sent, seconds) <= seconds / USUAL + 2 * burst + 1
    assert longest_rest(client.sent) < 2, "no part of the hour is without a call"
    assert len(client.sent) >= 0.97 * minutes * 288, "and the evenness costs next to nothing"


def test_without_the_pace_an_hour_is_not_even():
    """Else the figures above would be worth nothing."""
    server, client = Server(aligned=True), Client(load(600, a_second=20), free=1.0)
    simulate(server, client, until=600)
    assert most_within(client.sent, 15) == 288
    assert longest_rest(client.sent) > 40


@ALIGNED
@pytest.mark.parametrize("a_second", [1, 3, 6, 12])
def test_while_others_spend_whatever_they_like_we_go_on(aligned, a_second):
    server, client = Server(aligned), Client(load(480, a_second=6))
    simulate(server, client, foreign=[(t, a_second) for t in range(480)], until=480)
    for minute in range(8):
        ours = [at for at, _ in client.sent if minute * 60 <= at - START < (minute + 1) * 60]
        assert len(ours) >= 60, "never starved"
    if a_second <= 3:
        assert client.refused == 0


def swells(seconds, most, wave, limit=360):
    """Return what somebody spends second by second, from nothing to that part of the limit and back."""
    owed, spent = 0.0, []
    for second in range(seconds):
        owed += most / 2 * (1 - math.cos(2 * math.pi * second / wave)) * limit / 60
        spent.append((second, int(owed)))
        owed -= int(owed)
    return spent


# Six swells at least, and of the longest nearly two.
@pytest.mark.parametrize(
    ("aligned", "minutes", "wave", "most"),
    [
        (aligned, {20: 5, 150: 15, 1000: 30}[wave], wave, most)
        for aligned, wave, most in alternating([20, 150, 1000], [0.3, 0.45])
    ],
)
def test_beside_others_in_swells_below_half_no_minute_holds_more_than_the_limit(aligned, minutes, wave, most):
    server, client = Server(aligned), Client(load(60 * minutes, a_second=6))
    foreign = swells(60 * minutes, most, wave)
    simulate(server, client, foreign=foreign, until=60 * minutes)
    assert server.refused == 0
    assert most_within(server.granted, 60) <= 360
    spent = sum(points for _, points in foreign)
    assert len(client.sent) >= 0.9 * min(288 * minutes, 360 * minutes - spent), "and what they leave is used"


@ALIGNED
@pytest.mark.parametrize("back", [2.5, 6.0, 20.0])
def test_answers_that_come_late_now_and_then_make_nobody_of_us_a_stranger(aligned, back):
    calls = [Call(n / 6, back=back if n % 50 == 0 else 0.02) for n in range(2160)]
    server, client = Server(aligned), Client(calls)
    simulate(server, client, foreign=[(t, 1) for t in range(360)], until=360)
    assert client.refused == 0
    assert len(client.sent) >= 0.94 * 288 * 6
    assert longest_rest(client.sent) < 3


@pytest.mark.parametrize(("aligned", "way", "foreign"), alternating([0.05, 1.0], [0, 1]))
def test_two_that_know_nothing_of_each_other_use_most_of_the_points(aligned, way, foreign):
    server = Server(aligned)
    clients = [Client(load(360, a_second=8, there=way, back=way)) for _ in range(2)]
    simulate(server, *clients, foreign=[(t, foreign) for t in range(360)], until=360)
    went = sum(cost for client in clients for _, cost in client.sent) - sum(c.refused for c in clients)
    assert went >= 0.8 * (360 - 60 * foreign) * 6
    one, two = (len(client.sent) for client in clients)
    assert min(one, two) >= 0.8 * max(one, two), "neither starves the other"
    obeyed(*clients)


@ALIGNED
def test_refusals_are_obeyed_where_headers_come_too_late(aligned):
    server = Server(aligned, penalty=25)
    clients = greedy(3)
    simulate(server, *clients, until=360)
    assert sum(client.refused for client in clients) > 0, "else this shows nothing"
    obeyed(*clients)
    assert all(client.sent[-1][0] > START + 240 for client in clients), "all go on"


@ALIGNED
def test_two_that_take_all_they_can_are_not_refused_since_calls_under_way_count(aligned):
    server = Server(aligned, penalty=25)
    clients = greedy(2)
    simulate(server, *clients, until=360)
    assert [client.refused for client in clients] == [0, 0]
    assert sum(len(client.sent) for client in clients) >= 0.9 * 360 * 6


def greedy(number):
    """Return clients that know no share and no pace, over a slow network."""
    calls = load(360, a_second=20, there=0.3, back=0.3)
    return [Client(calls, free=1.0, share=1.0) for _ in range(number)]


def obeyed(*clients):
    for client in clients:
        for since, until in client.closed:
            # What is sent in the very moment of the answer was decided before it.
            assert not [at for at, _ in client.sent if since < at < until - 1e-6]


@ALIGNED
def test_a_triggerer_goes_on_beside_a_worker_that_reads_all_it_can(aligned):
    server = Server(aligned)
    triggerer = Client(load(600, a_second=8))
    worker = Client(load(600, a_second=8), free=0.5, portion=0.5)
    simulate(server, triggerer, worker, until=600)
    assert triggerer.refused + worker.refused == 0
    assert len(triggerer.sent) >= 0.35 * 360 * 10
    # In the first minute neither knew of the other: it is paid for a while.
    assert longest_rest(triggerer.sent) < 7


def test_a_late_answer_of_the_last_window_says_nothing_of_this_one():
    spender = Spender()
    spender.shown(remaining=359, reset_in=60)
    # Sent just before the last window ended: its reset is over, or nearly so.
    spender.shown(remaining=3, reset_in=1, now=T0 + 0.5)
    assert spender.budget.available(T0 + 0.5) == 288


@pytest.mark.parametrize(
    ("aligned", "back"),
    [(False, 0.02), (False, 2.0), (True, 0.02), (True, 2.0), (True, 4.0)],
)
def test_an_answer_that_comes_late_now_and_then_costs_no_points(aligned, back):
    calls = [Call(n / 6, back=back if n % 100 == 0 else 0.02) for n in range(1800)]
    server, client = Server(aligned), Client(calls)
    simulate(server, client, until=300)
    assert client.refused == 0
    assert len(client.sent) >= 0.94 * 5 * 288
