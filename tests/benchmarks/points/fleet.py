"""
Shops that several triggerers and fifty workers share without knowing of each other, in virtual time.

All that is random is seeded: the same seed gives the same table.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from unittest.mock import patch

from sqlalchemy.util import greenlet_spawn

from tests.benchmarks.points.crowd import BULK, SHARE
from tests.benchmarks.points.figures import Spread, table
from tests.benchmarks.points.ideal import LIMIT, WINDOW, IdealJob, round_robin, slots_of
from tests.benchmarks.points.parties import Bill, Remote, Triggerer, spend, work
from tests.unit.transport.virtual import START, cancelled, clock, run

SEED = 17
SHORTEST, LONGEST = 60.0, 600.0
"""Seconds that the job of a worker's task takes."""
FOREIGN = (0.0, 0.1, 0.2, 0.3)
DEFERRED, WORKER = "deferred", "worker"


@dataclass(frozen=True)
class Crowd:
    """
    The jobs of one shop.

    :param deferred: jobs that triggerers wait for; they end at random within ``seconds``.
    :param spread: seconds over which their triggers, and the workers, start.
    :param workers: tasks at a time that submit a job, and poll it by themselves.
    :param tasks: such tasks one after the other.
    """

    deferred: int
    seconds: float
    spread: float = 60.0
    workers: int = 0
    tasks: int = 0

    @property
    def jobs(self) -> int:
        return self.deferred + self.workers * self.tasks


@dataclass(frozen=True)
class Case:
    """
    Shops with their crowds, and who shares them.

    :param foreign: the part of the points that a client wants which is not ours.
    :param divided: whether the ``points_share`` of the connection is divided by the number of triggerers.
    """

    crowds: Sequence[Crowd]
    triggerers: int
    foreign: float
    divided: bool = False

    @property
    def share(self) -> float:
        return SHARE / self.triggerers if self.divided else SHARE


@dataclass
class Shop:
    """One shop, and the bills of those who used it."""

    remote: Remote
    triggerers: list[Triggerer]
    workers: list[Bill]
    foreign: Bill = field(default_factory=Bill)

    def ideal(self) -> dict[str, float]:
        """Delays that a round-robin over all jobs has, with the points that others than polls left."""
        remote = self.remote
        jobs = [IdealJob(remote.waited_from[job], end) for job, end in remote.ends.items()]
        slots = slots_of(remote.windows, remote.taken, share=1.0)
        return dict(zip(remote.ends, round_robin(jobs, slots, BULK.interval), strict=True))


def one_shop(*, quick: bool) -> list[Case]:
    """10,000 jobs, with workers and without, and what a smaller ``points_share`` changes."""
    crowd = Crowd(290, 180.0, 10.0, 10, 1) if quick else Crowd(9750, 1800.0, 60.0, 50, 5)
    alone = Crowd(crowd.jobs, crowd.seconds, crowd.spread)
    counts = (2, 5) if quick else (2, 5, 10)
    most = max(FOREIGN)
    return [
        *(Case([crowd], count, foreign) for count in counts for foreign in FOREIGN),
        *(Case([alone], count, most) for count in counts),
        *(Case([each], count, most, divided=True) for each in (crowd, alone) for count in counts),
    ]


def many_shops(*, quick: bool) -> list[Case]:
    """Most shops have a few jobs, a few have a hundred."""
    chance = random.Random(SEED)
    crowds = [
        Crowd(1 + int(chance.lognormvariate(0.3, 1.4)), 180.0, 30.0) for _ in range(20 if quick else 1000)
    ]
    return [Case(crowds, 10, foreign) for foreign in (FOREIGN[0], FOREIGN[-1])]


def simulate(case: Case, seed: int = SEED) -> list[Shop]:
    """Let all jobs of a case end and be noticed; return the shops with their books."""
    random.seed(seed)  # the jitter of the package
    chance = random.Random(seed)
    shops = [
        Shop(Remote(_child(chance)), [], [Bill() for _ in range(crowd.workers)]) for crowd in case.crowds
    ]

    async def all_shops() -> None:
        for shop in shops:
            shop.triggerers += [Triggerer(shop.remote, case.share) for _ in range(case.triggerers)]
        crowds = zip(shops, case.crowds, strict=True)
        await asyncio.gather(*(_one(shop, crowd, case, _child(chance)) for shop, crowd in crowds))

    with patch("time.time", clock):
        run(all_shops())
    return shops


def _child(chance: random.Random) -> random.Random:
    return random.Random(chance.random())


async def _one(shop: Shop, crowd: Crowd, case: Case, chance: random.Random) -> None:
    other = asyncio.create_task(spend(shop.remote, case.foreign, shop.foreign, _child(chance)))
    workers = []
    for number, bill in enumerate(shop.workers):
        task = partial(work, shop.remote, case.share, bill=bill)
        workers.append(_worker(task, f"{WORKER}-{number}", crowd, _child(chance)))
    await asyncio.gather(_deferred(shop, crowd, _child(chance)), *workers)
    await cancelled(other)


