"""What the job sensors share: wait or defer, fetch, return the manifest."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
)

from stoq_provider.core.events import JobEnd, WaitEvent, WaitState
from stoq_provider.core.lifecycle import JobProgress, Outcome
from stoq_provider.core.models import JobHandle
from stoq_provider.core.validation import some
from stoq_provider.exceptions import StoqProviderError
from stoq_provider.jobs import config
from stoq_provider.jobs.errors import typed
from stoq_provider.links.jobs import push_links
from stoq_provider.triggers.deferral import H, WaitingTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from stoq_provider.core.polling import Poller
    from stoq_provider.jobs.wait import PokeMemory

CLEAR = (
    "Airflow does not retry a sensor whose time is up; clear the task to look again, which submits nothing."
)
NO_JOB = (
    "The remote jobs are not touched. Once the parameters are right, clear the task to look again, which "
    "submits nothing."
)

_BASE_EXECUTE = BaseSensorOperator.execute
"""Called without Airflow 2's guard, which takes it for an operator that is run within another."""


class JobSensor(WaitingTask[H], BaseSensorOperator):
    """
    Base of the job sensors. A sensor reads only: it submits nothing and cancels nothing.

    ``poke_interval``, ``timeout``, ``soft_fail``, ``mode`` and the rest are those of
    ``BaseSensorOperator``; ``soft_fail`` skips after every bad end of a job, in each mode alike.
    ``execution_timeout`` bounds the wait while deferred too, and is retried, unlike ``timeout``. Deferred,
    a sensor polls at the vendor's documented cadence, or at ``poll_interval`` or ``poke_interval`` where one
    is given.

    :param job: a handle, a ``status_url``, or a job's id where its place is documented; or a list of these,
        as an operator that does not wait returns one (mapped tasks as well), and pushes others as ``job_ids``
        and ``status_urls``.
    :param poke_interval: seconds between two pokes, as of any sensor.
    :param poll_interval: seconds between polls while deferred; default: ``poke_interval`` where one is given,
        else the system's cadence.
    :param unhealthy_after: seconds without any good response after which the task fails, without claiming
        that the job failed. In mode ``reschedule`` every poke is a process of its own; without a store
        for records (see ``[stoq] state_path``), only ``timeout`` ends a row of bad responses there.
    :param start_from_trigger: start in the triggerer, so that a worker is needed only at the end (Airflow 3.3
        and later, with ``deferrable``). Not where the task is mapped: Airflow starts those on a worker.

    The other parameters are those of :class:`~stoq_provider.triggers.deferral.WaitingTask`.
    """

    template_fields: Sequence[str] = ("job", "destination")
    template_fields_renderers: ClassVar[dict[str, str]] = {"job": "json"}

    def __init__(
        self,
        *,
        job: Any,
        poke_interval: timedelta | float | None = None,
        poll_interval: float | None = None,
        start_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        # BaseSensorOperator has a default, so only here it can be seen whether the user gave one. As a
        # parameter, since Airflow puts what ``default_args`` hold only into parameters with a name.
        if poke_interval is not None:
            kwargs["poke_interval"] = poke_interval
        super().__init__(**kwargs)
        self.job = job
        self.poll_interval = (
            poll_interval if poll_interval is not None or poke_interval is None else self.poke_interval
        )
        self.start_from_trigger = start_from_trigger
        config.check_options(self, "poll_interval", "start_from_trigger")
        self._memory: PokeMemory | None = None

    def handles(self) -> list[JobHandle]:
        """
        Return the jobs to wait for.

        :raises InvalidInput: where they are no jobs.
        """
        return self.hook.system.read_handles(self.job)

    def execute(self, context: Context) -> Any:
        """Wait, as the parameters say."""
        self._started_at = time.time()
        if self.reschedule and not self.deferrable:
            from stoq_provider.jobs.wait import PokeMemory  # parsing a DAG needs no engine

            self._memory = PokeMemory(context, self.hook.conn_id, self.log)
        self._note_try(context)
        # Not of the store at every poke in a process of its own: making its client takes seconds.
        push_links(context, self, self.hook, self.destination if self._memory is None else None)
        if not self.deferrable:
            return self._execute_here(context)
        # Not a single look here: a thousand sensors that start at once know nothing of each other in their
        # processes, but they do in the triggerer, which looks at once where the points allow.
        try:
            self._poller  # noqa: B018 - checks the jobs
        except AirflowException as error:
            raise self._failed(error) from None
        return self._defer_until(self._poller, self._state())

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Go on where the trigger fired, or begin where it could not."""
        if event is None:
            return self.execute(context)
        return super().execute_complete(context, event)

    def poke(self, context: Context) -> PokeReturnValue | bool:
        """Poll every job that has not ended, once."""
        from stoq_provider.jobs.wait import event_of, poll_due  # parsing a DAG needs no engine

        hook, poller = self.hook, self._poller
        hook.sleep(0)  # raises where the task was stopped between two pokes
        poller.wake(time.time())
        if not poll_due(poller, hook):
            if self._memory is not None:
                self._memory.keep(poller.jobs)
            return False
        manifest = self._finish(context, event_of(poller, 0, self._state()))
        return PokeReturnValue(is_done=True, xcom_value=manifest)

    # -- steps --------------------------------------------------------------------------------------

    @cached_property
    def _started_at(self) -> float:
        """Set by ``execute``; of a ``poke`` that is called by itself, the moment of the first one."""
        return time.time()

    @property
    def _limited(self) -> tuple[float, str]:
        return self._deadline(self._started_at, self._started_at + self.timeout)

    @cached_property
    def _poller(self) -> Poller:
        now = self._started_at
        with typed(self.hook.system.name, NO_JOB):
            handles = self.handles()
            self._check_jobs(handles)
        self._jobs = handles
        jobs = tuple(JobProgress(handle, now) for handle in handles)
        if self._memory is not None:
            jobs = self._memory.recall(jobs)
        if not any(job.seen_at for job in jobs):  # not at every poke: it begins an upload
            self._check_download(self.destination, handles[0].kind)
        return self._make_poller(jobs, deadline=self._limited[0], now=now, eager=True)

    def _execute_here(self, context: Context) -> Any:
        try:
            return getattr(_BASE_EXECUTE, "__wrapped__", _BASE_EXECUTE)(self, context)
        except AirflowSensorTimeout as error:
            if CLEAR in str(error):  # poke() itself saw the deadline pass, and its message is complete
                raise
            # Empty where silent_fail passed over jobs that ended badly.
            jobs = [progress.handle.job_id for progress in self._poller.jobs if not progress.ended]
            still = f" Jobs that have not ended: {some(jobs)}. They go on." if jobs else ""
            problem = AirflowSensorTimeout(f"{error}{still} {CLEAR}")
        raise problem

    def _state(self) -> WaitState:
        return WaitState(
            self._started_at,
            destination=self._place,
            limit=self._limited[1],
            points_spent=self.hook.transport.points_spent if self.deferrable else 0,
        )

    def _finish(self, context: Context, event: WaitEvent) -> dict[str, Any]:
        self._note_try(context)
        if event.state.from_trigger or self._memory is not None:
            push_links(context, self, self.hook, self.destination)
        if event.state.from_trigger:
            event = replace(event, state=replace(event.state, destination=self._place))
        late = _timed_out(event, self.hook.system.label)
        worst = AirflowSensorTimeout(late) if late else None
        error = worst or self._worst_error(event, own_jobs=False, recorded=True)
        if error is not None:
            raise self._failed(error)
        if event.state.from_trigger:
            self._check_place(event)
        self.hook.patience = config.unhealthy_after(self.unhealthy_after)
        manifest = self._sum_up(context, event, event.state.destination, recorded=True)
        self.hook.close()
        return manifest

    def _check_place(self, event: WaitEvent) -> None:
        """Try out the destination of a sensor that started in the triggerer, where nobody has."""
        handles = [end.handle for end in event.ends]
        try:
            with typed(self.hook.system.name, NO_JOB):
                self._check_jobs(handles)
            self._check_download(self.destination, handles[0].kind)
        except AirflowException as error:
            raise self._failed(error) from None

    def _without_result(
        self, context: Context, error: type[StoqProviderError], text: str, again: str, *, late: bool = False
    ) -> AirflowException:
        if late and self._limited[1] == "timeout":
            return self._failed(AirflowSensorTimeout(f"{text} {CLEAR}"))
        # A trigger that broke says nothing of the time: unlike a time-out, Airflow retries this. It retries
        # after an execution_timeout too.
        return self._failed(error(f"{text} {again}", system=self.hook.system.name))

    def _failed(self, error: AirflowException) -> AirflowException:
        """Return what an error means for the task, which may be skipped instead of failing."""
        if not (self.soft_fail or self.never_fail):
            return error
        # Airflow 3 puts words of its own in place of the error, which name neither job nor reason.
        self.log.warning("%s", error)
        # By itself, Airflow skips after any error of a deferred sensor only from 3.1 on, and of a poke only
        # after time-outs and what is not retried. As there, silent_fail goes before where it has a meaning:
        # the base class logs the error and pokes on.
        return AirflowSkipException(str(error)) if self.deferrable or not self.silent_fail else error


def _timed_out(event: WaitEvent, label: str) -> str | None:
    """
    Return the message of a wait that ``timeout`` ended; ``None``: it was not that.

    What ``execution_timeout`` ends, Airflow retries, of sensors as well.
    """
    if event.state.limit != "timeout":
        return None
    late, bad = [], []
    for end in event.ends:
        if end.outcome is Outcome.TIMEOUT:
            late.append(_described(end))
        elif not end.outcome.good:
            bad.append(_described(end))
    if not late:
        return None
    others = f" Of the others, these did not end well: {some(bad)}." if bad else ""
    text = f"These jobs at {label} did not end in time: {some(late)}. timeout has passed; they go on."
    return f"{text}{others} {CLEAR}"


def _described(end: JobEnd) -> str:
    notes = [end.text] if end.text else []
    if end.outcome is not Outcome.TIMEOUT:
        notes.insert(0, end.outcome.value)
    elif end.status is not None:
        notes.append(f"last seen as {end.status.describe()}")
    return f"{end.handle.job_id} ({', '.join(notes)})" if notes else end.handle.job_id
