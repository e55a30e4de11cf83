"""The outcome table at PrintStudio, where it differs: calls answered at once, and what is sent only once."""

from __future__ import annotations

import json

import pytest

from stoq_provider.core.rate_limit import PointsRules
from stoq_provider.exceptions import (
    ActionRejected,
    AuthenticationError,
    DownloadError,
    FinalJobFailed,
    ItemsUnchanged,
    JobCancelled,
    JobFailed,
    SubmissionInterrupted,
    SubmissionUncertain,
    ValidationRejected,
)
from stoq_provider.hooks.printstudio import PrintStudioHook
from stoq_provider.systems.printstudio.bulk import ROUTE_LIMITS
from stoq_provider.systems.printstudio.system import PrintStudio
from stoq_provider.testing import PRINTSTUDIO_KEYS
from tests.harness import Killed

from .conftest import DEATHS, SENSOR_MODES, fails, kill_worker
from .others import StudioBench, connect_other, orders

BULK = "/api/orders/bulk"


@pytest.fixture
def studio(sandbox, monkeypatch) -> StudioBench:
    connect_other(monkeypatch, sandbox, "printstudio")
    return StudioBench(sandbox)


@pytest.fixture
def unlimited(studio, monkeypatch) -> None:
    """Lift the limits of the bulk routes, on both sides."""
    studio.bend("limits", orders=1000)
    monkeypatch.setattr(PrintStudio, "route_limits", {name: PointsRules(1000, 60.0) for name in ROUTE_LIMITS})


# -- new orders -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [False, True])
def test_orders_are_created_in_calls_of_fifty_and_named_in_the_manifest(studio, deferrable):
    wanted = orders(120)
    run = studio.create(wanted, deferrable=deferrable)
    manifest = run.execute()
    assert studio.sent("create_orders") == [wanted[:50], wanted[50:100], wanted[100:]]
    assert [(job["outcome"], job["total"], job["processed"]) for job in manifest["jobs"]] == [
        ("succeeded", 50, 50),
        ("succeeded", 50, 50),
        ("succeeded", 20, 20),
    ]
    assert [order["id"] for order in manifest["orders"]] == list(studio.state["orders"])
    assert {order["status"] for order in manifest["orders"]} == {"pending_payment"}
    assert manifest["totals"]["orders"] == 120
    assert run.triggers == []
    assert run.retry()["orders"] == manifest["orders"]
    assert len(studio.sent("create_orders")) == 3
    assert studio.sandbox.printstudio_key not in json.dumps([manifest, run.store.rows])


def test_equal_orders_are_all_created(studio):
    manifest = studio.create(orders(1) * 100).execute()
    assert manifest["totals"]["orders"] == len(studio.state["orders"]) == 100


def test_many_orders_are_named_in_a_file(studio, tmp_path, unlimited):
    manifest = studio.create(orders(510), destination=f"{tmp_path.as_uri()}/").execute()
    stored = (tmp_path / manifest["orders_uri"].rpartition("/")[2]).read_text().split()
    assert stored == list(studio.state["orders"])
    assert len(manifest["orders"]) == 500
    assert len(json.dumps(manifest)) < 48_000


