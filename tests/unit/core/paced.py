"""Clients that keep to a budget and a pace, at one simulated server whose time passes as fast as it can."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count, pairwise

from stoq_provider.core.http import RateLimit
from stoq_provider.core.pacing import Pace
from stoq_provider.core.rate_limit import PointsBudget, PointsRules

from .shop import STOQ, Server

START = 1_000_000_000.0
CONNECTIONS = 8


@dataclass(frozen=True)
class Call:
    """Wanted at ``at`` seconds; ``there`` and ``back``: seconds of the way."""

    at: float
    cost: int = 1
    there: float = 0.02
    back: float = 0.03


@dataclass
class Client:
    """
    One process: its calls go out one after the other, up to eight are under way.

    :param sees_headers: whether it is shown the headers of its answers; a refusal as such is always seen.
    :param steps: (when, seconds) by which its clock is set forward or back.
    """

    calls: list[Call] = field(repr=False)
    share: float = 0.8
    burst: float = 0.02
    free: float = 0.0
    portion: float = 1.0
    rules: PointsRules = STOQ
    sees_headers: bool = True
    steps: list[tuple[float, float]] = field(default_factory=list)
    sent: list[tuple[float, int]] = field(default_factory=list)
    closed: list[tuple[float, float]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    refused: int = 0

    def __post_init__(self) -> None:
        self.budget = PointsBudget(self.rules, self.share)
        self.pace = Pace(
            self.budget,
            burst=max(1.0, self.burst * self.budget.allowance),
            free=self.free,
            portion=self.portion,
        )
        self._next, self._in_flight, self._under_way = 0, 0, 0

    @property
    def done(self) -> bool:
        return len(self.sent) == len(self.calls)

    def clock(self, now: float) -> float:
        return now + sum(by for at, by in self.steps if START + at <= now) if self.steps else now

    def step(self, now: float) -> Call | float | None:
        """Return the call that goes out now, or the seconds until the next look; ``None``: nothing to do."""
        if self._next == len(self.calls) or self._in_flight >= CONNECTIONS:
            return None
        call = self.calls[self._next]
        if START + call.at > now:
            return START + call.at - now
        mine = self.clock(now)
        wait = self.budget.wait(call.cost, mine)
        if call.cost == self.rules.read:
            wait = max(wait, self.pace.wait(mine))
        self.waits.append(wait)
        if wait > 0:
            return wait
        self.budget.spend(call.cost, mine)
        self.pace.spend(call.cost, mine)
        self.sent.append((now, call.cost))
        self._next += 1
        self._in_flight += 1
        self._under_way += call.cost
        return call

    def hear(self, call: Call, granted: bool, shown: RateLimit, now: float) -> None:
        self._in_flight -= 1
        self._under_way -= call.cost
        self.refused += not granted
        limit = shown if self.sees_headers else RateLimit()
        self.budget.update(limit, self.clock(now), refused=not granted, under_way=self._under_way)
        if limit.retry_after is not None:
            self.closed.append((now, now + limit.retry_after))


class _Simulation:
    """Events in the order of their times."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._number = count()
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._alarms: dict[int, int] = {}

    def at(self, when: float, deed: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._number), deed))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] < until:
            now, _, deed = heapq.heappop(self._events)
            deed(now)

    def look(self, client: Client, now: float) -> None:
        """Let a client send what it may; one that wakes looks anew; an older alarm does nothing."""
        alarm = self._alarms[id(client)] = self._alarms.get(id(client), 0) + 1
        while isinstance(found := client.step(now), Call):
            self.at(now + found.there, lambda when, call=found: self._arrive(client, call, when))
        if found is not None:
            # The clock of a process has no finer steps than these.
            self.at(now + max(found, 1e-6), lambda when: self._wake(client, alarm, when))

    def _wake(self, client: Client, alarm: int, now: float) -> None:
        if self._alarms[id(client)] == alarm:
            self.look(client, now)

    def _arrive(self, client: Client, call: Call, now: float) -> None:
        granted, shown = self._server.charge(call.cost, now)
        self.at(now + call.back, lambda when: self._answer(client, call, granted, shown, when))

    def _answer(self, client: Client, call: Call, granted: bool, shown: RateLimit, now: float) -> None:
        client.hear(call, granted, shown, now)
        self.look(client, now)


def simulate(
    server: Server,
    *clients: Client,
    foreign: Iterable[tuple[float, int]] = (),
    until: float = float("inf"),
) -> None:
    """
    Let everybody send, until all is sent or ``until`` seconds have passed.

    :param foreign: (when, points) that somebody spends who keeps to nothing.
    """
    world = _Simulation(server)
    for when, points in foreign:
        world.at(START + when, lambda now, points=points: spend(server, points, now))
    for client in clients:
        world.at(START, lambda now, client=client: world.look(client, now))
    world.run(START + until)


def spend(server: Server, points: int, now: float) -> None:
    """Spend points one by one, as far as there are any."""
    for _ in range(points):
        server.take(1, now)


def load(seconds: float, *, cost: int = 1, a_second: float = 20.0, **way: float) -> list[Call]:
    """Return more calls than the points allow, all along."""
    return [Call(n / a_second, cost, **way) for n in range(int(seconds * a_second))]


def most_within(sent: list[tuple[float, int]], seconds: float) -> int:
    """Return the most points that were sent in any stretch of that length."""
    first, points, most = 0, 0, 0
    for at, cost in sent:
        points += cost
        while sent[first][0] + seconds <= at:
            points -= sent[first][1]
            first += 1
        most = max(most, points)
    return most


def longest_rest(sent: list[tuple[float, int]]) -> float:
    """Return the longest time without a call."""
    times = [at for at, _ in sent]
    return max((b - a for a, b in pairwise(times)), default=0.0)
