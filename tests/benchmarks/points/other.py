"""The process of another client, which spends a varying part of the points of several shops."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from tests.benchmarks.points.children import serve
from tests.benchmarks.points.probe import Probe

FULL_RATE = 6.0
"""Points a second that a shop has."""
MOST = 0.3
WAVE = 150.0
"""Seconds of one swell."""


def rates(seed: int) -> Iterator[float]:
    """The part of the points to spend, for each second: from 0 to ``MOST``, in swells, with noise."""
    chance = random.Random(seed)
    for second in range(1_000_000):
        swell = MOST / 2 * (1 - math.cos(2 * math.pi * second / WAVE))
        yield min(MOST, max(0.0, swell * chance.uniform(0.6, 1.4)))


async def spend(client: httpx.AsyncClient, origin: str, key: str, seed: int) -> None:
    owed, began = 0.0, time.monotonic()
    for second, rate in enumerate(rates(seed)):
        await asyncio.sleep(max(0.0, began + second - time.monotonic()))
        owed += rate * FULL_RATE
        while owed >= 1:
            owed -= 1
            try:
                await client.get(f"{origin}/api/v2/external/preorders/reports", headers={"X-Auth-Token": key})
            except httpx.HTTPError:
                continue


async def run(
    shops: list[dict[str, str]], next_order: Callable[[], Any], tell: Callable[[Any], None]
) -> None:
    probes = [Probe() for _ in shops]
    tasks = [
        asyncio.create_task(spend(probe.attach(httpx.AsyncClient(verify=False)), **shop, seed=3))
        for probe, shop in zip(probes, shops, strict=True)
    ]
    while (order := await asyncio.to_thread(next_order)) != "stop":
        tell(probes[order].calls)
    for task in tasks:
        task.cancel()


def work(hear: Callable[[], Any], tell: Callable[[Any], None]) -> None:
    asyncio.run(run(hear()["shops"], hear, tell))


if __name__ == "__main__":
    serve(work)
