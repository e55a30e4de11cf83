"""Outcome table, bulk actions: the submission is refused, or nobody knows whether it arrived."""

from __future__ import annotations

import pytest

from stoq_provider.exceptions import (
    ActionRejected,
    AuthenticationError,
    RateLimited,
    ServiceUnavailable,
    StateError,
    SubmissionUncertain,
    ValidationRejected,
)
from stoq_provider.hooks.stoq import StoqHook
from tests.harness import MemoryStateStore

from .conftest import MODES, fails, in_turn

MAIL = "send_payment_collection_url"
POST = r"/bulk_[a-z_]+$"
BUSY = {"errors": ["Another job is in progress for this shop. Try again later."]}
# How an answer gets lost on the way, and whether the server has started the job all the same.
LOST = [
    pytest.param("reset_after", {}, 1, id="reset-after"),
    pytest.param("reset_before", {}, 0, id="reset-before"),
    pytest.param("delay", {"seconds": None, "processed": True}, 1, id="timeout"),
    pytest.param("status", {"status": 500, "processed": True}, 1, id="500"),
    pytest.param("status", {"status": 503}, 0, id="503"),
    pytest.param("garbage", {}, 1, id="cut-json"),
    pytest.param("html", {}, 1, id="html"),
    pytest.param("json", {"body": {"ok": True}, "status": 202}, 1, id="json-without-a-job"),
]


@pytest.fixture(autouse=True)
def setting(monkeypatch, sandbox):
    sandbox.jobs("*", times=None, duration=5)


def owing(count=20):
    """Return orders that get a payment link."""
    return [order["shopify_order_id"] for order in StoqHook().iter_orders(state="awaiting_balance")][:count]


# -- ambiguous ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "options", "started", "action", "mode"), in_turn(LOST, ["release", "sync_metafields"], MODES)
)
def test_submit_ambiguous_repeat_safe_is_sent_again(
    bench, sandbox, mode, action, fault, options, started, logs
):
    sandbox.arm(fault, path=POST, times=1, **options)
    manifest = bench.bulk(action, [1, 2], mode).execute()
    assert bench.sent() == [[1, 2]] * (started + 1)
    assert [job["job_id"] for job in manifest["jobs"]] == [sandbox.submissions[-1]["job_id"]]
    assert logs.warnings("is safe to repeat, so it is sent again")


def test_submit_ambiguous_repeat_safe_gives_up_and_the_next_try_sends_again(bench, sandbox):
    sandbox.arm("reset_after", path=POST, times=3)
    run = bench.bulk("release", [1])
    fails(run.execute, ServiceUnavailable, "no clear response in 3 attempts", "A retry submits again")
    assert run.retry()["jobs"][0]["outcome"] == "succeeded"
    assert len(bench.sent()) == 4


@pytest.mark.parametrize(("fault", "options", "started"), LOST)
def test_submit_ambiguous_mail_is_never_sent_again(bench, sandbox, fault, options, started):
    ids = owing()
    run = bench.bulk(MAIL, ids)
    sandbox.arm(fault, path=POST, times=1, **options)
    says = ("The job perhaps runs", "the task is not retried", "Look in STOQ whether it took effect")
    fails(run.execute, SubmissionUncertain, *says, final=True)
    run.next_try()
    fails(
        run.execute, SubmissionUncertain, "Nothing was sent now", "clearing the task submits it", final=True
    )
    sandbox.advance(600)
    assert bench.sent() == [ids] * started
    assert set(sandbox.state["payment_links"].values()) == ({1} if started else set())


@pytest.mark.large_shop
def test_submit_ambiguous_mail_in_the_second_chunk_a_clear_does_not_mail_the_first_again(bench, sandbox):
    ids = [order["shopify_order_id"] for order in StoqHook().iter_orders()]
    run = bench.bulk(MAIL, ids)
    sandbox.arm("reset_before", path=POST, times=1, skip=1)
    error = fails(
        run.execute, SubmissionUncertain, "Before that, 1 of 2 submissions had their jobs", final=True
    )
    assert "clearing the task finds them and sends only the others" in str(error)
    run.clear()
    assert len(run.execute()["jobs"]) == 2
    sandbox.advance(600)
    assert bench.sent() == [ids[:1000], ids[1000:]]
    assert set(sandbox.state["payment_links"].values()) == {1}


