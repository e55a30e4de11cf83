"""What must not be sent twice is not, where there is no place for records either, and outside of jobs."""

from __future__ import annotations

import datetime

import pytest

from stoq_provider.exceptions import (
    FinalJobTimeout,
    SubmissionUncertain,
    ValidationRejected,
)
from stoq_provider.jobs.submit import Submitter
from stoq_provider.operators.actions import StoqActionOperator
from tests.harness import Killed, TaskRun

from .conftest import MODES, fails

MAIL = "send_payment_collection_url"
CHARGE = "POST /preorders/orders/:id/payments/charge_balance"


def call(action: str = CHARGE, **options) -> TaskRun:
    return TaskRun(lambda: StoqActionOperator(task_id="call", action=action, **options))


def due() -> int:
    from stoq_provider.hooks.stoq import StoqHook

    return next(o["shopify_order_id"] for o in StoqHook().iter_orders(state="awaiting_balance"))


def charges(sandbox) -> int:
    return sum(n for path, n in sandbox.state["requests"].items() if path.endswith("charge_balance"))


@pytest.mark.parametrize("mode", MODES)
def test_without_records_a_timeout_is_final(bench, sandbox, mode):
    sandbox.jobs("*", outcome="forever")
    run = bench.bulk(MAIL, [1], mode, store=False, timeout=0.3)
    fails(run.execute, FinalJobTimeout, "is not retried", "would send", final=True)


@pytest.mark.parametrize("store", [None, False], ids=["store", "no store"])
def test_what_must_not_be_repeated_is_durable_or_not_sent(bench, store):
    run = bench.bulk(MAIL, [1], store=store, durable=False)
    fails(run.execute, ValidationRejected, "must never be sent twice", "Nothing was sent", final=True)
    assert bench.submissions == 0


def test_without_records_a_second_part_that_is_refused_is_final(bench, sandbox):
    sandbox.arm("status", status=409, path=MAIL, skip=1, times=1)
    run = bench.bulk(MAIL, list(range(1, 1002)), store=False)
    fails(run.execute, SubmissionUncertain, "1 of 2 submissions had their jobs", final=True)


@pytest.mark.parametrize("mode", MODES)
def test_after_a_timeout_a_clear_finds_the_job_of_what_must_not_be_repeated(bench, sandbox, mode):
    sandbox.jobs("*", duration=150)
    run = bench.bulk(MAIL, [1], mode)
    run.changes = {"timeout": 0.2}
    with pytest.raises(Exception, match="So does clearing the task"):
        run.execute()
    run.clear()
    run.changes = {}
    assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    assert bench.sent() == [[1]]


def test_a_list_that_was_refused_and_mended_is_read_again(bench, sandbox, tmp_path):
    file = tmp_path / "ids.txt"
    file.write_text("1\n2\n")
    sandbox.arm("status", status=422, path="bulk_release", times=1)
    run = bench.bulk("release", str(file))
    fails(run.execute, ValidationRejected, final=True)
    file.write_text("2\n3\n")
    run.clear()
    run.execute()
    assert bench.sent() == [[2, 3]]


def test_a_body_that_json_can_not_hold_leaves_nothing_behind(bench):
    run = bench.bulk(MAIL, [1], extra_body={"send_on": datetime.date(2026, 5, 1)})
    fails(run.execute, ValidationRejected, "can't be sent as JSON", final=True)
    assert run.store.records() == []
    assert bench.sent() == []


@pytest.mark.usefixtures("bench")
def test_an_action_of_a_lost_worker_is_not_called_again(sandbox, monkeypatch):
    run = call(path_params={"id": due()})
    with monkeypatch.context() as patch:
        real = Submitter.save_note

        def dying(self, key, note):
            if note.answered:
                raise Killed
            real(self, key, note)

        patch.setattr(Submitter, "save_note", dying)
        with pytest.raises(Killed):
            run.execute()
    fails(run.retry, SubmissionUncertain, "is not retried", final=True)
    assert charges(sandbox) == 1


@pytest.mark.usefixtures("bench")
def test_an_action_that_was_answered_is_not_called_again(sandbox):
    run = call(path_params={"id": due()})
    answer = run.execute()
    assert run.retry() == answer
    assert charges(sandbox) == 1
    run.clear()
    with pytest.raises(Exception, match="charge"):
        run.execute()
    assert charges(sandbox) == 2


def test_a_read_is_repeated_and_keeps_signed_urls_out_of_xcom(bench, sandbox):
    (handle,) = bench.submitted()
    sandbox.end_job(handle["job_id"])
    run = call("GET /preorders/reports/exports/:job_id", path_params={"job_id": handle["job_id"]})
    for answer in (run.execute(), run.retry()):
        assert answer["status"] == "ready"
        assert "Signature" not in str(answer)
