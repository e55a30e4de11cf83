"""Triggers that wait for the jobs of one task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from stoq_provider.core.events import WaitState
from stoq_provider.core.forms import Form, iso
from stoq_provider.core.lifecycle import JobProgress
from stoq_provider.core.models import JobHandle
from stoq_provider.core.validation import some
from stoq_provider.jobs.cancel import stop_deferred
from stoq_provider.jobs.config import user_agent
from stoq_provider.jobs.errors import typed

if TYPE_CHECKING:
    from stoq_provider.hooks.base import JobHook
    from stoq_provider.systems.base import System
    from stoq_provider.transport.aio import AsyncTransport
    from stoq_provider.transport.rate_limiter import Meter

ENDED_BY_HAND = ("failed", "skipped", "success")
"""
States that a deferred task comes into only by a person, or with its DAG run.

Every other one is that of a task that waits elsewhere, was resumed, or was cleared and decides by itself.
"""


class JobTrigger(BaseTrigger):
    """
    Polls every unfinished job of a task and fires once, when all have ended or the deadline has passed.

    It only reads, except in :meth:`on_kill`. Its arguments hold the connection's id and the handles, never a
    secret.

    :param conn_id: the Airflow connection.
    :param jobs: handles in their XCom form, each with ``seen_at``, ISO 8601 or ``None``.
    :param deadline: Unix seconds; absolute, so that a restart of the triggerer does not prolong the wait.
    :param state: what the task wants to find again when it is resumed; comes back in the event. Keyword
        arguments of ``defer()`` would do, but ``dag.test()`` of Airflow 3 loses them.
    :param poll_interval: seconds between polls; ``None``: as the vendor documents.
    :param unhealthy_after: seconds without a good response after which waiting ends.
    :param job: what a sensor waits for that starts here, with templates, which Airflow renders: ``jobs``,
        ``deadline`` and ``state``, which a worker would have handed over, then come of it and of ``start``.
    :param start: how long such a sensor waits: see :func:`stoq_provider.sensors.from_trigger.start_args`.
    """

    hook_class: ClassVar[type[JobHook] | str]
    """A class, or ``module:class``, imported when a hook is made: parsing a DAG needs none."""

    timeout_after: datetime
    """When Airflow gives up; the triggerer sets it, since a sensor that starts there has a timeout."""

    def __init__(
        self,
        *,
        conn_id: str,
        jobs: Sequence[dict[str, Any]] = (),
        deadline: float = 0.0,
        state: dict[str, Any] | None = None,
        poll_interval: float | None = None,
        unhealthy_after: float = 900.0,
        job: Any = None,
        start: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.jobs = jobs
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.unhealthy_after = unhealthy_after
        self.state = state or {}
        self.job = job
        self.start = start

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments."""
        cls = type(self)
        wait = ("jobs", "deadline", "state") if self.start is None else ("job", "start")
        names = ("conn_id", "poll_interval", "unhealthy_after", *wait)
        return f"{cls.__module__}.{cls.__qualname__}", {name: getattr(self, name) for name in names}

    @classmethod
    def load_hook_class(cls) -> Any:
        """Return the class of the hook."""
        return resolve_name(cls.hook_class) if isinstance(cls.hook_class, str) else cls.hook_class

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Wait, and fire one event with a :class:`~stoq_provider.core.events.WaitEvent`.

        Where a sensor starts here that can't, the event is ``None``: its worker then says what is wrong.
        """
        event: dict[str, Any] | None = None
        try:
            async with self._connected() as connected:
                if self.start is not None:
                    self._take_over(self.start, connected[1], connected[0].origin)
                event = await self._wait(*connected)
        except Exception:
            if self.start is None or self.jobs:
                raise
            self.log.info("The wait can't begin here; a worker looks why.", exc_info=True)
        yield TriggerEvent(event)

    async def _wait(self, transport: AsyncTransport, system: System, meter: Meter) -> dict[str, Any]:
        from stoq_provider.jobs import wait as engine  # has been loaded by now

        now = time.time()
        poller = engine.make_poller(
            self._progress(system.name, now),
            system,
            deadline=self.deadline,
            now=now,
            poll_interval=self.poll_interval,
            unhealthy_after=self.unhealthy_after,
            round_time=transport.scheduler.round_time,
        )
        await engine.wait_async(poller, transport, log=self.log)
        meter.finished(len(self.jobs), poller.polls)
        event = engine.event_of(poller, transport.points_spent)
        # The state goes back as it came: a newer release may have put into it what this one does not know.
        return {**event.to_dict(), "state": self.state}

    def _take_over(self, start: dict[str, Any], system: System, origin: str) -> None:
        """
        Do what a worker does before it defers.

        The only moment in time that is not another one after a restart of the triggerer is the one at which
        Airflow gives up.
        """
        handles = system.read_handles(self.job)
        for handle in handles:
            system.status_request(origin, handle)
        self.deadline = self.timeout_after.timestamp() - start["margin"]
        began = self.deadline - start["seconds"]
        self.state = WaitState(began, limit=start["limit"], from_trigger=True).to_dict()
        self.jobs = job_arguments(JobProgress(handle, began) for handle in handles)

    async def on_kill(self) -> None:
        """
        Cancel the jobs of a task that was ended by hand, where their system can; log what becomes of them.

        Airflow 3.3 and later call it, also where a trigger only moved to another triggerer: then nothing is
        cancelled, nor where the state of the task can't be known. Jobs that the task did not submit itself,
        such as those of a sensor, are left alone.
        """
        if not self.state.get("records"):
            return
        self.log.info("This trigger was taken away from %s.", some([job["job_id"] for job in self.jobs]))
        # Airflow 3.3 cancels again at each look, a second apart, and this as well. Then the work goes on, and
        # its log is that of the triggerer: to be asked for a task, a triggerer may take half a minute.
        await asyncio.shield(self._detach())

    async def _detach(self) -> None:
        # A task that its time-out failed may have been taken to another triggerer before: its jobs go on.
        over = time.time() > self.deadline
        state = "past its deadline" if over else await asyncio.to_thread(self._task_state)
        if state not in ENDED_BY_HAND:
            self.log.info("The task is %s, so its jobs are left alone. They go on.", state)
            return
        system = (await asyncio.to_thread(self.load_hook_class)).system
        jobs = [progress.handle for progress in self._progress(system.name, time.time())]
        try:
            async with self._connected() as (transport, _, _):
                fate = await stop_deferred(transport, system, jobs)
        except Exception as error:
            fate = f"They go on: nothing could be cancelled, because there was a {type(error).__name__}."
        known = some([job.job_id for job in jobs])
        self.log.info("Detached from %s; jobs submitted: %s. %s", system.label, known, fate)

    def _task_state(self) -> str:
        with suppress(Exception):  # whatever is amiss, nothing is cancelled then
            from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # Airflow 3 only

            ti = self.task_instance
            states = RuntimeTaskInstance.get_task_states(
                ti.dag_id, ti.map_index, task_ids=[ti.task_id], run_ids=[ti.run_id]
            )
            # There is one; it goes by the task's id, with the index behind it where the task is mapped.
            (state,) = states[ti.run_id].values()
            return str(state or "cleared")
        return "in an unknown state"

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[AsyncTransport, System, Meter]]:
        # In a thread: the imports take a tenth of a second, for which the other triggers would have to wait.
        hook, client_pool = await asyncio.to_thread(self._load)
        dag_id = getattr(getattr(self, "task_instance", None), "dag_id", None)
        settings = replace(await hook.asettings(), user_agent=user_agent(dag_id))
        system, meter = hook.system, hook.meter
        # There may be ten thousand of these: while it waits, a trigger holds no more than it needs.
        del hook
        async with client_pool.shared_transport(settings, system, meter=meter) as transport:
            yield transport, system, meter

    def _load(self) -> tuple[Any, Any]:
        # Not at the top: workers load this module and need no httpx, and parsing a DAG needs neither.
        from stoq_provider.jobs import wait  # noqa: F401
        from stoq_provider.transport import client_pool

        return self.load_hook_class()(self.conn_id), client_pool

    def _progress(self, system: str, now: float) -> list[JobProgress]:
        # What another release wrote may be of another shape; the task then fails with what this says.
        with typed(system, "The remote jobs go on; this trigger asked for none of them"):
            return [
                JobProgress(JobHandle.from_dict(job), now, Form(job, "a job of a trigger").time("seen_at"))
                for job in Form({"jobs": self.jobs}, "a trigger").listed("jobs", dict)
            ]


def job_arguments(jobs: Iterable[JobProgress]) -> list[dict[str, Any]]:
    """Return the ``jobs`` argument of a trigger: what is known of each job, as JSON."""
    return [
        {**progress.handle.to_dict(), "seen_at": None if progress.seen_at is None else iso(progress.seen_at)}
        for progress in jobs
    ]


class StoqJobTrigger(JobTrigger):
    """Waits for jobs of STOQ; parameters as in :class:`JobTrigger`."""

    hook_class = "stoq_provider.hooks.stoq:StoqHook"


class SureCartJobTrigger(JobTrigger):
    """Waits for bulk actions of SureCart; parameters as in :class:`JobTrigger`."""

    hook_class = "stoq_provider.hooks.surecart:SureCartHook"


class PrintStudioJobTrigger(JobTrigger):
    """
    Waits until print jobs or orders of PrintStudio reach a state; parameters as in :class:`JobTrigger`.

    Which state, stands in the ``kind`` of each handle.
    """

    hook_class = "stoq_provider.hooks.printstudio:PrintStudioHook"


class MedusaJobTrigger(JobTrigger):
    """Waits for batch jobs of Medusa; parameters as in :class:`JobTrigger`."""

    hook_class = "stoq_provider.hooks.medusa:MedusaHook"