def test_submit_ambiguous_then_busy_because_of_it_does_not_claim_that_no_job_runs(bench, sandbox):
    sandbox.arm("reset_after", path=POST, times=1)
    sandbox.arm("status", status=409, body=BUSY, path=POST, times=1)
    run = bench.bulk("release", [1])
    error = fails(run.execute, ActionRejected, "Another job is in progress", "A retry submits")
    assert "No remote job was started" not in str(error)
    assert error.job_started is not False
    assert run.retry()["jobs"][0]["outcome"] == "succeeded"


# -- refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["release", MAIL])
def test_submit_refused_409_for_a_wrong_state_fails_and_a_retry_submits(bench, sandbox, action):
    body = {"errors": ["The offer is discarded. Restore it first."]}
    sandbox.arm("status", status=409, body=body, path=POST)
    run = bench.bulk(action, [1], on_busy="wait")
    fails(
        run.execute,
        ActionRejected,
        "The offer is discarded",
        "No remote job was started",
        "A retry submits it",
    )
    assert run.store.records() == []
    run.retry()
    assert bench.sent() == [[1]]


def test_submit_refused_409_busy_fails_by_default(bench, sandbox):
    sandbox.arm("status", status=409, body=BUSY, path=POST)
    run = bench.bulk("release", [1])
    fails(run.execute, ActionRejected, "Another job is in progress", "No remote job was started")
    run.retry()
    assert bench.sent() == [[1]]


@pytest.mark.parametrize("action", ["release", MAIL])
def test_submit_refused_409_busy_waits_where_that_is_wanted(bench, sandbox, action, monkeypatch, logs):
    monkeypatch.setattr("stoq_provider.jobs.send.BUSY_INTERVAL", 0.02)
    sandbox.arm("status", status=409, body=BUSY, path=POST, times=4)
    bench.bulk(action, [1], on_busy="wait").execute()
    assert bench.sent() == [[1]]
    assert sum("STOQ is busy with another job" in text for _, text in logs) == 4


def test_submit_refused_409_busy_waits_no_longer_than_the_timeout(bench, sandbox, monkeypatch):
    monkeypatch.setattr("stoq_provider.jobs.send.BUSY_INTERVAL", 0.05)
    sandbox.arm("status", status=409, body=BUSY, path=POST, times=None)
    run = bench.bulk("release", [1], on_busy="wait", timeout=0.2)
    fails(run.execute, ActionRejected, "Another job is in progress", "A retry submits it")
    assert 2 <= sandbox.state["faults"][0]["fired"] <= 5
    assert bench.sent() == []


@pytest.mark.parametrize("action", ["release", MAIL])
@pytest.mark.parametrize(
    ("status", "error"), [(401, AuthenticationError), (403, AuthenticationError), (422, ValidationRejected)]
)
def test_submit_refused_for_good_is_final_and_leaves_no_record(bench, sandbox, action, status, error):
    sandbox.arm("status", status=status, path=POST)
    run = bench.bulk(action, [1])
    fails(run.execute, error, "No remote job was started", "not retried", final=True)
    assert run.store.records() == []
    run.clear()
    run.execute()
    assert bench.sent() == [[1]]


@pytest.mark.parametrize("action", ["release", MAIL])
def test_submit_refused_connection_leaves_no_record(bench, sandbox, action):
    run = bench.bulk(action, [1])
    sandbox.arm("refuse", seconds=30)
    try:
        fails(run.execute, ServiceUnavailable, "no connection to http", "No remote job was started")
    finally:
        sandbox.stop()
        sandbox.start()
    assert run.store.records() == []


@pytest.mark.parametrize("action", ["release", MAIL])
@pytest.mark.parametrize("status", [401, 422])
def test_submit_refused_in_the_middle_a_clear_sends_only_the_others(bench, sandbox, action, status):
    ids = list(range(1, 3001))
    sandbox.arm("status", status=status, path=POST, skip=1)
    run = bench.bulk(action, ids)
    error = fails(run.execute, (AuthenticationError if status == 401 else ValidationRejected), final=True)
    assert "Before that, 1 of 3 submissions had their jobs; those go on, and clearing the task" in str(error)
    run.clear()
    manifest = run.execute()
    assert bench.sent() == [ids[:1000], ids[1000:2000], ids[2000:]]
    assert [job["job_id"] for job in manifest["jobs"]] == [s["job_id"] for s in sandbox.submissions]
    run.retry()
    assert len(bench.sent()) == 3
    run.clear()
    run.execute()
    assert len(bench.sent()) == 6, "the clear after that is an ordinary one: it submits everything"


