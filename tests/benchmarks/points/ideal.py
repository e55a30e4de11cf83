"""
The round-robin that ours is held against.

It is as good as taking turns can be on the same points. It knows beforehand what the other client will spend
in each window of the server, and has all the rest, up to our share, evenly over the window; its calls take
no time, none is lost, and no point is kept back. Each turn goes to the job that has been due for longest;
a job is due as soon as its task waits for it, and again one documented interval after each poll. Of the
progress that jobs tell it makes nothing.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

WINDOW = 60.0
LIMIT = 360


@dataclass(frozen=True)
class IdealJob:
    """A job: from when on it is waited for, and when it ends."""

    waited_from: float
    ends_at: float


def windows_of(resets: Sequence[float], since: float) -> list[float]:
    """Return when the server's windows ended, by the announced resets: whole seconds, rounded up."""
    ends: list[float] = []
    for reset in sorted(set(resets)):
        if reset > since and (not ends or reset > ends[-1] + 2):
            ends.append(reset)
    return ends


def slots_of(windows: Sequence[float], foreign: Sequence[float], share: float) -> Iterator[float]:
    """Yield when a poll can be made; ``foreign`` are the calls of others that were let through."""
    spent = sorted(foreign)
    end = windows[0]
    for known in (*windows, None):
        # After the last window that was seen, go on as if nobody else were there.
        while known is None or end < known - WINDOW - 5:
            yield from _evenly(end, int(share * LIMIT))
            end += WINDOW
        end = known
        others = bisect_left(spent, end) - bisect_left(spent, end - WINDOW)
        yield from _evenly(end - WINDOW, min(int(share * LIMIT), LIMIT - others))


def _evenly(start: float, points: int) -> Iterator[float]:
    for number in range(points):
        yield start + WINDOW * number / points


def round_robin(
    jobs: Sequence[IdealJob], slots: Iterator[float], interval: Callable[[float], float]
) -> list[float]:
    """Return for each job the seconds from its end to the poll that finds it ended."""
    due = [(job.waited_from, number) for number, job in enumerate(jobs)]
    heapq.heapify(due)
    delays = [0.0] * len(jobs)
    for at in slots:
        if not due:
            break
        if due[0][0] > at:
            continue
        _, number = heapq.heappop(due)
        job = jobs[number]
        if job.ends_at <= at:
            delays[number] = at - job.ends_at
        else:
            heapq.heappush(due, (at + interval(at - job.waited_from), number))
    return delays
