"""
Time that moves only while the package waits.

The package talks to a real server over real sockets here; only its own waits (between polls, for points,
after a 429) take no time: they move the clocks of both sides instead. So it makes no difference how fast the
machine is. While a request is under way time stands still, except where the server is not to answer:
then the client's time-out is the next thing that can happen.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import select
import selectors
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any, TypeVar

import httpx
import pytest
from airflow.providers.common.compat.sdk import BaseSensorOperator

from stoq_provider.hooks.base import JobHook
from stoq_provider.testing import Sandbox
from tests import harness

T = TypeVar("T")

SPEED = 200
"""Seconds of a server's job clock in one second that the package waits: an export takes 20 of them."""

TICK = 1e-6
"""Seconds of the shortest wait."""

GLANCE = 0.01
"""Real seconds between two looks whether a server that owes an answer is not to answer."""


class VirtualTime:
    """Stands for ``time.time`` and for the waits of hooks and event loops."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._start = float(int(time.time()))
        self.passed = 0.0
        self.ends_stalls = False
        """Whether a download that stalls for good times out as well; else somebody has to stop it."""
        self.time_outs: list[float | None] = []
        """How long clients would have waited, by their own settings, when they gave up."""
        self._servers: dict[Sandbox, float] = {}
        self._gave_up = 0
        self._appointments: list[tuple[float, int, Callable[[], Any]]] = []
        self._serial = itertools.count()
        self._sockets_time_out(patch)
        patch.setattr(time, "time", self.now)
        patch.setattr(JobHook, "sleep", self._hook_sleep(JobHook.sleep))
        patch.setattr(asyncio, "run", self.run)
        patch.setattr(harness, "pause", self.sleep)
        patch.setattr(harness, "patience", 1e9)
        self._sensors_wait(patch)

    def now(self) -> float:
        """Unix seconds."""
        return self._start + self.passed

    def drives(self, server: Sandbox, *, speed: float = SPEED) -> None:
        """Let the clock of a server, made with ``time_scale=0``, follow; ``speed`` as :data:`SPEED`."""
        self._servers[server] = speed
        self._gave_up += server.held

    def forward(self, seconds: float) -> None:
        """Move the time of both sides by as much."""
        self.passed += seconds
        for server in self._servers:
            server.advance(seconds)

    def sleep(self, seconds: float) -> None:
        """Let the package wait: jobs go on faster, and appointments are kept on the way."""
        # Unix seconds are not finer than that; a wait that moves nothing would be begun again and again.
        until = self.passed + max(seconds, TICK if seconds > 0 else 0.0)
        while self._appointments and self._appointments[0][0] <= until:
            at, _, action = heapq.heappop(self._appointments)
            self._wait(at - self.passed)
            action()
        self._wait(until - self.passed)

    def at(self, seconds: float, action: Callable[[], Any]) -> None:
        """Do something while the package waits, that many seconds from now."""
        heapq.heappush(self._appointments, (self.passed + seconds, next(self._serial), action))

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            self.passed += seconds
            for server, speed in self._servers.items():
                server.advance(seconds * speed)

    @property
    def silent(self) -> int:
        """How many requests are under way that no server will answer, or not to the end."""
        stalled = sum(server.stalled for server in self._servers) if self.ends_stalls else 0
        return sum(server.held for server in self._servers) + stalled - self._gave_up

    def gave_up(self) -> None:
        """Take note that a client waits no longer for one of them."""
        self._gave_up += 1

    # -- the waits of a worker -----------------------------------------------------------------------

    def _hook_sleep(self, wait: Callable[[JobHook, float], None]) -> Callable[[JobHook, float], None]:
        def sleep(hook: JobHook, seconds: float) -> None:
            if not hook.stopped:
                self.sleep(seconds)
            wait(hook, 0)  # raises where the task was stopped

        return sleep

    def _sockets_time_out(self, patch: pytest.MonkeyPatch) -> None:
        """Let a blocking read time out when its server is not to answer, and only then."""
        receive = socket.socket.recv_into

        def recv_into(sock: socket.socket, *args: Any) -> int:
            while sock.gettimeout() != 0 and sock.fileno() >= 0:
                silent = self.silent
                # In this order: what was sent before has come by then.
                if select.select([sock], [], [], GLANCE)[0]:
                    break
                if silent:
                    self.gave_up()
                    self.time_outs.append(sock.gettimeout())
                    raise TimeoutError("timed out")
            return receive(sock, *args)

        patch.setattr(socket.socket, "recv_into", recv_into)

    def _sensors_wait(self, patch: pytest.MonkeyPatch) -> None:
        """Give Airflow's own base class of sensors this time: it looks at three clocks."""
        module = sys.modules[BaseSensorOperator.__module__]
        clock = SimpleNamespace(time=self.now, monotonic=self.now, sleep=self.sleep)
        patch.setattr(module, "time", clock)
        patch.setattr(
            module, "timezone", SimpleNamespace(**{**vars(module.timezone), "utcnow": self._utcnow})
        )

    def _utcnow(self) -> datetime:
        return datetime.fromtimestamp(self.now(), timezone.utc)

    # -- the waits of a triggerer --------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, T], **_: Any) -> T:
        """Stand for ``asyncio.run``."""
        loop = JumpingLoop(self)
        try:
            asyncio.set_event_loop(loop)
            return loop.run_until_complete(work)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            asyncio.set_event_loop(None)
            loop.close()


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer when no answer and no thread is awaited."""

    def __init__(self, virtual: VirtualTime) -> None:
        self.virtual = virtual
        self.under_way = 0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        # Not Unix seconds: a timer is due from a nanosecond before its time on, and they are not that fine.
        return self.virtual.passed

    @property
    def awaits_something(self) -> bool:
        return self.under_way > self.virtual.silent

    def run_in_executor(self, executor: Any, function: Any, *args: Any) -> Any:
        self.under_way += 1
        future = super().run_in_executor(executor, function, *args)
        future.add_done_callback(self._arrived)
        return future

    def _arrived(self, _: Any) -> None:
        self.under_way -= 1


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        while True:
            ready = super().select(GLANCE if self._loop.awaits_something else 0)
            if ready:
                return ready
            if not self._loop.awaits_something and timeout is not None:
                self._loop.virtual.sleep(timeout)
                return ready
            if not self._loop.awaits_something:
                return super().select(None)


@pytest.fixture
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> VirtualTime:
    stream = httpx.AsyncClient.stream

    @asynccontextmanager
    async def counted(client: httpx.AsyncClient, *args: Any, **options: Any) -> AsyncIterator[httpx.Response]:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, JumpingLoop):
            async with stream(client, *args, **options) as response:
                yield response
            return
        loop.under_way += 1
        try:
            async with stream(client, *args, **options) as response:
                yield response
        except httpx.ReadTimeout:
            loop.virtual.gave_up()
            raise
        finally:
            loop.under_way -= 1

    monkeypatch.setattr(httpx.AsyncClient, "stream", counted)
    return VirtualTime(monkeypatch)
