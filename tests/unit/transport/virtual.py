"""An event loop whose time jumps to the next timer when nothing is left to do, and a shop to poll in it."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any, TypeVar

import httpx

from stoq_provider.core.http import Request
from stoq_provider.core.lifecycle import JobProgress, Outcome
from stoq_provider.core.models import JobHandle
from stoq_provider.jobs.wait import make_poller, wait_async
from stoq_provider.systems.base import System
from stoq_provider.systems.stoq.system import Stoq
from stoq_provider.transport.aio import AsyncTransport, Client
from stoq_provider.transport.auth import Login
from stoq_provider.transport.poll_scheduler import PollScheduler
from stoq_provider.transport.rate_limiter import TRIGGERER, RateLimiter

from .conftest import STOQ, settings

START = 1_780_000_020.0
"""Unix seconds at which the time of such a loop begins; a whole minute."""

T = TypeVar("T")


class _Jumping(selectors.DefaultSelector):
    """Never sleeps: where nothing is ready, the loop's time moves on."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("nothing will ever happen any more: somebody waits for nothing")
        self.loop.passed += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """For code that uses no threads and no sockets."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.set_by = 0.0
        """Seconds by which somebody has set the clock on the wall."""
        selector = _Jumping()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self.passed


def clock() -> float:
    """Stand for ``time.time``."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return START + loop.time() + loop.set_by


def run(work: Coroutine[Any, Any, T]) -> T:
    """Stand for ``asyncio.run``; shows that nothing is left behind."""
    loop = VirtualTimeLoop()
    asyncio.set_event_loop(loop)
    odd: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, about: odd.append(about))
    try:
        result = loop.run_until_complete(work)
        left = asyncio.all_tasks(loop)
        assert not left, f"tasks are left: {left}"
        assert not odd, f"errors that nobody saw: {odd}"
        return result
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        asyncio.set_event_loop(None)
        loop.close()


class Lines:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str]] = []

    def log(self, level: int, msg: Any, *args: Any) -> None:
        self.lines.append((level, msg % args))


Reply = Callable[[str, float], "httpx.Response | BaseException | dict[str, Any]"]


def running(job_id: str, now: float) -> dict[str, Any]:
    return {"job_id": job_id, "status": "running"}


class Shop:
    """
    One shop with its jobs, and all that its users in one event loop share.

    It stands in the place of the ``httpx.AsyncClient``.

    :param reply: what a poll of a job brings at a time, in seconds since the start.
    :param latency: seconds until an answer is there.
    """

    def __init__(
        self,
        reply: Reply = running,
        *,
        system: System = STOQ,
        latency: float = 0.05,
        share: float = 0.8,
        bucket: Callable[[int, float], dict[str, str]] | None = None,
        meter: Any = None,
        login: str | None = None,
    ) -> None:
        self.reply, self.system, self.latency, self.bucket = reply, system, latency, bucket
        self.asked: list[tuple[float, str]] = []
        self.in_flight = self.most_in_flight = 0
        self.settings = settings(points_share=share, login=login)
        self.limiter = RateLimiter(system, share, TRIGGERER, meter=meter)
        self.scheduler = PollScheduler(system, self.limiter, clock=clock)
        self.client = Client(self, Login(self.settings, system))  # type: ignore[arg-type]

    @asynccontextmanager
    async def stream(self, method: str, url: str, **_: Any) -> AsyncIterator[httpx.Response]:
        yield await self._answer(url)

    async def _answer(self, url: str) -> httpx.Response:
        job_id = url.rpartition("/")[2]
        self.asked.append((clock() - START, job_id))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            headers = self._charge()
            if "retry-after" in headers:
                return httpx.Response(429, headers=headers, json={})
            await asyncio.sleep(self.latency)
            reply = self.reply(job_id, clock() - START)
        finally:
            self.in_flight -= 1
        if isinstance(reply, BaseException):
            raise reply
        return (
            reply if isinstance(reply, httpx.Response) else httpx.Response(200, headers=headers, json=reply)
        )

    def _charge(self) -> dict[str, str]:
        if self.bucket is None:
            return {"date": formatdate(clock(), usegmt=True)}
        return self.bucket(1, clock())

    def times(self, job_id: str) -> list[float]:
        """Return when a job was asked for, in seconds since the start."""
        return [round(at, 6) for at, asked in self.asked if asked == job_id]

    def transport(self) -> AsyncTransport:
        """Return a transport for one user."""
        return AsyncTransport(self.settings, client=self.client, scheduler=self.scheduler)

    async def wait(self, *names: str, log: Any = None, transport: Any = None, **plan: Any) -> Any:
        """Wait for jobs as a trigger does, and return the poller."""
        now = clock()
        submitted_at = plan.pop("submitted_at", now)
        jobs = plan.pop("jobs", None)
        jobs = jobs or [JobProgress(handle(name, submitted_at=submitted_at), now) for name in names]
        plan = {"deadline": now + 100_000, "now": now, **plan}
        poller = make_poller(jobs, self.system, round_time=self.scheduler.round_time, **plan)
        await wait_async(poller, transport or self.transport(), log=log or Lines())
        return poller


def handle(
    name: str, kind: str = "bulk", url: str | None = None, submitted_at: float | None = None
) -> JobHandle:
    return JobHandle("stoq", kind, name, url or f"/api/v2/external/jobs/{name}", submitted_at=submitted_at)


def ends_after(seconds: dict[str, float], otherwise: float = float("inf")) -> Reply:
    """Let jobs run until that many seconds after the start."""

    def reply(job_id: str, now: float) -> dict[str, Any]:
        done = now >= seconds.get(job_id, otherwise)
        return {"job_id": job_id, "status": "completed" if done else "running"}

    return reply


def outcomes(poller: Any) -> list[Outcome | None]:
    return [watch.outcome for watch in poller.jobs]


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Cancel, and wait until all have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Batched(Stoq):
    """A made-up system that can be asked for five jobs at once."""

    name = "batched"
    poll_size = 5

    def poll_request(self, origin, handles):
        return Request("GET", f"{origin}/jobs/{','.join(one.job_id for one in handles)}")

    def poll_results(self, answer, handles):
        return [self.poll_result(answer, one) for one in handles]

    def read_status(self, payload, handle):
        return super().read_status(payload["jobs"][handle.job_id], handle)


def batch(names: str, now: float) -> dict[str, Any]:
    """Reply to a poll of :class:`Batched`."""
    return {"jobs": {name: running(name, now) for name in names.split(",")}}
