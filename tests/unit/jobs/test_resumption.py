"""Counters and span of what a try makes of the records: those of Airflow's ``ResumableJobMixin``."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import Stats

from stoq_provider.core.lifecycle import Outcome
from stoq_provider.core.models import JobHandle, JobState, JobStatus
from stoq_provider.core.records import RetryDecision, SubmissionRecord
from stoq_provider.jobs import resumption
from stoq_provider.jobs.resumption import Resumption

HANDLE = JobHandle("stoq", "bulk_release", "bulk_1", "/x/bulk_1")
INTENT = SubmissionRecord(2, 1.0)
RUNNING = SubmissionRecord(2, 1.0, HANDLE)
DONE = SubmissionRecord(
    2, 1.0, HANDLE, Outcome.SUCCEEDED, status=JobStatus("bulk_1", "completed", JobState.SUCCEEDED)
)
FAILED = SubmissionRecord(
    2, 1.0, HANDLE, Outcome.FAILED, status=JobStatus("bulk_1", "errored", JobState.FAILED)
)
SUBMIT, REATTACH, REPEAT, STOP = (
    RetryDecision.SUBMIT,
    RetryDecision.REATTACH,
    RetryDecision.REPEAT,
    RetryDecision.STOP,
)


@pytest.fixture
def reported(monkeypatch):
    """Return counters with their tags, and the attributes of the span."""
    counters, spans = [], []
    monkeypatch.setattr(Stats, "incr", lambda name, *, tags: counters.append((name, tags)))

    def start_span(name, *, attributes, start_time):
        spans.append((name, attributes, start_time))
        return SimpleNamespace(end=lambda: None)

    tracer = SimpleNamespace(start_span=start_span)
    monkeypatch.setattr(resumption, "trace", SimpleNamespace(get_tracer=lambda name: tracer))

    def report(decision, record, found=None, *, recorded=True, ti=None):
        made = Resumption.of({"ti": ti or SimpleNamespace()}, "StoqBulkOrdersOperator", recorded=recorded)
        made.report(decision, record, found, key="k", began=7)
        ((name, attributes, began),) = spans
        assert (name, began) == ("resumable_job.resume_decision", 7)
        assert (attributes.pop("operator"), attributes.pop("resumable.external_id_key")) == (
            "StoqBulkOrdersOperator",
            "k",
        )
        names = [name.removeprefix("resumable_job.") for name, _ in counters]
        return names, {name.removeprefix("resumable."): value for name, value in attributes.items()}, counters

    return report


@pytest.mark.parametrize(
    ("decision", "record", "found", "counters", "attributes"),
    [
        (SUBMIT, None, None, ["fresh_submit"], {"decision": "fresh_submit"}),
        # Of a task that was cleared, and of an intent without a job.
        (SUBMIT, DONE, None, ["fresh_submit"], {"decision": "fresh_submit"}),
        (SUBMIT, INTENT, None, ["fresh_submit"], {"decision": "fresh_submit"}),
        (REPEAT, INTENT, None, ["fresh_submit"], {"decision": "fresh_submit"}),
        (
            REATTACH,
            RUNNING,
            None,
            ["reconnect_attempt", "reconnect_success"],
            {"decision": "reconnect", "external_id": "bulk_1"},
        ),
        (
            REATTACH,
            INTENT,
            HANDLE,
            ["reconnect_attempt", "reconnect_success"],
            {"decision": "reconnect", "external_id": "bulk_1"},
        ),
        (
            REATTACH,
            DONE,
            None,
            ["reconnect_attempt", "already_succeeded"],
            {"decision": "already_succeeded", "external_id": "bulk_1", "prior_status": "completed"},
        ),
        (
            REPEAT,
            FAILED,
            None,
            ["reconnect_attempt", "terminal_resubmit"],
            {"decision": "terminal_resubmit", "external_id": "bulk_1", "prior_status": "errored"},
        ),
        (STOP, FAILED, None, ["reconnect_attempt"], {"external_id": "bulk_1", "prior_status": "errored"}),
        (STOP, INTENT, None, [], {}),
    ],
)
def test_each_decision_in_airflows_words(reported, decision, record, found, counters, attributes):
    assert reported(decision, record, found)[:2] == (counters, attributes)


def test_without_a_place_for_records_only_the_span_tells(reported):
    assert reported(SUBMIT, None, recorded=False)[:2] == ([], {"decision": "no_task_state_store"})


def test_the_team_is_a_tag_where_there_are_teams(reported):
    _, _, counters = reported(SUBMIT, None, ti=SimpleNamespace(stats_tags={"team_name": "ops"}))
    tags = {"operator": "StoqBulkOrdersOperator", "team_name": "ops"}
    assert counters == [("resumable_job.fresh_submit", tags)]


@pytest.mark.parametrize("trace", [None, SimpleNamespace()], ids=["absent", "broken"])
def test_metrics_and_traces_fail_no_task(monkeypatch, trace):
    monkeypatch.setattr(Stats, "incr", None)
    monkeypatch.setattr(resumption, "trace", trace)
    made = Resumption({"operator": "x"})
    made.report(SUBMIT, None, None, key="k", began=0)


def test_names_are_those_of_airflow():
    """What the mixin of an Airflow that has it calls them."""
    mixin = pytest.importorskip("airflow.sdk.bases.resumablejobmixin")
    import inspect

    source, ours = inspect.getsource(mixin), inspect.getsource(resumption)
    names = {
        "fresh_submit",
        "reconnect_attempt",
        "reconnect_success",
        "already_succeeded",
        "terminal_resubmit",
    }
    for name in names:
        assert f'"resumable_job.{name}"' in source
    attributes = ("external_id_key", "decision", "external_id", "prior_status")
    for text in (*(f'"resumable.{name}"' for name in attributes), '"no_task_state_store"', '"reconnect"'):
        assert text in source
        assert text in ours
