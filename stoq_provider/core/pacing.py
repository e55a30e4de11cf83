"""
Points spent evenly.

Spent as fast as possible, the points of a window are gone in its first seconds: then every job is noticed
late, and other users of the key get none. A :class:`Pace` spreads the calls over the window, and slows down
as others take more than was left to them.
"""

from __future__ import annotations

from stoq_provider.core.rate_limit import PointsBudget

_TICK = 1e-6


class Pace:
    """
    When the next call may go out, so that the points of a budget are spent evenly.

    :param burst: points that may be spent at once after a time in which nothing was.
    :param free: the part of our points that may be spent as fast as one likes, at the start of a window.
    :param portion: the part of what is left of a window that we count on, from 0 to 1; the rest is left
        to others who look at the same figures.
    """

    def __init__(
        self, budget: PointsBudget, *, burst: float, free: float = 0.0, portion: float = 1.0
    ) -> None:
        self._budget = budget
        self._burst = burst
        self._free = free
        self._portion = portion
        self._next = float("-inf")
        """When the next point would be due if all went on as evenly as it should."""
        self._ends = float("inf")

    def wait(self, now: float) -> float:
        """Return the seconds until the next call should go out; 0 where it may go now."""
        rules = self._budget.rules
        if now >= self._ends or self._next > now + rules.window * rules.write:
            # A new window owes nothing to the last one; and no clock that is set back may stop us for long.
            self._next, self._ends = min(self._next, now), float("inf")
        ahead = self._next - now - self._burst * self._usual
        # Seconds since 1970 are no more precise: a clock might not move by so little.
        return ahead if ahead > _TICK else 0.0

    def spend(self, cost: int, now: float) -> None:
        """Note that a call is being sent, which the budget knows already."""
        left, seconds = self._budget.until_renewal(now)
        self._ends = now + seconds
        self._next = max(self._next, now) + cost * self._spacing(left, seconds)

    def _spacing(self, left: int, seconds: float) -> float:
        if left > (1 - self._free) * self._budget.allowance:
            return 0.0
        return max(self._usual, seconds / max(1.0, left * self._portion))

    @property
    def _usual(self) -> float:
        """Seconds a point, if all of our part is spent and nothing else is."""
        return self._budget.rules.window / self._budget.allowance
