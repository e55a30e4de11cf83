"""
Submit once: the record around a POST.

The intent is written before the call and the handle after it. What an earlier try left behind decides
whether this try submits, repeats, finds its job again, or stops (``core.records.decide``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from stoq_provider.core.models import JobHandle
from stoq_provider.core.notes import PreparedNote
from stoq_provider.core.records import (
    RepeatSafety,
    RetryDecision,
    SubmissionRecord,
    after_no_response,
    decide,
    new_correlation,
)
from stoq_provider.core.submission import Submission
from stoq_provider.exceptions import StateError, StoqProviderError
from stoq_provider.jobs import config
from stoq_provider.jobs.client import JobClient
from stoq_provider.jobs.errors import must_not_repeat
from stoq_provider.jobs.lookup import look_up
from stoq_provider.jobs.records import Records, TaskIdentity
from stoq_provider.jobs.resumption import NOT_REPORTED, Resumption
from stoq_provider.jobs.send import await_limit
from stoq_provider.jobs.state_store import StateStore, open_store


@dataclass(frozen=True, slots=True)
class Submitted:
    """
    One submission that has a job now.

    :param key: names its record.
    :param reattached: whether an earlier try had submitted it.
    """

    key: str
    record: SubmissionRecord
    handle: JobHandle
    reattached: bool


@dataclass(frozen=True)
class Submitter(Records):
    """
    Submits what a task wants, each submission once.

    :param on_clear: see :func:`stoq_provider.core.records.counts`.
    :param busy_patience: seconds to wait while the server is busy with another job.
    :param resumption: reports what is made of the records.
    """

    busy_patience: float = 0.0
    resumption: Resumption = NOT_REPORTED

    @classmethod
    def of(
        cls,
        client: JobClient,
        context: Mapping[str, Any],
        *,
        on_clear: str,
        busy_patience: float = 0.0,
        durable: bool = True,
        operator: str = "",
        log: logging.Logger | None = None,
    ) -> Submitter:
        """
        Open the records of a task.

        :param durable: ``False``: keep none, and find none.
        :param operator: the class of the task, for metrics.
        :param log: gets a warning where no record can be kept; ``None`` where this try has given it already.
        """
        task = TaskIdentity.of(context)
        if not durable:
            return cls(client, StateStore(), task, on_clear, busy_patience)
        store = open_store(context, config.state_path(), log)
        resumption = Resumption.of(context, operator, recorded=store.durable)
        return cls(client, store, task, on_clear, busy_patience, resumption)

    def submit(self, submission: Submission) -> Submitted:
        """
        Return the job of a submission, which is started where none is known.

        :raises StoqProviderError: where it was refused, or must not be repeated.
        """
        key, began = self.key(submission), time.time_ns()
        record = self.load(key)
        repeat = self.client.system.repeat_safety(submission.kind)
        decision = decide(
            record,
            clears=self.task.clears,
            on_clear=self.on_clear,
            repeat=repeat,
            repeat_expired=self.client.system.repeat_expired(submission.kind),
        )
        found: JobHandle | None = None
        lost = record if decision is RetryDecision.LOOK_UP else None
        if lost is not None:
            looked = look_up(self.client, submission, lost.correlation, lost.intent_at)
            decision, found = after_no_response(looked.lookup, repeat), looked.handle
        self.resumption.report(decision, record, found, key=key, began=began)
        if record is None or decision is RetryDecision.SUBMIT:
            if lost is not None:
                self._warn_of_no_effect(submission.kind)
            return self._send(key, submission, known=record is not None, doubtful=lost)
        if found is not None:
            return self._found(key, record, found)
        if decision is RetryDecision.REATTACH:
            return self._reattached(key, record)
        if decision is RetryDecision.STOP:
            raise must_not_repeat(self.client.system, submission.kind, record, self.on_clear)
        self._warn_of_repeat(submission.kind, record, repeat)
        return self._send(key, submission, known=True)

    def _warn_of_no_effect(self, kind: str) -> None:
        self.client.log.warning(
            "An earlier try was lost while it sent %s. %s lists no job of it, so it had no effect; it is "
            "submitted now.",
            kind,
            self.client.system.label,
        )

    def _warn_of_repeat(self, kind: str, record: SubmissionRecord, repeat: RepeatSafety) -> None:
        text = (
            f"An earlier try was lost while it sent {kind}. A job may run that nobody waits for; it is "
            "submitted again."
        )
        if record.handle is not None:
            outcome = record.outcome.value if record.outcome else "lost"
            text = f"Job {record.handle.job_id} of an earlier try is {outcome}; {kind} is submitted again."
        self.client.log.warning("%s", text)
        if repeat is RepeatSafety.WARN:
            self.client.log.warning("Repeating %s is not without effect.", kind)

    def _reattached(self, key: str, record: SubmissionRecord) -> Submitted:
        record = self._adopt(key, record)
        assert record.handle is not None
        self.client.log.info(
            "An earlier try submitted job %s; waiting for it, nothing is sent.", record.handle.job_id
        )
        return Submitted(key, record, record.handle, reattached=True)

    def _found(self, key: str, record: SubmissionRecord, handle: JobHandle) -> Submitted:
        record = self._with_job(replace(record, clears=self.task.clears), handle)
        self.store.save(key, record.to_dict())
        self.client.log.info(
            "An earlier try was lost while it sent this; its job %s was found in the list. Waiting for it, "
            "nothing is sent.",
            handle.job_id,
        )
        return Submitted(key, record, handle, reattached=True)

    def _prepared(self, key: str, submission: Submission) -> Submission:
        """Do what comes before a submission, unless a try since the last clear has done it."""
        preparation = submission.preparation
        if preparation is None:
            return submission
        name = f"{key}-prepared"
        note = self.load_note(name, PreparedNote, may_be_adopted=False)
        if note is None:
            note = PreparedNote(preparation.run())
            self.save_note(name, note)
        return preparation.complete(submission, note.made)

    def _send(
        self,
        key: str,
        submission: Submission,
        *,
        known: bool,
        doubtful: SubmissionRecord | None = None,
    ) -> Submitted:
        """
        Submit, with an intent before and a handle after it.

        :param known: whether there is a record already.
        :param doubtful: the intent of a try that was lost, if that is what is sent again: its mark is kept,
            so that its job would be found even now.
        """
        self.client.submit_request(submission)
        submission = self._prepared(key, submission)
        # Before the intent: a worker that is lost while it waits has sent nothing, and leaves no doubt.
        await_limit(self.client, self.client.submit_request(submission))
        intent = self._intend(key, submission, known, doubtful)
        try:
            handle = self.client.submit(
                submission, busy_patience=self.busy_patience, correlation=intent.correlation
            )
        except StoqProviderError as error:
            if error.job_started is False:
                # The server's error matters more; an intent left behind only makes the next try careful.
                self.drop([key])
            raise
        record = self._with_job(intent, handle)
        try:
            self.store.save(key, record.to_dict())
        except StateError as error:
            self.client.log.error(
                "Job %s was submitted, but that could not be written down: %s", handle.job_id, error
            )
        return Submitted(key, record, handle, reattached=False)

    def _intend(
        self, key: str, submission: Submission, known: bool, doubtful: SubmissionRecord | None
    ) -> SubmissionRecord:
        """Write down what is about to be sent."""
        intent = SubmissionRecord(
            self.task.clears,
            intent_at=doubtful.intent_at if doubtful else time.time(),
            correlation=doubtful.correlation if doubtful else new_correlation(key, uuid4().hex[:8]),
        )
        if known:
            self.store.save(key, intent.to_dict())
        elif not self.store.create(key, intent.to_dict()):
            # Not "no job was started": the other worker may start one, and needs its plan and its notes.
            raise StateError(
                f"Another worker of this task has just begun to submit {submission.kind}. This one sent "
                "nothing; what the other submitted goes on. A retry finds it.",
                system=self.client.system.name,
            )
        return intent

    def _with_job(self, record: SubmissionRecord, handle: JobHandle) -> SubmissionRecord:
        """
        Note a job; one that must not be repeated is held until it has ended.

        The worker or the triggerer may be lost before anybody can say what a clear is to do.
        """
        record = record.submitted(handle)
        return replace(record, held=record.outcome is None and self.never_repeats(handle.kind))
