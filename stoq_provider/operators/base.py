"""What the job operators share: plan, record and submit, then wait and finish by ``operators.waiting``."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowSkipException

from stoq_provider.core.validation import InvalidInput
from stoq_provider.exceptions import StoqProviderError, ValidationRejected
from stoq_provider.jobs import config
from stoq_provider.jobs.cancel import NO_CANCEL, stop_jobs
from stoq_provider.operators.waiting import WaitingOperator
from stoq_provider.triggers.deferral import H

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from stoq_provider.core.events import WaitEvent
    from stoq_provider.core.submission import Submission
    from stoq_provider.jobs.submit import Submitted, Submitter


class JobOperator(WaitingOperator[H]):
    """
    Base of the operators that start jobs.

    XCom: ``job_id`` (the first job), ``job_ids`` and ``status_urls`` are pushed before waiting begins. The
    return value is the list of handles without waiting, and the manifest after it.

    Killed, or marked failed, the task cancels its jobs where the vendor has a call for that. While it is
    deferred, Airflow before 3.3 tells nobody of it: its jobs go on.

    :param wait_for_completion: ``False``: return the handles. ``None``: wait if there is a destination.
    :param on_clear: what a person's clearing of the task means: ``"resubmit"`` starts a new job,
        ``"reuse"`` waits for the job that the task had.
    :param on_busy: what a 409 means that speaks of another job in progress: ``"fail"``, or ``"wait"`` and
        submit when it is over, within ``timeout``.
    :param durable: whether a retry finds the jobs of the try before it, as with Airflow's
        ``ResumableJobMixin``. ``False``: nothing is recorded, and every try submits anew; what must never be
        repeated is refused then.

    The other parameters are those of :class:`~stoq_provider.operators.waiting.WaitingOperator`.
    """

    def __init__(
        self,
        *,
        wait_for_completion: bool | None = True,
        on_clear: Literal["resubmit", "reuse"] = "resubmit",
        on_busy: Literal["fail", "wait"] = "fail",
        durable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_for_completion = wait_for_completion
        self.on_clear = on_clear
        self.on_busy = on_busy
        self.durable = durable
        config.check_options(self, "wait_for_completion", "on_clear", "on_busy", "durable")
        self._done: list[Submitted] = []
        self._records: Submitter | None = None
        # Records of what earlier tries sent, where this one goes on with what they left to do.
        self._earlier: list[str] = []
        # Names of submissions that had no clear response, where others were sent all the same.
        self._doubtful: list[str] = []

    def records(self, context: Context, *, begins: bool = False) -> Submitter:
        """Return the records of this try; as it ``begins``, with a warning where none can be kept."""
        from stoq_provider.jobs.submit import Submitter  # when a task runs: parsing a DAG needs no engine

        if begins or self._records is None:
            self._records = Submitter.of(
                self.hook,
                context,
                on_clear=self.on_clear,
                busy_patience=config.seconds("timeout", self.timeout) if self.on_busy == "wait" else 0.0,
                durable=self.durable,
                operator=type(self).__name__,
                log=self.log if begins else None,
            )
        return self._records

    # -- what a subclass says -----------------------------------------------------------------------

    @abstractmethod
    def plan(self, context: Context, submitter: Submitter) -> list[Submission]:
        """Check the input and return what is to be submitted; send no submission."""

    def notes(self, submitter: Submitter) -> list[str]:
        """Return the names of what was kept for the next try beside the records."""
        return []

    def preview(self) -> Any:
        """Return the result of a task that is to submit nothing; ``None``: it submits."""
        return None

    # -- a try --------------------------------------------------------------------------------------

    def execute(self, context: Context) -> Any:
        """Plan, record, submit, wait, finish."""
        started_at = time.time()
        self._check_input(context)
        if (preview := self.preview()) is not None:
            return preview
        submitter = self.records(context, begins=True)
        submissions = self._planned(context, submitter)
        # Each is recorded before it is sent, and its handle after that; see ``jobs.submit``.
        done = self._submit(submissions, submitter)
        self._push_jobs(context, done)
        if not self._waits:
            return self._handles(done, submitter)
        event = self._wait_for_jobs(done, submitter, started_at)
        # A task that defers comes here by execute_complete(), in another process.
        return self._finish(context, event)

    def on_kill(self) -> None:
        """End the wait on the worker, and the jobs as well where they can be cancelled."""
        if "hook" not in self.__dict__:
            return
        fate = stop_jobs(self.hook, self._done, self._records)
        jobs = ", ".join(s.handle.job_id for s in self._done[:20])
        known = f"jobs submitted: {jobs}" if jobs else "this worker knows of no job that it submitted"
        self.log.info("Detached from %s; %s. %s", self.hook.system.label, known, fate)
        self.hook.stop() if fate == NO_CANCEL else self.hook.stop(fate)

    # -- steps --------------------------------------------------------------------------------------

    def _not_none(self, items: Sequence[Any], what: str, on_empty: str) -> None:
        if items:
            return
        if on_empty == "skip":
            raise AirflowSkipException(f"There are no {what}, and on_empty='skip'. Nothing was sent.")
        raise InvalidInput(f"{what} is empty; on_empty='skip' would skip the task")

    @property
    def _waits(self) -> bool:
        if self.wait_for_completion is None:
            return self.destination is not None
        return self.wait_for_completion

    def _planned(self, context: Context, submitter: Submitter) -> list[Submission]:
        """Return what is to be submitted: what must not be repeated is what the try before planned."""
        submissions = self.plan(context, submitter)
        never = {submitter.key(s): s.kind for s in submissions if submitter.never_repeats(s.kind)}
        if never:
            if not self.durable:
                raise ValidationRejected(
                    f"{next(iter(never.values()))} must never be sent twice, and with durable=False a retry "
                    "might send it again; leave durable=False out. Nothing was sent.",
                    system=self.hook.system.name,
                    job_started=False,
                )
            submitter.keep_plan(never, self.notes(submitter))
        return submissions

    def _submit(self, submissions: Sequence[Submission], submitter: Submitter) -> list[Submitted]:
        # New ones, not emptied: the object of a task may serve several tries, as copies that share its lists.
        self._doubtful = []
        done: list[Submitted] = []
        self._done, self._jobs = done, []
        for submission in submissions:
            try:
                done.append(submitter.submit(submission))
                self._jobs.append(done[-1].handle)
            except StoqProviderError as error:
                self._submission_failed(error, submission, submissions, submitter)
            if len(done) == 1 and submitter.never_repeats(submission.kind):
                submitter.hold(self.notes(submitter))
        return done

    def _submission_failed(
        self,
        error: StoqProviderError,
        submission: Submission,
        submissions: Sequence[Submission],
        submitter: Submitter,
    ) -> None:
        """Raise the error, which tells of the submissions before it; where it returns, the next is sent."""
        begun, notes = bool(self._done or self._earlier), self.notes(submitter)
        # A list that was refused before anything went out is not kept: a person may mend it.
        if not begun and not self._doubtful and error.job_started is False:
            submitter.drop([submitter.plan_name, *notes])
        kept = [*(s.key for s in self._done), *notes] if begun else []
        raise submitter.hold_after_others(
            error, submission, len(self._done), len(submissions), kept
        ) from None

    def _push_jobs(self, context: Context, done: Sequence[Submitted]) -> None:
        job_ids = [submitted.handle.job_id for submitted in done]
        self.log.info("%s job(s) at %s: %s", len(job_ids), self.hook.system.label, ", ".join(job_ids[:20]))
        if self.do_xcom_push:
            context["ti"].xcom_push(key="job_id", value=job_ids[0])
            context["ti"].xcom_push(key="job_ids", value=job_ids)
            # A call whose response is its result has no place where it could be asked for.
            urls = [submitted.handle.status_url for submitted in done if submitted.handle.result is None]
            if urls:
                context["ti"].xcom_push(key="status_urls", value=urls)

    def _handles(self, done: Sequence[Submitted], submitter: Submitter) -> list[dict[str, Any]]:
        """End without waiting; return the handles."""
        submitter.release([*(submitted.key for submitted in done), *self.notes(submitter)])
        self.hook.close()
        return [submitted.handle.to_dict() for submitted in done]

    def _wait_for_jobs(self, done: Sequence[Submitted], submitter: Submitter, started_at: float) -> WaitEvent:
        """Wait for the jobs whose end is not known from an earlier try."""
        ended = [] if self.downloads else [end for end in (s.record.end() for s in done) if end is not None]
        known = {end.handle.job_id for end in ended}
        left = [submitted for submitted in done if submitted.handle.job_id not in known]
        state = replace(
            self._new_state(done[0].handle.kind, started_at),
            records=tuple(submitted.key for submitted in done),
            notes=tuple(self.notes(submitter)),
            ended=tuple(ended),
        )
        return self._wait_for(
            [submitted.handle for submitted in left],
            state,
            seen_at={s.handle.job_id: s.record.seen_at for s in left if s.record.seen_at is not None},
            # A job found again may long have ended; one just submitted has not.
            eager=any(submitted.reattached for submitted in left),
        )
