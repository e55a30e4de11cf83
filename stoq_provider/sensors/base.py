"""What the job sensors share: wait or defer, fetch, return the manifest."""

from __future__ import annotations

import time
from collections.abc import Sequence
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

from stoq_provider.core.events import WaitEvent, WaitState
from stoq_provider.core.lifecycle import JobProgress
from stoq_provider.core.models import JobHandle
from stoq_provider.exceptions import PollingUnhealthy
from stoq_provider.jobs import results
from stoq_provider.jobs.errors import WAIT_AGAIN, typed
from stoq_provider.sensors.wording import CLEAR, NO_JOB, named, timed_out
from stoq_provider.triggers.deferral import TRIGGER_FAILED, H, WaitingTask, is_time_out, trigger_failure

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from stoq_provider.core.polling import Poller
    from stoq_provider.jobs.wait import PokeMemory

FATE = "The remote jobs are not touched; a retry of this task looks again and submits nothing."


_BASE_EXECUTE = BaseSensorOperator.execute
"""Called without Airflow 2's guard, which takes it for an operator that is run within another."""


class JobSensor(WaitingTask[H], BaseSensorOperator):
    """
    Base of the job sensors. A sensor reads only: it submits nothing and cancels nothing.

    ``poke_interval``, ``timeout``, ``soft_fail``, ``mode`` and the rest are those of
    ``BaseSensorOperator``; ``soft_fail`` skips after every bad end of a job, in each mode alike. Deferred,
    a sensor polls at the vendor's documented cadence, or at ``poll_interval`` or ``poke_interval`` where one
    is given.

    :param job: a handle, a list of handles (an operator's return value), or a ``status_url``.
    :param poll_interval: seconds between polls while deferred.
    :param unhealthy_after: seconds without any good answer after which the task fails, without claiming
        that the job failed. In mode ``reschedule`` every poke is a process of its own; without a store
        for records (see ``[stoq] state_path``), only ``timeout`` ends a row of bad answers there.

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
        self._check_download()
        if not self.deferrable:
            return self._execute_here(context)
        # Not a single look here: a thousand sensors that start at once know nothing of each other in their
        # processes, but they do in the triggerer, which looks at once where the points allow.
        try:
            self._poller  # noqa: B018 - checks the jobs
        except AirflowException as error:
            self._skip_if_soft(str(error))
            raise
        return self._defer_until(self._poller, self._state())

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
        manifest = self._finish(event_of(poller, 0, self._state()))
        return PokeReturnValue(is_done=True, xcom_value=manifest)

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Go on where the trigger fired."""
        return self._finish(self._read_event(event, FATE))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Explain what a failed trigger means; Airflow would only say that it failed."""
        if next_method != TRIGGER_FAILED:
            return super().resume_execution(next_method, next_kwargs, context)
        system, late = self.hook.system, is_time_out(next_kwargs)
        again = CLEAR if late else WAIT_AGAIN
        message = trigger_failure(self, next_kwargs, context, system.label, again=again)
        self._skip_if_soft(message)
        if late:
            raise AirflowSensorTimeout(message)
        # A trigger that broke says nothing of the time: unlike a time-out, Airflow retries this.
        raise PollingUnhealthy(message, system=system.name)

    def on_kill(self) -> None:
        """End the wait on the worker; the jobs go on."""
        if "hook" in self.__dict__:
            self.hook.stop()

    def _skip_if_soft(self, message: str) -> None:
        if self.soft_fail or getattr(self, "never_fail", False):
            raise AirflowSkipException(message)

    # -- steps --------------------------------------------------------------------------------------

    @cached_property
    def _started_at(self) -> float:
        """Set by ``execute``; of a ``poke`` that is called by itself, the moment of the first one."""
        return time.time()

    @cached_property
    def _poller(self) -> Poller:
        now = self._started_at
        with typed(self.hook.system.name, NO_JOB):
            handles = self.handles()
            for handle in handles:
                self.hook.system.status_request(self.hook.settings.origin, handle)
        jobs = tuple(JobProgress(handle, now) for handle in handles)
        if self._memory is not None:
            jobs = self._memory.recall(jobs)
        return self._make_poller(jobs, deadline=now + self.timeout, now=now, eager=True)

    def _execute_here(self, context: Context) -> Any:
        try:
            return getattr(_BASE_EXECUTE, "__wrapped__", _BASE_EXECUTE)(self, context)
        except AirflowSensorTimeout as error:
            if CLEAR in str(error):  # poke() itself saw the deadline pass, and its message is complete
                raise
            # Empty where silent_fail passed over jobs that ended badly.
            jobs = [progress.handle.job_id for progress in self._poller.jobs if not progress.ended]
            still = f" Jobs that have not ended: {named(jobs)}. They go on." if jobs else ""
            problem = AirflowSensorTimeout(f"{error}{still} {CLEAR}")
        raise problem

    def _state(self) -> WaitState:
        return WaitState(
            self._started_at,
            destination=self._place,
            points_spent=self.hook.transport.points_spent if self.deferrable else 0,
        )

    def _finish(self, event: WaitEvent) -> dict[str, Any]:
        self._raise_bad_end(event)
        manifest = results.sum_up(self.hook, self.download, event, event.state.destination, recorded=True)
        self.hook.close()
        return manifest

    def _raise_bad_end(self, event: WaitEvent) -> None:
        """Raise what jobs that did not end well mean for the task, if there are any."""
        late = timed_out(event.ends, self.hook.system.label)
        error = AirflowSensorTimeout(late) if late else self._worst_error(event, recorded=True)
        if error is None:
            return
        if self.soft_fail or self.never_fail:
            # Airflow 3 puts words of its own in place of the error, which name neither job nor reason.
            self.log.warning("%s", error)
        # By itself, Airflow skips after any error of a deferred sensor only from 3.1 on, and of a poke only
        # after time-outs and what is not retried. As there, silent_fail goes before where it has a meaning:
        # the base class logs the error and pokes on.
        if (self.soft_fail or self.never_fail) and (self.deferrable or not self.silent_fail):
            raise AirflowSkipException(str(error))
        raise error
