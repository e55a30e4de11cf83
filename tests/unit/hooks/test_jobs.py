"""Submitting and asking for jobs through the hook."""

from __future__ import annotations

import pytest
import requests

from stoq_provider.core.models import JobHandle, JobState
from stoq_provider.exceptions import (
    ActionRejected,
    AuthenticationError,
    ProtocolError,
    ServiceUnavailable,
    SubmissionUncertain,
    ValidationRejected,
)

from .conftest import API

JOB = {"job_id": "exp_1", "status_url": "/api/v2/external/preorders/reports/exports/exp_1"}
STATUS = f"{API}/preorders/reports/exports/exp_1"
EXPORT = f"{API}/preorders/reports/revenue/export"


def test_submit_export(hook, api):
    api.post(EXPORT, status_code=202, json=JOB)
    handle = hook.submit_export("revenue", {"from": "2026-05-01", "to": "2026-05-31"})
    assert (handle.system, handle.kind, handle.job_id) == ("stoq", "export:revenue", "exp_1")
    assert handle.status_url == JOB["status_url"]
    assert handle.item_count is None
    assert handle.submitted_at > 1e9
    assert api.last_request.json() == {"from": "2026-05-01", "to": "2026-05-31"}


def test_submit_export_with_corrections_of_body_and_query(hook, api):
    api.post(EXPORT, status_code=202, json=JOB)
    hook.submit_export(
        "revenue",
        {"from": "2026-05-01", "to": "2026-05-31"},
        extra_body={"from": None, "format": "csv"},
        extra_query={"from": "2026-05-01"},
    )
    assert api.last_request.json() == {"to": "2026-05-31", "format": "csv"}
    assert api.last_request.qs == {"from": ["2026-05-01"]}


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"form": "2026-05-01"}, r"no filter 'form'.*'from'"),
        ({"from": "May"}, "ISO 8601 date"),
        ({"from": "2026-05-02", "to": "2026-05-01"}, "is after 'to'"),
        ({"include_deposits": False, "include_balances": False}, "at least one of"),
        ({"granularity": "hour"}, "day, week, month"),
        ({"offer_ids": "a,b"}, "must be a list"),
    ],
)
def test_submit_export_checks_filters_before_sending(hook, api, filters, words):
    with pytest.raises(ValidationRejected, match=words) as caught:
        hook.submit_export("revenue", filters)
    assert "Nothing was sent" in str(caught.value)
    assert caught.value.job_started is False
    assert api.call_count == 0


REPORTS = {
    "reports": [{"name": "funnel", "aliases": ["pipeline"]}, {"name": "revenue", "aliases": 7}, {"bad": 1}]
}


@pytest.mark.parametrize("name", ["funnel", "pipeline"])
def test_submit_export_looks_an_unknown_report_up(hook, api, name):
    api.get(f"{API}/preorders/reports", json=REPORTS)
    api.post(f"{API}/preorders/reports/funnel/export", json=JOB, status_code=202)
    assert hook.submit_export(name).kind == "export:funnel"


def test_submit_export_names_near_misses_of_a_misspelt_report(hook, api):
    api.get(f"{API}/preorders/reports", json=REPORTS)
    with pytest.raises(ValidationRejected, match=r"no report 'revenu'.*'revenue'") as caught:
        hook.submit_export("revenu")
    assert "Its reports are funnel, revenue" in str(caught.value)
    assert "Nothing was sent" in str(caught.value)
    assert [request.method for request in api.request_history] == ["GET"]


def test_reports_of_an_answer_of_another_shape_are_none(hook, api):
    api.get(f"{API}/preorders/reports", json=[1])
    assert hook.reports() == []


@pytest.mark.parametrize("action", ["release", "cancel", "send_payment_collection_url"])
def test_submit_orders(hook, api, action):
    url = "/api/v2/external/preorders/orders/jobs/bulk_1"
    api.post(
        f"{API}/preorders/orders/bulk_{action}",
        status_code=202,
        json={"job_id": "bulk_1", "status_url": url, "order_count": 2},
    )
    handle = hook.submit_orders(action, [11, 12])
    assert (handle.kind, handle.item_count) == (f"bulk_{action}", 2)
    assert api.last_request.json()["order_ids"] == [11, 12]


def test_submit_orders_set_tags_sends_the_tags(hook, api):
    api.post(f"{API}/preorders/orders/bulk_set_tags", status_code=202, json=JOB)
    hook.submit_orders("set_tags", [1], tags=["vip"])
    assert api.last_request.json() == {"order_ids": [1], "tags": ["vip"]}


@pytest.mark.parametrize("action", ["recalculate_preorder_counts", "reset_metafields", "sync_metafields"])
def test_submit_variants(hook, api, action):
    answer = {**JOB, "variant_count": 1}
    api.post(f"{API}/preorders/product_variants/bulk_{action}", status_code=202, json=answer)
    handle = hook.submit_variants(action, [5])
    assert (handle.kind, handle.item_count) == (f"bulk_{action}", 1)
    assert api.last_request.json() == {"variant_ids": [5]}


