"""Outcome table: the submission is refused, or nobody knows whether it arrived."""

from __future__ import annotations

import json
from itertools import islice

import pytest

from stoq_provider.exceptions import (
    ActionRejected,
    ProtocolError,
    ServiceUnavailable,
    StoqProviderError,
    SubmissionUncertain,
    ValidationRejected,
)
from stoq_provider.hooks.stoq import StoqHook
from tests.harness import MemoryStateStore

from .conftest import CONN, MODES, SUBMIT, fails, in_turn, mail

MAIL = r"/bulk_send_payment_collection_url$"
# How an answer gets lost on the way, and whether the server has started the job all the same.
LOST = [
    pytest.param("reset_after", {}, 1, id="reset-after"),
    pytest.param("reset_before", {}, 0, id="reset-before"),
    pytest.param("delay", {"seconds": None, "processed": True}, 1, id="timeout"),
    pytest.param("status", {"status": 500, "processed": True}, 1, id="500"),
    pytest.param("status", {"status": 502}, 0, id="502"),
    pytest.param("garbage", {}, 1, id="cut-json"),
    pytest.param("html", {}, 1, id="html"),
    pytest.param("empty", {"status": 202}, 1, id="empty"),
    pytest.param("json", {"body": {"ok": True}, "status": 202}, 1, id="json-without-a-job"),
    pytest.param("truncated", {"after": 5}, 1, id="truncated"),
]


# -- refused --------------------------------------------------------------------------------------------


def test_submit_refused_409_fails_with_the_hint_and_a_retry_submits(bench, sandbox):
    body = {"errors": ["Another job is in progress for this offer. Try again later."]}
    sandbox.arm("status", status=409, body=body, path=SUBMIT, times=1)
    run = bench.export()
    error = fails(
        run.execute,
        ActionRejected,
        "Another job is in progress for this offer",
        "No remote job was started",
        "A retry submits it",
    )
    assert (error.http_status, error.job_started) == (409, False)
    assert bench.submissions == 0
    assert run.store.records() == []
    assert run.retry()["jobs"][0]["outcome"] == "succeeded"
    assert bench.submissions == 1


def test_submit_refused_409_of_another_job_is_waited_out_where_on_busy_says_so(
    bench, sandbox, monkeypatch, logs
):
    monkeypatch.setattr("stoq_provider.jobs.send.BUSY_INTERVAL", 0.05)
    body = {"errors": ["Another job is in progress for this offer. Try again later."]}
    sandbox.arm("status", status=409, body=body, path=SUBMIT, times=3)
    assert bench.export(on_busy="wait").execute()["jobs"][0]["outcome"] == "succeeded"
    assert bench.submissions == 1
    assert "busy with another job" in logs.text


def test_submit_refused_409_of_another_job_for_longer_than_the_timeout(bench, sandbox, monkeypatch):
    monkeypatch.setattr("stoq_provider.jobs.send.BUSY_INTERVAL", 0.05)
    body = {"errors": ["Another job is in progress for this offer."]}
    sandbox.arm("status", status=409, body=body, path=SUBMIT, times=None)
    run = bench.export(on_busy="wait", timeout=0.3)
    fails(run.execute, ActionRejected, "Another job is in progress", "No remote job was started")
    assert sandbox.state["faults"][0]["fired"] > 1
    assert bench.submissions == 0


def test_submit_refused_409_for_the_wrong_state_is_not_waited_out(bench, sandbox):
    sandbox.arm("status", status=409, body={"errors": ["Offer is archived"]}, path=SUBMIT, times=1)
    fails(bench.export(on_busy="wait").execute, ActionRejected, "Offer is archived")
    assert sandbox.state["faults"][0]["fired"] == 1


def test_submit_refused_422_fails_with_the_hint_and_is_not_retried(bench, sandbox):
    run = bench.export(extra_body={"from": "2026-06-31"})
    error = fails(
        run.execute, ValidationRejected, "from", "No remote job was started", "not retried", final=True
    )
    assert (error.http_status, error.job_started) == (422, False)
    assert error.server_messages
    assert bench.submissions == 0
    assert run.store.records() == []


