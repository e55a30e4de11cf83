"""What a run will cost: points and minutes, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from stoq_provider.core.polling import Cadence
from stoq_provider.core.rate_limit import PointsRules

SECONDS_PER_ITEM = 0.06
"""Inferred: by the documentation most jobs of fewer than 500 items end within 30 s."""
SHORTEST_JOB = 30.0


def estimate(
    sizes: Sequence[int],
    *,
    rules: PointsRules,
    share: float,
    cadence: Cadence,
    reads_back: Callable[[int], int],
) -> dict[str, Any]:
    """
    Price a run.

    :param sizes: items of each submission.
    :param share: the part of the points that is ours.
    :param reads_back: points that reading so many items back costs at the most.
    :return: ``{"points": {"submit", "poll", "verify", "total"}, "minutes"}``; polls and minutes rest on
        :data:`SECONDS_PER_ITEM`, which is inferred.
    """
    durations = [max(SHORTEST_JOB, size * SECONDS_PER_ITEM) for size in sizes]
    submit = rules.write * len(sizes)
    poll = rules.read * sum(_polls(duration, cadence) for duration in durations)
    verify = sum(reads_back(size) for size in sizes)
    total = submit + poll + verify
    seconds = max(max(durations, default=0.0), total / (rules.limit * share) * rules.window)
    return {
        "points": {"submit": submit, "poll": poll, "verify": verify, "total": total},
        "minutes": round(seconds / 60, 1),
    }


def _polls(duration: float, cadence: Cadence) -> int:
    at, polls = 0.0, 0
    while at < duration:
        at += cadence.interval(at)
        polls += 1
    return polls
