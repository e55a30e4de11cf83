"""
What is left of a shop's points.

The server counts points in a window and says in each response what is left (documented: rate-limits, 360
points in 60 s for a shop, a read 1, a write 2). The documents leave open whether the window slides; it is
taken as fixed, ending at the announced reset. Others use the same key, so within a window the estimate
may only fall: a response that was under way while we spent never raises it. Should the server's window slide
after all, we spend no more than our part in any stretch of that length, and leave others what they spent in
the last one, up to half of the limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge

from stoq_provider.core.http import RateLimit

SAME_WINDOW = 2.0
"""Seconds by which two announced resets may differ and still mean one window: resets are whole seconds."""

MARGIN = 0.02
"""The part of the limit that is kept free once others spend more than their part: they will go on."""

FAIR = 0.5
"""
The part of the limit that is ours whatever others spent in the window before: two who each made room for all
that the other spent recently would leave everything to the one who came first.
"""


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

    ``share`` is ours, the rest is left to others; what they have spent of it is not kept for them twice.
    At least one write always fits into the share.

    :param share: the part of the limit that is ours, from 0 to 1.
    """

    def __init__(self, rules: PointsRules, share: float = 0.8) -> None:
        self.rules = rules
        self._share = min(1.0, max(share, (rules.write + 1) / rules.limit))
        self._limit = rules.limit
        self._remaining: float = rules.limit
        self._spent = 0.0
        self._ours = SlidingWindow(rules.window)
        self._theirs = SlidingWindow(rules.window)
        self._foreign = 0.0
        self._window_ends: float | None = None
        self._assumed = False
        self._closed_until = float("-inf")
        self._closed_for = 0.0

    @property
    def allowance(self) -> int:
        """Points of a window that are ours; at least one write."""
        return max(self.rules.write, int(self._limit * self._share))

    def available(self, now: float) -> int:
        """Return the points that we may spend now."""
        self._roll(now)
        if now < self._closed_until:
            return 0
        return max(0, min(self._left_of_window(), self._room(self._ours.points, self._theirs.points)))

    def wait(self, cost: int, now: float) -> float:
        """Return the seconds until ``cost`` points may be spent; 0 where they may be spent now."""
        if self.available(now) >= cost:
            return 0.0
        until = max(self._closed_until, self._room_at(cost))
        if self._window_ends is not None and self._left_of_window() < cost:
            until = max(until, self._window_ends)
        # Seconds since 1970 lose the last digits of a small difference; a wait of nothing would be no wait.
        return max(until - now, 1e-6)

    def until_renewal(self, now: float) -> tuple[int, float]:
        """
        Return the points that remain, and the seconds that they have to last.

        Those of the server's window until its end, or those of the stretch of its length until the first
        that we spent in it are old: whichever are scarcer.
        """
        self._roll(now)
        first = self._ours.first
        renewed = (now if first is None else first) + self.rules.window
        found = (
            (max(0, self._left_of_window()), self._until_end(now)),
            (max(0, self._room(self._ours.points, self._theirs.points)), renewed - now),
        )
        return max(found, key=lambda one: one[1] / max(1, one[0]))

    def spend(self, cost: int, now: float) -> None:
        """Note that a call is being sent."""
        self._roll(now)
        if self._window_ends is None:
            self._window_ends, self._assumed = now + self.rules.window, True
        self._spent += cost
        self._remaining -= cost
        self._ours.add(cost, now)

    def update(self, reported: RateLimit, now: float, *, refused: bool = False, under_way: int = 0) -> None:
        """
        Take over what a response reports; the server is right, within a window only downwards.

        :param refused: whether it was a 429. One that does not name a time allows no call for the
            rest of the window.
        :param under_way: points of calls that were sent and have no response yet: the server may not have
            counted them.
        """
        late = self._is_late(reported, now)
        if reported.limit and reported.limit >= self.rules.write:
            self._remaining += reported.limit - self._limit
            self._limit = reported.limit
        if reported.reset_in is not None:
            self._update_window(now + min(reported.reset_in, self.rules.window), now)
        if reported.remaining is not None and not late:
            self._remaining = min(self._remaining, reported.remaining - under_way)
            self._notice_others(now)
            if self._window_ends is None:
                self._window_ends, self._assumed = now + self.rules.window, True
        if reported.retry_after is not None:
            self._close(reported.retry_after, now)
        elif refused:
            self._close(self._until_end(now), now)

    def _is_late(self, reported: RateLimit, now: float) -> bool:
        """Whether a response speaks of a window that has ended since: it was long on its way."""
        self._roll(now)
        if reported.reset_in is None or self._window_ends is None or self._assumed:
            return False
        return now + reported.reset_in < self._window_ends - self.rules.window / 2

    def _close(self, seconds: float, now: float) -> None:
        self._closed_until = max(self._closed_until, now + seconds)
        self._closed_for = self._closed_until - now

    def _until_end(self, now: float) -> float:
        return self.rules.window if self._window_ends is None else max(0.0, self._window_ends - now)

    def _notice_others(self, now: float) -> None:
        foreign = self._foreign_in_window()
        if foreign > self._foreign:
            self._theirs.add(foreign - self._foreign, now)
            self._foreign = foreign

    def _foreign_in_window(self) -> float:
        return max(0.0, self._limit - self._remaining - self._spent)

    def _left_of_window(self) -> int:
        foreign = self._foreign_in_window()
        kept = max(self._limit - self.allowance, foreign + self._limit * MARGIN if foreign else 0.0)
        return int(self._limit - self._spent - kept)

    def _part(self, theirs: float) -> float:
        part: float = self.allowance
        if theirs:
            part = min(part, max(self._limit * (1 - MARGIN) - theirs, self._limit * FAIR))
        return max(part, self.rules.write)

    def _room(self, ours: float, theirs: float) -> int:
        """Return what we may spend, if so much was spent in the stretch of a window's length before now."""
        return int(self._part(theirs) - ours)

    def _room_at(self, cost: int) -> float:
        """Return when enough of what was spent recently is a whole window old."""
        at, left = float("-inf"), [self._ours.points, self._theirs.points]
        ours = ((spent_at, 0, points) for spent_at, points in self._ours)
        theirs = ((spent_at, 1, points) for spent_at, points in self._theirs)
        for spent_at, who, points in merge(ours, theirs):
            if self._room(*left) >= cost:
                break
            left[who] -= points
            at = spent_at + self.rules.window
        return at

    def _update_window(self, ends: float, now: float) -> None:
        self._roll(now)
        if self._window_ends is None or self._assumed:
            # Others may have opened the window long before our first call in it.
            self._window_ends, self._assumed = ends, False
        elif ends > self._window_ends + max(SAME_WINDOW, self.rules.window / 2):
            # A window that began while the call was under way. What of ours fell into it is not known
            # for sure: what is left is the server's own figure, which update() applies next.
            self._open(ends)
            self._spent = self._ours.since(ends - self.rules.window)
        elif ends <= self._window_ends + SAME_WINDOW:
            self._window_ends = max(self._window_ends, ends)
        # In between, the response was long on its way: by so much its reset lies too far ahead.

    def _roll(self, now: float) -> None:
        # A clock that was set back must not keep us waiting for longer than was ever asked for.
        self._closed_until = min(self._closed_until, now + self._closed_for)
        self._ours.roll(now)
        self._theirs.roll(now)
        if self._window_ends is not None:
            self._window_ends = min(self._window_ends, now + self.rules.window)
            if now >= self._window_ends:
                self._open(None)

    def _open(self, ends: float | None) -> None:
        self._window_ends, self._assumed = ends, False
        self._remaining = self._limit
        self._spent = 0.0
        self._foreign = 0.0


