"""
Which jobs of a shop are polled next.

The earliest due comes first, so that all jobs are polled in turn where points are short. A poll with priority
has a head start: a job just submitted may have failed at once, and a job that was never polled may have ended
long ago.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable
from heapq import merge
from itertools import count, islice
from typing import Any, Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)


class _Entry(NamedTuple):
    due_at: float
    number: int
    """Counts up: of those due at once, the one that was put in first comes first, and keys need no order."""
    priority: bool
    key: Any


class PollQueue(Generic[Key]):
    """
    Keys, each with the time at which it is due.

    Every key stands in it once: added again, the earlier time counts, and it keeps its priority.
    """

    def __init__(self) -> None:
        self._entries: dict[Key, _Entry] = {}
        # Without priority and with it, each by due time: neither order depends on the head start.
        self._sorted: tuple[list[_Entry], list[_Entry]] = ([], [])
        self._number = count()

    def __len__(self) -> int:
        """Return how many keys wait."""
        return len(self._entries)

    def add(self, key: Key, due_at: float, *, priority: bool = False) -> None:
        """Let a key be due at ``due_at``."""
        old = self._entries.get(key)
        if old is not None:
            due_at, priority = min(old.due_at, due_at), old.priority or priority
            self.discard(key)
        entry = self._entries[key] = _Entry(due_at, next(self._number), priority, key)
        insort(self._sorted[priority], entry)

    def discard(self, key: Key) -> None:
        """Forget a key, if it is there."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            entries = self._sorted[entry.priority]
            del entries[bisect_left(entries, entry)]

    def next_due(self) -> float | None:
        """Return when the first key is due, or was."""
        return min((entries[0].due_at for entries in self._sorted if entries), default=None)

    def take(self, now: float, size: int = 1, *, head_start: float = 0.0) -> list[Key]:
        """
        Take up to ``size`` keys out, in the order in which they are to be polled.

        None where nothing is due. Where something is, the others come along that are due next: one call
        can ask for them as well, at no further cost.

        :param head_start: seconds by which a key with priority goes before others that are due too; bounded,
            so that nobody starves.
        """
        next_due = self.next_due()
        if next_due is None or next_due > now:
            return []

        def turn(entry: _Entry) -> tuple[bool, float, int]:
            is_due = entry.due_at <= now
            ahead = head_start if is_due and entry.priority else 0.0
            return not is_due, entry.due_at - ahead, entry.number

        keys = [entry.key for entry in islice(merge(*self._sorted, key=turn), size)]
        for key in keys:
            self.discard(key)
        return keys