def test_submit_refused_422_by_our_own_check_sends_nothing(bench, sandbox):
    run = bench.export(filters={"form": "2026-05-01"})
    fails(run.execute, ValidationRejected, "no filter 'form'", "'from'", "Nothing was sent", final=True)
    assert sandbox.state["requests"] == {}


def test_submit_refused_404_because_no_such_report_exists_any_more(bench, sandbox):
    sandbox.arm("status", status=404, path=SUBMIT, times=1)
    error = fails(
        bench.export().execute, ValidationRejected, "No remote job was started", "not retried", final=True
    )
    assert error.http_status == 404


def test_submit_refused_connection_is_tried_again_then_a_retry_submits(bench, sandbox):
    sandbox.arm("refuse", seconds=30)
    run = bench.export()
    try:
        error = fails(
            run.execute,
            ServiceUnavailable,
            "no connection to http",
            "No remote job was started",
            "A retry submits it",
        )
    finally:
        sandbox.stop()
        sandbox.start()
    assert error.job_started is False
    assert run.store.records() == []
    assert bench.submissions == 0


# -- ambiguous, and safe to repeat ----------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "options", "started", "mode"), in_turn(LOST, MODES))
def test_submit_ambiguous_repeat_safe_submits_again(bench, sandbox, mode, fault, options, started, logs):
    sandbox.arm(fault, path=SUBMIT, times=1, **options)
    run = bench.export(mode)
    manifest = run.execute()
    assert manifest["jobs"][0]["outcome"] == "succeeded"
    assert bench.submissions == started + 1
    assert manifest["jobs"][0]["job_id"] == sandbox.submissions[-1]["job_id"]
    assert logs.warnings("is safe to repeat, so it is sent again")


@pytest.mark.parametrize(
    ("fault", "error"),
    [("reset_after", ServiceUnavailable), ("status", ServiceUnavailable), ("garbage", ProtocolError)],
)
def test_submit_ambiguous_repeat_safe_gives_up_and_the_next_try_submits_again(
    bench, sandbox, fault, error, logs
):
    sandbox.arm(fault, path=SUBMIT, times=3)
    run = bench.export()
    raised = fails(
        run.execute, error, "no clear response in 3 attempts", "which does no harm", "submits again"
    )
    assert raised.job_started is None
    (record,) = run.store.records()
    assert record["handle"] is None
    before = bench.submissions
    assert before == (0 if fault == "status" else 3)
    assert run.retry()["jobs"][0]["outcome"] == "succeeded"
    assert bench.submissions == before + 1
    assert logs.warnings("A job may run that nobody waits for")


def test_submit_ambiguous_status_url_on_another_origin_is_not_followed(bench, sandbox):
    body = {"job_id": "exp_1", "status_url": "http://evil.example/api/v2/external/x"}
    sandbox.arm("json", path=SUBMIT, times=None, status=202, body=body, processed=False)
    fails(bench.export().execute, ProtocolError, "another origin", "submits again")


# -- ambiguous, and never to be repeated ----------------------------------------------------------------


@pytest.mark.parametrize(("fault", "options", "started"), LOST)
def test_submit_ambiguous_never_repeat_fails_and_the_next_try_stops(bench, sandbox, fault, options, started):
    hook, store = StoqHook(), MemoryStateStore()
    submit = mail(hook, store)
    sandbox.arm(fault, path=MAIL, times=1, **options)
    fails(
        submit,
        SubmissionUncertain,
        "no clear response came back",
        "The job perhaps runs",
        "It is not sent again",
        "not retried",
        "Look in STOQ whether it took effect",
        "clear the task to submit it",
        final=True,
    )
    assert bench.submissions == started
    fails(
        submit,
        SubmissionUncertain,
        "An earlier try was about to send",
        "perhaps runs",
        "Nothing was sent now",
        "clearing the task submits it",
        final=True,
    )
    assert bench.submissions == started
    assert mail(hook, store, clears=1)().handle.kind == "bulk_send_payment_collection_url"
    assert bench.submissions == started + 1