@pytest.mark.parametrize(
    ("method", "action", "ids"),
    [
        ("submit_orders", "relase", [1]),
        ("submit_orders", "sync_metafields", [1]),
        ("submit_variants", "release", [1]),
        ("submit_orders", "release", []),
        ("submit_orders", "release", list(range(1, 1002))),
        ("submit_variants", "sync_metafields", list(range(1, 5002))),
        ("submit_orders", "release", ["x"]),
    ],
)
def test_submit_refuses_what_is_wrong_before_sending(hook, api, method, action, ids):
    with pytest.raises(ValidationRejected, match="Nothing was sent"):
        getattr(hook, method)(action, ids)
    assert api.call_count == 0


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ({"status_code": 401, "json": {"errors": ["x"]}}, AuthenticationError, "not retried"),
        ({"status_code": 404, "json": {"errors": ["x"]}}, ValidationRejected, "refused again"),
        ({"status_code": 409, "json": {"errors": ["x"]}}, ActionRejected, "A retry submits it"),
        ({"status_code": 422, "json": {"errors": ["x"]}}, ValidationRejected, "refused again"),
        ({"exc": requests.ConnectTimeout}, ServiceUnavailable, "A retry submits it"),
    ],
)
def test_submit_that_was_refused_started_no_job(hook, api, answer, error, words):
    api.post(EXPORT, **answer)
    with pytest.raises(error, match="No remote job was started") as caught:
        hook.submit_export("revenue")
    assert words in str(caught.value)
    assert caught.value.job_started is False


def test_submit_that_may_have_arrived_is_repeated_where_that_is_safe(hook, api):
    answers = [{"status_code": 503}, {"exc": requests.ReadTimeout}, {"status_code": 202, "json": JOB}]
    api.post(EXPORT, answers)
    assert hook.submit_export("revenue").job_id == "exp_1"
    assert api.call_count == 3


def test_submit_that_may_have_arrived_is_not_repeated_where_that_is_not_safe(hook, api):
    api.post(f"{API}/preorders/orders/bulk_send_payment_collection_url", exc=requests.ReadTimeout)
    with pytest.raises(SubmissionUncertain, match="no response within 30 s"):
        hook.submit_orders("send_payment_collection_url", [1])
    assert api.call_count == 1


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"job_id": ""},
        {"job_id": 5, "status_url": "/x"},
        {"job_id": "a"},
        [],
        "text",
        {**JOB, "status_url": ""},
    ],
)
def test_submit_answered_without_a_job_makes_no_sense(hook, api, answer):
    api.post(EXPORT, status_code=202, json=answer)
    with pytest.raises(ProtocolError, match=r"has (no '|'job_id' as int)"):
        hook.submit_export("revenue")
    assert api.call_count == 3


# -- get_job --------------------------------------------------------------------------------------------


HANDLE = JobHandle("stoq", "export:revenue", "exp_1", JOB["status_url"])


@pytest.mark.parametrize("handle", [HANDLE, HANDLE.to_dict()], ids=["handle", "xcom"])
def test_get_job_reads_the_status(hook, api, handle):
    url = "https://bucket.s3.amazonaws.com/x?X-Amz-Signature=s3cret"
    api.get(
        STATUS,
        json={
            "job_id": "exp_1",
            "status": "ready",
            "download_url": url,
            "file_name": "a.csv",
            "row_count": 22,
            "progress": 100,
        },
    )
    status = hook.get_job(handle)
    assert (status.state, status.word) == (JobState.SUCCEEDED, "ready")
    assert (status.row_count, status.file_name, status.download_url) == (22, "a.csv", url)
    assert "s3cret" not in repr(status)
    assert "s3cret" not in str(status.to_dict())


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("running", JobState.RUNNING),
        ("completed", JobState.SUCCEEDED),
        ("failed", JobState.FAILED),
        ("cancelled", JobState.CANCELLED),
        ("paused", JobState.UNKNOWN),
        ("READY", JobState.UNKNOWN),
    ],
)
def test_get_job_reads_every_word(hook, api, word, state):
    api.get(STATUS, json={"status": word, "error": None})
    assert hook.get_job(HANDLE).state is state


@pytest.mark.parametrize("body", [{}, [], {"status": None}, {"status": "ready", "job_id": "exp_2"}, "x", 5])
def test_get_job_refuses_what_is_no_status(hook, api, body):
    api.get(STATUS, json=body)
    with pytest.raises(ProtocolError, match="Job exp_1 goes on; a retry asks again"):
        hook.get_job(HANDLE)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/api",
        "http://app.stoqapp.com/api",
        "//evil.example/x",
        "https://app.stoqapp.com:8443/",
    ],
)
def test_get_job_sends_the_key_to_no_other_origin(hook, api, url):
    with pytest.raises(ValidationRejected, match="another origin"):
        hook.get_job(JobHandle("stoq", "export", "exp_1", url))
    assert api.call_count == 0


def test_get_job_refuses_a_handle_that_is_none(hook):
    with pytest.raises(ProtocolError, match="needs 'system'"):
        hook.get_job({"job_id": "x"})
    with pytest.raises(ProtocolError, match="needs 'system'"):
        hook.download({"job_id": "x"}, "/tmp/never/")
