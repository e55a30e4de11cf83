"""Triggers that wait for the jobs of one task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from stoq_provider.core.forms import Form, iso
from stoq_provider.core.lifecycle import JobProgress
from stoq_provider.core.models import JobHandle
from stoq_provider.jobs.config import user_agent
from stoq_provider.jobs.errors import typed

if TYPE_CHECKING:
    from stoq_provider.hooks.base import JobHook


class JobTrigger(BaseTrigger):
    """
    Polls every unfinished job of a task and fires once, when all have ended or the deadline has passed.

    It only reads. Its arguments hold the connection's id and the handles, never a secret.

    :param conn_id: the Airflow connection.
    :param jobs: handles in their XCom form, each with ``seen_at``, ISO 8601 or ``None``.
    :param deadline: Unix seconds; absolute, so that a restart of the triggerer does not prolong the wait.
    :param state: what the task wants to find again when it is resumed; comes back in the event. Keyword
        arguments of ``defer()`` would do, but ``dag.test()`` of Airflow 3 loses them.
    :param poll_interval: seconds between polls; ``None``: as the vendor documents.
    :param unhealthy_after: seconds without a good response after which waiting ends.
    """

    hook_class: ClassVar[type[JobHook] | str]
    """A class, or ``module:class``, imported when a hook is made: parsing a DAG needs none."""

    def __init__(
        self,
        *,
        conn_id: str,
        jobs: list[dict[str, Any]],
        deadline: float,
        state: dict[str, Any],
        poll_interval: float | None = None,
        unhealthy_after: float = 900.0,
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.jobs = jobs
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.unhealthy_after = unhealthy_after
        self.state = state

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments."""
        cls = type(self)
        names = ("conn_id", "jobs", "deadline", "poll_interval", "unhealthy_after", "state")
        return f"{cls.__module__}.{cls.__qualname__}", {name: getattr(self, name) for name in names}

    @classmethod
    def load_hook_class(cls) -> Any:
        """Return the class of the hook."""
        return resolve_name(cls.hook_class) if isinstance(cls.hook_class, str) else cls.hook_class

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire one event with a :class:`~stoq_provider.core.events.WaitEvent`."""
        # In a thread: the imports take a tenth of a second, for which the other triggers would have to wait.
        hook, client_pool, engine = await asyncio.to_thread(self._load)
        dag_id = getattr(getattr(self, "task_instance", None), "dag_id", None)
        settings = replace(await hook.asettings(), user_agent=user_agent(dag_id))
        system, meter = hook.system, hook.meter
        # There may be ten thousand of these: while it waits, a trigger holds no more than it needs.
        del hook
        async with client_pool.shared_transport(settings, system, meter=meter) as transport:
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
        yield TriggerEvent({**event.to_dict(), "state": self.state})

    def _load(self) -> tuple[Any, Any, Any]:
        # Not at the top: workers load this module and need no httpx, and parsing a DAG needs neither.
        from stoq_provider.jobs import wait
        from stoq_provider.transport import client_pool

        return self.load_hook_class()(self.conn_id), client_pool, wait

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
    """
    Waits for batch jobs of Medusa; parameters as in :class:`JobTrigger`.

    It cancels nothing: Airflow 3.3 calls ``on_kill`` of a trigger also when it only moves to another
    triggerer, and the trigger of a sensor is the same as that of the operator that made the job.
    """

    hook_class = "stoq_provider.hooks.medusa:MedusaHook"