def test_submit_refused_401_in_the_middle_of_a_selection_keeps_it(bench, sandbox, tmp_path):
    (tmp_path / "ids").write_text("".join(f"{n}\n" for n in range(1, 2001)))
    sandbox.arm("status", status=401, path=POST, skip=1)
    run = bench.bulk("release", str(tmp_path / "ids"))
    fails(run.execute, AuthenticationError, final=True)
    (tmp_path / "ids").write_text("5\n")
    run.clear()
    run.execute()
    assert [len(ids) for ids in bench.sent()] == [1000, 1000]
    run.clear()
    run.execute()
    assert bench.sent()[2:] == [[5]]


@pytest.mark.parametrize("status", [409, 503])
def test_submit_refused_in_the_middle_a_retry_sends_only_the_others(bench, sandbox, status):
    ids = list(range(1, 2001))
    sandbox.arm("status", status=status, path=POST, skip=1, times=3)
    run = bench.bulk("release", ids)
    with pytest.raises(
        Exception, match="1 of 2 submissions had their jobs; those go on, and a retry finds them"
    ):
        run.execute()
    sandbox.disarm()
    run.retry()
    assert bench.sent() == [ids[:1000], ids[1000:]]


def test_429_at_submit_is_waited_out_and_sends_each_chunk_once(bench, sandbox):
    sandbox.arm("status", status=429, headers={"Retry-After": "0"}, path=POST, times=3)
    bench.bulk(MAIL, range(1, 1501)).execute()
    assert [len(ids) for ids in bench.sent()] == [1000, 500]


def test_429_for_longer_than_one_may_wait_says_when_to_come_back(bench, sandbox):
    sandbox.arm("status", status=429, headers={"Retry-After": "3000"}, path=POST)
    error = fails(
        bench.bulk(MAIL, [1]).execute, RateLimited, "No remote job was started", "A retry submits it"
    )
    assert error.retry_after == 3000


# -- the store ------------------------------------------------------------------------------------------


class Breaks(MemoryStateStore):
    """Refuses what ``when`` tells of it."""

    def __init__(self, when) -> None:
        super().__init__()
        self.when = when

    def set(self, key, value, *, retention=None):
        self._maybe("set", value)
        super().set(key, value)

    def delete(self, key):
        self._maybe("delete", {})
        super().delete(key)

    def _maybe(self, call, value):
        if self.when(call, value):
            raise RuntimeError("the disk is full")


@pytest.mark.parametrize("action", ["release", MAIL])
@pytest.mark.parametrize("breaks", ["read", "write"])
def test_state_store_that_does_not_answer_sends_nothing(bench, sandbox, action, breaks):
    store = Breaks(lambda call, value: breaks == "write")
    store.broken = breaks == "read"
    run = bench.bulk(action, [1], store=store)
    for _ in range(2):
        fails(run.execute, StateError, "nothing more was sent", "A retry looks again")
        run.next_try()
    assert sandbox.state["requests"] == {}
    store.when, store.broken = (lambda call, value: False), False
    run.execute()
    assert bench.sent() == [[1]]


def test_state_store_that_breaks_in_the_middle_a_retry_sends_only_the_others(bench):
    store = Breaks(lambda call, value: len(bench.sent()) == 1 and value.get("handle") is None)
    run = bench.bulk(MAIL, range(1, 2001), store=store)
    fails(run.execute, StateError, "1 of 2 submissions had their jobs")
    store.when = lambda call, value: False
    run.retry()
    assert [ids[0] for ids in bench.sent()] == [1, 1001]


@pytest.mark.parametrize(("action", "mode"), in_turn(["release", MAIL], MODES))
def test_state_store_that_cannot_note_the_handle_waits_for_the_job_all_the_same(bench, mode, action, logs):
    run = bench.bulk(action, [1], mode, store=Breaks(lambda call, value: value.get("handle")))
    assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    assert bench.sent() == [[1]]
    assert logs.warnings("was submitted, but that could not be written down")


def test_state_store_that_cannot_take_the_intent_back_does_not_hide_the_refusal(bench, sandbox):
    sandbox.arm("status", status=422, body={"errors": ["order_ids is odd"]}, path=POST)
    run = bench.bulk("release", [1], store=Breaks(lambda call, value: call == "delete"))
    fails(run.execute, ValidationRejected, "order_ids is odd", "No remote job was started", final=True)


def test_state_store_that_cannot_hold_a_job_does_not_hide_the_refused_key(bench, sandbox, logs):
    sandbox.arm("status", status=401, path=POST, skip=1)
    run = bench.bulk("release", range(1, 2001), store=Breaks(lambda call, value: value.get("held")))
    fails(run.execute, AuthenticationError, "set the key of connection", final=True)
    assert logs.warnings("could not be written down")
