"""What operators share that wait for jobs: wait or defer, decide, fetch, return the manifest."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from stoq_provider.core.events import JobEnd, WaitEvent, WaitState
from stoq_provider.core.lifecycle import JobProgress, Outcome
from stoq_provider.exceptions import FinalPollingUnhealthy, PollingUnhealthy, ProtocolError, StoqProviderError
from stoq_provider.jobs import config, results
from stoq_provider.jobs.errors import NO_RECORD, NOT_RETRIED, WAIT_AGAIN
from stoq_provider.triggers.deferral import TRIGGER_FAILED, H, WaitingTask, trigger_failure

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from stoq_provider.core.models import JobHandle


class WaitingOperator(WaitingTask[H]):
    """
    Base of the operators that wait for jobs.

    :param timeout: seconds in all; a retry begins anew.

    The other parameters are those of :class:`~stoq_provider.triggers.deferral.WaitingTask`.
    """

    downloads: ClassVar[bool] = False

    def __init__(self, *, timeout: float | timedelta = 6 * 3600, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.timeout = timeout

    # -- what a subclass says -----------------------------------------------------------------------

    @abstractmethod
    def _run(self, context: Context) -> Any:
        """Do the work of a try."""

    def decide(self, context: Context, event: WaitEvent) -> tuple[WaitEvent, Sequence[JobHandle]]:
        """
        Decide about jobs that wait for it.

        May be called for the same jobs again, on another worker.

        :return: how the jobs ended, as it is after the decision, and those that go on.
        :raises StoqProviderError: the task fails after the decision.
        """
        return event, ()

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

    def shorten(self, manifest: dict[str, Any], folder: str | None, *, recorded: bool) -> dict[str, Any]:
        """
        Return the manifest with lists that fit into XCom.

        :param folder: where longer ones go; ``None``: nowhere.
        :raises StoqProviderError: one could not be stored.
        """
        items = manifest["unchanged_items"]
        manifest["totals"]["unchanged"] = len(items)
        return results.keep_long(self.hook, manifest, "unchanged_items", items, folder, recorded=recorded)

    # -- Airflow's side -----------------------------------------------------------------------------

    def execute(self, context: Context) -> Any:
        """Do the work, and wait as the parameters say."""
        # The work is not in execute() itself, which a subclass must not call as super().execute(): Airflow
        # 2 takes that for an operator that is run within another.
        return self._run(context)

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Go on where the trigger fired."""
        try:
            ended = self._read_event(event, "The remote jobs go on.")
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
        self._check_download()

    def _new_state(self, kind: str, started_at: float) -> WaitState:
        """Return what is found again on resumption, beside the ends of the jobs."""
        return WaitState(
            started_at,
            # Templates are rendered again on resumption; what was rendered now is what counts.
            destination=self._place,
            deadline=time.time() + config.seconds("timeout", self.timeout),
            kind=kind,
        )

    def _wait_for(
        self,
        handles: Sequence[JobHandle],
        state: WaitState,
        *,
        seen_at: dict[str, float] | None = None,
        eager: bool = False,
    ) -> WaitEvent:
        """
        Wait for jobs; does not return where that is left to the triggerer.

        :param seen_at: when a job was last seen alive, by its id.
        """
        from stoq_provider.jobs.wait import event_of, wait_sync  # parsing a DAG needs no engine

        hook, now, seen = self.hook, time.time(), seen_at or {}
        jobs = [JobProgress(handle, now, seen.get(handle.job_id)) for handle in handles]
        poller = self._make_poller(jobs, deadline=state.deadline, now=now, eager=eager)
        if not self.deferrable:
            wait_sync(poller, hook)
        elif not poller.step(time.time()).done:
            # The first look is the triggerer's too: only there the tasks know of each other's polls.
            spent = state.points_spent + hook.transport.points_spent
            self._defer_until(poller, replace(state, points_spent=spent))
        return event_of(poller, 0, state)

    def _finish(self, context: Context, event: WaitEvent) -> dict[str, Any]:
        self.note_ends(context, event)
        event = replace(event, ends=(*event.state.ended, *event.ends))
        try:
            self._raise_bad(context, event)
            event, again = self.decide(context, event)
            manifest = {} if again else self._results(context, event)
        except StoqProviderError as error:
            self.note_failure(context, event, error)
            raise
        if again:
            return self._finish(context, self._wait_again(event, again))
        self.note_success(context, event)
        self.hook.close()
        return manifest

    def _wait_again(self, event: WaitEvent, again: Sequence[JobHandle]) -> WaitEvent:
        state = event.state
        if state.decided:
            raise ProtocolError(
                f"{self.hook.system.label} lets jobs wait for a decision that it has been given. They are "
                "left as they are; a retry looks again.",
                system=self.hook.system.name,
            )
        kinds = {handle.kind for handle in again}
        state = replace(
            state,
            points_spent=state.points_spent + event.points_spent,
            kind=kinds.pop() if len(kinds) == 1 else state.kind,
            decided=True,
        )
        return self._wait_for(again, state)

    def _raise_bad(self, context: Context, event: WaitEvent) -> None:
        """Raise the error of the worst job that did not end as the task wants it."""
        ends = (
            replace(end, outcome=Outcome.SUCCEEDED) if self.accepts(end) and not end.outcome.good else end
            for end in event.ends
        )
        judged = replace(event, ends=tuple(ends))
        error = self._worst_error(judged, recorded=self.recorded(context))
        if error is not None:
            raise error

    def _results(self, context: Context, event: WaitEvent) -> dict[str, Any]:
        place = event.state.destination
        recorded = self.recorded(context)
        unchanged = self.unchanged_items(context, event)
        manifest = results.sum_up(
            self.hook,
            self.download,
            event,
            place if self.downloads else None,
            recorded=recorded,
            unchanged_items=unchanged,
        )
        return self.shorten(manifest, None if self.downloads else place, recorded=recorded)
