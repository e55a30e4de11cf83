"""Reads of a task whose jobs have ended: bad responses are borne for a while, whatever is read."""

from __future__ import annotations

import json
import re

import pytest
import requests_mock

from stoq_provider.core.models import JobHandle, JobState, JobStatus
from stoq_provider.exceptions import (
    AuthenticationError,
    Detached,
    ServiceUnavailable,
    StoqProviderError,
    ValidationRejected,
)
from stoq_provider.hooks.medusa import MedusaHook
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.hooks.surecart import SureCartHook

HANDLE = JobHandle("stoq", "export:revenue", "exp_1", "/api/v2/external/exports/exp_1")
DONE = JobStatus("batch_1", "completed", JobState.SUCCEEDED, details={"file_key": "x.csv"})
RECORD = "00000000-0000-4000-8000-000000000001"
ANYTHING = re.compile(".*")
BAD = [
    {"text": "<html>502 Bad Gateway</html>"},
    {"text": ""},
    {"text": '{"status": "rea'},
    {"json": ["nothing"]},
    {"json": {}},
    {"json": 5},
    {"status_code": 503},
    {"status_code": 200, "text": "x", "headers": {"Content-Encoding": "gzip"}},
]
READS = {
    "status": (StoqHook, lambda hook: hook.get_job(HANDLE).word, {"status": "ready"}, "ready"),
    "page of a list": (
        StoqHook,
        lambda hook: list(hook.iter_orders()),
        {"orders": [{"id": 1}], "meta": {"total_pages": 1}},
        [{"id": 1}],
    ),
    "what is left": (
        SureCartHook,
        lambda hook: list(hook.iter_existing("delete_customers", [RECORD])),
        {"data": [{"id": RECORD}]},
        [RECORD],
    ),
    "URL of a file": (
        MedusaHook,
        lambda hook: hook.file_url(DONE),
        {"download_url": "https://files.example/x"},
        "https://files.example/x",
    ),
}


@pytest.fixture
def make(monkeypatch, api):
    """Return a hook whose waits take no time, and move the clock."""
    passed = 0.0

    def sleep(seconds):
        nonlocal passed
        passed += seconds

    def make(kind):
        fields = {"conn_type": kind.conn_type, "host": "https://shop.example", "password": "k" * 20}
        monkeypatch.setenv(f"AIRFLOW_CONN_{kind.conn_type.upper()}_DEFAULT", json.dumps(fields))
        hook = kind()
        monkeypatch.setattr(hook, "sleep", sleep)
        monkeypatch.setattr("time.time", lambda: 1_780_000_000.0 + passed)
        return hook

    return make


@pytest.mark.parametrize(("kind", "read", "good", "value"), READS.values(), ids=READS)
def test_a_task_bears_bad_responses_of_every_kind(make, api, kind, read, good, value):
    hook = make(kind)
    hook.patience = 900.0
    api.request(requests_mock.ANY, ANYTHING, [*BAD, *BAD, {"json": good}])
    assert read(hook) == value
    assert api.call_count == 2 * len(BAD) + 1


@pytest.mark.parametrize(("kind", "read", "good", "value"), READS.values(), ids=READS)
def test_a_caller_of_its_own_gets_the_error_at_once(make, api, kind, read, good, value):
    api.request(requests_mock.ANY, ANYTHING, [{"json": 5}, {"json": good}])
    with pytest.raises(StoqProviderError):
        read(make(kind))
    assert api.call_count == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [({"status_code": 401}, AuthenticationError), ({"status_code": 403}, AuthenticationError)],
)
def test_what_would_be_refused_again_is_not_borne(make, api, answer, error):
    hook = make(StoqHook)
    hook.patience = 900.0
    api.request(requests_mock.ANY, ANYTHING, **answer)
    with pytest.raises(error):
        hook.get_job(HANDLE)
    assert api.call_count == 1


@pytest.mark.parametrize(
    ("read", "borne"), [(lambda hook: hook.get_job(HANDLE), True), (READS["page of a list"][1], False)]
)
def test_a_404_is_borne_only_of_a_job_that_was_there(make, api, read, borne):
    hook = make(StoqHook)
    hook.patience = 900.0
    api.get(ANYTHING, status_code=404)
    with pytest.raises(StoqProviderError):
        read(hook)
    assert (api.call_count > 1) is borne


def test_a_write_is_not_repeated_however_patient_the_task_is(make, api):
    hook = make(StoqHook)
    hook.patience = 900.0
    api.post(ANYTHING, status_code=503)
    with pytest.raises(ServiceUnavailable):
        hook.request("POST", "/x", json={})
    assert api.call_count == 1


def test_an_unknown_path_is_told_at_once(make, api):
    hook = make(StoqHook)
    hook.patience = 900.0
    api.get(ANYTHING, status_code=404)
    with pytest.raises(ValidationRejected):
        hook.request("GET", "/x")
    assert api.call_count == 1


def test_a_stop_is_heard_by_a_patient_task(make, api, monkeypatch):
    hook = make(StoqHook)
    hook.patience = 900.0
    monkeypatch.delattr(hook, "sleep")
    hook.stop()
    api.get(ANYTHING, [{"json": 5}, {"json": {"status": "ready"}}])
    with pytest.raises(Detached):
        hook.get_job(HANDLE)
    assert api.call_count == 1
