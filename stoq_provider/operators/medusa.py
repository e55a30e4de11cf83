"""Batch jobs of Medusa v1: exports, imports, and what plugins add."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from stoq_provider.core.events import JobEnd
from stoq_provider.core.lifecycle import Outcome
from stoq_provider.core.models import JobState
from stoq_provider.core.submission import Submission
from stoq_provider.core.validation import InvalidInput
from stoq_provider.exceptions import JobCancelled, StoqProviderError, ValidationRejected
from stoq_provider.hooks.medusa import MedusaHook
from stoq_provider.jobs import config
from stoq_provider.jobs.errors import NOTHING_SENT, typed
from stoq_provider.links.jobs import DestinationLink, MedusaAdminLink
from stoq_provider.operators.base import JobOperator
from stoq_provider.operators.waiting import WaitingOperator
from stoq_provider.systems.medusa.confirmation import Policy, changes_of, read_policy
from stoq_provider.systems.medusa.submission import is_export
from stoq_provider.triggers.jobs import MedusaJobTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from stoq_provider.core.events import WaitEvent
    from stoq_provider.core.models import JobHandle
    from stoq_provider.jobs.submit import Submitter

CONFIRM_ATTEMPTS = 3
"""How often a decision is sent while its response is lost. Confirming twice is refused (M), so it is safe."""


class _DecidingOperator(WaitingOperator[MedusaHook]):
    """What both operators share: a policy for jobs that wait for a decision."""

    operator_extra_links = (DestinationLink(), MedusaAdminLink())
    trigger_class = MedusaJobTrigger
    downloads = True
    ui_color = "#e3dcf5"
    confirm: Any

    def accepts(self, end: JobEnd) -> bool:
        """Take a cancelled job for a good end where it was to be cancelled."""
        policy = self._policy()
        unwanted = policy is not None and not policy.confirm
        return end.outcome.good or (unwanted and end.outcome is Outcome.CANCELLED)

    def decide(self, context: Context, event: WaitEvent) -> tuple[WaitEvent, Sequence[JobHandle]]:
        """Confirm or cancel what waits, as the policy says; jobs that were confirmed are waited for."""
        policy = self._policy()
        if policy is None or not any(end.outcome is Outcome.WAITING for end in event.ends):
            return event, ()
        ends: list[JobEnd] = []
        again: list[JobHandle] = []
        error: StoqProviderError | None = None
        for end in event.ends:
            if end.outcome is not Outcome.WAITING:
                ends.append(end)
            elif (refusal := self._refusal(end, policy)) is None:
                again.append(self._settle(end, confirm=True))
            else:
                self._settle(end, confirm=False)
                ends.append(replace(end, outcome=Outcome.CANCELLED, text=refusal))
                error = error or self._too_many(end, refusal, policy)
        state = replace(event.state, ended=tuple(ends) if again else ())
        event = replace(event, ends=tuple(ends), state=state)
        if (records := self.records(context)) is not None:
            records.note_ends(state.records, event.ends)
        if error is not None:
            raise error
        return event, again

    def _policy(self) -> Policy | None:
        with typed(self.hook.system.name, NOTHING_SENT):
            return read_policy(self.confirm)

    def _refusal(self, end: JobEnd, policy: Policy) -> str | None:
        """Tell why a dry run is not confirmed; ``None``: it is."""
        if not policy.confirm:
            return "it was to be a dry run only"
        if policy.max_changes is None:
            return None
        changes = changes_of(end.status.details if end.status else None)
        if changes is None:
            raise ValidationRejected(
                f"Medusa did not count what job {end.handle.job_id} would change, so max_changes can't be "
                "held. It was neither confirmed nor cancelled, and waits. The task is not retried; decide "
                "by a MedusaConfirmOperator with confirm=True or confirm=False.",
                system=self.hook.system.name,
                job_id=end.handle.job_id,
            )
        self.log.info("Job %s would make %s changes.", end.handle.job_id, changes)
        if changes <= policy.max_changes:
            return None
        return f"it would make {changes:,} changes, more than max_changes: {policy.max_changes:,}"

    def _too_many(self, end: JobEnd, refusal: str, policy: Policy) -> StoqProviderError | None:
        if not policy.confirm:
            return None
        return JobCancelled(
            f"Job {end.handle.job_id} was cancelled: {refusal}. Nothing was changed in the shop. The task is "
            "not retried; clearing it makes another dry run.",
            system=self.hook.system.name,
            job_id=end.handle.job_id,
        )

    def _settle(self, end: JobEnd, *, confirm: bool) -> JobHandle:
        """
        Bring a job to where the policy wants it; return the handle to wait for it by.

        An earlier try, or a person, may have done so already, and a response may get lost: the job's own
        status is what counts.

        :raises StoqProviderError: where it still waits after some attempts.
        """
        hook, handle = self.hook, end.handle
        going_on = hook.system.confirmed(handle)
        for attempt in range(1, CONFIRM_ATTEMPTS + 1):
            state = hook.get_job(handle).state
            if state is JobState.CANCELLED or (confirm and state is not JobState.WAITING):
                return going_on
            try:
                hook.confirm(handle) if confirm else hook.cancel(handle)
                return going_on
            except StoqProviderError as error:
                if attempt == CONFIRM_ATTEMPTS:
                    raise
                self.log.warning("%s Looking at the job's status.", error)
                hook.sleep(attempt)
        raise AssertionError("unreachable")


class MedusaBatchJobOperator(_DecidingOperator, JobOperator[MedusaHook]):
    """
    Run a batch job of Medusa v1.

    An export is stored at ``destination``. An import takes its file from ``source``, which is uploaded
    once; its errors fail the task, and the server takes the whole import back.

    Where events are kept in memory (``event-bus-local``), jobs that fail at the same moment, or are cancelled
    before they began, can leave the server hanging on every request for a batch job until it is restarted
    (measured on 1.20.11). Such tasks are best given an Airflow pool of one slot that counts deferred tasks.

    :param job_type: ``product-export``, ``order-export``, ``product-import``, ``price-list-import``, or
        the type of a plugin.
    :param context: for an export ``filterable_fields``, ``order``, ``expand`` and the like; for a price
        list ``price_list_id``. What the server would choke on is refused before it is sent; filters can't
        be checked, and a wrong one fails the job.
    :param dry_run: let the server work out what the job would do, and wait for a decision. The manifest
        then has the job as ``waiting``, and in its ``details`` what the server says:
        ``stat_descriptors``, and for an import the counts of ``operations``.
    :param confirm: who decides after a dry run. Left out: somebody else, so the task ends with the job
        waiting, for a ``MedusaConfirmOperator`` behind an approval. ``True`` or ``"always"``: goes on.
        ``False`` or ``"never"``: is cancelled, which is a success. ``"max_changes: N"``: goes on if an
        import changes no more than that, else it is cancelled and the task fails.
    :param source: the file that an import reads, an ``ObjectStoragePath`` or its URL.
    :param medusa_conn_id: the Airflow connection.

    The other parameters are those of :class:`~stoq_provider.operators.base.JobOperator`. Killed, the task
    cancels its job.
    """

    template_fields: Sequence[str] = (
        "job_type",
        "context",
        "confirm",
        "source",
        "destination",
        "medusa_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"context": "json"}

    def __init__(
        self,
        *,
        job_type: str,
        context: Mapping[str, Any] | None = None,
        dry_run: bool = False,
        confirm: Any = None,
        source: Any = None,
        medusa_conn_id: str = MedusaHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_type = job_type
        self.context = context
        self.dry_run = dry_run
        self.confirm = confirm
        self.source = source
        config.check_options(self, "dry_run")
        self.medusa_conn_id = medusa_conn_id

    @cached_property
    def kind(self) -> str:
        """The type of the job."""
        return str(self.job_type)

    def plan(self, context: Context, submitter: Submitter) -> list[Submission]:
        """Check job and policy; the one submission."""
        hook = self.hook
        with typed(hook.system.name, NOTHING_SENT):
            self._check_policy()
        source = None if self.source is None else str(self.source)
        return [hook.plan_batch_job(self.job_type, self.context, dry_run=self.dry_run, source=source)]

    def _check_policy(self) -> None:
        policy = read_policy(self.confirm)
        if self.destination is not None and self.kind.endswith("-import"):
            raise InvalidInput(f"{self.job_type} makes no file, so it has no destination")
        if policy is None:
            return
        if not self.dry_run:
            raise InvalidInput("confirm decides about a dry run; set dry_run=True as well, or leave it out")
        if not self._waits:
            raise InvalidInput("confirm needs the end of the dry run, so wait_for_completion must be true")
        if policy.max_changes is not None and is_export(self.kind):
            raise InvalidInput(f"{self.job_type} changes nothing, so max_changes says nothing about it")


class MedusaConfirmOperator(_DecidingOperator):
    """
    Confirm or cancel a dry run that another task made, and wait for the end of the job.

    It submits nothing: between the two tasks a person may approve. A job that was confirmed before is
    waited for; killed, the task leaves the job as it is.

    :param job: what the other task returned (its manifest or handles), a handle, a status URL, or a job id.
    :param confirm: ``True`` or ``"always"``, ``False`` or ``"never"``, or ``"max_changes: N"``; as in
        :class:`MedusaBatchJobOperator`.
    :param medusa_conn_id: the Airflow connection; of the same user that made the job (M).

    The other parameters are those of :class:`~stoq_provider.operators.waiting.WaitingOperator`.
    """

    template_fields: Sequence[str] = ("job", "confirm", "destination", "medusa_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"job": "json"}

    def __init__(
        self,
        *,
        job: Any,
        confirm: Any = True,
        medusa_conn_id: str = MedusaHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.confirm = confirm
        self.medusa_conn_id = medusa_conn_id

    def execute(self, context: Context) -> Any:
        """Decide, and wait for the end of the jobs that go on."""
        started_at = time.time()
        self._check_input(context)
        with typed(self.hook.system.name, NOTHING_SENT):
            if self._policy() is None:
                raise InvalidInput("confirm must say what is to be done: true, false or 'max_changes: N'")
            handles = self.hook.system.read_handles(self.job)
            self._check_jobs(handles)
        self._jobs = handles
        state = self._new_state(handles[0].kind, started_at)
        return self._finish(context, self._wait_for(handles, state, eager=True))
