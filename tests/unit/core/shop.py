"""A simulated server with a real bucket of points, and clients that spend from it."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate

from stoq_provider.core.http import RateLimit
from stoq_provider.core.rate_limit import PointsBudget, PointsRules

STOQ = PointsRules(limit=360, window=60.0, read=1, write=2)


@dataclass
class Server:
    """
    A fixed window of points, announced in whole seconds as real servers do.

    :param aligned: windows begin at multiples of their length; otherwise with the first request.
    :param penalty: seconds that a refusal asks for beyond the window's end; such a refusal tells no more.
    """

    aligned: bool
    rounding: Callable[[float], int] = math.ceil
    penalty: int = 0
    limit: int = 360
    window: float = 60.0
    spent: int = 0
    ends: float = float("-inf")
    refused: int = 0
    granted: list[tuple[float, int]] = field(default_factory=list)

    def take(self, cost: int, now: float) -> bool:
        """Let somebody spend points who does not listen; return whether there were so many."""
        if now >= self.ends:
            self.spent = 0
            self.ends = (now // self.window + 1) * self.window if self.aligned else now + self.window
        granted = self.spent + cost <= self.limit
        if granted:
            self.spent += cost
            self.granted.append((now, cost))
        self.refused += not granted
        return granted

    def charge(self, cost: int, now: float) -> tuple[bool, RateLimit]:
        """Return whether it was granted, and what the response's headers say: dates in whole seconds."""
        granted = self.take(cost, now)
        shown = RateLimit(self.limit, self.limit - self.spent, float(self.rounding(self.ends) - int(now)))
        if not granted:
            shown = RateLimit() if self.penalty else shown
            shown = replace(shown, retry_after=float(math.ceil(self.ends - now) + self.penalty))
        return granted, shown

    def headers(self, cost: int, now: float) -> dict[str, str]:
        """Charge; return the headers themselves."""
        _, shown = self.charge(cost, now)
        reset = None if shown.reset_in is None else int(now) + int(shown.reset_in)
        said = {
            "date": formatdate(int(now), usegmt=True),
            "x-ratelimit-limit": shown.limit,
            "x-ratelimit-remaining": shown.remaining,
            "x-ratelimit-reset": reset,
            "retry-after": shown.retry_after,
        }
        return {name: str(value) for name, value in said.items() if value is not None}


@dataclass
class Run:
    """What happened: when we sent, when sending was closed, what we spent in each window of the server."""

    server: Server
    budget: PointsBudget
    sent: list[tuple[float, int]] = field(default_factory=list)
    closed: list[tuple[float, float]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    refused_of_ours: int = 0
    ours: dict[float, int] = field(default_factory=dict)


def run(
    server: Server,
    calls: list[tuple[float, int, float, float]],
    *,
    foreign: list[tuple[float, int]] = (),
    share: float = 0.8,
    connections: int = 8,
) -> Run:
    """
    Send calls as the transports do: who has one of the connections asks the budget, the others queue for one.

    :param calls: (seconds after the last one was wanted, cost, way there, way back), seconds.
    :param foreign: (when, points) that somebody else spends.
    """
    done = Run(server, PointsBudget(STOQ, share))
    clock = 1_000_000_000.0
    events: list[tuple[float, int, str, tuple]] = [
        (clock + at, -n, "foreign", (cost,)) for n, (at, cost) in enumerate(foreign)
    ]
    wanted = clock
    for number, (gap, cost, there, back) in enumerate(calls, 1):
        wanted += gap
        events.append((wanted, number, "want", (cost, there, back)))
    heapq.heapify(events)
    number, in_use = len(calls), 0
    queue: deque[tuple] = deque()
    while events:
        clock, _, what, about = heapq.heappop(events)
        number += 1
        if what == "foreign":
            server.take(about[0], clock)
        elif what == "want" and in_use >= connections:
            queue.append(about)
        elif what in ("want", "ask"):
            in_use += what == "want"
            cost, there, back = about
            wait = done.budget.wait(cost, clock)
            done.waits.append(wait)
            if wait > 0:
                heapq.heappush(events, (clock + wait, number, "ask", about))
            else:
                done.sent.append((clock, cost))
                done.budget.spend(cost, clock)
                heapq.heappush(events, (clock + there, number, "arrive", (cost, back)))
        elif what == "arrive":
            cost, back = about
            granted, shown = server.charge(cost, clock)
            done.refused_of_ours += not granted
            done.ours[server.ends] = done.ours.get(server.ends, 0) + cost
            heapq.heappush(events, (clock + back, number, "answer", (shown,)))
        else:
            (limit,) = about
            in_use -= 1
            if queue:
                in_use += 1
                heapq.heappush(events, (clock, number, "ask", queue.popleft()))
            done.budget.update(limit, clock)
            if limit.retry_after is not None:
                done.closed.append((clock, clock + limit.retry_after))
    return done
