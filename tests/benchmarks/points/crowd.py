"""1,000 jobs of one shop that end at random over ten minutes, while another client spends points too."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stoq_provider.systems.stoq.system import Stoq
from tests.benchmarks.points.children import Child, Shops, Stage
from tests.benchmarks.points.figures import Spread, row, table
from tests.benchmarks.points.ideal import LIMIT, WINDOW, IdealJob, round_robin, slots_of, windows_of
from tests.benchmarks.points.probe import (
    Call,
    most_in_a_window,
    read_calls,
    sent_too_early,
    throttled,
)

SHARE = 0.8
SPREAD = 15.0
"""Seconds over which the triggers start."""
UNEVEN = 2.0
"""Progress runs as elapsed time to a power between 1/2 and this."""
NONE = 1e9
"""A power so high that progress stays 0 until the end."""
BULK = Stoq().cadence("bulk_set_tags")


@dataclass(frozen=True)
class Size:
    """How many jobs, over how many seconds they end, and for how many more their events are waited for."""

    jobs: int
    seconds: float
    patience: float


@dataclass(frozen=True)
class Way:
    """One way to wait for a crowd of jobs."""

    title: str
    way: str
    processes: int = 1
    tells_progress: bool = True


WAYS = (
    Way("ours", "ours"),
    Way("ours, jobs tell no progress", "ours", tells_progress=False),
    Way("the same, nothing shared", "unshared"),
    Way("fixed interval, 15 s", "fixed"),
)
PAIR = (Way("two processes", "ours", processes=2),)


@dataclass
class Result:
    """What one way brought."""

    calls: list[Call]
    by_process: list[list[Call]]
    others: list[Call]
    state: dict[str, Any]
    delays: list[float]
    ideal: list[float]
    failed: int
    unseen: int
    busy: tuple[float, float]
    """From when to when more jobs were waited for than the points serve at the documented cadence."""


class Run:
    """One way, with a sandbox and processes of its own."""

    def __init__(self, stage: Stage, number: int, way: Way) -> None:
        self.way = way
        self.shops: Shops = stage.shops(f"{way.way}-{number}")
        self._until = 0.0
        self._waiters: list[Child] = [
            stage.waiter(f"{way.way}-{number}-{process}", way.way, self.shops)
            for process in range(way.processes)
        ]

    def ready(self) -> None:
        for waiter in self._waiters:
            assert waiter.hear() == "ready"

    def go(self, size: Size) -> None:
        chance = random.Random(11)
        durations = [chance.uniform(1, size.seconds) for _ in range(size.jobs)]
        powers = [UNEVEN ** chance.uniform(-1, 1) if self.way.tells_progress else NONE for _ in durations]
        jobs = self.shops.start_jobs(self.shops.keys[0], durations, powers, "bulk_orders_set_tags")
        self._until = time.time() + size.seconds + size.patience
        for number, waiter in enumerate(self._waiters):
            part = [("stoq_0", job) for job in jobs[number :: len(self._waiters)]]
            waiter.send({"jobs": part, "spread": SPREAD, "until": self._until})

    def collect(self, other: Child, number: int) -> Result:
        """Wait for the end of it; ask the other client what it did to shop ``number`` so far."""
        answers = [waiter.hear() for waiter in self._waiters]
        other.send(number)
        others = read_calls(other.hear())
        by_process = [read_calls(answer["calls"]) for answer in answers]
        calls = [call for part in by_process for call in part]
        seen = {job_id: note for answer in answers for job_id, note in answer["seen"].items()}
        state = self.shops.state()
        ends = {job_id: state["jobs"][job_id]["ended_at"] for job_id in seen}
        resets = [call.resets_at for call in (*calls, *others)]
        foreign = [call.sent_at for call in others if call.status == 200]
        first = min(note["started_at"] for note in seen.values())
        slots = slots_of(windows_of(resets, first), foreign, SHARE if self.way.processes == 1 else 1.0)
        jobs = [IdealJob(note["started_at"], ends[job_id]) for job_id, note in seen.items()]
        return Result(
            calls=calls,
            by_process=by_process,
            others=others,
            state=state,
            delays=[note.get("at", self._until) - ends[job_id] for job_id, note in seen.items()],
            ideal=round_robin(jobs, slots, BULK.interval),
            failed=sum("at" in note and not note["good"] for note in seen.values()),
            unseen=sum("at" not in note for note in seen.values()),
            busy=(first + SPREAD + 5, _turning_point(seen)),
        )


def _turning_point(seen: dict[str, Any]) -> float:
    """Return when so few jobs were left that the documented cadence takes less than all points."""
    ats = sorted(note.get("at", float("inf")) for note in seen.values())
    enough = int(BULK.then * 6 * 1.2)
    return ats[max(0, len(ats) - enough - 1)]


def measure(stage: Stage, ways: Sequence[Way], size: Size) -> list[Result]:
    """Run all ways side by side, each with the same other client."""
    runs = [Run(stage, number, way) for number, way in enumerate(ways)]
    for run in runs:
        run.ready()
    other = stage.other("crowd")
    other.send({"shops": [{"origin": run.shops.origin, "key": run.shops.keys[0]} for run in runs]})
    for run in runs:
        run.go(size)
    results = [run.collect(other, number) for number, run in enumerate(runs)]
    other.send("stop")
    return results


def crowd_table(ways: Sequence[Way], results: Sequence[Result]) -> str:
    ours, ideal = [Spread.of(r.delays) for r in results], [Spread.of(r.ideal) for r in results]
    pairs = list(zip(ours, ideal, strict=True))
    rows = [
        row("mean delay, as a multiple of the ideal's", [own.mean / best.mean for own, best in pairs]),
        row("p99 of the delay, as a multiple of the ideal's", [own.p99 / best.p99 for own, best in pairs]),
        row("429s that it got", [throttled(r.calls) for r in results], "{:,}"),
        row("429s that the other client got", [throttled(_meanwhile(r)) for r in results], "{:,}"),
        row("most points in any 60 s, all clients (limit 360)", [_rolling(r) for r in results], "{:,}"),
        row("most points in any 60 s, it alone", [most_in_a_window(r.calls) for r in results], "{:,}"),
        row("delay, mean (s)", [own.mean for own in ours], "{:.1f}"),
        row("delay, median (s)", [own.median for own in ours], "{:.1f}"),
        row("delay, p99 (s)", [own.p99 for own in ours], "{:.1f}"),
        row("ideal round-robin: mean (s)", [best.mean for best in ideal], "{:.1f}"),
        row("ideal round-robin: p99 (s)", [best.p99 for best in ideal], "{:.1f}"),
        row("polls sent", [len(r.calls) for r in results], "{:,}"),
        row("tasks failed", [r.failed for r in results], "{:,}"),
        row("tasks that never noticed", [r.unseen for r in results], "{:,}"),
    ]
    return table([way.title for way in ways], rows)


def pair_table(results: Sequence[Result]) -> str:
    rows = [
        row("part of the points used, all clients", [_used(r, 1.0) for r in results], _part),
        row("part used of what the other client left", [_used(r, 0.0) for r in results], _part),
        row("429s that it got", [throttled(r.calls) for r in results], "{:,}"),
        row("calls sent before a 429's `Retry-After` was over", [_early(r) for r in results], "{:,}"),
        row("tasks failed", [r.failed + r.unseen for r in results], "{:,}"),
    ]
    return table([way.title for way in PAIR], rows)


def _rolling(result: Result) -> int:
    return int(result.state["highest_points_rolling"])


def _early(result: Result) -> int:
    return sum(sent_too_early(calls) for calls in result.by_process)


def _meanwhile(result: Result) -> list[Call]:
    """What the other client sent while ours waited."""
    last = max(call.sent_at for call in result.calls)
    return [call for call in result.others if call.sent_at <= last]


def _part(used: float) -> str:
    return "the shop was busy for too short" if math.isnan(used) else f"{used:.1%}"


def _used(result: Result, with_others: float) -> float:
    first, last = result.busy
    if last - first < WINDOW:
        return math.nan
    all_points = (last - first) * LIMIT / WINDOW
    own, foreign = (
        sum(first <= call.sent_at < last and call.status == 200 for call in calls)
        for calls in (result.calls, result.others)
    )
    return (own + with_others * foreign) / (all_points - (1 - with_others) * foreign)
