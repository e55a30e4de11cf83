"""The Medusa hook, against ``requests-mock``."""

from __future__ import annotations

import json
import threading
import time
from types import SimpleNamespace

import pytest
import requests

from stoq_provider.core.http import Decoded, Problem, ProblemKind
from stoq_provider.core.records import Lookup, SubmissionRecord
from stoq_provider.exceptions import (
    AuthenticationError,
    ProtocolError,
    ServiceUnavailable,
    StateError,
    SubmissionUncertain,
    ValidationRejected,
)
from stoq_provider.get_provider_info import get_provider_info
from stoq_provider.hooks.medusa import MedusaHook
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.jobs import cancel, lookup
from stoq_provider.jobs.submit import Submitted
from stoq_provider.transport.sync import SyncTransport

ORIGIN = "https://medusa.example"
JOBS = f"{ORIGIN}/admin/batch-jobs"
TOKEN = "medusa-api-token-0123456789"
JOB = {"batch_job": {"id": "batch_1", "status": "created"}}


@pytest.fixture
def medusa(monkeypatch):
    connection = {"conn_type": "medusa", "host": ORIGIN, "password": TOKEN}
    monkeypatch.setenv("AIRFLOW_CONN_MEDUSA_DEFAULT", json.dumps(connection))
    hook = MedusaHook()
    hook.waits = []
    monkeypatch.setattr(hook, "sleep", hook.waits.append)
    hook.transport._clock = lambda: time.time() + sum(hook.waits)
    return hook


@pytest.fixture
def listed(api):
    """The list of jobs, which fills with what is posted; ``lost`` keeps the answers of that many posts."""
    state = SimpleNamespace(jobs=[], lost=0, posts=0, takes=True)

    def post(request, context):
        state.posts += 1
        if state.takes:
            state.jobs.insert(0, {"id": f"batch_{state.posts}", "context": request.json()["context"]})
        if state.lost:
            state.lost -= 1
            raise requests.exceptions.ReadTimeout
        context.status_code = 201
        return {"batch_job": {"id": f"batch_{state.posts}", "status": "created"}}

    api.post(JOBS, json=post)
    api.get(JOBS, json=lambda request, context: {"batch_jobs": state.jobs, "count": len(state.jobs)})
    return state


# -- connection -----------------------------------------------------------------------------------------


def test_connection_is_registered_and_has_a_test(medusa, api):
    info = get_provider_info()
    assert {"medusa": "stoq_provider.hooks.medusa.MedusaHook"}.items() <= {
        entry["connection-type"]: entry["hook-class-name"] for entry in info["connection-types"]
    }.items()
    api.get(JOBS, json={"batch_jobs": [], "count": 3})
    assert medusa.test_connection() == (
        True,
        f"Medusa at {ORIGIN} accepted the key; this user has made 3 batch jobs.",
    )
    api.get(JOBS, text="Unauthorized", status_code=401)
    good, text = medusa.test_connection()
    assert (good, "HTTP 401: Unauthorized" in text) == (False, True)
    api.get(JOBS, json={"products": []})
    assert medusa.test_connection()[0] is False


def test_connection_without_a_host_is_refused(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_MEDUSA_DEFAULT", json.dumps({"conn_type": "medusa", "password": "x"}))
    with pytest.raises(ValidationRejected, match="has no host"):
        MedusaHook().get_conn()


def test_cookies_are_not_kept(medusa, api):
    api.get(JOBS, json={"batch_jobs": [], "count": 0}, headers={"Set-Cookie": "connect.sid=s; Path=/"})
    for _ in range(2):
        medusa.test_connection()
    assert "Cookie" not in api.last_request.headers
    assert api.last_request.headers["x-medusa-access-token"] == TOKEN


# -- submissions ----------------------------------------------------------------------------------------


def test_a_job_is_submitted_with_a_mark_of_its_own(medusa, listed, api):
    handles = [medusa.submit_batch_job("product-export", {"order": "title"}, dry_run=True) for _ in range(2)]
    assert [h.job_id for h in handles] == ["batch_1", "batch_2"]
    assert handles[0].kind == "product-export:dry_run"
    marks = {job["context"]["airflow_correlation"] for job in listed.jobs}
    assert len(marks) == 2
    assert api.last_request.json()["dry_run"] is True


@pytest.mark.parametrize("kind", ["product-export", "product-import"])
def test_a_lost_answer_is_looked_up_before_anything_is_sent_again(medusa, listed, kind):
    listed.lost = 1
    assert medusa.submit_batch_job(kind, {"fileKey": "k"}).job_id == "batch_1"
    assert (listed.posts, medusa.waits) == (1, [0.0])


def test_an_absent_job_is_sent_again_only_after_the_last_look(medusa, listed):
    listed.lost, listed.takes = 1, False
    assert medusa.submit_batch_job("product-import", {"fileKey": "k"}).job_id == "batch_2"
    assert medusa.waits[:3] == list(lookup.LOOKS)
    assert listed.posts == 2


def test_a_request_that_was_still_on_its_way_is_found_by_a_later_look(medusa, listed, api, monkeypatch):
    listed.lost = 1
    shown = iter([[], listed.jobs])
    api.get(JOBS, json=lambda request, context: {"batch_jobs": (jobs := next(shown)), "count": len(jobs)})
    assert medusa.submit_batch_job("product-import", {"fileKey": "k"}).job_id == "batch_1"
    assert listed.posts == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"status_code": 503},
        {"text": "Unauthorized", "status_code": 401},
        {"json": {"jobs": []}},
        {"json": {"batch_jobs": []}},
        {"text": "<html>"},
    ],
)
def test_a_list_that_can_not_be_read_proves_nothing(medusa, listed, api, answer):
    listed.lost = 1
    api.get(JOBS, **answer)
    with pytest.raises(SubmissionUncertain, match="its list of jobs could not be read"):
        medusa.submit_batch_job("product-import", {"fileKey": "k"})
    assert listed.posts == 1