class SlidingWindow:
    """
    A sum that forgets what is older than ``seconds``.

    Iterating gives ``(when, points)``, the oldest first; times are seconds of the caller's clock.
    """

    def __init__(self, seconds: float) -> None:
        self.points = 0.0
        self._seconds = seconds
        self._notes: deque[tuple[float, float]] = deque()

    def add(self, points: float, now: float) -> None:
        """Note what is spent now."""
        self._notes.append((now, points))
        self.points += points

    @property
    def first(self) -> float | None:
        """When the oldest of the points were spent; ``None``: there are none."""
        return self._notes[0][0] if self._notes else None

    def since(self, then: float) -> float:
        """Return the points of that time and later."""
        return sum(points for at, points in self._notes if at >= then)

    def roll(self, now: float) -> None:
        """Forget what is too old. What a clock that was set back makes later than now counts as of now."""
        if self._notes and self._notes[-1][0] > now:
            self._notes = deque((min(at, now), points) for at, points in self._notes)
        while self._notes and self._notes[0][0] + self._seconds <= now:
            self.points -= self._notes.popleft()[1]
        if not self._notes:
            self.points = 0.0  # sums of fractions do not come back to nothing by themselves

    def __iter__(self) -> Iterator[tuple[float, float]]:
        """Give the notes, the oldest first."""
        return iter(self._notes)
