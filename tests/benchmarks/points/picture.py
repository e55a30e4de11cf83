"""
A picture for the documentation: delays and points over time, ours beside a fixed interval.

Ours is the package's own scheduler and rate limiter. The shop and the time are simulated, so that it takes
seconds and comes out the same each time; the tables of this benchmark are measured over real sockets.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.benchmarks.points.figures import Spread
from tests.benchmarks.points.ideal import LIMIT, WINDOW
from tests.benchmarks.points.other import FULL_RATE, rates
from tests.unit.core.shop import Server
from tests.unit.transport.virtual import START, Shop, cancelled, clock, ends_after, run

FILE = Path(__file__).parents[3] / "docs/images/points.svg"
JOBS = 1000
SECONDS = 600.0
SPREAD = 15.0
INTERVAL = 15.0
STEP = 10.0
"""Seconds of which the points are counted together."""

STYLE = {"svg.hashsalt": "points", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}


@dataclass(frozen=True)
class Trace:
    """What one way did: jobs as (when it ended, when that was noticed), and when a point was asked for."""

    jobs: list[tuple[float, float]]
    asked: list[float]

    def delays(self, first: float = 0.0, last: float = float("inf")) -> Spread:
        """Delays of the jobs that ended in that time."""
        return Spread.of([noticed - end for end, noticed in self.jobs if first <= end < last])


async def ours(shop: Shop, job: str) -> None:
    await shop.wait(job)


async def fixed(shop: Shop, job: str) -> None:
    """Sleep on after whatever is no good answer, as ``peers.FixedIntervalTrigger`` does."""
    while True:
        await asyncio.sleep(random.uniform(0.02, 0.2))  # the way there
        async with shop.stream("GET", job) as response:
            if response.status_code == 200 and response.json()["status"] == "completed":
                return
        await asyncio.sleep(INTERVAL)


async def spend(server: Server) -> None:
    """Spend what another client does, which keeps to nothing."""
    owed = 0.0
    for rate in rates(seed=3):
        await asyncio.sleep(1)
        owed += rate * FULL_RATE
        while owed >= 1:
            owed -= 1
            server.take(1, clock())


def trace(wait: Callable[[Shop, str], Awaitable[None]]) -> Trace:
    """Let jobs of one shop end at random, and wait for them one way."""
    random.seed(4)
    ends = {f"job-{number}": random.uniform(SPREAD, SECONDS) for number in range(JOBS)}
    server = Server(aligned=True)
    shop = Shop(ends_after(ends), bucket=server.headers)
    jobs: list[tuple[float, float]] = []

    async def notice(job: str) -> None:
        await wait(shop, job)
        jobs.append((ends[job], clock() - START))

    async def work() -> None:
        other = asyncio.create_task(spend(server))
        tasks = []
        for job in ends:
            tasks.append(asyncio.create_task(notice(job)))
            await asyncio.sleep(SPREAD / JOBS)
        await asyncio.gather(*tasks)
        await cancelled(other)

    run(work())
    return Trace(jobs, [at for at, _ in shop.asked])


def steps(until: float, width: float) -> Iterator[float]:
    for number in range(int(until // width)):
        yield number * width


def draw_delays(axes: Axes, traces: Sequence[tuple[str, str, Trace]]) -> None:
    for name, colour, one in traces:
        all_of_them = one.delays()
        label = f"{name}: mean {all_of_them.mean:.0f} s, 99 % within {all_of_them.p99:.0f} s"
        minutes = list(steps(SECONDS, WINDOW))
        found = [one.delays(first, first + WINDOW) for first in minutes]
        middle = [(first + WINDOW / 2) / 60 for first in minutes]
        axes.plot(middle, [spread.mean for spread in found], color=colour, label=label)
        axes.plot(middle, [spread.p99 for spread in found], color=colour, linestyle=":")
    axes.set_ylabel("delay in seconds")
    axes.set_title("From a job's end until its task knows (solid: mean, dotted: 99 %)", loc="left")


def draw_points(axes: Axes, traces: Sequence[tuple[str, str, Trace]]) -> None:
    limit = LIMIT * STEP / WINDOW
    axes.axhline(limit, color="black", linewidth=0.8)
    axes.annotate("the shop's limit", (0, limit), (2, 3), textcoords="offset points")
    for name, colour, one in traces:
        starts = list(steps(max(one.asked), STEP))
        counts = [sum(first <= at < first + STEP for at in one.asked) for first in starts]
        label = f"{name}: {len(one.asked):,} polls"
        axes.step([first / 60 for first in starts], counts, where="post", color=colour, label=label)
    axes.set_yscale("log")
    axes.set_yticks([10, 100, 1000], ["10", "100", "1,000"])
    axes.set_ylabel(f"points in {STEP:g} seconds")
    axes.set_xlabel("minutes")
    axes.set_title("Points asked for", loc="left")


def draw() -> str:
    """Draw the picture, and return the name of its file."""
    traces = [("ours", "#1f77b4", trace(ours)), ("every 15 s", "#d62728", trace(fixed))]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 6), layout="constrained")
        above, below = figure.subplots(2, sharex=True)
        draw_delays(above, traces)
        draw_points(below, traces)
        for axes in (above, below):
            axes.set_ylim(bottom=0 if axes is above else 5)
            axes.grid(color="#dddddd", linewidth=0.5)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False)
        FILE.parent.mkdir(exist_ok=True)
        figure.savefig(FILE, metadata={"Date": None})
    return str(FILE.relative_to(Path.cwd()))
