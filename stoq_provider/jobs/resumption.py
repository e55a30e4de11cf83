"""
What a try makes of the records, in the words of Airflow's ``ResumableJobMixin`` (3.3).

Counters and span have its names, tags and values, so that one panel shows its operators and these. The mixin
asks for the job's status first; here that is the wait's first poll, so a job that ended while nobody looked
counts as reconnected.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from airflow.providers.common.compat.sdk import Stats

from stoq_provider.core.models import JobHandle
from stoq_provider.core.records import RetryDecision, SubmissionRecord

trace: Any = None
with suppress(ImportError):  # it comes with Airflow, but is no dependency of this package
    from opentelemetry import trace


@dataclass(frozen=True, slots=True)
class Resumption:
    """
    Reports decisions.

    :param tags: of the counters; ``None``: nothing is reported, because the task keeps no records on purpose.
    :param recorded: whether there is a place for records.
    """

    tags: Mapping[str, str] | None = None
    recorded: bool = True

    @classmethod
    def of(cls, context: Mapping[str, Any], operator: str, *, recorded: bool) -> Resumption:
        """Make that of a task."""
        tags = {"operator": operator}
        team = (getattr(context["ti"], "stats_tags", None) or {}).get("team_name")
        return cls({**tags, "team_name": team} if team else tags, recorded)

    def report(
        self,
        decision: RetryDecision,
        record: SubmissionRecord | None,
        found: JobHandle | None,
        *,
        key: str,
        began: int,
    ) -> None:
        """
        Report one.

        :param record: that of an earlier try.
        :param found: the job, where it was in no record, but in the system's list.
        :param began: when deciding began, in Unix nanoseconds.
        """
        if self.tags is None:
            return
        before = record if decision is not RetryDecision.SUBMIT else None
        handle = found or (before.handle if before else None)
        word = _word(decision, before, handle) if self.recorded else "no_task_state_store"
        with suppress(Exception):  # a metric fails no task
            self._count(word, known=handle is not None)
        with suppress(Exception):
            self._trace(word, before, handle, key, began)

    def _count(self, word: str | None, *, known: bool) -> None:
        if known:
            Stats.incr("resumable_job.reconnect_attempt", tags=self.tags)
        if word in ("fresh_submit", "already_succeeded", "terminal_resubmit"):
            Stats.incr(f"resumable_job.{word}", tags=self.tags)
        elif word == "reconnect":
            Stats.incr("resumable_job.reconnect_success", tags=self.tags)

    def _trace(
        self,
        word: str | None,
        before: SubmissionRecord | None,
        handle: JobHandle | None,
        key: str,
        began: int,
    ) -> None:
        if trace is None:
            return
        status = before.status if before else None
        attributes = {
            "operator": (self.tags or {})["operator"],
            "resumable.external_id_key": key,
            "resumable.decision": word,
            "resumable.external_id": handle.job_id if handle else None,
            "resumable.prior_status": status.word if status else None,
        }
        known = {name: value for name, value in attributes.items() if value is not None}
        tracer = trace.get_tracer(__name__)
        tracer.start_span("resumable_job.resume_decision", attributes=known, start_time=began).end()


NOT_REPORTED = Resumption()


def _word(decision: RetryDecision, before: SubmissionRecord | None, handle: JobHandle | None) -> str | None:
    """Return Airflow's word for a decision; it has none for one not to submit."""
    if decision is RetryDecision.REATTACH:
        good = before is not None and before.outcome is not None and before.outcome.good
        return "already_succeeded" if good else "reconnect"
    if decision is RetryDecision.STOP:
        return None
    return "fresh_submit" if handle is None else "terminal_resubmit"
