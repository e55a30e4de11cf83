"""
The polls of one shop in one event loop.

A task that waits for jobs subscribes, and says when each of them is due to be polled. The scheduler makes the
calls, one after the other as the points allow, and gives every response to all subscriptions to that job.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Protocol

from stoq_provider.core.http import Decoded, RateLimit, Request
from stoq_provider.core.lifecycle import PollResult
from stoq_provider.core.models import JobHandle
from stoq_provider.core.poll_queue import PollQueue
from stoq_provider.core.polling import ScheduledPoll
from stoq_provider.systems.base import System
from stoq_provider.transport.rate_limiter import RateLimiter

Key = tuple[str, str]


def key_of(handle: JobHandle) -> Key:
    """Name what is polled: what the response means depends on what was asked of the job."""
    return handle.status_url, handle.kind


class PollSender(Protocol):
    """What the scheduler needs of a subscriber's transport."""

    origin: str

    async def send_now(self, request: Request) -> Decoded:
        """Send a request at once, and only once, for a caller that has asked the limiter."""


@dataclass(frozen=True, slots=True)
class PolledJob:
    """What one poll brought of one job."""

    handle: JobHandle
    result: PollResult
    rate_limit: RateLimit


@dataclass(slots=True)
class _Alarm:
    """Wakes the one that waits. An ``asyncio.Event`` takes a kilobyte, and every waiting task has one."""

    _woken: asyncio.Future[None] | None = None

    def ring(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def wait(self, seconds: float | None) -> None:
        """Wait until it rings, or so many seconds."""
        loop = asyncio.get_running_loop()
        self._woken = loop.create_future()
        # Not wait_for(): before Python 3.12 it can swallow a cancellation.
        timer = None if seconds is None else loop.call_later(max(0.0, seconds), self.ring)
        try:
            await self._woken
        finally:
            self._woken = None
            if timer is not None:
                timer.cancel()


@dataclass(slots=True, eq=False)
class Subscription:
    """What one waiting task has of the scheduler. Made by :meth:`PollScheduler.subscribe`."""

    _scheduler: PollScheduler
    transport: PollSender
    handles: dict[Key, JobHandle] = field(default_factory=dict)
    """The jobs that it waits for, as it calls them."""
    _inbox: list[PolledJob] = field(default_factory=list)
    _error: BaseException | None = None
    _alarm: _Alarm = field(default_factory=_Alarm)

    def add(self, poll: ScheduledPoll) -> None:
        """
        Let a job be polled once; add it again after each result.

        :raises InvalidInput: where its status URL leads to another origin.
        """
        self._scheduler.add(self, poll)

    def discard(self, handle: JobHandle) -> None:
        """Wait for a job no longer."""
        self._scheduler.discard(self, key_of(handle))

    async def next(self, until: float) -> list[PolledJob]:
        """
        Return what has come; wait for something until that time, in seconds of the scheduler's clock.

        :raises Exception: what went wrong in us while we polled; servers and networks raise nothing.
        """
        if not self._inbox and self._error is None:
            await self._alarm.wait(until - self._scheduler.clock())
        if self._error is not None:
            raise self._error
        come, self._inbox = self._inbox, []
        return come

    def give(self, polled: PolledJob) -> None:
        """Hand over what came."""
        self._inbox.append(polled)
        self._alarm.ring()

    def fail(self, error: BaseException) -> None:
        """Hand over what went wrong in us."""
        self._error = error
        self._alarm.ring()


IN_FLIGHT = 8
"""Polls that may be under way at once; the points of a shop allow a few a second."""

LONG_ROUND = 15.0
"""
Seconds. Where a round of all jobs takes longer, polls with priority go first, by a round. In a shorter one
each has its turn soon, and a head start of some would make others late.
"""

_POLL = Request("GET", "")
"""Any poll, for the limiter: all have one price and one pace."""


class PollScheduler:
    """
    Polls for all subscriptions.

    :param limiter: says when a call may go out.
    :param clock: gives Unix seconds.
    """

    def __init__(
        self, system: System, limiter: RateLimiter, *, clock: Callable[[], float] = lambda: time.time()
    ) -> None:
        self.clock = clock
        self._system = system
        self.limiter = limiter
        self._queue: PollQueue[Key] = PollQueue()
        self._waiters: dict[Key, list[Subscription]] = {}
        self._subscriptions: set[Subscription] = set()
        self._calls: dict[asyncio.Task[None], tuple[Subscription, list[Key]]] = {}
        """Those under way: over whose transport each is made, and for which jobs."""
        self._runner: asyncio.Task[None] | None = None
        self._alarm = _Alarm()
        self._waits_since: float | None = None
        """Since when a poll that is due waits for points."""

    @property
    def jobs(self) -> int:
        """How many jobs are waited for."""
        return len(self._waiters)

    def round_time(self) -> float:
        """Return the seconds that it takes to poll every job once, one call after the other."""
        return self.limiter.round(ceil(len(self._waiters) / self._system.poll_size))

    @asynccontextmanager
    async def subscribe(self, transport: PollSender) -> AsyncIterator[Subscription]:
        """Lend a subscription; calls for its jobs are made over ``transport``."""
        subscription = Subscription(self, transport)
        self._subscriptions.add(subscription)
        if self._runner is None:
            self._runner = _detached(self._run())
        try:
            yield subscription
        finally:
            await self._unsubscribe(subscription)

    async def _unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)
        for key in tuple(subscription.handles):
            self.discard(subscription, key)
        ending = [call for call, (caller, _) in self._calls.items() if caller is subscription]
        if not self._subscriptions and self._runner is not None:
            ending.append(self._runner)
            self._runner = None
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def add(self, subscription: Subscription, poll: ScheduledPoll) -> None:
        """Let a job be polled for a subscription."""
        # Here, where the error reaches the one whose job it is.
        self._system.status_request(subscription.transport.origin, poll.handle)
        key = key_of(poll.handle)
        if key not in subscription.handles:
            self._waiters.setdefault(key, []).append(subscription)
        subscription.handles[key] = poll.handle
        self._queue.add(key, poll.due_at, priority=poll.priority)
        self._alarm.ring()

    def discard(self, subscription: Subscription, key: Key) -> None:
        """Poll a job no longer for a subscription."""
        if subscription.handles.pop(key, None) is None:
            return
        self._waiters[key].remove(subscription)
        if not self._waiters[key]:
            del self._waiters[key]
            self._queue.discard(key)

    async def _run(self) -> None:
        try:
            while True:
                wait = self._step()
                # After a call, let it begin: the next step must know of the points that it spends.
                await (asyncio.sleep(0) if wait == 0 else self._alarm.wait(wait))
        except Exception as error:
            for subscription in self._subscriptions:
                subscription.fail(error)
            self._runner = None

    def _step(self) -> float | None:
        """Make the next call, or return how long to wait for it; ``None``: until something changes."""
        if len(self._calls) >= IN_FLIGHT:
            return None
        now = self.clock()
        due_at = self._queue.next_due()
        if due_at is None or due_at > now:
            self._waits_since = None
            return None if due_at is None else due_at - now
        wait = self.limiter.wait(_POLL, now)
        if wait > 0:
            self._waits_since = self._waits_since or now
            return wait
        if self._waits_since is not None:
            self.limiter.meter.waited(max(0.0, now - self._waits_since))
            self._waits_since = None
        round_time = self.round_time()
        head_start = round_time if round_time > LONG_ROUND else 0.0
        self._call(self._queue.take(now, self._system.poll_size, head_start=head_start))
        return 0.0

    def _call(self, keys: list[Key]) -> None:
        caller = self._waiters[keys[0]][0]
        handles = [self._waiters[key][0].handles[key] for key in keys]
        request = self._system.poll_request(caller.transport.origin, handles)
        self.limiter.meter.polled()
        call = _detached(self._send(caller.transport, request, keys, handles))
        self._calls[call] = caller, keys
        call.add_done_callback(self._ended)

    async def _send(
        self, transport: PollSender, request: Request, keys: list[Key], handles: list[JobHandle]
    ) -> None:
        try:
            response = await transport.send_now(request)
            results = list(zip(keys, self._system.poll_results(response, handles), strict=True))
        except Exception as error:
            for key in keys:
                for subscription in self._waiters.get(key, ()):
                    subscription.fail(error)
            return
        for key, result in results:
            for subscription in self._waiters.get(key, ()):
                subscription.give(PolledJob(subscription.handles[key], result, response.rate_limit))

    def _ended(self, call: asyncio.Task[None]) -> None:
        _, keys = self._calls.pop(call)
        if call.cancelled():
            # The one over whose transport it went has left; others may wait for the same jobs.
            for key in keys:
                if key in self._waiters:
                    self._queue.add(key, self.clock(), priority=True)
        self._alarm.ring()


def _detached(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run something in a context of its own: it belongs to no trigger, and must not write into one's log."""
    return contextvars.Context().run(asyncio.get_running_loop().create_task, work)
