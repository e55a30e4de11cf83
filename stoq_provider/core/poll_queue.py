"""
Whose turn it is: the jobs of one shop that wait to be polled.

The earliest due comes first, so that all jobs are polled in turn where points are short. A first poll has a
head start: a job just submitted may have failed at once, and a job that was never polled may have ended long
ago.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class _Place:
    due_at: float
    rank: float
    version: int


class PollQueue(Generic[Key]):
    """
    Keys, each with the time at which it is due.

    Every key stands in it once: asked for again, the earlier time counts.
    """

    def __init__(self) -> None:
        self._places: dict[Key, _Place] = {}
        self._later: list[tuple[float, int, Key]] = []
        self._due: list[tuple[float, int, Key]] = []
        self._versions = count()

    def __len__(self) -> int:
        """Return how many keys wait."""
        return len(self._places)

    def ask(self, key: Key, due_at: float, *, head_start: float = 0.0) -> None:
        """
        Let a key be due at ``due_at``.

        :param head_start: seconds by which it goes before others that are due then; bounded, so that nobody
            starves.
        """
        rank = due_at - head_start
        place = self._places.get(key)
        if place is not None:
            if place.due_at <= due_at and place.rank <= rank:
                return
            due_at, rank = min(place.due_at, due_at), min(place.rank, rank)
        version = next(self._versions)
        self._places[key] = _Place(due_at, rank, version)
        heapq.heappush(self._later, (due_at, version, key))

    def drop(self, key: Key) -> None:
        """Forget a key."""
        self._places.pop(key, None)

    def next_due(self) -> float | None:
        """Return when the first key is due, or was."""
        self._clean(self._due)
        self._clean(self._later)
        if self._due:
            return self._places[self._due[0][2]].due_at
        return self._later[0][0] if self._later else None

    def take(self, now: float, size: int = 1) -> list[tuple[Key, float]]:
        """
        Take up to ``size`` keys out, those whose turn it is, each with the time at which it was due.

        None where nothing is due. Where something is, the others come along that are due next: one call
        can ask for them as well, at no further cost.
        """
        self._move_due(now)
        taken: list[tuple[Key, float]] = []
        for heap in (self._due, self._later):
            while len(taken) < size and (taken or heap is self._due):
                self._clean(heap)
                if not heap:
                    break
                key = heapq.heappop(heap)[2]
                taken.append((key, self._places.pop(key).due_at))
        return taken

    def _move_due(self, now: float) -> None:
        while True:
            self._clean(self._later)
            if not self._later or self._later[0][0] > now:
                return
            _, version, key = heapq.heappop(self._later)
            heapq.heappush(self._due, (self._places[key].rank, version, key))

    def _clean(self, heap: list[tuple[float, int, Key]]) -> None:
        """Drop what has been asked for anew, or is not wanted any more, from the top of a heap."""
        while heap:
            place = self._places.get(heap[0][2])
            if place is not None and place.version == heap[0][1]:
                return
            heapq.heappop(heap)