def test_submit_ambiguous_never_repeat_with_reuse_stops_after_a_clear_too(bench, sandbox):
    hook, store = StoqHook(), MemoryStateStore()
    sandbox.arm("reset_after", path=MAIL, times=1)
    fails(mail(hook, store), SubmissionUncertain, final=True)
    fails(mail(hook, store, clears=1, on_clear="reuse"), SubmissionUncertain, final=True)
    assert bench.submissions == 1


def test_submit_refused_is_not_ambiguous_for_what_must_never_be_repeated(bench, sandbox):
    hook, store = StoqHook(), MemoryStateStore()
    submit = mail(hook, store)
    sandbox.arm("status", status=409, path=MAIL, times=1)
    fails(submit, ActionRejected, "No remote job was started")
    assert store.records() == []
    submit()
    assert bench.submissions == 1


UNSENT = [
    pytest.param({"extra": {"proxy": "foo://me:s3cret@proxy:1"}}, "the scheme 'foo'", id="no such proxy"),
    pytest.param({"extra": {"proxy": "socks4://proxy:1"}}, "the scheme 'socks4'", id="old SOCKS"),
    pytest.param({"extra": {"verify": "/no/such/ca.pem"}}, "/no/such/ca.pem", id="no such bundle"),
    pytest.param({"extra": {"verify": "disabled"}}, "neither true nor false", id="no switch"),
    pytest.param({"host": "https://{address}"}, "TLS failed", id="plain http behind https"),
    pytest.param({"host": "http://127.0.0.1:9"}, "connection refused", id="refused"),
    pytest.param(
        {"extra": {"proxy": "http://me:s3cret@127.0.0.1:9"}},
        "through the proxy http://127.0.0.1:9 came about: connection refused",
        id="no proxy there",
    ),
]


@pytest.mark.parametrize(("wrong", "says"), UNSENT)
def test_what_surely_was_not_sent_is_sent_once_when_the_connection_is_mended(
    bench, sandbox, monkeypatch, wrong, says
):
    ids = [order["shopify_order_id"] for order in islice(StoqHook().iter_orders(state="placed"), 2)]
    good = {"conn_type": "stoq", "host": sandbox.origin, "password": sandbox.key}
    bad = {**good, **wrong}
    bad["host"] = bad["host"].format(address=sandbox.origin.partition("//")[2])
    run = bench.bulk("send_payment_collection_url", ids)
    monkeypatch.setenv(CONN, json.dumps(bad))
    with pytest.raises(StoqProviderError, match=r"(?i)(nothing was|was not) sent") as caught:
        run.execute()
    assert says in str(caught.value)
    assert "'stoq_default'" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert type(caught.value) in (ValidationRejected, ServiceUnavailable)
    assert (caught.value.job_started, caught.value.maybe_processed) == (False, False)
    assert (bench.submissions, run.store.records()) == (0, [])
    monkeypatch.setenv(CONN, json.dumps(good))
    assert run.retry()["jobs"][0]["outcome"] == "succeeded"
    assert bench.submissions == 1


def test_429_at_submit_is_waited_out_for_what_must_never_be_repeated(bench, sandbox):
    hook, store = StoqHook(), MemoryStateStore()
    submit = mail(hook, store)
    sandbox.arm("status", status=429, path=MAIL, times=2, headers={"Retry-After": "0"})
    submit()
    assert bench.submissions == 1


def test_worker_killed_never_repeat_with_a_known_job_reattaches(bench, sandbox):
    hook, store = StoqHook(), MemoryStateStore()
    first = mail(hook, store)()
    second = mail(StoqHook(), store)()
    assert second.handle.job_id == first.handle.job_id
    assert (first.reattached, second.reattached) == (False, True)
    assert bench.submissions == 1
