"""Points spent in the last stretch of time, whichever windows it lies in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator


class Lately:
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
