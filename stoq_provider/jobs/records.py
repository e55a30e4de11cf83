"""The records of one task: what its tries note of their submissions, and read of those before them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow.providers.common.compat.sdk import AirflowFailException

from stoq_provider.core.events import JobEnd
from stoq_provider.core.forms import JsonForm
from stoq_provider.core.http import MalformedResponse
from stoq_provider.core.notes import PlanNote
from stoq_provider.core.records import GONE, RepeatSafety, SubmissionRecord, can_be_reused, counts
from stoq_provider.core.submission import Submission
from stoq_provider.exceptions import ProtocolError, StateError, StoqProviderError, SubmissionUncertain
from stoq_provider.jobs.client import JobClient
from stoq_provider.jobs.errors import sends_something_else
from stoq_provider.jobs.state_store import StateStore

N = TypeVar("N", bound=JsonForm)

_ENDED_BADLY = tuple(outcome.value for outcome in GONE)


@dataclass(frozen=True, slots=True)
class TaskIdentity:
    """Which task instance this is; ``clears`` is a number that changes when a person clears it."""

    dag_id: str
    task_id: str
    run_id: str
    map_index: int
    clears: int = 0

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> TaskIdentity:
        """
        Read it from a task's context.

        Clearing a task grants it all its retries anew, by raising ``max_tries``, and nothing else changes
        that number: not a retry, not a resumption, not other ``retries`` in an edited DAG. So it tells
        tries that belong together from those after a clear, on every Airflow version.
        """
        ti = context["ti"]
        # A run that is deleted and made again has the same name. Airflow 2 tells a number as well (which only
        # SQLite gives twice); the task state store of Airflow 3.3 goes with the run.
        number = getattr(context.get("dag_run"), "id", None)
        return cls(
            dag_id=ti.dag_id,
            task_id=ti.task_id,
            run_id=ti.run_id if number is None else f"{ti.run_id}#{number}",
            map_index=getattr(ti, "map_index", -1),
            clears=getattr(ti, "max_tries", None) or 0,
        )

    def name(self, conn_id: str, digest: str) -> str:
        """
        Name a record of this task instance and a connection.

        Two tries of one task and the same input have the same name; the try number is no part of it.
        """
        where = (self.dag_id, self.task_id, self.run_id, str(self.map_index))
        parts = (str(SubmissionRecord.VERSION), *where, conn_id, digest)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Records:
    """
    Reads and writes the records of one task instance.

    :param on_clear: see :func:`stoq_provider.core.records.counts`.
    """

    client: JobClient
    store: StateStore
    task: TaskIdentity
    on_clear: str

    @property
    def recorded(self) -> bool:
        """Whether the next try finds what this one notes, and so its jobs."""
        return self.store.durable

    def never_repeats(self, kind: str) -> bool:
        """Whether sending a submission of that kind again does harm."""
        return self.client.system.repeat_safety(kind) is RepeatSafety.NEVER

    def key(self, submission: Submission) -> str:
        """Name the record of a submission."""
        return self.name(submission.digest())

    def name(self, digest: str) -> str:
        """Name a record of this task instance and connection."""
        return self.task.name(self.client.conn_id, digest)

    def load(self, key: str) -> SubmissionRecord | None:
        """
        Read a record.

        :raises StateError: where it can't be read.
        """
        value = self.store.load(key)
        return None if value is None else self._read(SubmissionRecord.from_dict, value)

    def _read(self, from_dict: Callable[[Any], N], value: Mapping[str, Any]) -> N:
        """Read a record or a note: one that can't be read is not "no record"."""
        try:
            return from_dict(value)
        except MalformedResponse as error:
            problem = ProtocolError(
                f"The record of an earlier try can't be understood ({error}); it may be of another version "
                "of this package. Nothing was sent; jobs that were submitted go on. A retry looks again.",
                system=self.client.system.name,
            )
        raise problem

    def note_ends(self, keys: Iterable[str], ends: Iterable[JobEnd]) -> None:
        """
        Note how waiting ended, in the records named.

        A failure to write it down is logged: the end stays true, and the job is known all the same.
        """
        by_job = {end.handle.job_id: end for end in ends}
        for key in keys:
            try:
                record = self.load(key)
                end = by_job.get(record.handle.job_id) if record and record.handle else None
                if record is not None and end is not None:
                    self.store.save(key, record.ended(end).to_dict())
            except StoqProviderError as error:
                self.client.log.warning("How a job ended could not be written down: %s", error)

    def save_note(self, key: str, note: JsonForm) -> None:
        """Keep something else for the next try; it counts until a person clears the task."""
        self.store.save(key, {**note.to_dict(), "clears": self.task.clears})

    def load_note(self, key: str, kind: type[N], *, may_be_adopted: bool = True) -> N | None:
        """
        Return what :meth:`save_note` kept, if it counts for this try.

        :param may_be_adopted: whether one from before a clear counts, if it is held or ``on_clear`` says so.
        :raises StoqProviderError: where it can't be read.
        """
        value = self.store.load(key)
        if value is None:
            return None
        if value.get("clears") != self.task.clears:
            if not may_be_adopted or not (value.get("held") or self.on_clear == "reuse"):
                return None
            value = {**value, "clears": self.task.clears, "held": False}
            self.store.save(key, value)
        return self._read(kind.from_dict, value)

    def hold(self, keys: Iterable[str]) -> None:
        """
        Let records and notes count even after the next clear.

        For a task that is not retried because of something else than their jobs: a person can only clear
        it, and clears it in order to go on. Jobs that ended badly are left out; a clear submits those. A
        failure to write it down is logged: the error that led here says more.
        """
        self._set_held(keys, True)

    def release(self, keys: Iterable[str]) -> None:
        """Let records and notes count no longer than others do: the task has ended well."""
        self._set_held(keys, False)

    def _set_held(self, keys: Iterable[str], held: bool) -> None:
        for key in keys:
            try:
                value = self.store.load(key)
                if value is None or bool(value.get("held")) is held:
                    continue
                if not held or value.get("outcome") not in _ENDED_BADLY:
                    self.store.save(key, {**value, "held": held})
            except StateError as error:
                self.client.log.warning("What a clear does could not be written down: %s", error)

    def adopt(self, submission: Submission) -> SubmissionRecord | None:
        """Return the record of a submission if it counts for this try, and take its job for one of these."""
        record = self._counting(submission)
        if record is None or not can_be_reused(record):
            return record
        return self._adopt(self.key(submission), record)

    def _counting(self, submission: Submission) -> SubmissionRecord | None:
        record = self.load(self.key(submission))
        known = record is not None and counts(record, clears=self.task.clears, on_clear=self.on_clear)
        return record if known else None

    def _adopt(self, key: str, record: SubmissionRecord) -> SubmissionRecord:
        """Take a job that was found again after a clear for one of these tries."""
        if record.clears != self.task.clears:
            record = record.adopted(self.task.clears)
            self.store.save(key, record.to_dict())
        return record

    def was_lost(self, submission: Submission) -> bool:
        """Whether an earlier try was about to send it, had no response, and it must not be repeated."""
        record = self._counting(submission) if self.never_repeats(submission.kind) else None
        return record is not None and record.handle is None

    def hold_after_others(
        self,
        error: StoqProviderError,
        submission: Submission,
        done: int,
        planned: int,
        kept: Sequence[str],
    ) -> StoqProviderError:
        """
        Return the error of a submission that failed after others had their jobs.

        It says what becomes of those, and sees that none is repeated that must not be: without a place for
        records the task is not retried, and with one a clear finds the jobs again.

        :param kept: names of what the next try needs to know; empty where nothing went out before.
        """
        if not kept:
            return error
        never, final = self.never_repeats(submission.kind), isinstance(error, AirflowFailException)
        if done and never and not self.recorded and not final:
            error = SubmissionUncertain(f"{error.message} The task is not retried.", **error.details())
        if never or final:
            self.hold(kept)
        return error.after(done, planned, recorded=self.recorded)

    def keep_plan(self, planned: Mapping[str, str], known: Iterable[str]) -> None:
        """
        Note what this try is about to send that must not be repeated, and see that no other try sent else.

        Records are found by what is sent: a template, a Variable or an XCom that renders differently on a
        retry would otherwise find none, and mail the same customers again.

        :param planned: keys of the records of what must not be repeated, with the kind of each.
        :param known: keys of records that the plan takes account of beside these.
        :raises SubmissionUncertain: where an earlier try has begun to send something that is not planned.
        """
        if not planned:
            return
        note = self.load_note(self.plan_name, PlanNote)
        before = note.keys if note else ()
        accounted = {*planned, *known}
        lost = [key for key in before if key not in accounted and self._begun(key)]
        if lost:
            raise sends_something_else(
                self.client.system, planned[next(iter(planned))], len(lost), self.on_clear
            )
        keys = tuple(dict.fromkeys([*(key for key in before if key in accounted), *planned]))
        if keys != before:
            self.save_note(self.plan_name, PlanNote(keys))

    @property
    def plan_name(self) -> str:
        """What :meth:`keep_plan` notes is kept under this name."""
        return self.name("plan")

    def _begun(self, key: str) -> bool:
        record = self.load(key)
        return record is not None and record.clears == self.task.clears

    def note_unchanged(self, unchanged: Mapping[str, Iterable[int | str]]) -> None:
        """
        Note what a read-back found, by key of the record.

        :raises StateError: where it can't be written: the next try would not know what is left to do.
        """
        for key, items in unchanged.items():
            record = self.load(key)
            if record is not None:
                self.store.save(key, record.verified(items).to_dict())

    def drop(self, keys: Iterable[str]) -> None:
        """
        Take notes and records away that hold no longer, such as a list that a person may mend.

        A failure is logged: a note that is left behind only makes the next try careful.
        """
        for key in keys:
            try:
                self.store.delete(key)
            except StateError as error:
                self.client.log.warning("What was kept for a retry could not be taken away: %s", error)