async def _deferred(shop: Shop, crowd: Crowd, chance: random.Random) -> None:
    """Start the triggers; Airflow gives each to any triggerer that has room."""
    tasks = []
    for number in range(crowd.deferred):
        ends_in = chance.uniform(crowd.spread, crowd.seconds) + START - clock()
        waiting = chance.choice(shop.triggerers).notice(f"{DEFERRED}-{number}", ends_in)
        tasks.append(asyncio.create_task(waiting))
        await asyncio.sleep(crowd.spread / crowd.deferred)
    await asyncio.gather(*tasks)


async def _worker(task: Callable[..., None], name: str, crowd: Crowd, chance: random.Random) -> None:
    await asyncio.sleep(chance.uniform(0, crowd.spread))
    for number in range(crowd.tasks):
        seconds = chance.uniform(SHORTEST, LONGEST)
        await greenlet_spawn(task, job=f"{name}-{number}", seconds=seconds)


@dataclass(frozen=True)
class Figures:
    """What a case brought, over all its shops."""

    case: Case
    refused: tuple[float, float, float]
    """Part of the calls of triggerers, of workers, and of the other client that got a 429."""
    throttled: tuple[int, int]
    """429s of triggerers and of workers."""
    used: float
    fairness: float
    deferred: Spread
    ideal: Spread
    on_workers: Spread | None

    @classmethod
    def of(cls, case: Case, shops: Sequence[Shop]) -> Figures:
        late: dict[str, list[float]] = {DEFERRED: [], WORKER: [], "ideal": []}
        for shop in shops:
            remote = shop.remote
            for job, best in shop.ideal().items():
                kind = job.partition("-")[0]
                late[kind].append(remote.noticed[job] - remote.ends[job])
                late["ideal"] += [best] if kind == DEFERRED else []
        triggerers = [triggerer.bill for shop in shops for triggerer in shop.triggerers]
        workers = [bill for shop in shops for bill in shop.workers]
        others = [shop.foreign for shop in shops]
        return cls(
            case=case,
            refused=(_refused(triggerers), _refused(workers), _refused(others)),
            throttled=(sum(bill.refused for bill in triggerers), sum(bill.refused for bill in workers)),
            used=_used(case, shops),
            fairness=jain(_polls_a_job(case, shops)),
            deferred=Spread.of(late[DEFERRED]),
            ideal=Spread.of(late["ideal"]),
            on_workers=Spread.of(late[WORKER]) if late[WORKER] else None,
        )


def jain(shares: Sequence[float]) -> float:
    """Jain's index of fairness: 1 where all have as much, 1/n where one of n has all."""
    return float(sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares)))


def _refused(bills: Sequence[Bill]) -> float:
    refused = sum(bill.refused for bill in bills)
    return refused / max(1, refused + sum(len(bill.polls) + bill.writes for bill in bills))


def _while_busy(case: Case, times: Sequence[float]) -> int:
    """Count what was while all triggers wait, and jobs still end."""
    first, last = (START + case.crowds[0].spread, START + case.crowds[0].seconds)
    return bisect_left(times, last) - bisect_left(times, first)


def _polls_a_job(case: Case, shops: Sequence[Shop]) -> list[float]:
    """Polls for each job of a triggerer, by triggerer."""
    by_triggerer = zip(*(shop.triggerers for shop in shops), strict=True)
    return [
        sum(_while_busy(case, one.bill.polls) for one in same) / max(1, sum(one.jobs for one in same))
        for same in by_triggerer
    ]


def _used(case: Case, shops: Sequence[Shop]) -> float:
    points = 0
    for shop in shops:
        bills = [*(triggerer.bill for triggerer in shop.triggerers), *shop.workers]
        points += sum(_while_busy(case, bill.polls) for bill in bills)
        points += _while_busy(case, shop.remote.taken)
    seconds = case.crowds[0].seconds - case.crowds[0].spread
    return points / (len(shops) * seconds * LIMIT / WINDOW)


COLUMNS = (
    "workers",
    "`points_share`",
    "other client wants",
    "429s: triggerers",
    "429s: workers",
    "refused to the other client",
    "points used",
    "fairness (Jain)",
    "delay, mean (s)",
    "ideal",
    "delay, p99 (s)",
    "ideal",
    "delay on workers, mean (s)",
)


def fleet_table(found: Sequence[Figures]) -> str:
    return table(COLUMNS, [_row(figures) for figures in found])


def _row(figures: Figures) -> tuple[str, list[str]]:
    case, (triggerers, workers) = figures.case, figures.throttled
    with_workers = case.crowds[0].workers
    return f"{case.triggerers} triggerers", [
        str(with_workers),
        f"{case.share:.2g}",
        f"{case.foreign:.0%}",
        f"{triggerers:,} ({figures.refused[0]:.1%})",
        f"{workers:,} ({figures.refused[1]:.1%})" if with_workers else "-",
        f"{figures.refused[2]:.1%}" if case.foreign else "-",
        f"{figures.used:.1%}",
        f"{figures.fairness:.4f}",
        f"{figures.deferred.mean:,.1f}",
        f"{figures.ideal.mean:,.1f}",
        f"{figures.deferred.p99:,.1f}",
        f"{figures.ideal.p99:,.1f}",
        f"{figures.on_workers.mean:.1f}" if figures.on_workers else "-",
    ]


def measure(cases: Sequence[Case]) -> list[Figures]:
    return [Figures.of(case, simulate(case)) for case in cases]
