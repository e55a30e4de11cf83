"""
The ledger of one shop's points.

The server counts points in a window and says in each answer what is left (documented: rate-limits, 360
points in 60 s for a shop, a read 1, a write 2). Whether the window slides is not said clearly; it is
taken as fixed, ending at the announced reset. Others use the same key, so within a window the estimate
may only fall: an answer that was under way while we spent never raises it.
"""

from __future__ import annotations

from dataclasses import dataclass

from stoq_provider.core.http import RateLimit

SAME_WINDOW = 2.0
"""Seconds by which two announced resets may differ and still mean one window: resets are whole seconds."""


@dataclass(frozen=True, slots=True)
class PointsRules:
    """``limit`` points in ``window`` seconds; ``read`` and ``write`` are the prices of a call."""

    limit: int
    window: float
    read: int = 1
    write: int = 1

    def price(self, *, reads_only: bool) -> int:
        """Return the points that a call costs."""
        return self.read if reads_only else self.write


class PointsBudget:
    """
    What may still be spent.

    ``waiting`` is the number of jobs that are polled on this budget; whoever polls counts them in and out.

    :param share: the part of the limit that is ours, from 0 to 1; the rest is left to others. At least
        one write always fits into the share.
    """

    def __init__(self, rules: PointsRules, share: float = 0.8) -> None:
        self.rules = rules
        self._share = min(1.0, max(share, (rules.write + 1) / rules.limit))
        self._limit = rules.limit
        self._remaining: float = rules.limit
        self._spent = 0
        self._window_ends: float | None = None
        self._assumed = False
        self._closed_until = float("-inf")
        self.waiting = 0
        self._closed_for = 0.0

    @property
    def allowance(self) -> int:
        """Points of a window that are ours; at least one write."""
        return max(self.rules.write, int(self._limit * self._share))

    def pace(self) -> float:
        """
        Return the seconds between two polls of one job, if all that wait take turns.

        Spent evenly, the points last for the whole window; spent as fast as each job likes, they are gone
        in its first seconds, and every job is noticed late.
        """
        return self.waiting * self.rules.read * self.rules.window / self.allowance

    def left(self, now: float) -> int:
        """Return the points that we may still spend in this window."""
        self._roll(now)
        if now < self._closed_until:
            return 0
        allowance = max(int(self._limit * self._share), self.rules.write)
        reserve = self._limit - allowance
        return max(0, int(min(allowance - self._spent, self._remaining - reserve)))

    def wait(self, cost: int, now: float) -> float:
        """Return the seconds until ``cost`` points may be spent; 0 where they may be spent now."""
        if self.left(now) >= cost:
            return 0.0
        if now < self._closed_until:
            return self._closed_until - now
        assert self._window_ends is not None
        return max(0.0, self._window_ends - now)

    def spend(self, cost: int, now: float) -> None:
        """Note that a call is being sent."""
        self._roll(now)
        if self._window_ends is None:
            self._window_ends, self._assumed = now + self.rules.window, True
        self._spent += cost
        self._remaining -= cost

    def learn(self, said: RateLimit, now: float) -> None:
        """Take over what an answer says; the server is right, within a window only downwards."""
        if said.limit and said.limit >= self.rules.write:
            self._remaining += said.limit - self._limit
            self._limit = said.limit
        if said.reset_in is not None:
            self._learn_window(now + min(said.reset_in, self.rules.window), now)
        if said.remaining is not None:
            self._remaining = min(self._remaining, said.remaining)
            if self._window_ends is None:
                self._window_ends, self._assumed = now + self.rules.window, True
        if said.retry_after is not None:
            self._closed_until = max(self._closed_until, now + said.retry_after)
            self._closed_for = self._closed_until - now

    def _learn_window(self, ends: float, now: float) -> None:
        self._roll(now)
        if self._window_ends is None or self._assumed:
            # Others may have opened the window long before our first call in it.
            self._window_ends, self._assumed = ends, False
        elif ends > self._window_ends + SAME_WINDOW:
            # A window that began while the call was under way: what we sent in it is not known, so all
            # that is certain is the server's own figure, which learn() applies next.
            self._open(ends)
        else:
            self._window_ends = max(self._window_ends, ends)

    def _roll(self, now: float) -> None:
        # A clock that was set back must not keep us waiting for longer than was ever told.
        self._closed_until = min(self._closed_until, now + self._closed_for)
        if self._window_ends is not None:
            self._window_ends = min(self._window_ends, now + self.rules.window)
            if now >= self._window_ends:
                self._open(None)

    def _open(self, ends: float | None) -> None:
        self._window_ends, self._assumed = ends, False
        self._remaining = self._limit
        self._spent = 0
