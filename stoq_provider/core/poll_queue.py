"""
Whose turn it is: the jobs of one shop that wait to be polled.

The earliest due comes first, so that all jobs are polled in turn where points are short. A first poll has a
head start: a job just submitted may have failed at once, and a job that was never polled may have ended long
ago.
"""

from __future__ import annotations

from collections.abc import Hashable
from heapq import nsmallest
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class PollQueue(Generic[Key]):
    """
    Keys, each with the time at which it is due.

    Every key stands in it once: asked for again, the earlier time counts. It is searched from end to end for
    each poll: the points of a shop allow a few a second, and ten thousand jobs are searched in milliseconds.
    """

    def __init__(self) -> None:
        # When it is due, and its rank among those that are; of equals, the one that was put in first.
        self._places: dict[Key, tuple[float, float]] = {}

    def __len__(self) -> int:
        """Return how many keys wait."""
        return len(self._places)

    def ask(self, key: Key, due_at: float, *, head_start: float = 0.0) -> None:
        """
        Let a key be due at ``due_at``.

        :param head_start: seconds by which it goes before others that are due then; bounded, so that nobody
            starves.
        """
        place = (due_at, due_at - head_start)
        old = self._places.get(key)
        if old is not None:
            place = (min(old[0], place[0]), min(old[1], place[1]))
        if place != old:
            self._places.pop(key, None)
            self._places[key] = place

    def drop(self, key: Key) -> None:
        """Forget a key."""
        self._places.pop(key, None)

    def next_due(self) -> float | None:
        """Return when the first key is due, or was."""
        return min(self._places.values(), default=(None,))[0]

    def take(self, now: float, size: int = 1) -> list[tuple[Key, float]]:
        """
        Take up to ``size`` keys out, those whose turn it is, each with the time at which it was due.

        None where nothing is due. Where something is, the others come along that are due next: one call
        can ask for them as well, at no further cost.
        """
        next_due = self.next_due()
        if next_due is None or next_due > now:
            return []

        def turn(key: Key) -> tuple[bool, float]:
            due_at, rank = self._places[key]
            return (True, due_at) if due_at > now else (False, rank)

        return [(key, self._places.pop(key)[0]) for key in nsmallest(size, self._places, key=turn)]
