"""What operators share that wait for jobs: wait or defer, decide, fetch, return the manifest."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException

from stoq_provider.core.events import JobEnd, WaitEvent, WaitState
from stoq_provider.core.lifecycle import JobProgress, Outcome
from stoq_provider.exceptions import (
    FinalPollingUnhealthy,
    ProtocolError,
    StoqProviderError,
    SubmissionUncertain,
)
from stoq_provider.jobs import config, results
from stoq_provider.jobs.errors import NO_RECORD, NOT_RETRIED
from stoq_provider.links.jobs import push_links
from stoq_provider.triggers.deferral import H, WaitingTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from stoq_provider.core.models import JobHandle
    from stoq_provider.jobs.submit import Submitter


class WaitingOperator(WaitingTask[H]):
    """
    Base of the operators that wait for jobs.

    :param timeout: seconds, or a ``timedelta``, from submission; a retry that finds its job again has the
        whole time once more. ``execution_timeout``, from the start of the try, bounds the wait as well,
        deferred or not; what runs after the resumption has it anew.

    The other parameters are those of :class:`~stoq_provider.triggers.deferral.WaitingTask`.
    """

    downloads: ClassVar[bool] = False

    def __init__(self, *, timeout: float | timedelta = 6 * 3600, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.timeout = timeout
        config.check_options(self, "timeout")

    # -- what a subclass says -----------------------------------------------------------------------

    @cached_property
    def kind(self) -> str:
        """The kind of its jobs. Where a subclass says none, they are taken for what must not be repeated."""
        return ""

    def records(self, context: Context) -> Submitter | None:
        """Return the records of the jobs; ``None``: it was another task that submitted them."""
        return None

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

    # -- steps --------------------------------------------------------------------------------------

    def _check_input(self, context: Context) -> None:
        self._note_try(context)
        config.check_options(self)
        config.poll_interval(self.poll_interval)
        config.unhealthy_after(self.unhealthy_after)
        place = self._known_place
        # Of a task without downloads it is the folder of long lists, with or without a slash.
        folder = place is not None and not self.downloads
        place = f"{str(place).rstrip('/')}/" if folder else place
        self._check_download(place, None if folder else self.kind)
        push_links(context, self, self.hook, place)

    def _new_state(self, kind: str, started_at: float) -> WaitState:
        """Return what is found again on resumption, beside the ends of the jobs."""
        timeout_at = time.time() + config.seconds("timeout", self.timeout)
        deadline, limit = self._deadline(started_at, timeout_at)
        # Templates are rendered again on resumption; what was rendered now is what counts.
        return WaitState(started_at, destination=self._place, deadline=deadline, limit=limit, kind=kind)

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
        elif not poller.done:
            # The first look is the triggerer's too: only there the tasks know of each other's polls.
            spent = state.points_spent + hook.transport.points_spent
            self._defer_until(poller, replace(state, points_spent=spent))
        return event_of(poller, 0, state)

    def _without_result(
        self, context: Context, error: type[StoqProviderError], text: str, again: str, *, late: bool = False
    ) -> StoqProviderError:
        records = self.records(context)
        if records is not None and not records.recorded:
            again = NO_RECORD
            if records.never_repeats(self.kind):
                error, again = FinalPollingUnhealthy, NOT_RETRIED
        return error(f"{text} {again}", system=self.hook.system.name)

    def _finish(self, context: Context, event: WaitEvent) -> dict[str, Any]:
        self._note_try(context)
        self.hook.patience = config.unhealthy_after(self.unhealthy_after)
        records = self.records(context)
        recorded = records is None or records.recorded
        if records is not None:
            records.note_ends(event.state.records, event.ends)
        kept = [*event.state.records, *event.state.notes]
        event = replace(event, ends=(*event.state.ended, *event.ends))
        try:
            self._raise_bad(event, own_jobs=records is not None, recorded=recorded)
            event, again = self.decide(context, event)
            manifest = {} if again else self._results(context, event, recorded=recorded)
        except StoqProviderError as error:
            # Good jobs are found again by the clear that is all a person can do after a final error. What
            # must never be repeated is held after any error: with ``retries=0`` a clear is the only retry.
            final = isinstance(error, AirflowFailException)
            never = records is not None and records.never_repeats(event.state.kind)
            if records is not None and (final or never):
                records.hold(kept)
            if final or recorded or not never:
                raise
            raise SubmissionUncertain(f"{error.message} {NOT_RETRIED}", **error.details()) from None
        if again:
            return self._finish(context, self._wait_again(event, again))
        if records is not None:
            # A clear of the task that ended well begins anew, whatever went before.
            records.release(kept)
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

    def _raise_bad(self, event: WaitEvent, *, own_jobs: bool, recorded: bool) -> None:
        """Raise the error of the worst job that did not end as the task wants it."""
        ends = (
            replace(end, outcome=Outcome.SUCCEEDED) if self.accepts(end) and not end.outcome.good else end
            for end in event.ends
        )
        judged = replace(event, ends=tuple(ends))
        error = self._worst_error(judged, own_jobs=own_jobs, recorded=recorded)
        if error is not None:
            raise error

    def _results(self, context: Context, event: WaitEvent, *, recorded: bool) -> dict[str, Any]:
        place = event.state.destination
        unchanged = self.unchanged_items(context, event)
        manifest = self._sum_up(
            context,
            event,
            place if self.downloads else None,
            recorded=recorded,
            unchanged_items=unchanged,
        )
        return self.shorten(manifest, None if self.downloads else place, recorded=recorded)