def test_a_list_that_never_ends_proves_nothing(medusa, listed, api):
    listed.lost = 1
    api.get(JOBS, json={"batch_jobs": [{"id": "batch_9", "context": {}}], "count": 10**6})
    with pytest.raises(SubmissionUncertain, match="longer than 50 pages"):
        medusa.submit_batch_job("product-import", {"fileKey": "k"})


def test_a_system_without_a_list_finds_nothing_and_waits_for_nothing(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_STOQ_DEFAULT", json.dumps({"conn_type": "stoq", "password": "k"}))
    hook = StoqHook()
    monkeypatch.setattr(hook, "sleep", lambda seconds: pytest.fail("waited"))
    submission = hook.plan_export("revenue")
    assert lookup.look_up(hook, submission, "airflow-1", 0.0) == lookup.Found(Lookup.UNKNOWN)
    assert hook.system.mark(submission, "airflow-1") == submission


# -- jobs and files -------------------------------------------------------------------------------------


def test_jobs_are_listed_page_by_page(medusa, api):
    pages = [
        {"batch_jobs": [{"id": "a"}, {"id": "b"}], "count": 3},
        {"batch_jobs": [{"id": "c"}], "count": 3},
    ]
    api.get(JOBS, [{"json": page} for page in pages])
    assert [job["id"] for job in medusa.iter_jobs("product-export")] == ["a", "b", "c"]
    assert [request.qs["offset"] for request in api.request_history] == [["0"], ["2"]]
    assert api.last_request.qs["type[]"] == ["product-export"]
    api.get(JOBS, json={"batch_jobs": None})
    with pytest.raises(ProtocolError, match="has no list 'batch_jobs'"):
        list(medusa.iter_jobs())


def test_decisions(medusa, api):
    handle = MedusaHook.system.handle("batch_1", "product-import:dry_run")
    api.post(f"{JOBS}/batch_1/confirm", json=JOB)
    api.post(
        f"{JOBS}/batch_1/cancel", json={"type": "not_allowed", "message": "Cannot cancel"}, status_code=400
    )
    assert medusa.confirm(handle.to_dict()).kind == "product-import"
    with pytest.raises(ValidationRejected, match="Cannot cancel") as caught:
        medusa.cancel(handle)
    assert caught.value.job_id == "batch_1"


def test_a_download_url_is_asked_for_each_time_and_stands_in_no_repr(medusa, api):
    api.post(f"{ORIGIN}/admin/uploads/download-url", json={"download_url": "https://s3/x?sig=SECRET"})
    assert medusa.download_url("exports/x.csv") == "https://s3/x?sig=SECRET"
    assert api.last_request.json() == {"file_key": "exports/x.csv"}
    api.post(f"{ORIGIN}/admin/uploads/download-url", [{"status_code": 502}, {"json": {"download_url": "u"}}])
    assert medusa.download_url("x") == "u"  # it only reads, so it is sent again
    api.post(f"{ORIGIN}/admin/uploads/download-url", json={})
    with pytest.raises(ProtocolError, match="download_url"):
        medusa.download_url("x")


@pytest.mark.parametrize(
    ("extra", "allowed"),
    [
        ({}, False),
        ({"allow_private": True}, True),
        ({"allow_private": "no"}, False),
        ({"allow_http": True}, True),
    ],
)
def test_private_addresses_need_leave(monkeypatch, extra, allowed):
    connection = {"conn_type": "medusa", "host": ORIGIN, "password": TOKEN, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_MEDUSA_DEFAULT", json.dumps(connection))
    assert MedusaHook().allows_private is allowed


# -- uploads --------------------------------------------------------------------------------------------


def uploaded(request):
    return request.body.read()


def test_an_upload_is_one_part_of_a_form(medusa, api, tmp_path):
    file = tmp_path / 'a "b".csv'
    file.write_bytes(b"x" * 300_000)
    api.post(f"{ORIGIN}/admin/uploads/protected", json={"uploads": [{"url": "u", "key": "1-a.csv"}]})
    bodies = []
    api.post(
        f"{ORIGIN}/admin/uploads/protected",
        json=lambda request, context: bodies.append(uploaded(request)) or {"uploads": [{"key": "1-a.csv"}]},
    )
    assert medusa.upload(f"file://{file}") == "1-a.csv"
    head, _, rest = bodies[0].partition(b"\r\n\r\n")
    assert b'name="files"; filename="a %22b%22.csv"' in head
    assert rest.startswith(b"x" * 300_000 + b"\r\n--")
    assert api.last_request.headers["Content-Length"] == str(len(bodies[0]))
    assert "Transfer-Encoding" not in api.last_request.headers
    boundary = api.last_request.headers["Content-Type"].partition("boundary=")[2].encode()
    assert bodies[0].startswith(b"--" + boundary)
    assert bodies[0].endswith(b"--" + boundary + b"--\r\n")


@pytest.mark.parametrize(
    ("answer", "error", "tries"),
    [
        ({"status_code": 502}, ServiceUnavailable, 3),
        ({"text": "Unauthorized", "status_code": 401}, AuthenticationError, 1),
        ({"json": {"uploads": []}}, ProtocolError, 1),
        ({"json": {"uploads": [{"url": "u"}]}}, ProtocolError, 1),
    ],
)
def test_an_upload_that_fails_starts_no_job_and_says_so(medusa, api, tmp_path, answer, error, tries):
    (tmp_path / "a.csv").write_text("x")
    api.post(f"{ORIGIN}/admin/uploads/protected", **answer)
    with pytest.raises(error, match="No remote job was started") as caught:
        medusa.upload((tmp_path / "a.csv").as_uri())
    assert api.call_count == tries
    assert TOKEN not in str(caught.value)


# -- a kill ---------------------------------------------------------------------------------------------


class Records:
    def __init__(self, broken=False):
        self.gone, self.broken, self.store = [], broken, self

    def delete(self, key):
        if self.broken:
            raise StateError("no store")
        self.gone.append(key)


def job(number):
    handle = MedusaHook.system.handle(f"batch_{number}", "product-export")
    return Submitted(f"key_{number}", SubmissionRecord(0, 0.0, handle), handle, False)


STOPPED = {"batch_job": {"id": "x", "status": "canceled", "completed_at": None}}
WORKED = {"batch_job": {"id": "x", "status": "canceled", "completed_at": "2026-11-21T01:45:02.238Z"}}


@pytest.mark.parametrize(
    ("answer", "broken", "says", "gone"),
    [
        ({"json": STOPPED}, False, "cancelled before it did anything", ["key_1"]),
        ({"json": STOPPED}, True, "could not be written down", []),
        ({"json": WORKED}, False, "done all the same", []),
        ({"json": {"message": "completed"}, "status_code": 400}, False, "nothing to cancel", []),
        ({"json": {"message": "gone"}, "status_code": 404}, False, "nothing to cancel", []),
        ({"status_code": 409}, False, "nothing to cancel", []),
        ({"status_code": 500}, False, "the cancellation failed", []),
    ],
)
def test_a_kill_tells_what_becomes_of_a_job(medusa, api, answer, broken, says, gone):
    api.post(f"{JOBS}/batch_1/cancel", **answer)
    records = Records(broken)
    assert says in cancel.stop_jobs(medusa, [job(1)], records)
    assert records.gone == gone
    assert api.call_count == 1


def test_a_kill_waits_for_all_jobs_together_and_not_for_long(medusa, api, monkeypatch):
    # The clock says: 60 s are left for the job that is answered, 10 ms for the next, none for the last.
    passed = iter([0.0, 0.0, 59.99, 60.0])
    monkeypatch.setattr(cancel, "STOP_SECONDS", 60.0)
    monkeypatch.setattr(cancel, "time", SimpleNamespace(monotonic=lambda: next(passed)))
    release = threading.Event()
    api.post(f"{JOBS}/batch_1/cancel", json=STOPPED)
    send = SyncTransport.send

    def sending(transport, request, *policy):
        # Not within requests-mock, which answers one request at a time.
        if "batch_1" in request.url:
            return send(transport, request, *policy)
        release.wait(60)
        return Decoded(problem=Problem(ProblemKind.LOST_CONNECTION))

    monkeypatch.setattr(SyncTransport, "send", sending)
    try:
        fate = cancel.stop_jobs(medusa, [job(1), job(2), job(3)], Records())
    finally:
        release.set()
    assert list(passed) == []
    assert fate.count("no response to the cancellation") == 2
    assert "batch_1: cancelled before it did anything" in fate


def test_a_kill_before_any_job_sends_nothing(medusa, api):
    assert "nothing can cancel them" in cancel.stop_jobs(medusa, [], None)
    assert api.call_count == 0
