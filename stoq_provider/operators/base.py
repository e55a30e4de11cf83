"""What the job operators share: submit once, tell XCom, wait or defer, fetch, return the manifest."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, conf

from stoq_provider.core.events import JobEnd
from stoq_provider.exceptions import PollingUnhealthy, StoqProviderError, ValidationRejected
from stoq_provider.hooks import options, results
from stoq_provider.hooks.repeating import after_others
from stoq_provider.hooks.submission import Submitted, Submitter, TaskIdentity
from stoq_provider.hooks.waiting import WaitPlan, event_of, poll_due, wait_sync
from stoq_provider.storage.state import open_store
from stoq_provider.triggers.failure import BACKSTOP, TRIGGER_FAILED, trigger_failure
from stoq_provider.triggers.jobs import JobTrigger, check_serializable, job_arguments

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from stoq_provider.core.events import WaitEvent
    from stoq_provider.core.plan import Submission
    from stoq_provider.core.polling import Poller
    from stoq_provider.hooks.base import JobHook


class JobOperator(BaseOperator):
    """
    Base of the operators that start jobs.

    XCom: ``job_id`` (the first job) and ``job_ids`` are pushed before waiting begins. The return value is
    the list of handles without waiting, and the manifest after it.

    :param destination: where files go: an ``ObjectStoragePath`` or URL; ending with ``/``, the server's
        cleaned file name is appended.
    :param wait_for_completion: ``None``: wait if there is a destination.
    :param deferrable: wait in the triggerer instead of on the worker.
    :param timeout: seconds from submission; a retry that finds its job again begins anew.
    :param poll_interval: seconds between polls; default: the cadence the vendor documents.
    :param unhealthy_after: seconds without any good answer after which the task fails, without claiming
        that the job failed; default: ``[stoq] unhealthy_after``.
    :param overwrite: whether an object that stands at the destination is replaced.
    :param on_clear: what a person's clearing of the task means: ``"resubmit"`` starts a new job,
        ``"reuse"`` waits for the job that the task had.
    :param on_busy: what a 409 means that speaks of another job in progress: ``"fail"``, or ``"wait"`` and
        submit when it is over, within ``timeout``.
    """

    template_fields: Sequence[str] = ("destination",)
    trigger_class: ClassVar[type[JobTrigger]]
    downloads: ClassVar[bool] = False

    def __init__(
        self,
        *,
        destination: Any = None,
        wait_for_completion: bool | None = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        timeout: float | timedelta = 6 * 3600,
        poll_interval: float | None = None,
        unhealthy_after: float | None = None,
        overwrite: bool = True,
        on_clear: Literal["resubmit", "reuse"] = "resubmit",
        on_busy: Literal["fail", "wait"] = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.timeout = timeout
        self.poll_interval = poll_interval
        self.unhealthy_after = unhealthy_after
        self.overwrite = overwrite
        self.on_clear = on_clear
        self.on_busy = on_busy
        self._job_ids: list[str] = []

    # -- what a subclass says -----------------------------------------------------------------------

    @abstractmethod
    def make_hook(self) -> JobHook:
        """Return the hook of the operator's connection."""

    @abstractmethod
    def plan(self, context: Context, submitter: Submitter) -> list[Submission]:
        """Check the input and return what is to be submitted; send no submission."""

    def check_results(
        self, context: Context, event: WaitEvent, submitter: Submitter
    ) -> tuple[Sequence[Any], StoqProviderError | None]:
        """Look whether jobs that ended well did what was wanted: unchanged items, and an error or none."""
        return (), None

    def notes(self, submitter: Submitter) -> list[str]:
        """Return the names of what was kept for the next try beside the records."""
        return []

    @property
    def resumes(self) -> bool:
        """Whether this try goes on with what an earlier one had sent."""
        return False

    # -- Airflow's side -----------------------------------------------------------------------------

    @cached_property
    def hook(self) -> JobHook:
        """The hook."""
        return self.make_hook()

    def execute(self, context: Context) -> Any:
        """Submit, and wait as the parameters say."""
        return self._run(context)

    def _run(self, context: Context) -> Any:
        # Not execute() itself, which a subclass must not call as super().execute(): Airflow 2 takes that
        # for an operator that is run within another.
        started_at = time.time()
        self._check_input()
        submitter = self._submitter(context, warn=True)
        done = self._submit(self.plan(context, submitter), submitter)
        self._tell_xcom(context, done)
        if not self._waits:
            self.hook.close()
            return [submitted.handle.to_dict() for submitted in done]
        ended = [] if self.downloads else [end for end in (s.record.end() for s in done) if end is not None]
        state = {
            "started_at": started_at,
            "kind": done[0].handle.kind,
            "records": [submitted.key for submitted in done],
            "notes": self.notes(submitter),
            "ended": [end.to_dict() for end in ended],
            # Templates are rendered again on resumption; what was rendered now is what counts.
            "destination": None if self.destination is None else str(self.destination),
        }
        known = {end.handle.job_id for end in ended}
        poller = self._poller([submitted for submitted in done if submitted.handle.job_id not in known])
        if not self._wait(poller):
            self._defer(poller, state)
        return self._finish(context, event_of(poller, 0, state))

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Go on where the trigger fired."""
        from stoq_provider.core.events import WaitEvent
        from stoq_provider.hooks.errors import typed

        with typed(self.hook.system.name, "The remote jobs go on. A retry waits for them."):
            ended = WaitEvent.from_dict(event)
        return self._finish(context, ended)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Explain what a failed trigger means; Airflow would only say that it failed."""
        if next_method != TRIGGER_FAILED:
            return super().resume_execution(next_method, next_kwargs, context)
        recorded = self._submitter(context).durable
        raise PollingUnhealthy(
            trigger_failure(self, next_kwargs, context, self.hook.system.label, recorded=recorded)
        )

    def on_kill(self) -> None:
        """End the wait on the worker; what was submitted goes on."""
        if "hook" not in self.__dict__:
            return
        jobs = ", ".join(self._job_ids[:20]) or "none yet"
        self.log.info(
            "Detached from %s; jobs submitted: %s. They go on, since nothing can cancel them from here. A "
            "retry waits for the same jobs; clearing the task starts anew unless on_clear='reuse'.",
            self.hook.system.label,
            jobs,
        )
        self.hook.stop()

    # -- steps --------------------------------------------------------------------------------------

    def _check_input(self) -> None:
        if self.on_clear not in ("resubmit", "reuse"):
            raise ValidationRejected(
                f"on_clear is 'resubmit' or 'reuse', not {self.on_clear!r}. Nothing was sent."
            )
        if self.on_busy not in ("fail", "wait"):
            raise ValidationRejected(f"on_busy is 'fail' or 'wait', not {self.on_busy!r}. Nothing was sent.")
        options.seconds("timeout", self.timeout)
        options.poll_interval(self.poll_interval)
        options.unhealthy_after(self.unhealthy_after)
        check_serializable({"conn_id": self.hook.conn_id})
        if self.destination is not None:
            from stoq_provider.storage.download import check_destination

            check_destination(self.destination, overwrite=self.overwrite)

    @property
    def _waits(self) -> bool:
        if self.wait_for_completion is None:
            return self.destination is not None
        return self.wait_for_completion

    def _submitter(self, context: Context, *, warn: bool = False) -> Submitter:
        store = open_store(context, options.state_path(), self.log if warn else None)
        task = TaskIdentity.of(context)
        patience = options.seconds("timeout", self.timeout) if self.on_busy == "wait" else 0.0
        return Submitter(self.hook, store, task, on_clear=self.on_clear, busy_patience=patience)

    def _submit(self, submissions: Sequence[Submission], submitter: Submitter) -> list[Submitted]:
        done: list[Submitted] = []
        for submission in submissions:
            try:
                done.append(submitter.submit(submission))
            except StoqProviderError as error:
                # A list that was refused before anything went out is not kept: a person may mend it.
                begun = done or self.resumes
                kept = [*(s.key for s in done), *self.notes(submitter)] if begun else []
                raise after_others(error, submitter, submission, len(done), len(submissions), kept) from None
        return done

    def _tell_xcom(self, context: Context, done: Sequence[Submitted]) -> None:
        self._job_ids = job_ids = [submitted.handle.job_id for submitted in done]
        self.log.info("%s job(s) at %s: %s", len(job_ids), self.hook.system.label, ", ".join(job_ids[:20]))
        if self.do_xcom_push:
            context["ti"].xcom_push(key="job_id", value=job_ids[0])
            context["ti"].xcom_push(key="job_ids", value=job_ids)

    def _poller(self, done: Sequence[Submitted]) -> Poller:
        now = time.time()
        plan = WaitPlan.of(
            [submitted.handle for submitted in done],
            deadline=now + options.seconds("timeout", self.timeout),
            now=now,
            poll_interval=options.poll_interval(self.poll_interval),
            unhealthy_after=options.unhealthy_after(self.unhealthy_after),
            seen_at={s.handle.job_id: s.record.seen_at for s in done if s.record.seen_at is not None},
        )
        # A job found again may long have ended; one just submitted has not.
        return plan.poller(self.hook.system, eager=any(submitted.reattached for submitted in done))

    def _wait(self, poller: Poller) -> bool:
        """Wait on the worker; where deferring is wanted, look once. Return whether all jobs have ended."""
        hook = self.hook
        if self.deferrable:
            return poll_due(poller, hook.transport, hook.system, hook.settings, self.log)
        wait_sync(poller, hook.transport, hook.system, hook.settings, sleep=hook.sleep, log=self.log)
        return True

    def _defer(self, poller: Poller, state: dict[str, Any]) -> None:
        deadline = poller.deadline
        state["points_spent"] = self.hook.transport.points_spent
        trigger = self.trigger_class(
            conn_id=self.hook.conn_id,
            jobs=job_arguments(poller.watches),
            deadline=deadline,
            poll_interval=options.poll_interval(self.poll_interval),
            unhealthy_after=options.unhealthy_after(self.unhealthy_after),
            state=state,
        )
        self.hook.close()
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            timeout=timedelta(seconds=max(0.0, deadline - time.time())) + BACKSTOP,
        )

    def _finish(self, context: Context, event: WaitEvent) -> dict[str, Any]:
        state = event.state
        submitter = self._submitter(context)
        submitter.note_ends(state["records"], event.ends)
        event = replace(event, ends=(*map(JobEnd.from_dict, state["ended"]), *event.ends))
        error = results.first_error(
            self.hook,
            event,
            owner=True,
            recorded=submitter.durable,
            unhealthy_after=options.unhealthy_after(self.unhealthy_after),
        )
        if error is not None:
            self._hold_if_final(error, submitter, state)
            raise error
        try:
            manifest = self._results(context, event, submitter)
        except StoqProviderError as late:
            self._hold_if_final(late, submitter, state)
            raise
        self.hook.close()
        return manifest

    def _hold_if_final(self, error: Exception, submitter: Submitter, state: Mapping[str, Any]) -> None:
        """
        Let good jobs be found again by the clear that is all a person can do after such an error.

        What must never be repeated is held after any error: with ``retries=0`` a clear is the only retry.
        """
        if submitter.never_repeats(state["kind"]) or isinstance(error, AirflowFailException):
            submitter.hold([*state["records"], *state["notes"]])

    def _results(self, context: Context, event: WaitEvent, submitter: Submitter) -> dict[str, Any]:
        state = event.state
        unchanged, error = self.check_results(context, event, submitter)
        if error is not None:
            raise error
        manifest = results.sum_up(
            self.hook,
            event,
            kind=state["kind"],
            files=self._fetch(event, state["destination"]),
            unchanged_items=unchanged,
            started_at=state["started_at"],
            points_before=state.get("points_spent", 0),
        )
        return results.keep_long(self.hook, manifest, None if self.downloads else state["destination"])

    def _fetch(self, event: WaitEvent, destination: str | None) -> list[dict[str, Any]]:
        if destination is None or not self.downloads:
            return []
        return results.store_all(self.hook, event, destination, overwrite=self.overwrite)
