"""
The polls of one shop in one event loop.

Whoever waits for jobs takes a :class:`Seat` and tells when each job wants to be polled. The board makes the
calls, one after the other as the points allow, and gives every answer to all who wait for that job.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stoq_provider.core.http import RateLimit, Request
from stoq_provider.core.lifecycle import Sight
from stoq_provider.core.models import JobHandle
from stoq_provider.core.poll_queue import PollQueue
from stoq_provider.core.polling import PollWish
from stoq_provider.systems.base import System
from stoq_provider.transport.rate_limiter import Gate
from stoq_provider.transport.turns import Turns

if TYPE_CHECKING:
    from stoq_provider.transport.aio import AsyncTransport

Key = tuple[str, str]


def key_of(handle: JobHandle) -> Key:
    """Name what is polled: what the answer means depends on what was asked of the job."""
    return handle.status_url, handle.kind


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one poll brought of one job."""

    handle: JobHandle
    sight: Sight
    rate_limit: RateLimit


class Seat:
    """The place of one waiting task. Made by :meth:`PollBoard.seat`."""

    __slots__ = ("_board", "_error", "_inbox", "_waiting", "keys", "transport")

    def __init__(self, board: PollBoard, transport: AsyncTransport) -> None:
        self._board = board
        self.transport = transport
        self.keys: list[Key] = []
        self._inbox: list[Sighting] = []
        self._waiting: asyncio.Future[None] | None = None
        self._error: BaseException | None = None

    def ask(self, wish: PollWish) -> None:
        """
        Let a job be polled; once, so ask again after each sighting.

        :raises InvalidInput: where its status URL leads to another origin.
        """
        self._board.enter(self, wish)

    def drop(self, handle: JobHandle) -> None:
        """Wait for a job no longer."""
        self._board.forget(self, key_of(handle))

    async def next(self, until: float) -> list[Sighting]:
        """
        Return what has come; wait for something until that time, in seconds of the board's clock.

        :raises Exception: what went wrong in us while we polled; servers and networks raise nothing.
        """
        if not self._inbox and self._error is None:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            timer = loop.call_later(max(0.0, until - self._board.clock()), self._wake)
            try:
                await self._waiting
            finally:
                timer.cancel()
                self._waiting = None
        if self._error is not None:
            raise self._error
        come, self._inbox = self._inbox, []
        return come

    def give(self, sighting: Sighting) -> None:
        """Hand over what came."""
        self._inbox.append(sighting)
        self._wake()

    def fail(self, error: BaseException) -> None:
        """Hand over what went wrong in us."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


IN_FLIGHT = 8
"""Polls that may be under way at once; the points of a shop allow a few a second."""

HEAD_START = 60.0
"""Seconds by which a first or last look goes before other polls, at least."""

_ANY_POLL = Request("GET", "")


@dataclass(slots=True)
class _Call:
    owner: Seat
    request: Request
    cost: int
    jobs: dict[Key, JobHandle]
    begun: bool = False


class PollBoard:
    """
    Polls for all seats.

    :param gate: says when a call may go out.
    :param turns: of the event loop, shared by its boards.
    :param clock: gives Unix seconds.
    """

    def __init__(
        self,
        system: System,
        gate: Gate,
        *,
        turns: Turns | None = None,
        clock: Callable[[], float] = lambda: time.time(),
    ) -> None:
        self.clock = clock
        self._system = system
        self._gate = gate
        self._turns = turns
        self._turn: float | None = None
        self._queue: PollQueue[Key] = PollQueue()
        self._waiters: dict[Key, dict[Seat, JobHandle]] = {}
        self._seats: set[Seat] = set()
        self._calls: dict[asyncio.Task[None], _Call] = {}
        self._runner: asyncio.Task[None] | None = None
        self._bell: asyncio.Future[None] | None = None
        self._asleep_until = float("-inf")

    @property
    def jobs(self) -> int:
        """How many jobs are waited for."""
        return len(self._waiters)

    def round_time(self) -> float:
        """Return the seconds that it takes to poll every job once, if they take turns."""
        return self._gate.round(-(-len(self._waiters) // self._system.poll_size))

    @asynccontextmanager
    async def seat(self, transport: AsyncTransport) -> AsyncIterator[Seat]:
        """Lend a seat; calls for its jobs are made over ``transport``."""
        seat = Seat(self, transport)
        self._seats.add(seat)
        if self._runner is None:
            self._runner = _detached(self._run())
        try:
            yield seat
        finally:
            await self._leave(seat)

    def enter(self, seat: Seat, wish: PollWish) -> None:
        """Let a job be polled for a seat."""
        # Here, where the error reaches the one whose job it is.
        self._system.status_request(seat.transport.origin, wish.handle)
        key = key_of(wish.handle)
        if seat not in self._waiters.setdefault(key, {}):
            self._waiters[key][seat] = wish.handle
            seat.keys.append(key)
        self._queue.ask(key, wish.due_at, head_start=self._head_start if wish.early else 0.0)
        if wish.due_at < self._asleep_until:
            self._ring()

    @property
    def _head_start(self) -> float:
        """Seconds by which a first or last look goes before the others: where points are short, a round."""
        return max(HEAD_START, self.round_time())

    async def _leave(self, seat: Seat) -> None:
        self._seats.discard(seat)
        for key in list(seat.keys):
            self.forget(seat, key)
        ending = [call for call, about in self._calls.items() if about.owner is seat]
        if not self._seats and self._runner is not None:
            ending.append(self._runner)
            self._runner = None
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def forget(self, seat: Seat, key: Key) -> None:
        """Poll a job no longer for a seat."""
        if key not in seat.keys:
            return
        seat.keys.remove(key)
        seats = self._waiters[key]
        del seats[seat]
        if not seats:
            del self._waiters[key]
            self._queue.drop(key)

    # -- making the calls ---------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while True:
                wait = self._step()
                if wait != 0:
                    await self._sleep(wait)
        except Exception as error:
            for seat in self._seats:
                seat.fail(error)
            self._runner = None

    def _step(self) -> float | None:
        """Make the next call, or return how long to wait for it; ``None``: until something changes."""
        if len(self._calls) >= IN_FLIGHT:
            return None
        now = self.clock()
        due_at = self._queue.next_due()
        if due_at is None or due_at > now:
            return None if due_at is None else due_at - now
        wait = self._gate.wait(_ANY_POLL, now)
        wait = wait or self._until_turn()
        if wait > 0:
            return wait
        taken = self._queue.take(now, self._system.poll_size)
        self._gate.meter.waited(now - taken[0][1])
        self._call([key for key, _ in taken], now)
        return 0.0

    def _until_turn(self) -> float:
        """Return the seconds until this board's turn at the loop, which it takes for its next call."""
        if self._turns is None:
            return 0.0
        if self._turn is None:
            self._turn = self._turns.reserve()
        wait = self._turn - time.monotonic()
        if wait > 0:
            return wait
        self._turn = None
        return 0.0

    def _call(self, keys: list[Key], now: float) -> None:
        owner = next(iter(self._waiters[keys[0]]))
        jobs = {key: next(iter(self._waiters[key].values())) for key in keys}
        request = self._system.poll_request(owner.transport.origin, list(jobs.values()))
        self._gate.meter.polled()
        # Spent here and now: the next step must know of it.
        about = _Call(owner, request, self._gate.spend(request, now), jobs)
        call = _detached(self._send(about))
        self._calls[call] = about
        call.add_done_callback(self._ended)

    async def _send(self, call: _Call) -> None:
        call.begun = True
        try:
            answer = await call.owner.transport.send_paid(call.request, call.cost)
            sights = dict(zip(call.jobs, self._system.sights(answer, list(call.jobs.values())), strict=True))
        except Exception as error:
            for key in call.jobs:
                for seat in self._waiters.get(key, {}):
                    seat.fail(error)
            return
        for key, sight in sights.items():
            for seat, handle in list(self._waiters.get(key, {}).items()):
                seat.give(Sighting(handle, sight, answer.rate_limit))

    def _ended(self, call: asyncio.Task[None]) -> None:
        about = self._calls.pop(call)
        if call.cancelled():
            # The one it was made for has left; others may wait for the same jobs.
            if not about.begun:
                # Otherwise the transport has settled it.
                self._gate.settle(about.request)
            for key in about.jobs:
                if key in self._waiters:
                    self._queue.ask(key, self.clock(), head_start=self._head_start)
        self._ring()

    async def _sleep(self, wait: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._bell = loop.create_future()
        self._asleep_until = float("inf") if wait is None else self.clock() + wait
        timer = None if wait is None else loop.call_later(wait, self._ring)
        try:
            await self._bell
        finally:
            if timer is not None:
                timer.cancel()
            self._bell = None
            self._asleep_until = float("-inf")

    def _ring(self) -> None:
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)


def _detached(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run something in a context of its own: it belongs to no trigger, and must not write into one's log."""
    return contextvars.Context().run(asyncio.get_running_loop().create_task, work)
