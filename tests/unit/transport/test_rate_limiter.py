"""When a call may go out: prices, pace, route_limits, refusals, and what the meter is given."""

from __future__ import annotations

import pytest

from stoq_provider.core.http import Decoded, Problem, ProblemKind, RateLimit, Request
from stoq_provider.core.rate_limit import PointsRules
from stoq_provider.systems.stoq.system import Stoq
from stoq_provider.transport.rate_limiter import TRIGGERER, WORKER, RateLimiter

from .conftest import GET, ORIGIN, POST, STOQ

T0 = 1_780_000_000.0
USUAL = 60 / 288
HARMLESS = Request("POST", f"{ORIGIN}/login", safe=True)
IMPORT = Request("POST", f"{ORIGIN}/import", json={})
EXPORT = Request("POST", f"{ORIGIN}/export", json={})


class Routed(Stoq):
    """A made-up system: five imports a minute, twenty exports, besides the points."""

    name = "routed"
    route_limits = {"import": PointsRules(5, 60.0), "export": PointsRules(20, 60.0)}

    def route_limit(self, request):
        return next((name for name in self.route_limits if request.url.endswith(f"/{name}")), None)


ROUTED = Routed()


class Notes:
    """A meter that writes down what it is given."""

    def __init__(self):
        self.notes = []

    def points_left(self, points):
        self.notes.append(("points_left", points))

    def waited(self, seconds):
        self.notes.append(("waited", seconds))

    def throttled(self):
        self.notes.append(("throttled",))

    def polled(self):
        self.notes.append(("polled",))

    def finished(self, jobs, polls):
        self.notes.append(("finished", jobs, polls))


def limiter(system=STOQ, share=0.8, sharing=TRIGGERER, meter=None):
    return RateLimiter(system, share, sharing, meter=meter)


def ok(**reported):
    return Decoded(payload={}, rate_limit=RateLimit(**reported))


def refusal(**reported):
    return Decoded(problem=Problem(ProblemKind.RATE_LIMITED, (), 429), rate_limit=RateLimit(**reported))


def at_once(kept, request, now=T0):
    """Return how many calls go in one moment."""
    calls = 0
    while kept.wait(request, now) == 0:
        kept.spend(request, now)
        calls += 1
    return calls


class TestPrices:
    @pytest.mark.parametrize(("request_", "price"), [(GET, 1), (HARMLESS, 1), (POST, 2)])
    def test_a_read_costs_one_point_and_a_write_two(self, request_, price):
        kept = limiter()
        assert kept.spend(request_, T0) == price
        assert kept.budget.available(T0) == 288 - price

    def test_a_call_on_a_route_costs_its_points_and_one_of_the_route(self):
        kept = limiter(ROUTED)
        assert kept.spend(IMPORT, T0) == 2
        assert kept.budget.available(T0) == 286
        assert at_once(kept, IMPORT) == 3

    def test_a_round_takes_as_long_as_its_reads_do(self):
        assert limiter().round(1000) == pytest.approx(1000 * USUAL)
        assert limiter(share=0.5).round(180) == pytest.approx(60)
        assert limiter().round(0) == 0


class TestPace:
    def test_a_triggerer_spreads_its_reads(self):
        kept = limiter()
        assert at_once(kept, GET) in (6, 7)
        assert 0 < kept.wait(GET, T0) <= 1.05 * USUAL

    def test_a_worker_reads_half_of_its_part_at_once(self):
        assert 144 <= at_once(limiter(sharing=WORKER), GET) <= 151

    def test_writes_do_not_wait_for_the_pace(self):
        kept = limiter()
        at_once(kept, GET)
        assert kept.wait(GET, T0) > 0
        assert kept.wait(POST, T0) == 0
        assert at_once(kept, POST) >= 140, "they go as long as there are points"
        assert kept.wait(POST, T0) == pytest.approx(60)

    def test_reads_make_up_for_writes(self):
        kept = limiter()
        for _ in range(20):
            kept.spend(POST, T0)
        assert kept.wait(GET, T0) > 30 * USUAL
        assert kept.wait(GET, T0 + 41 * USUAL * 1.2) == 0

    def test_a_slow_answer_is_made_up_for(self):
        kept = limiter()
        at_once(kept, GET)
        assert at_once(kept, GET, T0 + 5 * USUAL * 1.01) == 5


