"""
The two loops that wait for jobs: one blocks a worker, one shares a triggerer.

Both only sleep, send and log; :class:`~stoq_provider.core.polling.Poller` decides.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stoq_provider.core.events import NO_STATE, JobEnd, WaitEvent, WaitState
from stoq_provider.core.http import MalformedResponse
from stoq_provider.core.lifecycle import JobProgress
from stoq_provider.core.models import JobHandle
from stoq_provider.core.notes import PokeNote
from stoq_provider.core.polling import LogLine, Poller
from stoq_provider.exceptions import StoqProviderError
from stoq_provider.jobs import config
from stoq_provider.jobs.records import TaskIdentity
from stoq_provider.jobs.state_store import open_store
from stoq_provider.systems.base import System
from stoq_provider.transport.retry import NO_RETRY

if TYPE_CHECKING:
    from stoq_provider.jobs.client import JobClient
    from stoq_provider.transport.aio import AsyncTransport


INFO, WARNING = 20, 30

LAST_LOOK = 60.0
"""Seconds that the last look at a job, at the deadline, may be late: the points may be spent."""


def make_poller(
    jobs: Iterable[JobProgress],
    system: System,
    *,
    deadline: float,
    now: float,
    poll_interval: float | None = None,
    unhealthy_after: float = 900.0,
    eager: bool = False,
    round_time: Callable[[], float] = lambda: 0.0,
) -> Poller:
    """
    Return the poller of a task's jobs at a system.

    :param unhealthy_after: seconds without a good response after which waiting ends.

    The other parameters are those of :class:`~stoq_provider.core.polling.Poller`.
    """
    return Poller(
        jobs,
        cadence=system.cadence,
        rules=replace(system.rules, unhealthy_after=unhealthy_after),
        deadline=deadline,
        now=now,
        poll_interval=poll_interval,
        jitter=random.random,
        eager=eager,
        round_time=round_time,
    )


def write(log: Any, note: LogLine | None) -> None:
    """Log a note, if there is one; ``log`` is a logger of Airflow 2 or 3."""
    if note is not None:
        log.log(WARNING if note.warning else INFO, "%s", note.text)


def poll_due(poller: Poller, client: JobClient) -> bool:
    """
    Poll the jobs that are due now, once each; return whether all jobs have ended, by the deadline too.

    A shop may be shut for longer than is left until then.
    """
    transport, system = client.transport, client.system
    # A worker that was away while the deadline passed still looks once.
    until = max(poller.deadline, time.time()) + LAST_LOOK
    due = _fill_request(poller, poller.due(time.time()), system.poll_size)
    for start in range(0, len(due), system.poll_size):
        handles = due[start : start + system.poll_size]
        request = system.poll_request(client.settings.origin, handles)
        if not transport.wait_for_points(request, until):
            poller.expire()
            break
        transport.limiter.meter.polled()
        response = transport.send(request, NO_RETRY)
        for handle, result in zip(handles, system.poll_results(response, handles), strict=True):
            write(client.log, poller.record(handle.job_id, result, response.rate_limit, time.time()))
    if due and poller.done:
        transport.limiter.meter.finished(len(poller.jobs), poller.polls)
    return poller.done


def _fill_request(poller: Poller, due: Sequence[JobHandle], size: int) -> Sequence[JobHandle]:
    """Add jobs that are due next to the last request, where it has room: that costs nothing more."""
    room = -len(due) % size
    if not room:
        return due
    others = [poll for poll in poller.next_polls() if poll.handle not in due]
    others.sort(key=lambda poll: poll.due_at)
    return [*due, *(poll.handle for poll in others[:room])]


def wait_sync(poller: Poller, client: JobClient) -> None:
    """Block until every job has ended, by itself or by the deadline."""
    while not poll_due(poller, client):
        wait = poller.wait(time.time())
        if wait:
            client.sleep(wait)


async def wait_async(poller: Poller, transport: AsyncTransport, *, log: Any) -> None:
    """Wait until every job has ended, by itself or by the deadline."""
    clock = transport.scheduler.clock
    # A triggerer that was away while the deadline passed still looks once.
    until = max(poller.deadline, clock()) + LAST_LOOK
    async with transport.scheduler.subscribe(transport) as subscription:
        for poll in poller.next_polls():
            subscription.add(poll)
        while not poller.done:
            come = await subscription.next(until if clock() >= poller.deadline else poller.deadline)
            if not come and clock() >= until:
                poller.expire()
            elif not come:
                # Polls that still wait for their turn become the last look.
                for poll in poller.next_polls():
                    subscription.add(replace(poll, priority=True))
            for polled in come:
                handle = polled.handle
                note = poller.record(handle.job_id, polled.result, polled.rate_limit, clock())
                write(log, note)
                again = poller.next_poll(handle.job_id)
                if again is None:
                    subscription.discard(handle)
                else:
                    subscription.add(again)


def event_of(poller: Poller, points_spent: int, state: WaitState = NO_STATE) -> WaitEvent:
    """Sum up a poller whose jobs have all ended; ``state`` is that of the task, where it is needed."""
    return WaitEvent(tuple(map(JobEnd.of, poller.jobs)), points_spent, state, poller.points_left)


class PokeMemory:
    """Keeps, by job id, when a job was last seen and since when responses have been bad."""

    def __init__(self, context: Mapping[str, Any], conn_id: str, log: logging.Logger) -> None:
        ti = context["ti"]
        # Without the number of the run that TaskIdentity.of() adds: sensors that wait now go on by this key.
        task = TaskIdentity(ti.dag_id, ti.task_id, ti.run_id, getattr(ti, "map_index", -1))
        self._key = task.name(conn_id, "watched jobs")
        self._store = open_store(context, config.state_path(), None)
        self._try_number = getattr(ti, "try_number", 0)
        self._log = log

    def recall(self, jobs: Iterable[JobProgress]) -> tuple[JobProgress, ...]:
        """Return the jobs with what earlier pokes saw; what can't be read is forgotten."""
        try:
            known = self._store.load(self._key) or {}
            notes = {job_id: PokeNote.from_dict(note) for job_id, note in known.items()}
        except (StoqProviderError, MalformedResponse) as error:
            self._log.debug("Earlier pokes could not be recalled: %s", error)
            notes = {}
        return tuple(self._with(progress, notes.get(progress.handle.job_id)) for progress in jobs)

    def keep(self, jobs: Iterable[JobProgress]) -> None:
        """Write down what this poke saw; a sensor goes on without it."""
        notes = {
            job.handle.job_id: PokeNote(self._try_number, job.seen_at, job.bad_since, job.bad_count).to_dict()
            for job in jobs
        }
        try:
            self._store.save(self._key, notes)
        except StoqProviderError as error:
            self._log.debug("This poke could not be written down: %s", error)

    def _with(self, job: JobProgress, note: PokeNote | None) -> JobProgress:
        if note is None:
            return job
        if note.try_number != self._try_number:
            # A new try has patience of its own with bad responses.
            return replace(job, seen_at=note.seen_at)
        return replace(job, seen_at=note.seen_at, bad_since=note.bad_since, bad_count=note.bad_count)
