"""30 jobs of one shop: noticed no later than the documented cadence allows."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from stoq_provider.core.forms import from_iso
from stoq_provider.systems.stoq.system import Stoq
from tests.benchmarks.points.children import Child, Shops, Stage
from tests.benchmarks.points.crowd import UNEVEN
from tests.benchmarks.points.figures import Spread, row, table
from tests.benchmarks.points.probe import Call, read_calls, throttled

JOBS = 30
ROUNDS = 5
"""Shops with 30 jobs each, beside each other: 30 delays alone would tell little."""
GRACE = 1.0
SPREAD = 2.0
WAYS = {"ours": "ours", "each for itself, at the documented cadence": "fixed-documented"}
MIXES = {"15 bulk jobs, 15 exports": 15, "30 bulk jobs": 30}


@dataclass(frozen=True)
class Delay:
    """How late one job was noticed, and how late the documentation lets it be."""

    seconds: float
    allowed: float


@dataclass
class Result:
    """What one way brought, over all rounds."""

    delays: list[Delay]
    calls: list[Call]
    missed: int


class Run:
    """One way and one mix, in a process of its own; a shop for each round."""

    def __init__(self, stage: Stage, title: str, mix: str) -> None:
        name = f"{WAYS[title]}-{MIXES[mix]}"
        self._bulk = MIXES[mix]
        self._shops: Shops = stage.shops(name, ROUNDS)
        self._waiter: Child = stage.waiter(name, WAYS[title], self._shops)

    def go(self, seconds: float) -> None:
        assert self._waiter.hear() == "ready"
        chance = random.Random(5)
        jobs = []
        for number, key in enumerate(self._shops.keys):
            for kind, count in (("bulk_orders_set_tags", self._bulk), ("export", JOBS - self._bulk)):
                durations = [chance.uniform(5, seconds) for _ in range(count)]
                powers = [UNEVEN ** chance.uniform(-1, 1) for _ in range(count)]
                handles = self._shops.start_jobs(key, durations, powers, kind)
                jobs += [(f"stoq_{number}", handle) for handle in handles]
        chance.shuffle(jobs)
        self._jobs = [job for _, job in jobs]
        self._waiter.send({"jobs": jobs, "spread": SPREAD, "until": time.time() + seconds + 60})

    def collect(self) -> Result:
        answer = self._waiter.hear()
        true = self._shops.state()["jobs"]
        delays, missed = [], 0
        for job in self._jobs:
            ended_at, note = true[job["job_id"]]["ended_at"], answer["seen"][job["job_id"]]
            if not note.get("good"):
                missed += 1
                continue
            age = ended_at - from_iso(job["submitted_at"])
            allowed = Stoq().cadence(job["kind"]).interval(age)
            delays.append(Delay(note["at"] - ended_at, allowed))
        return Result(delays, read_calls(answer["calls"]), missed)


def start(stage: Stage, seconds: float) -> list[Run]:
    runs = [Run(stage, title, mix) for mix in MIXES for title in WAYS]
    for run in runs:
        run.go(seconds)
    return runs


def cadence_table(results: Sequence[Result]) -> str:
    delays = [Spread.of([delay.seconds for delay in r.delays]) for r in results]
    over = [[delay.seconds - delay.allowed for delay in r.delays] for r in results]
    half = [sum(delay.allowed for delay in r.delays) / len(r.delays) / 2 for r in results]
    rows = [
        row(
            "mean delay, as a multiple of half the documented interval",
            [own.mean / best for own, best in zip(delays, half, strict=True)],
        ),
        row(
            f"noticed later than the interval and {GRACE:g} s",
            [sum(late > GRACE for late in r) for r in over],
            "{:,}",
        ),
        row("latest, after the interval (s)", [max(r) for r in over], "{:+.1f}"),
        row("delay, mean (s)", [own.mean for own in delays], "{:.1f}"),
        row("delay, p99 (s)", [own.p99 for own in delays], "{:.1f}"),
        row("429s", [throttled(r.calls) for r in results], "{:,}"),
        row("polls sent, per job", [len(r.calls) / (JOBS * ROUNDS) for r in results], "{:.1f}"),
        row("jobs not noticed", [r.missed for r in results], "{:,}"),
    ]
    return table([f"{title}: {mix}" for mix in MIXES for title in WAYS], rows)
