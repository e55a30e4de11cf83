"""
The event bus: a table of staged steps, which a timer looks through every three seconds (M, S).

A step that was taken from the table and is being done is known to the process only. So a process that dies
loses what it was doing, and finds what was still staged when it is back (S; also M).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

PERIOD = 3.0
Step = Callable[[float], None]


class EventBus:
    """Steps in job time. A step gets the moment at which it runs."""

    def __init__(self, now: float) -> None:
        self._started = now
        self._serial = count()
        self._staged: list[Step] = []
        self._staged_due: float | None = None
        self._doing: list[tuple[float, int, Step]] = []

    def post(self, step: Step, now: float) -> None:
        """Stage a step for the next look: it waits from nothing to three seconds."""
        if not self._staged:
            # A request that was let in just before the process died may come before its return.
            ticks = max(1, int((now - self._started) // PERIOD) + 1)
            self._staged_due = self._started + ticks * PERIOD
        self._staged.append(step)

    def at(self, due: float, step: Step) -> None:
        """Go on with what is being done at a moment of its own."""
        heapq.heappush(self._doing, (due, next(self._serial), step))

    def run(self, now: float) -> None:
        """Run what is due, in order; steps may stage or do more."""
        while (due := self.next_due) is not None and due <= now:
            if due == self._staged_due:
                steps, self._staged, self._staged_due = self._staged, [], None
                for step in steps:
                    self.at(due, step)
            else:
                _, _, step = heapq.heappop(self._doing)
                step(due)

    def restart(self, back_at: float, *, forget_staged: bool = False) -> None:
        """
        The process died and is back at a moment.

        :param forget_staged: lose the table too
        """
        self._doing.clear()
        self._started = back_at
        if forget_staged:
            self._staged.clear()
        self._staged_due = back_at + PERIOD if self._staged else None

    @property
    def next_due(self) -> float | None:
        """When the next step runs."""
        found = [
            due for due in (self._staged_due, self._doing[0][0] if self._doing else None) if due is not None
        ]
        return min(found, default=None)
