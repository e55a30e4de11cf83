"""
Who spends the points of one simulated shop: triggerers, workers, and a client that is not ours.

Time is virtual, the shop's bucket is the sandbox's. Of the package everything that decides about calls is the
real thing: the scheduler, limiter and transport of each triggerer, the transport and loop of each worker's
task. Only what would cross the network is simulated. Each party knows of the others what responses say.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import httpx
from sqlalchemy.util import await_only

from stoq_provider.core.http import Request, Response
from stoq_provider.core.lifecycle import JobProgress, Outcome
from stoq_provider.jobs.wait import make_poller, wait_sync
from stoq_provider.systems.stoq.system import Stoq
from stoq_provider.testing.points import PointsBucket, price
from stoq_provider.transport.session import ShopSession
from stoq_provider.transport.sync import SyncTransport
from tests.benchmarks.points.ideal import LIMIT, WINDOW
from tests.unit.transport.conftest import POST, settings
from tests.unit.transport.virtual import Shop, clock, handle

STOQ = Stoq()
WAY = (0.02, 0.2)
"""Seconds that a request, and a response, may take."""
LONG = 100_000.0
"""Seconds until a task gives up: later than all ends."""
QUIET = logging.getLogger("quiet")
QUIET.setLevel(logging.CRITICAL)


@dataclass
class Bill:
    """What one party asked of a shop: the points that it got, and how often it was refused."""

    polls: list[float] = field(default_factory=list)
    writes: int = 0
    refused: int = 0

    @property
    def points(self) -> int:
        return len(self.polls) + self.writes * price("POST")


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


class Remote:
    """A shop as the vendor runs it; it keeps the books of who spent what, and when jobs were noticed."""

    def __init__(self, chance: random.Random) -> None:
        self.bucket = PointsBucket(LIMIT, WINDOW)
        self.windows: list[float] = []
        """When each of its windows ended."""
        self.taken: list[float] = []
        """When points went to others than polls: those of a write count as two."""
        self.waited_from: dict[str, float] = {}
        self.ends: dict[str, float] = {}
        self.noticed: dict[str, float] = {}
        self._chance = chance

    def charge(self, method: str, bill: Bill) -> dict[str, str]:
        """Take the points of a call, if they are there; return the headers of its response."""
        now, cost = clock(), price(method)
        charge = self.bucket.charge(cost, now)
        if not self.windows or self.windows[-1] != charge.reset_at:
            self.windows.append(charge.reset_at)
        bill.refused += not charge.allowed
        if charge.allowed and method == "GET":
            bill.polls.append(now)
        elif charge.allowed:
            bill.writes += 1
            self.taken += [now] * cost
        said = {name.lower(): value for name, value in charge.headers().items()}
        return {"date": formatdate(now, usegmt=True), **said}

    async def answer(self, method: str, job: str, bill: Bill) -> Reply:
        """Answer a call of ours; a submission starts the job that it names."""
        await asyncio.sleep(self._chance.uniform(*WAY))
        headers = self.charge(method, bill)
        if "retry-after" in headers:
            status, word = 429, "refused"
        elif method == "POST":
            status, word = 202, "running"
        else:
            status, word = 200, "completed" if clock() >= self.ends[job] else "running"
        await asyncio.sleep(self._chance.uniform(*WAY))
        return Reply(status, headers, f'{{"job_id": "{job}", "status": "{word}"}}'.encode())

    def start(self, job: str, seconds: float) -> None:
        """Note that a task waits from now on for a job that takes so long."""
        self.waited_from[job] = clock()
        self.ends[job] = clock() + seconds

    def note(self, job: str, poller: Any) -> None:
        """Note that a task knows of the end of its job."""
        assert job not in self.noticed
        assert [progress.outcome for progress in poller.jobs] == [Outcome.SUCCEEDED]
        self.noticed[job] = clock()


class Triggerer(Shop):
    """One triggerer's scheduler, limiter and client for a shop."""

    def __init__(self, remote: Remote, share: float) -> None:
        super().__init__(system=STOQ, share=share)
        self.remote, self.bill, self.jobs = remote, Bill(), 0

    @asynccontextmanager
    async def stream(self, method: str, url: str, **_: Any) -> AsyncIterator[httpx.Response]:
        reply = await self.remote.answer(method, url.rpartition("/")[2], self.bill)
        yield httpx.Response(reply.status, headers=reply.headers, content=reply.body)

    async def notice(self, job: str, seconds: float) -> None:
        """Wait for a job, as a trigger does."""
        self.jobs += 1
        self.remote.start(job, seconds)
        self.remote.note(job, await self.wait(job, log=QUIET))


class WorkerTransport(SyncTransport):
    """
    The transport of one task on a worker, which blocks in a greenlet of its own.

    Each task is a new process, so this is made anew for each.
    """

    def __init__(self, remote: Remote, share: float, job: str, bill: Bill) -> None:
        given = settings(points_share=share)
        super().__init__(ShopSession(given, STOQ), given, STOQ, sleep=pause, clock=clock)
        self._remote, self._job, self._bill = remote, job, bill

    async def _exchange(self, request: Request) -> Response:
        reply = await_only(self._remote.answer(request.method, self._job, self._bill))
        return Response(reply.status, reply.headers, reply.body)


def pause(seconds: float) -> None:
    """Block one greenlet."""
    await_only(asyncio.sleep(seconds))


def work(remote: Remote, share: float, job: str, seconds: float, bill: Bill) -> None:
    """Submit a job and wait for it as a task does that is not deferrable; to be run in a greenlet."""
    transport = WorkerTransport(remote, share, job, bill)
    client: Any = SimpleNamespace(
        transport=transport, system=STOQ, settings=settings(), log=QUIET, sleep=pause
    )
    response = transport.send(POST)
    assert response.problem is None, response.problem
    remote.start(job, seconds)
    progress = JobProgress(handle(job, submitted_at=clock()), clock())
    poller = make_poller([progress], STOQ, deadline=clock() + LONG, now=clock())
    wait_sync(poller, client)
    remote.note(job, poller)


async def spend(remote: Remote, part: float, bill: Bill, chance: random.Random) -> None:
    """Spend a part of the points at random, as a client that keeps to nothing."""
    while part:
        await asyncio.sleep(chance.expovariate(part * LIMIT / WINDOW))
        if "retry-after" not in remote.charge("GET", bill):
            remote.taken.append(clock())
