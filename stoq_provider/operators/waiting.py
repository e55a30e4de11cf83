"""What operators share that wait for jobs: wait or defer, decide, fetch, return the manifest."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import BaseOperator, conf

from stoq_provider.core.events import JobEnd, WaitEvent, WaitState
from stoq_provider.core.lifecycle import Outcome
from stoq_provider.download.options import DownloadOptions
from stoq_provider.exceptions import FinalPollingUnhealthy, PollingUnhealthy, ProtocolError, StoqProviderError
from stoq_provider.jobs import config, results
from stoq_provider.jobs.errors import NO_RECORD, NOT_RETRIED, WAIT_AGAIN, typed
from stoq_provider.jobs.wait import WaitPlan, event_of, wait_sync
from stoq_provider.operators.decision import Decision
from stoq_provider.triggers.deferral import BACKSTOP, TRIGGER_FAILED, trigger_failure
from stoq_provider.triggers.jobs import JobTrigger, check_serializable, job_arguments

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from stoq_provider.core.models import JobHandle
    from stoq_provider.core.polling import Poller
    from stoq_provider.hooks.base import JobHook


class WaitingOperator(BaseOperator):
    """
    Base of the operators that wait for jobs.

    :param destination: where files go: an ``ObjectStoragePath`` or URL; ending with ``/``, the server's
        cleaned file name is appended.
    :param deferrable: wait in the triggerer instead of on the worker.
    :param timeout: seconds in all; a retry begins anew.
    :param poll_interval: seconds between polls; default: the cadence the vendor documents.
    :param unhealthy_after: seconds without any good answer after which the task fails, without claiming
        that the job failed; default: ``[stoq] unhealthy_after``.
    :param overwrite: whether an object that stands at the destination is replaced: ``True``, ``False``, or
        ``"if_different"``.
    :param format: ``"csv"`` as the server made it, or ``"parquet"`` (extra ``parquet``).
    :param download_options: finer points of the download, such as ``{"on_empty": "skip", "min_rows": 1}``:
        those of :class:`~stoq_provider.download.options.DownloadOptions`.
    """

    template_fields: Sequence[str] = ("destination",)
    trigger_class: ClassVar[type[JobTrigger]]
    downloads: ClassVar[bool] = False
    owner: ClassVar[bool] = False
    """Whether the jobs are submitted by the task itself."""

    def __init__(
        self,
        *,
        destination: Any = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        timeout: float | timedelta = 6 * 3600,
        poll_interval: float | None = None,
        unhealthy_after: float | None = None,
        overwrite: bool | Literal["if_different"] = True,
        format: Literal["csv", "parquet"] = "csv",  # noqa: A002 - what users look for
        download_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.deferrable = deferrable
        self.timeout = timeout
        self.poll_interval = poll_interval
        self.unhealthy_after = unhealthy_after
        self.download = DownloadOptions.of(format=format, overwrite=overwrite, given=download_options)

    # -- what a subclass says -----------------------------------------------------------------------

    @abstractmethod
    def make_hook(self) -> JobHook:
        """Return the hook of the operator's connection."""

    @abstractmethod
    def _run(self, context: Context) -> Any:
        """Do the work of a try."""

    def decide(self, event: WaitEvent) -> Decision:
        """
        Decide about jobs that wait for it.

        May be called for the same jobs again, on another worker.
        """
        return Decision(event)

    def accepts(self, end: JobEnd) -> bool:
        """Whether a job ended as the task wants it."""
        return end.outcome.good

    def note_ends(self, context: Context, event: WaitEvent) -> None:
        """Write down how jobs ended, for the next try."""

    def note_success(self, context: Context, event: WaitEvent) -> None:
        """Write down that all went well."""

    def note_failure(self, context: Context, event: WaitEvent, error: StoqProviderError) -> None:
        """Write down what a failure means for the next try."""

    def recorded(self, context: Context) -> bool:
        """Whether the next try finds the jobs."""
        return True

    def must_not_retry(self, context: Context) -> bool:
        """Whether a retry would do harm, because it could not find the jobs."""
        return False

    def unchanged_items(self, context: Context, event: WaitEvent) -> Sequence[Any]:
        """
        Look whether jobs that ended well did what was wanted.

        :raises StoqProviderError: they did not, and the task is to fail.
        """
        return ()

    # -- Airflow's side -----------------------------------------------------------------------------

    @cached_property
    def hook(self) -> JobHook:
        """The hook."""
        return self.make_hook()

    def execute(self, context: Context) -> Any:
        """Do the work, and wait as the parameters say."""
        # The work is not in execute() itself, which a subclass must not call as super().execute(): Airflow
        # 2 takes that for an operator that is run within another.
        return self._run(context)

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Go on where the trigger fired."""
        try:
            with typed(self.hook.system.name, "The remote jobs go on."):
                ended = WaitEvent.from_dict(event)
        except ProtocolError as error:
            final = self.must_not_retry(context)
            again = NOT_RETRIED if final else "A retry waits for them."
            problem = (FinalPollingUnhealthy if final else ProtocolError)(
                f"{error.message} {again}", **error.details()
            )
        else:
            return self._finish(context, ended)
        raise problem

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Explain what a failed trigger means; Airflow would only say that it failed."""
        if next_method != TRIGGER_FAILED:
            return super().resume_execution(next_method, next_kwargs, context)
        label, recorded = self.hook.system.label, self.recorded(context)
        if self.must_not_retry(context):
            raise FinalPollingUnhealthy(trigger_failure(self, next_kwargs, context, label, again=NOT_RETRIED))
        again = WAIT_AGAIN if recorded else NO_RECORD
        raise PollingUnhealthy(trigger_failure(self, next_kwargs, context, label, again=again))

    def on_kill(self) -> None:
        """End the wait on the worker; the jobs go on."""
        if "hook" in self.__dict__:
            self.hook.stop("The remote jobs go on; this task submits none, and cancels none.")

    # -- steps --------------------------------------------------------------------------------------

    def _check_input(self) -> None:
        config.seconds("timeout", self.timeout)
        config.poll_interval(self.poll_interval)
        config.unhealthy_after(self.unhealthy_after)
        check_serializable({"conn_id": self.hook.conn_id})
        from stoq_provider.jobs.files import check_download  # parsing a DAG needs no download

        check_download(self.download, self.destination)

    def _new_state(self, kind: str, started_at: float) -> WaitState:
        """Return what is found again on resumption, beside the ends of the jobs."""
        return WaitState(
            started_at,
            # Templates are rendered again on resumption; what was rendered now is what counts.
            destination=None if self.destination is None else str(self.destination),
            deadline=time.time() + config.seconds("timeout", self.timeout),
            kind=kind,
        )

    def _wait_for(
        self,
        context: Context,
        handles: Sequence[JobHandle],
        state: WaitState,
        *,
        seen_at: dict[str, float] | None = None,
        eager: bool = False,
    ) -> dict[str, Any]:
        """Wait for jobs, here or in the triggerer; then finish."""
        plan = WaitPlan.of(
            handles,
            deadline=state.deadline,
            now=time.time(),
            poll_interval=config.poll_interval(self.poll_interval),
            unhealthy_after=config.unhealthy_after(self.unhealthy_after),
            seen_at=seen_at or {},
        )
        poller = plan.poller(self.hook.system, eager=eager)
        if not self._wait(poller):
            self._defer(poller, state)
        return self._finish(context, event_of(poller, 0, state))

    def _wait(self, poller: Poller) -> bool:
        """
        Wait on the worker, unless deferring is wanted. Return whether all jobs have ended.

        Deferred, the first look is the triggerer's too: only there the tasks know of each other's polls.
        """
        hook = self.hook
        if self.deferrable:
            return poller.step(time.time()).done
        wait_sync(poller, hook.transport, hook.system, hook.settings, sleep=hook.sleep, log=self.log)
        return True

    def _defer(self, poller: Poller, state: WaitState) -> None:
        deadline = poller.deadline
        spent = state.points_spent + self.hook.transport.points_spent
        trigger = self.trigger_class(
            conn_id=self.hook.conn_id,
            jobs=job_arguments(poller.jobs),
            deadline=deadline,
            poll_interval=config.poll_interval(self.poll_interval),
            unhealthy_after=config.unhealthy_after(self.unhealthy_after),
            state=replace(state, points_spent=spent).to_dict(),
        )
        self.hook.close()
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            timeout=timedelta(seconds=max(0.0, deadline - time.time())) + BACKSTOP,
        )

    def _finish(self, context: Context, event: WaitEvent) -> dict[str, Any]:
        self.note_ends(context, event)
        event = replace(event, ends=(*event.state.ended, *event.ends))
        try:
            self._raise_bad(context, event)
            decision = self.decide(event)
            if decision.event is not event:
                self.note_ends(context, decision.event)
            if decision.error is not None:
                raise decision.error
            if not decision.again:
                manifest = self._results(context, decision.event)
        except StoqProviderError as error:
            self.note_failure(context, event, error)
            raise
        if decision.again:
            return self._wait_again(context, decision)
        self.note_success(context, decision.event)
        self.hook.close()
        return manifest

    def _wait_again(self, context: Context, decision: Decision) -> dict[str, Any]:
        state = decision.event.state
        if state.decided:
            raise ProtocolError(
                f"{self.hook.system.label} lets jobs wait for a decision that it has been given. They are "
                "left as they are; a retry looks again.",
                system=self.hook.system.name,
            )
        kinds = {handle.kind for handle in decision.again}
        state = replace(
            state,
            points_spent=state.points_spent + decision.event.points_spent,
            kind=kinds.pop() if len(kinds) == 1 else state.kind,
            decided=True,
        )
        return self._wait_for(context, decision.again, state)

    def _raise_bad(self, context: Context, event: WaitEvent) -> None:
        """Raise the error of the worst job that did not end as the task wants it."""
        ends = (
            replace(end, outcome=Outcome.SUCCEEDED) if self.accepts(end) and not end.outcome.good else end
            for end in event.ends
        )
        error = results.first_error(
            self.hook,
            replace(event, ends=tuple(ends)),
            owner=self.owner,
            recorded=self.recorded(context),
            unhealthy_after=config.unhealthy_after(self.unhealthy_after),
        )
        if error is not None:
            raise error

    def _results(self, context: Context, event: WaitEvent) -> dict[str, Any]:
        state = event.state
        unchanged = self.unchanged_items(context, event)
        manifest = results.sum_up(
            self.hook,
            event,
            kind=state.kind,
            files=results.fetch(
                self.hook,
                self.download,
                event,
                state.destination if self.downloads else None,
                recorded=self.recorded(context),
            ),
            unchanged_items=unchanged,
            started_at=state.started_at,
            points_before=state.points_spent,
        )
        return results.keep_long(self.hook, manifest, None if self.downloads else state.destination)
