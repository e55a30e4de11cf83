"""
The two loops that wait for jobs: one blocks a worker, one shares a triggerer.

Both only sleep, send and log; :class:`~stoq_provider.core.polling.Poller` decides.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from stoq_provider.core.events import JobEnd, WaitEvent
from stoq_provider.core.lifecycle import JobWatch
from stoq_provider.core.models import JobHandle
from stoq_provider.core.polling import Poller, PollNote
from stoq_provider.systems.base import System
from stoq_provider.transport.settings import ShopSettings

if TYPE_CHECKING:
    from stoq_provider.transport.aio import AsyncTransport


class Log(Protocol):
    """What is needed of a logger; Airflow 2's and Airflow 3's both have it."""

    def log(self, level: int, msg: Any, *args: Any) -> Any:
        """Log a message."""


INFO, WARNING = 20, 30

LAST_LOOK = 60.0
"""Seconds that the last look at a job, at the deadline, may be late: the points may be spent."""


@dataclass(frozen=True, slots=True)
class WaitPlan:
    """
    What is waited for, and how patiently.

    :param deadline: Unix seconds.
    :param poll_interval: seconds; ``None``: the cadence the vendor documents.
    :param unhealthy_after: seconds without a good answer.
    :param started_at: Unix seconds.
    """

    watches: tuple[JobWatch, ...]
    deadline: float
    started_at: float
    poll_interval: float | None = None
    unhealthy_after: float = 900.0

    @classmethod
    def of(
        cls,
        handles: Iterable[JobHandle],
        *,
        deadline: float,
        now: float,
        poll_interval: float | None = None,
        unhealthy_after: float = 900.0,
        seen_at: dict[str, float] | None = None,
    ) -> WaitPlan:
        """Begin to watch jobs; ``seen_at`` tells by job id when one was last seen alive."""
        seen = seen_at or {}
        watches = tuple(JobWatch(handle, now, seen.get(handle.job_id)) for handle in handles)
        return cls(watches, deadline, now, poll_interval, unhealthy_after)

    def poller(
        self, system: System, *, eager: bool = False, round_time: Callable[[], float] = lambda: 0.0
    ) -> Poller:
        """Return a poller for this plan; ``eager`` and ``round_time`` as there."""
        return Poller(
            self.watches,
            cadence=system.cadence,
            rules=replace(system.rules, unhealthy_after=self.unhealthy_after),
            deadline=self.deadline,
            now=self.started_at,
            poll_interval=self.poll_interval,
            jitter=random.random,
            eager=eager,
            round_time=round_time,
        )


def write(log: Log, note: PollNote | None) -> None:
    """Log a note, if there is one."""
    if note is not None:
        log.log(WARNING if note.warning else INFO, "%s", note.text)


class AnswersSync(Protocol):
    """What the blocking loop needs of a transport."""

    points_spent: int
    gate: Any

    def send(self, request: Any, policy: Any = None) -> Any:
        """Send."""

    def await_turn(self, request: Any, until: float) -> bool:
        """Wait for the points."""


def poll_due(
    poller: Poller, transport: AnswersSync, system: System, settings: ShopSettings, log: Log
) -> bool:
    """
    Poll the jobs that are due now, once each; return whether all jobs have ended, by the deadline too.

    A shop may be shut for longer than is left until then.
    """
    from stoq_provider.transport.retry import NO_RETRY

    # A worker that was away while the deadline passed still looks once.
    until = max(poller.deadline, time.time()) + LAST_LOOK
    due = _with_company(poller, poller.step(time.time()).due, system.poll_size)
    for start in range(0, len(due), system.poll_size):
        handles = due[start : start + system.poll_size]
        request = system.poll_request(settings.origin, handles)
        if not transport.await_turn(request, until):
            poller.expire()
            return True
        transport.gate.meter.polled()
        answer = transport.send(request, NO_RETRY)
        for handle, sight in zip(handles, system.sights(answer, handles), strict=True):
            write(log, poller.tell(handle.job_id, sight, answer.rate_limit, time.time()))
    return poller.step(time.time()).done


def _with_company(poller: Poller, due: Sequence[JobHandle], size: int) -> Sequence[JobHandle]:
    """Fill the last request up with jobs that are due next: to ask for them as well costs nothing."""
    room = -len(due) % size
    if not room:
        return due
    others = sorted((wish for wish in poller.wishes() if wish.handle not in due), key=lambda w: w.due_at)
    return [*due, *(wish.handle for wish in others[:room])]


def wait_sync(
    poller: Poller,
    transport: AnswersSync,
    system: System,
    settings: ShopSettings,
    *,
    sleep: Callable[[float], None],
    log: Log,
) -> None:
    """Block until every job has ended, by itself or by the deadline."""
    while not poll_due(poller, transport, system, settings, log):
        wait = poller.step(time.time()).wait
        if wait:
            sleep(wait)
    transport.gate.meter.finished(len(poller.watches), poller.polls)


async def wait_async(poller: Poller, transport: AsyncTransport, *, log: Log) -> None:
    """Wait until every job has ended, by itself or by the deadline."""
    clock = transport.board.clock
    # A triggerer that was away while the deadline passed still looks once.
    until = max(poller.deadline, clock()) + LAST_LOOK
    async with transport.board.seat(transport) as seat:
        for wish in poller.wishes():
            seat.ask(wish)
        while not poller.step(clock()).done:
            come = await seat.next(until if clock() >= poller.deadline else poller.deadline)
            if not come and clock() >= until:
                poller.expire()
            elif not come:
                # Polls that still wait for their turn become the last look.
                for wish in poller.wishes():
                    seat.ask(replace(wish, early=True))
            for sighting in come:
                handle = sighting.handle
                note = poller.tell(handle.job_id, sighting.sight, sighting.rate_limit, clock())
                write(log, note)
                again = poller.wish(handle.job_id)
                if again is None:
                    seat.drop(handle)
                else:
                    seat.ask(again)


def event_of(poller: Poller, points_spent: int, state: dict[str, Any] | None = None) -> WaitEvent:
    """Sum up a poller whose jobs have all ended."""
    ends = tuple(JobEnd.of(watch) for watch in poller.watches)
    return WaitEvent(ends, points_spent=points_spent, points_left=poller.points_left, state=state or {})
