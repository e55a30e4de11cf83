"""What the job sensors share: wait or defer, fetch, return the manifest."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from stoq_provider.core.events import WaitEvent, WaitState
from stoq_provider.core.models import JobHandle
from stoq_provider.download.options import DownloadOptions
from stoq_provider.exceptions import PollingUnhealthy
from stoq_provider.jobs import config, results
from stoq_provider.jobs.errors import WAIT_AGAIN, typed
from stoq_provider.jobs.wait import PokeMemory, WaitPlan, event_of, poll_due
from stoq_provider.sensors.wording import CLEAR, NO_JOB, named, timed_out
from stoq_provider.triggers.deferral import BACKSTOP, TRIGGER_FAILED, is_time_out, trigger_failure
from stoq_provider.triggers.jobs import JobTrigger, job_arguments

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from stoq_provider.core.polling import Poller
    from stoq_provider.hooks.base import JobHook

FATE = "The remote jobs are not touched; a retry of this task looks again and submits nothing."


_BASE_EXECUTE = BaseSensorOperator.execute
"""Called without Airflow 2's guard, which takes it for an operator that is run within another."""


class JobSensor(BaseSensorOperator):
    """
    Base of the job sensors. A sensor reads only: it submits nothing and cancels nothing.

    ``poke_interval``, ``timeout``, ``soft_fail``, ``mode`` and the rest are those of
    ``BaseSensorOperator``; ``soft_fail`` skips after every bad end of a job, in each mode alike. Deferred,
    a sensor polls at the vendor's documented cadence, or at ``poll_interval`` or ``poke_interval`` where one
    is given.

    :param job: a handle, a list of handles (an operator's return value), or a ``status_url``.
    :param destination: where files go; none: nothing is downloaded.
    :param deferrable: wait in the triggerer instead of on the worker.
    :param poll_interval: seconds between polls while deferred.
    :param unhealthy_after: seconds without any good answer after which the task fails, without claiming
        that the job failed. In mode ``reschedule`` every poke is a process of its own; without a store
        for records (see ``[stoq] state_path``), only ``timeout`` ends a row of bad answers there.
    :param overwrite: whether an object that stands at the destination is replaced: ``True``, ``False``, or
        ``"if_different"``.
    :param format: ``"csv"`` as the server made it, or ``"parquet"``.
    :param download_options: finer points of the download, see
        :class:`~stoq_provider.download.options.DownloadOptions`.
    """

    template_fields: Sequence[str] = ("job", "destination")
    template_fields_renderers: ClassVar[dict[str, str]] = {"job": "json"}
    trigger_class: ClassVar[type[JobTrigger]]

    def __init__(
        self,
        *,
        job: Any,
        destination: Any = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: timedelta | float | None = None,
        poll_interval: float | None = None,
        unhealthy_after: float | None = None,
        overwrite: bool | Literal["if_different"] = True,
        format: Literal["csv", "parquet"] = "csv",  # noqa: A002 - what users look for
        download_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        # BaseSensorOperator has a default, so only here it can be seen whether the user gave one. As a
        # parameter, since Airflow puts what ``default_args`` hold only into parameters with a name.
        if poke_interval is not None:
            kwargs["poke_interval"] = poke_interval
        super().__init__(**kwargs)
        self.job = job
        self.destination = destination
        self.deferrable = deferrable
        self.poll_interval = (
            poll_interval if poll_interval is not None or poke_interval is None else self.poke_interval
        )
        self.unhealthy_after = unhealthy_after
        self.download = DownloadOptions.of(format=format, overwrite=overwrite, given=download_options)
        self._memory: PokeMemory | None = None

    def make_hook(self) -> JobHook:
        """Return the hook of the sensor's connection."""
        raise NotImplementedError

    def handles(self) -> list[JobHandle]:
        """
        Return the jobs to wait for.

        :raises InvalidInput: where they are no jobs.
        """
        return self.hook.system.read_handles(self.job)

    @cached_property
    def hook(self) -> JobHook:
        """The hook."""
        return self.make_hook()

    def execute(self, context: Context) -> Any:
        """Wait, as the parameters say."""
        self._started_at = time.time()
        if self.reschedule and not self.deferrable:
            self._memory = PokeMemory.of(context, self.hook.conn_id, self.log)
        from stoq_provider.jobs.files import check_download  # parsing a DAG needs no download

        check_download(self.download, self.destination)
        if not self.deferrable:
            return self._execute_here(context)
        # Not a single look here: a thousand sensors that start at once know nothing of each other in their
        # processes, but they do in the triggerer, which looks at once where the points allow.
        try:
            self._poller  # noqa: B018 - checks the jobs
        except AirflowException as error:
            self._skip_if_soft(str(error))
            raise
        return self._defer()

    def poke(self, context: Context) -> PokeReturnValue | bool:
        """Poll every job that has not ended, once."""
        hook, poller = self.hook, self._poller
        hook.sleep(0)  # raises where the task was told to stop between two pokes
        poller.wake(time.time())
        if not poll_due(poller, hook.transport, hook.system, hook.settings, self.log):
            if self._memory is not None:
                self._memory.keep(poller.jobs)
            return False
        manifest = self._finish(event_of(poller, 0, self._state()))
        return PokeReturnValue(is_done=True, xcom_value=manifest)

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Go on where the trigger fired."""
        with typed(self.hook.system.name, FATE):
            ended = WaitEvent.from_dict(event)
        return self._finish(ended)

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
        plan = WaitPlan.of(
            handles,
            deadline=now + self.timeout,
            now=now,
            poll_interval=config.poll_interval(self.poll_interval),
            unhealthy_after=config.unhealthy_after(self.unhealthy_after),
        )
        if self._memory is not None:
            plan = replace(plan, jobs=self._memory.recall(plan.jobs))
        return plan.poller(self.hook.system, eager=True)

    def _execute_here(self, context: Context) -> Any:
        try:
            return getattr(_BASE_EXECUTE, "__wrapped__", _BASE_EXECUTE)(self, context)
        except AirflowSensorTimeout as error:
            if CLEAR in str(error):  # poke() itself saw the deadline pass, and has said everything
                raise
            # Empty where silent_fail passed over jobs that ended badly.
            jobs = [progress.handle.job_id for progress in self._poller.jobs if not progress.ended]
            still = f" Jobs that have not ended: {named(jobs)}. They go on." if jobs else ""
            problem = AirflowSensorTimeout(f"{error}{still} {CLEAR}")
        raise problem

    def _state(self) -> WaitState:
        return WaitState(
            self._started_at,
            destination=None if self.destination is None else str(self.destination),
            points_spent=self.hook.transport.points_spent if self.deferrable else 0,
        )

    def _defer(self) -> None:
        poller = self._poller
        trigger = self.trigger_class(
            conn_id=self.hook.conn_id,
            jobs=job_arguments(poller.jobs),
            deadline=poller.deadline,
            poll_interval=config.poll_interval(self.poll_interval),
            unhealthy_after=config.unhealthy_after(self.unhealthy_after),
            state=self._state().to_dict(),
        )
        self.hook.close()
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            timeout=timedelta(seconds=max(0.0, poller.deadline - time.time())) + BACKSTOP,
        )

    def _finish(self, event: WaitEvent) -> dict[str, Any]:
        state = event.state
        self._raise_bad_end(event)
        files = results.fetch(self.hook, self.download, event, state.destination, recorded=True)
        manifest = results.sum_up(
            self.hook,
            event,
            kind=event.ends[0].handle.kind,
            files=files,
            started_at=state.started_at,
            points_before=state.points_spent,
        )
        self.hook.close()
        return manifest

    def _raise_bad_end(self, event: WaitEvent) -> None:
        """Raise what jobs that did not end well mean for the task, if there are any."""
        late = timed_out(event.ends, self.hook.system.label)
        if late:
            error = AirflowSensorTimeout(late)
        else:
            error = results.first_error(
                self.hook,
                event,
                owner=False,
                recorded=True,
                unhealthy_after=config.unhealthy_after(self.unhealthy_after),
            )
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
