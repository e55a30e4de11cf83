"""What triggers cost that only wait: lag of the event loop, and memory."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseTrigger

from stoq_provider.transport import client_pool
from tests.benchmarks.points.probe import Probe

BEAT = 0.005
LONGEST_START = 180.0
"""Seconds after which start-up is measured as it is: a loop that is too busy may never come to its end."""


class Heart:
    """Beats every 5 ms, and notes by how much each beat was late."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self._task = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(BEAT)
            self.late.append(time.perf_counter() - began - BEAT)

    def take(self) -> list[float]:
        """What was noted since the last time."""
        late, self.late = self.late, []
        return late


def resident() -> int:
    """Bytes of memory that this process holds."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def waiting() -> int:
    """Jobs that all schedulers of this loop wait for."""
    loop = client_pool._LOOPS.get(asyncio.get_running_loop())
    return 0 if loop is None else sum(scheduler.jobs for scheduler in loop.schedulers.values())


async def consume(trigger: BaseTrigger) -> None:
    async for _ in trigger.run():
        raise AssertionError("an idle trigger has fired")


async def idle(make: Callable[[str, Any], BaseTrigger], plan: dict[str, Any], probe: Probe) -> dict[str, Any]:
    """
    Start the triggers as a triggerer does, all that have come one after the other; then let them wait.

    Start-up ends when every job is waited for. ``settle`` seconds later, when first polls are over, the
    lag is measured for ``seconds``, and then the memory.
    """
    jobs = plan["jobs"]
    # One of each shop's kind first: what is loaded and kept only once does not count.
    warm = asyncio.create_task(consume(make(*plan["warm"])))
    await asyncio.sleep(5)
    before, heart, began = resident(), Heart(), time.perf_counter()
    heart.take()
    tasks = []
    for conn_id, job in jobs:
        tasks.append(asyncio.create_task(consume(make(conn_id, job))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    while plan["waits"] and waiting() < len(jobs) and time.perf_counter() - began < LONGEST_START:
        await asyncio.sleep(0.05)
        for task in tasks:
            if task.done():
                task.result()
    started = waiting() if plan["waits"] else len(tasks)
    took, starting = time.perf_counter() - began, heart.take()
    await asyncio.sleep(plan["settle"])
    heart.take()
    calls, began, cpu = probe.sent, time.perf_counter(), time.process_time()
    await asyncio.sleep(plan["seconds"])
    seconds = time.perf_counter() - began
    result = {
        "startup": took,
        "started": started,
        "late_at_startup": starting,
        "late": heart.take(),
        "polls_a_second": (probe.sent - calls) / seconds,
        "throttled": probe.throttled,
        "failed": sum(task.done() for task in tasks),
        "cpu": (time.process_time() - cpu) / seconds,
        "clients": probe.clients,
    }
    result["bytes"] = resident() - before
    for task in (warm, *tasks):
        task.cancel()
    await asyncio.gather(warm, *tasks, return_exceptions=True)
    return result
