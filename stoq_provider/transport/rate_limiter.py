"""
When a call may go out: the points of one shop, the pace of its reads, and what is reported of them.

Pure, but for the system that it asks: both drivers keep to one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from stoq_provider.core.http import Decoded, ProblemKind, RateLimit, Request
from stoq_provider.core.pacing import Pace
from stoq_provider.core.rate_limit import PointsBudget
from stoq_provider.systems.base import System


@dataclass(frozen=True, slots=True)
class SharingPolicy:
    """
    How a process shares a shop's points with the others that use them.

    :param free: the part of our points that may be spent as fast as one likes; after that, reads are spread.
    :param portion: the part of what is left of a window that we count on.
    """

    free: float
    portion: float


WORKER = SharingPolicy(free=0.5, portion=0.5)
"""A worker has a few calls to make and is gone; when little is left, it leaves half to the triggerer."""

TRIGGERER = SharingPolicy(free=0.0, portion=1.0)
"""A triggerer polls all the time: the more evenly, the earlier the end of a job is noticed."""

BURST = 0.02
"""The part of our points that reads may be early: a response that was slow is made up for."""


class RateLimiter:
    """
    The budgets of one shop: the common one, and one for each route that is limited by itself.

    Writes go as soon as the budgets have the points: a submission is what somebody waits for. Reads are
    spread besides.

    :param share: the part of the shop's points that is ours.
    """

    def __init__(
        self, system: System, share: float, sharing: SharingPolicy, *, meter: Meter | None = None
    ) -> None:
        self._system = system
        self.meter: Meter = meter or Meter()
        self.budget = PointsBudget(system.points, share)
        self._under_way = 0
        self._route_limits = {name: PointsBudget(rules, share) for name, rules in system.route_limits.items()}
        self._pace = Pace(
            self.budget,
            burst=max(1.0, BURST * self.budget.allowance),
            free=sharing.free,
            portion=sharing.portion,
        )

    def wait(self, request: Request, now: float) -> float:
        """Return the seconds until the call may go out; 0 where it may go now."""
        wait = self.budget.wait(self._price(request), now)
        route_limit = self._route_limit(request)
        if route_limit is not None:
            wait = max(wait, route_limit.wait(1, now))
        if request.reads_only:
            wait = max(wait, self._pace.wait(now))
        return wait

    def spend(self, request: Request, now: float) -> int:
        """Note that a call is being sent, and return its price in points."""
        cost = self._price(request)
        self._under_way += cost
        self.budget.spend(cost, now)
        self._pace.spend(cost, now)
        route_limit = self._route_limit(request)
        if route_limit is not None:
            route_limit.spend(1, now)
        return cost

    def finish(self, request: Request) -> None:
        """Note that a call is over, with a response or without."""
        self._under_way -= self._price(request)

    def update(self, request: Request, response: Decoded, now: float) -> None:
        """Take over what a response reports of the points; the call is finished already."""
        refused = response.problem is not None and response.problem.kind is ProblemKind.RATE_LIMITED
        route_limit, reported = self._route_limit(request), response.rate_limit
        common = self.budget.rules.limit
        if route_limit is not None and reported.limit is not None and reported.limit < common:
            # Headers of a route that is limited by itself, and a limit too small to be the common one. If it
            # is that all the same, set lower than documented, it must not widen the limit of the route.
            own = replace(reported, limit=min(reported.limit, route_limit.rules.limit))
            route_limit.update(own, now, refused=refused)
        else:
            if route_limit is not None and refused:
                # Which of the two limits it was is not known; the other headers describe the common one.
                route_limit.update(RateLimit(retry_after=reported.retry_after), now, refused=True)
                reported, refused = replace(reported, retry_after=None), False
            self.budget.update(reported, now, refused=refused, under_way=self._under_way)
        self.meter.points_left(self.budget.available(now))
        if response.problem is not None and response.problem.kind is ProblemKind.RATE_LIMITED:
            self.meter.throttled()

    def round(self, calls: int) -> float:
        """Return the seconds in which so many reads can be made, one after the other."""
        rules = self.budget.rules
        return calls * rules.read * rules.window / self.budget.allowance

    def _price(self, request: Request) -> int:
        return self._system.points.price(reads_only=request.reads_only)

    def _route_limit(self, request: Request) -> PointsBudget | None:
        name = self._system.route_limit(request)
        return None if name is None else self._route_limits[name]


class Meter:
    """Takes measurements, and does nothing with them; one that does must neither block nor raise."""

    def points_left(self, points: int) -> None:
        """Points that may still be spent, after a response."""

    def waited(self, seconds: float) -> None:
        """Seconds that a call waited for points."""

    def throttled(self) -> None:
        """A response was a 429."""

    def polled(self) -> None:
        """A call asked for the status of jobs."""

    def finished(self, jobs: int, polls: int) -> None:
        """A wait for so many jobs has ended, after so many responses about them."""