class TestRoutes:
    def test_a_route_has_a_limit_of_its_own(self):
        kept = limiter(ROUTED)
        assert at_once(kept, IMPORT) == 4, "our share of five"
        assert kept.wait(IMPORT, T0) == pytest.approx(60)
        assert kept.wait(IMPORT, T0 + 60) == 0

    def test_other_calls_go_on_where_a_route_is_spent(self):
        kept = limiter(ROUTED)
        at_once(kept, IMPORT)
        assert kept.wait(POST, T0) == 0
        assert kept.wait(GET, T0 + 1) <= 8 * USUAL * 1.1
        assert at_once(kept, EXPORT) == 16

    def test_the_common_limit_holds_on_a_route_too(self):
        kept = limiter(ROUTED)
        while kept.wait(POST, T0) == 0:
            kept.spend(POST, T0)
        assert kept.wait(IMPORT, T0) == pytest.approx(60)

    def test_the_longer_wait_of_the_two_counts(self):
        kept = limiter(ROUTED)
        at_once(kept, IMPORT)
        kept.update(GET, refusal(retry_after=90.0), T0)
        assert kept.wait(IMPORT, T0) == pytest.approx(90)
        other = limiter(ROUTED)
        at_once(other, IMPORT)
        other.update(GET, refusal(retry_after=10.0), T0)
        assert other.wait(IMPORT, T0) == pytest.approx(60)

    def test_a_route_always_lets_one_call_through(self):
        class Narrow(Routed):
            route_limits = {"import": PointsRules(1, 60.0), "export": PointsRules(2, 60.0)}

        kept = limiter(Narrow(), share=0.05)
        assert (at_once(kept, IMPORT), at_once(kept, EXPORT)) == (1, 2)
        assert kept.wait(IMPORT, T0 + 60) == 0


class TestRefusals:
    def test_a_429_closes_it_for_as_long_as_asked(self):
        kept = limiter()
        kept.spend(GET, T0)
        kept.update(GET, refusal(retry_after=24.0), T0)
        assert (kept.wait(GET, T0), kept.wait(POST, T0)) == (24.0, 24.0)
        assert kept.wait(POST, T0 + 24) == 0

    def test_a_429_that_says_nothing_closes_the_rest_of_the_window(self):
        kept = limiter()
        kept.spend(GET, T0)
        kept.update(GET, refusal(), T0 + 20)
        assert kept.wait(POST, T0 + 20) == pytest.approx(40)
        assert kept.wait(POST, T0 + 60) == 0

    def test_a_429_on_a_route_that_says_nothing_closes_the_route_only(self):
        kept = limiter(ROUTED)
        kept.spend(IMPORT, T0)
        kept.update(IMPORT, refusal(), T0 + 20)
        assert kept.wait(IMPORT, T0 + 20) == pytest.approx(40)
        assert kept.wait(IMPORT, T0 + 60) == 0
        assert kept.wait(EXPORT, T0 + 20) == kept.wait(POST, T0 + 20) == kept.wait(GET, T0 + 20) == 0

    def test_a_429_on_a_route_closes_it_for_as_long_as_asked(self):
        kept = limiter(ROUTED)
        kept.update(IMPORT, refusal(retry_after=24.0), T0)
        assert kept.wait(IMPORT, T0) == 24.0

    def test_a_429_on_a_route_that_says_for_how_long_closes_the_route_only(self):
        kept = limiter(ROUTED)
        kept.update(IMPORT, refusal(retry_after=24.0), T0)
        assert kept.wait(GET, T0) == 0

    def test_a_429_of_the_common_limit_closes_the_routes(self):
        kept = limiter(ROUTED)
        kept.update(GET, refusal(retry_after=24.0), T0)
        assert kept.wait(IMPORT, T0) == 24.0

    def test_a_429_on_a_route_does_not_widen_the_route(self):
        kept = limiter(ROUTED)
        kept.update(IMPORT, refusal(limit=360, remaining=300, reset_in=30.0, retry_after=30.0), T0)
        assert at_once(kept, IMPORT, T0 + 100) <= 5

    @pytest.mark.parametrize("limit", [5, 6, 200, 359])
    def test_a_limit_below_the_common_one_does_not_widen_the_route(self, limit):
        kept = limiter(ROUTED)
        reported = RateLimit(limit=limit, remaining=limit - 1, reset_in=30.0)
        kept.update(IMPORT, Decoded({}, rate_limit=reported), T0)
        assert at_once(kept, IMPORT, T0 + 100) == 4

    def test_a_smaller_limit_narrows_the_route(self):
        kept = limiter(ROUTED)
        reported = RateLimit(limit=5, remaining=4, reset_in=30.0)
        kept.update(EXPORT, Decoded({}, rate_limit=reported), T0)
        assert at_once(kept, EXPORT, T0 + 100) == 4, "documented are twenty"

    @pytest.mark.parametrize(
        "kind", [kind for kind in ProblemKind if kind is not ProblemKind.RATE_LIMITED], ids=str
    )
    def test_no_other_problem_closes_it(self, kind):
        kept = limiter(ROUTED)
        kept.update(IMPORT, Decoded(problem=Problem(kind)), T0)
        assert kept.wait(IMPORT, T0) == kept.wait(GET, T0) == 0