def test_many_orders_without_a_destination_warn(studio, unlimited, logs):
    assert "orders_uri" not in studio.create(orders(510)).execute()
    assert logs.warnings("The manifest names the first 500 of 510 orders")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that is found to be none only when something is stored."""
    folder = tmp_path / "lake"
    folder.write_text("a file in the way")
    monkeypatch.setattr("stoq_provider.download.download.check_access", lambda target: None)
    return folder


def test_a_list_of_orders_that_cannot_be_stored_creates_none_again(studio, folder, unlimited):
    run = studio.create(orders(510), destination=f"{folder.as_uri()}/")
    fails(run.execute, DownloadError, "list of orders could not be stored", "a retry submits nothing")
    fails(run.retry, DownloadError, "list of orders could not be stored")
    run.clear()
    folder.unlink()
    assert (folder / run.execute()["orders_uri"].rpartition("/")[2]).is_file()
    assert len(studio.state["orders"]) == 510


@pytest.mark.parametrize(
    ("destination", "says"),
    [
        ("ftp://lake/", "Cannot write to ftp://"),
        ("{tmp}/file", "can't be written to"),
        ("{tmp}/{{job_id}}/", "has {job_id}, which this job has no value for"),
    ],
)
def test_a_list_of_orders_without_a_place_is_refused_before_any_is_created(
    studio, unlimited, tmp_path, destination, says
):
    (tmp_path / "file").write_text("in the way")
    run = studio.create(orders(510), destination=destination.format(tmp=tmp_path))
    fails(run.execute, ValidationRejected, says, "correct the destination", final=True)
    assert studio.sent("create_orders") == []


def test_without_records_a_list_of_orders_that_cannot_be_stored_is_no_failure(
    studio, folder, unlimited, logs
):
    run = studio.create(orders(510), destination=f"{folder.as_uri()}/", store=False)
    assert len(run.execute()["orders"]) == 500
    assert "could not be stored" in logs.text


def test_one_bad_order_rejects_its_call_and_calls_before_it_stay(studio):
    wanted = orders(120)
    wanted[70] = {"customerId": "c", "lineItems": [{"skuId": "sku_gone", "quantity": 1}]}
    run = studio.create(wanted)
    says = ("Orders 51 to 100 of 120", "400", "Unknown or inactive SKU", "index 20", "1 of 3 submissions")
    fails(run.execute, ValidationRejected, *says, "clearing the task", final=True)
    assert len(studio.state["orders"]) == 50
    wanted[70] = orders(1)[0]
    run.clear()
    manifest = run.execute()
    assert manifest["totals"]["orders"] == len(studio.state["orders"]) == 120
    assert [len(sent) for sent in studio.sent("create_orders")] == [50, 50, 20]


def test_429_is_waited_out_and_nothing_is_created_twice(studio, sandbox):
    options = {"status": 429, "headers": {"Retry-After": "0"}, "body": '{"error": "Too many requests"}'}
    sandbox.arm("status", origin="printstudio", method="POST", path=BULK, skip=1, times=2, **options)
    assert studio.create(orders(120)).execute()["totals"]["orders"] == 120
    assert len(studio.state["orders"]) == 120


def test_a_refused_call_leaves_no_record_and_a_retry_sends_it(studio, sandbox):
    run = studio.create(orders(60))
    sandbox.arm("status", origin="printstudio", path=BULK, status=409, body="paused")
    fails(run.execute, ActionRejected, "Orders 1 to 50 of 60", "paused", "A retry submits it")
    assert run.store.rows == {}
    assert run.retry()["totals"]["orders"] == len(studio.state["orders"]) == 60


@pytest.mark.parametrize("fault", ["reset_before", "reset_after", "garbage"])
def test_an_uncertain_call_is_not_repeated_and_a_retry_sends_those_behind_it(studio, sandbox, fault):
    run = studio.create(orders(170))
    sandbox.arm(fault, origin="printstudio", method="POST", path=BULK, skip=1, times=1)
    fails(
        run.execute,
        SubmissionInterrupted,
        "Orders 51 to 100 of 170 were sent",
        "2 submissions behind them were surely not sent; a retry sends those",
        "1 of 4 submissions had their jobs",
    )
    says = ("Orders 51 to 100 of 170", "perhaps took effect", "task is not retried", "3 of 4 submissions")
    fails(run.retry, SubmissionUncertain, *says, final=True)
    there = 170 if fault != "reset_before" else 120
    assert len(studio.state["orders"]) == there
    # A person has looked, and wants them sent.
    run.clear()
    assert run.execute()["totals"]["orders"] == 170
    assert len(studio.state["orders"]) == there + 50


def test_what_a_try_is_uncertain_of_is_not_said_by_the_next_one_of_the_same_object(studio, sandbox):
    run = studio.create(orders(60))
    run.make = run.make().prepare_for_execution  # as where a whole run is one process
    sandbox.arm("reset_after", origin="printstudio", method="POST", path=BULK, times=1)
    fails(run.execute, SubmissionInterrupted, "Orders 1 to 50 of 60 were sent")
    says = "Orders 1 to 50 of 60 were sent, or about to be sent, to PrintStudio"
    fails(run.retry, SubmissionUncertain, says, final=True)
    run.clear()
    assert run.execute()["totals"]["orders"] == 60


def test_other_orders_are_not_sent_after_an_uncertain_call_and_a_refused_one(studio, sandbox):
    run = studio.create(orders(60))
    sandbox.arm("reset_after", origin="printstudio", method="POST", path=BULK, times=1)
    fails(run.execute, SubmissionInterrupted, "Orders 1 to 50 of 60 were sent")
    sandbox.arm("status", origin="printstudio", path=BULK, status=409, body="paused")
    fails(run.retry, ActionRejected, "Orders 51 to 60 of 60", "paused")
    other = studio.create(orders(60)[::-1], store=run.store)
    fails(other.retry, SubmissionUncertain, "other input now", "Nothing was sent now", final=True)
    assert len(studio.state["orders"]) == 50


def test_on_clear_reuse_never_sends_the_uncertain_call_again(studio, sandbox):
    run = studio.create(orders(60), on_clear="reuse")
    sandbox.arm("reset_after", origin="printstudio", method="POST", path=BULK, skip=1, times=1)
    fails(run.execute, SubmissionUncertain, "Orders 51 to 60 of 60", "on_clear='resubmit'", final=True)
    run.clear()
    fails(run.execute, SubmissionUncertain, "Orders 51 to 60 of 60", final=True)
    assert len(studio.state["orders"]) == 60


def test_without_a_place_for_records_nothing_goes_on_after_an_uncertain_call(studio, sandbox):
    run = studio.create(orders(120), store=False)
    sandbox.arm("reset_after", origin="printstudio", method="POST", path=BULK, times=1)
    fails(run.execute, SubmissionUncertain, "Orders 1 to 50 of 120", "not retried", final=True)
    assert len(studio.state["orders"]) == 50


@pytest.mark.parametrize("point", DEATHS)
def test_a_killed_worker_creates_nothing_twice(studio, monkeypatch, point):
    run = studio.create(orders(120))
    with monkeypatch.context() as patch:
        kill_worker(patch, point, nth=2)
        with pytest.raises(Killed):
            run.execute()
    if point == "after-the-handle":
        assert run.retry()["totals"]["orders"] == 120
    else:
        fails(run.retry, SubmissionUncertain, "Orders 51 to 100 of 120", "not retried", final=True)
    assert len(studio.state["orders"]) == (70 if point == "before-the-post" else 120)


def test_an_answer_that_no_order_was_created_fails(studio, sandbox):
    body = json.dumps({"created": 0, "failed": 3, "orders": []})
    sandbox.arm("json", origin="printstudio", path=BULK, body=body, processed=False)
    run = studio.create(orders(3))
    fails(run.execute, FinalJobFailed, "3 of 3 items failed", "not safe", final=True)
    fails(run.retry, FinalJobFailed, "not safe", final=True)
    run.clear()
    assert run.execute()["totals"]["orders"] == 3


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "orders is empty"),
        ("x", "orders given as text must be a JSON list"),
        ([{"lineItems": [{"skuId": "a", "quantity": 1}]}], "number 1 has no customerId"),
        ([{"customerId": "c", "lineItems": []}], "number 1 has no lineItems"),
        (
            [*orders(2), {"customerId": "c", "lineItems": [{"quantity": 1}]}],
            "number 3 has no skuId, in line item 1",
        ),
        ([{"customerId": "c", "lineItems": [{"skuId": "a", "quantity": "2"}]}], "the quantity '2'"),
        ([*orders(60), "x"], "1 of 61 can't be sent: number 61 is no object, but str"),
    ],
)
def test_wrong_orders_send_nothing(studio, given, says):
    fails(studio.create(given).execute, ValidationRejected, says, "Nothing was sent", final=True)
    assert studio.state["requests"] == {}


def test_calls_keep_to_the_limit_of_their_route(studio):
    """Eight of ten a minute are ours; the ninth call waits for the next window."""
    hook = PrintStudioHook()
    waits: list[float] = []

    def sleep(seconds):
        waits.append(seconds)
        raise Killed

    hook.transport._sleep = sleep
    for _ in range(8):
        hook.create_orders(orders(1))
    with pytest.raises(Killed):
        hook.create_orders(orders(1))
    assert len(studio.state["orders"]) == 8
    assert 30 < waits[0] <= 61
    assert studio.state["rate_limited"] == 0


# -- SKUs -------------------------------------------------------------------------------------------------


def skus(count):
    return [{"id": f"new_{n}", "name": f"New {n}", "machineType": "resin"} for n in range(count)]


@pytest.mark.parametrize("mode", ["upsert", "append"])
@pytest.mark.parametrize("fault", ["reset_before", "reset_after"])
def test_skus_are_imported_in_calls_of_500_and_a_lost_call_is_repeated(studio, sandbox, mode, fault):
    sandbox.arm(fault, origin="printstudio", method="POST", path="/api/skus/bulk", times=1)
    manifest = studio.skus(skus(620), mode=mode).execute()
    sent = [len(ids) for ids in studio.sent("import_skus")]
    assert sent == ([500, 120] if fault == "reset_before" else [500, 500, 120])
    assert [job["total"] for job in manifest["jobs"]] == [500, 120]
    assert manifest["jobs"][1]["details"]["counts"]["created"] == 120
    assert len(studio.state["skus"]) == 24 + 620


def test_replace_deactivates_the_others_in_one_call(studio):
    studio.skus(skus(10), mode="replace").execute()
    assert sum(studio.state["skus"].values()) == 10


def test_replace_is_never_cut(studio):
    fails(studio.skus(skus(501), mode="replace").execute, ValidationRejected, "at most 500 SKUs", final=True)
    assert studio.state["requests"] == {}


@pytest.mark.parametrize("fault", ["reset_before", "reset_after"])
def test_replace_is_never_repeated(studio, sandbox, fault):
    sandbox.arm(fault, origin="printstudio", method="POST", path="/api/skus/bulk", times=1)
    run = studio.skus(skus(3), mode="replace")
    fails(run.execute, SubmissionUncertain, "SKUs 1 to 3 of 3", "clearing the task sends them", final=True)
    assert len(studio.sent("import_skus")) == (fault == "reset_after")


def test_too_low_a_role_is_refused(studio, sandbox, monkeypatch):
    connect_other(monkeypatch, sandbox, "printstudio", key=PRINTSTUDIO_KEYS["operator"])
    fails(studio.skus(skus(1)).execute, AuthenticationError, "403", "Forbidden", final=True)


@pytest.mark.parametrize(
    ("given", "options", "says"),
    [
        (skus(1), {"mode": "repalce"}, "no mode 'repalce'; did you mean 'replace'"),
        ([{"name": "x"}], {}, "number 1 has no id"),
        (skus(1) * 2, {}, "'new_0' stand in the list more than once"),
        ([], {}, "skus is empty"),
    ],
)
def test_wrong_skus_send_nothing(studio, given, options, says):
    fails(studio.skus(given, **options).execute, ValidationRejected, says, "Nothing was sent", final=True)
    assert studio.state["requests"] == {}


# -- print jobs -------------------------------------------------------------------------------------------


def test_print_jobs_are_advanced_and_read_back(studio):
    ids = studio.jobs("PRINTING")
    manifest = studio.advance([*ids, ids[0]], "post_process", verify="fail").execute()
    assert {studio.job(item) for item in ids} == {"POST_PROCESS"}
    assert manifest["unchanged_items"] == []
    assert studio.sent("advance_jobs") == [ids]


def test_print_jobs_are_cut_at_a_hundred(studio):
    ids = list(studio.state["jobs"])[:150]
    studio.cancel(ids).execute()
    assert [len(sent) for sent in studio.sent("cancel_jobs")] == [100, 50]
    assert {studio.job(item) for item in ids} == {"CANCELLED"}


def test_items_that_failed_make_the_outcome_partial(studio, logs):
    ids = studio.jobs("PRINTING")[:3]
    manifest = studio.advance([*ids, "job_gone"], "READY").execute()
    (job,) = manifest["jobs"]
    assert (job["outcome"], job["total"], job["processed"]) == ("partial", 4, 3)
    assert [error["id"] for error in job["details"]["errors"]] == ["job_gone"]
    assert logs.warnings("1 of 4 items failed")


def test_verify_names_what_did_not_change_and_a_retry_sends_only_that(studio):
    ids = studio.jobs("PRINTING")[:3]
    run = studio.advance([*ids, "job_gone"], "READY", verify="fail")
    fails(run.execute, ItemsUnchanged, "found 1 items", "job_gone", "A retry submits only these items")
    fails(run.retry, JobFailed, "1 of 1 items failed")
    assert studio.sent("advance_jobs") == [[*ids, "job_gone"], ["job_gone"]]


def test_nothing_done_fails_and_a_retry_sends_it_again(studio):
    run = studio.cancel(["job_gone"])
    fails(run.execute, JobFailed, "1 of 1 items failed", "A retry submits it again")
    fails(run.retry, JobFailed)
    assert studio.sent("cancel_jobs") == [["job_gone"]] * 2


@pytest.mark.parametrize("fault", ["reset_before", "reset_after"])
def test_a_lost_advance_is_sent_again(studio, sandbox, fault):
    ids = studio.jobs("PRINTING")
    sandbox.arm(fault, origin="printstudio", method="POST", path="/jobs/bulk/advance", times=1)
    studio.advance(ids, "READY", verify="fail").execute()
    assert len(studio.sent("advance_jobs")) == (1 if fault == "reset_before" else 2)


def test_a_dry_run_of_print_jobs_sends_nothing(studio):
    plan = studio.cancel([f"job_{n}" for n in range(250)], dry_run=True, verify="warn").execute()
    assert (plan["items"], plan["submissions"]) == (250, 3)
    assert plan["points"] == {"submit": 3, "poll": 0, "verify": 250, "total": 253}
    assert studio.state["requests"] == {}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"target_status": "REDY"}, "'REDY'; did you mean 'READY'"),
        ({"target_status": "CANCELLED"}, "can't advance print jobs to 'CANCELLED'"),
        ({"target_status": None}, "can't advance print jobs to None"),
        ({"job_ids": []}, "job_ids is empty"),
        ({"job_ids": [7]}, "job_ids: 1 of 1 entries are no ids: 7 at position 0"),
    ],
)
def test_wrong_print_jobs_send_nothing(studio, options, says):
    given = {"job_ids": ["job_1"], "target_status": "READY", **options}
    run = studio.advance(given["job_ids"], given["target_status"])
    fails(run.execute, ValidationRejected, says, "Nothing was sent", final=True)
    assert studio.state["requests"] == {}


def test_a_cancellation_needs_a_reason(studio):
    fails(
        studio.cancel(["job_1"], reason=" ").execute, ValidationRejected, "reason must be a text", final=True
    )


# -- waiting for print jobs and orders --------------------------------------------------------------------


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_orders_are_waited_for_from_the_operators_return_value(studio, mode):
    studio.bend("pace", state_seconds=5, payment_seconds=5)
    made = json.loads(json.dumps(studio.create(orders(3)).execute()))
    manifest = studio.sensor(mode, orders=made, target_states=["ready", "shipped"]).execute()
    assert [job["job_id"] for job in manifest["jobs"]] == [order["id"] for order in made["orders"]]
    assert {job["outcome"] for job in manifest["jobs"]} == {"succeeded"}
    assert {job["details"]["status"] for job in manifest["jobs"]} <= {"ready", "shipped"}


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_a_state_that_was_passed_counts_as_reached(studio, mode):
    ids = studio.jobs("POST_PROCESS")[:2]
    manifest = studio.sensor(mode, print_jobs=ids, target_states="printing").execute()
    assert [job["details"]["status"] for job in manifest["jobs"]] == ["POST_PROCESS"] * 2


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_failed_is_waited_out_because_it_may_be_retried(studio, mode, sandbox):
    (job_id, *_) = studio.jobs("PRINTING")
    studio.bend("fail", job_id=job_id)
    sandbox.arm("delay", origin="printstudio", path="/api/jobs/", seconds=0.01, skip=3)
    run = studio.sensor(mode, print_jobs=[job_id], target_states=["READY"], timeout=20)
    original = PrintStudioHook.system.read_status
    seen: list[str] = []

    def read(payload, handle):
        seen.append(payload["status"])
        if len(seen) == 3:
            studio.bend("move", job_id=job_id, state="READY")
        return original(payload, handle)

    PrintStudioHook.system.read_status = read
    try:
        assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    finally:
        del PrintStudioHook.system.read_status
    assert seen == ["FAILED"] * 3 + ["READY"]


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_failed_ends_the_wait_where_the_task_wants_that(studio, mode):
    (job_id, *_) = studio.jobs("PRINTING")
    studio.bend("fail", job_id=job_id)
    run = studio.sensor(mode, print_jobs=[job_id], target_states=["READY"], fail_on_failed=True)
    fails(run.execute, JobFailed, "it is FAILED", "submits nothing")


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_cancelled_is_an_end(studio, mode):
    (job_id, *_) = studio.jobs("PRINTING")
    studio.bend("move", job_id=job_id, state="CANCELLED")
    run = studio.sensor(mode, print_jobs=[job_id], target_states=["READY"])
    fails(run.execute, JobCancelled, "it is CANCELLED and will not be READY", final=True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "either print_jobs or orders is given"),
        ({"print_jobs": ["a"], "orders": ["b"]}, "either print_jobs or orders is given"),
        ({"print_jobs": []}, "the list of print jobs is empty"),
        ({"print_jobs": ["a"], "target_states": "REDY"}, "did you mean 'READY'"),
        ({"orders": ["a"], "target_states": "QUEUED"}, "can't wait for orders in state 'QUEUED'"),
        ({"print_jobs": ["a"], "target_states": []}, "target_states is empty"),
    ],
)
def test_a_sensor_with_wrong_input_asks_for_nothing(studio, options, says):
    run = studio.sensor("worker", **{"target_states": "READY", **options})
    fails(run.execute, ValidationRejected, says, final=True)
    assert studio.state["requests"] == {}
