"""10,000 triggers of 100 shops that only wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.points.children import Stage
from tests.benchmarks.points.crowd import NONE
from tests.benchmarks.points.figures import Spread, row, table

LONG = 100_000.0
STEADY = 3_000.0
"""Seconds that a job takes which tells its progress: a percent every half minute."""


@dataclass(frozen=True)
class Size:
    """How many shops, jobs in each, and seconds of measuring."""

    shops: int
    jobs: int
    settle: float
    seconds: float


@dataclass(frozen=True)
class Way:
    """What kind of trigger waits, and for what kind of job."""

    title: str
    way: str
    duration: float = LONG
    power: float = NONE


WAYS = (
    Way("ours, jobs tell no progress", "idle-ours"),
    Way("ours, jobs tell their progress", "idle-ours", STEADY, 1.0),
    Way("empty triggers", "idle-empty"),
)


def measure(size: Size, ways: Sequence[Way] = WAYS) -> list[dict[str, Any]]:
    """Run one way after the other: they would disturb each other."""
    return [_measure(size, way) for way in ways]


def _measure(size: Size, way: Way) -> dict[str, Any]:
    with Stage() as stage:
        shops = stage.shops("idle", size.shops)
        waiter = stage.waiter("idle", way.way, shops)
        assert waiter.hear() == "ready"
        jobs = []
        for number, key in enumerate(shops.keys):
            durations, powers = [way.duration] * (size.jobs + 1), [way.power] * (size.jobs + 1)
            handles = shops.start_jobs(key, durations, powers, "bulk_orders_set_tags")
            jobs.append([(f"stoq_{number}", handle) for handle in handles])
        warm = jobs[0][-1]
        mixed = [job for group in zip(*(shop[: size.jobs] for shop in jobs), strict=True) for job in group]
        waiter.send(
            {
                "jobs": mixed,
                "warm": warm,
                "waits": way.way == "idle-ours",
                "settle": size.settle,
                "seconds": size.seconds,
            }
        )
        result: dict[str, Any] = waiter.hear()
        return result


def idle_table(size: Size, results: Sequence[dict[str, Any]], ways: Sequence[Way] = WAYS) -> str:
    empty = results[-1]["bytes"]
    count = size.shops * size.jobs
    steady = [Spread.of([late * 1000 for late in r["late"]]) for r in results]
    starting = [Spread.of([late * 1000 for late in r["late_at_startup"]]) for r in results]
    rows = [
        row(
            "memory per trigger, more than an empty one's (KiB)",
            [(r["bytes"] - empty) / count / 1024 for r in results],
            "{:.1f}",
        ),
        row("memory per trigger (KiB)", [r["bytes"] / count / 1024 for r in results], "{:.1f}"),
        row("clients per shop", [r["clients"] / size.shops for r in results], "{:g}"),
        row("lag of the event loop: p50 (ms)", [own.median for own in steady], "{:.2f}"),
        row("p99 (ms)", [own.p99 for own in steady], "{:.2f}"),
        row("most (ms)", [own.most for own in steady], "{:.1f}"),
        row("lag during start-up: p50 (ms)", [own.median for own in starting], "{:.2f}"),
        row("p99 (ms)", [own.p99 for own in starting], "{:.2f}"),
        row("most (ms)", [own.most for own in starting], "{:.1f}"),
        row("start-up (s)", [r["startup"] for r in results], "{:.1f}"),
        row("jobs waited for by then", [r["started"] for r in results], "{:,}"),
        row("polls a second", [r["polls_a_second"] for r in results], "{:.0f}"),
        row("part of one core", [r["cpu"] for r in results], "{:.0%}"),
        row("429s", [r["throttled"] for r in results], "{:,}"),
        row("triggers that ended", [r["failed"] for r in results], "{:,}"),
    ]
    return table([way.title for way in ways], rows)