class TestCallsUnderWay:
    """An answer that the server wrote before they came does not count them."""

    def test_are_taken_off_what_an_answer_leaves(self):
        kept = limiter()
        for _ in range(5):
            kept.spend(POST, T0)
        kept.finish(POST)
        # The server has counted the first call, and 100 points of others.
        kept.update(POST, ok(limit=360, remaining=258, reset_in=60.0), T0)
        assert kept.budget.until_renewal(T0)[0] == int(258 - 4 * 2 - 0.02 * 360)

    def test_are_finished_one_by_one(self):
        kept = limiter()
        for request in (POST, GET, GET):
            kept.spend(request, T0)
        for request in (GET, POST, GET):
            kept.finish(request)
        kept.update(GET, ok(limit=360, remaining=256, reset_in=60.0), T0)
        assert kept.budget.until_renewal(T0)[0] == int(256 - 0.02 * 360)


class TestMeter:
    def test_is_given_what_is_left_after_each_answer(self):
        meter = Notes()
        kept = limiter(meter=meter)
        kept.spend(POST, T0)
        kept.finish(POST)
        kept.update(POST, ok(limit=360, remaining=358, reset_in=60.0), T0)
        kept.update(GET, ok(limit=360, remaining=100, reset_in=60.0), T0)
        # What others have spent, and a margin for what they will.
        assert meter.notes == [("points_left", 286), ("points_left", 92)]

    @pytest.mark.parametrize("request_", [GET, IMPORT], ids=["common", "route_limit"])
    def test_is_given_each_429(self, request_):
        meter = Notes()
        kept = limiter(ROUTED, meter=meter)
        kept.update(request_, refusal(retry_after=24.0), T0)
        assert meter.notes.count(("throttled",)) == 1
        assert meter.notes[0][0] == "points_left"

    def test_nothing_is_left_while_it_is_closed(self):
        meter = Notes()
        limiter(meter=meter).update(GET, refusal(retry_after=24.0), T0)
        assert meter.notes == [("points_left", 0), ("throttled",)]

    def test_no_other_problem_is_a_429(self):
        meter = Notes()
        limiter(meter=meter).update(GET, Decoded(problem=Problem(ProblemKind.UNAVAILABLE, (), 503)), T0)
        assert meter.notes == [("points_left", 288)]

    def test_without_one_nothing_is_measured(self):
        kept = limiter()
        kept.update(GET, refusal(), T0)
        assert kept.budget.available(T0) == 0
