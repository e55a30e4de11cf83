"""The outcome table at SureCart, where it differs, and what only its bulk actions have."""

from __future__ import annotations

import json
import uuid

import pytest

from stoq_provider.exceptions import (
    AuthenticationError,
    ItemsUnchanged,
    JobFailed,
    JobNotFound,
    JobTimeout,
    ValidationRejected,
)
from stoq_provider.hooks.surecart import SureCartHook
from tests.harness import Killed

from .conftest import MODES, SENSOR_MODES, fails, in_turn, kill_worker
from .others import SureCartBench, connect_other


@pytest.fixture
def shop(sandbox, monkeypatch) -> SureCartBench:
    connect_other(monkeypatch, sandbox, "surecart")
    return SureCartBench(sandbox)


def strangers(count):
    """UUIDs that the shop does not know."""
    return [str(uuid.UUID(int=number, version=4)) for number in range(1, count + 1)]


# -- how an action ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "mode"), in_turn(["delete_customers", "delete_products"], MODES))
def test_succeeded(shop, mode, action):
    records = action.removeprefix("delete_")
    ids = shop.state[records][:12]
    run = shop.delete(ids, mode, action_type=action)
    manifest = run.execute()
    (job,) = manifest["jobs"]
    assert (job["outcome"], job["total"], job["processed"], job["error"]) == ("succeeded", 12, 12, None)
    assert (manifest["system"], manifest["kind"]) == ("surecart", action)
    assert run.ti.xcoms["job_id"] == job["job_id"]
    assert shop.sent() == [ids]
    assert not set(ids) & set(shop.state[records])
    assert len(run.triggers) == (mode == "deferred")
    assert shop.sandbox.surecart_key not in json.dumps([manifest, run.triggers, run.store.rows])


@pytest.mark.parametrize("mode", MODES)
def test_completed_is_partial_and_skipped_records_stand_in_the_manifest(shop, mode):
    ids = shop.customers(5)
    shop.bend(outcome="completed")
    manifest = shop.delete([*ids, *strangers(2)], mode).execute()
    (job,) = manifest["jobs"]
    assert (job["outcome"], job["total"], job["processed"]) == ("partial", 7, 5)
    assert job["details"]["skipped_record_ids"] == strangers(2)
    assert manifest["totals"]["skipped"] == 2


def test_many_skipped_records_are_named_in_a_file(shop, tmp_path):
    shop.bend(outcome="completed")
    gone, there = strangers(11 * 99), shop.customers(11)
    ids = [item for at, one in enumerate(there) for item in (one, *gone[at * 99 : at * 99 + 99])]
    manifest = shop.delete(ids, destination=f"{tmp_path.as_uri()}/").execute()
    stored = (tmp_path / manifest["skipped_record_ids_uri"].rpartition("/")[2]).read_text().split()
    assert (stored, manifest["totals"]["skipped"]) == (gone, len(gone))
    assert manifest["skipped_record_ids"] == gone[:1000]
    assert len(json.dumps(manifest)) < 48_000


@pytest.mark.parametrize("mode", MODES)
def test_invalid_fails_and_a_retry_submits_again(shop, mode):
    run = shop.delete(strangers(3), mode)
    fails(run.execute, JobFailed, "no record id fits the action", "A retry submits it again")
    fails(run.retry, JobFailed, "no record id fits the action")
    assert shop.sent() == [strangers(3)] * 2


@pytest.mark.parametrize("mode", MODES)
def test_invalid_because_a_lost_call_had_deleted_everything_is_done_with_verify(shop, mode, logs):
    ids = shop.customers(4)
    shop.delete(ids).execute()
    manifest = shop.delete(ids, mode, verify="fail").execute()
    (job,) = manifest["jobs"]
    assert (job["outcome"], job["details"]["skipped_record_ids"]) == ("partial", ids)
    assert manifest["unchanged_items"] == []
    assert "had nothing left to do: all its items are as wanted" in logs.text


@pytest.mark.parametrize("mode", MODES)
def test_invalid_while_records_are_left_stays_a_failure_with_verify(shop, mode):
    shop.bend(outcome="invalid")
    fails(shop.delete(shop.customers(4), mode, verify="warn").execute, JobFailed, "no record id fits")


@pytest.mark.parametrize("mode", MODES)
def test_a_status_nobody_listed_keeps_polling(shop, mode, logs):
    shop.bend(status_word="archiving", outcome="forever")
    run = shop.delete(shop.customers(2), mode, timeout=1)
    fails(run.execute, JobTimeout, "did not end in time", "goes on")
    assert len(logs.warnings("archiving")) == 1


# -- the read-back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_verify_warns_of_records_that_still_exist(shop, mode, logs):
    ids = shop.customers(6)
    shop.bend(fail_ids=[ids[4], ids[1]])
    manifest = shop.delete(ids, mode, verify="warn").execute()
    assert manifest["jobs"][0]["outcome"] == "partial"
    assert manifest["unchanged_items"] == [ids[1], ids[4]]
    assert logs.warnings("delete_customers completed at SureCart, and a read-back found 2 items")


@pytest.mark.parametrize("mode", MODES)
def test_after_verify_fail_a_retry_submits_only_what_is_left(shop, mode):
    ids = shop.customers(6)
    shop.bend(fail_ids=ids[2:4])
    run = shop.delete(ids, mode, verify="fail")
    fails(run.execute, ItemsUnchanged, "found 2 items", ids[2], "A retry submits only these items")
    assert run.retry()["unchanged_items"] == []
    assert shop.sent() == [ids, ids[2:4]]


def test_verify_reads_fifty_records_at_a_time(shop):
    ids = shop.customers(120)
    shop.delete(ids, verify="fail").execute()
    assert shop.state["requests"]["GET /v1/customers"] == 3


# -- many records, many jobs ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_list_is_cut_and_its_actions_are_asked_for_together(shop, mode):
    ids = shop.customers(230)
    manifest = shop.delete([*ids, ids[0], ids[7].upper()], mode, chunk_size=50).execute()
    assert shop.sent() == [ids[start : start + 50] for start in range(0, 230, 50)]
    assert [job["total"] for job in manifest["jobs"]] == [50, 50, 50, 50, 30]
    single, listed = shop.polls()
    assert mode == "worker" or 0 < listed >= single


def test_ids_from_a_column_of_a_file(shop, tmp_path):
    ids = shop.customers(3)
    path = tmp_path / "gone.csv"
    path.write_text("name,id\n" + "".join(f"x,{item}\n" for item in [*ids, ids[1]]))
    run = shop.delete({"path": path.as_uri(), "column": "id"})
    run.execute()
    path.write_text("name,id\n")
    assert run.retry()["totals"]["total"] == 3
    assert shop.sent() == [ids]


def test_a_dry_run_submits_nothing(shop):
    plan = shop.delete(shop.customers(150), dry_run=True, verify="warn").execute()
    assert (plan["items"], plan["submissions"], plan["repeat_safety"]) == (150, 2, "safe")
    assert plan["points"]["verify"] == 2 + 1
    assert shop.sent() == []


# -- submitting -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "mode"), in_turn(["reset_before", "reset_after"], MODES))
def test_an_ambiguous_submission_is_sent_again(shop, sandbox, mode, fault):
    ids = shop.customers(3)
    sandbox.arm(fault, origin="surecart", method="POST", path="/bulk_actions$", times=1)
    manifest = shop.delete(ids, mode, verify="warn").execute()
    assert manifest["unchanged_items"] == []
    assert shop.sent() == [ids] * (1 if fault == "reset_before" else 2)


def test_a_refused_submission_says_why_and_is_not_retried(shop):
    run = shop.delete(shop.customers(1), extra_body={"action_type": "delete_everything"})
    fails(
        run.execute,
        ValidationRejected,
        "422",
        "Action type is not included in the list",
        "No remote job was started",
        final=True,
    )


@pytest.mark.parametrize(
    ("point", "mode"), in_turn(["before-the-post", "after-the-post", "after-the-handle"], MODES)
)
def test_a_killed_worker(shop, monkeypatch, mode, point):
    ids = shop.customers(3)
    run = shop.delete(ids, mode, verify="warn")
    with monkeypatch.context() as patch:
        kill_worker(patch, point)
        with pytest.raises(Killed):
            run.execute()
    assert run.retry()["unchanged_items"] == []
    assert len(shop.sent()) == (2 if point == "after-the-post" else 1)


def test_a_wrong_key(shop, sandbox, monkeypatch):
    connect_other(monkeypatch, sandbox, "surecart", key="wrong")
    fails(
        shop.delete(strangers(1)).execute, AuthenticationError, "401", "No remote job was started", final=True
    )
    assert SureCartHook().test_connection()[0] is False


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"action_type": "delete_customer"},
            "no bulk action 'delete_customer'; did you mean 'delete_customers'",
        ),
        ({"record_ids": ["12"]}, "record_ids: 1 of 1 entries are no UUIDs: '12' at position 0"),
        ({"record_ids": []}, "record_ids is empty"),
        ({"record_ids": {"email": "x"}}, "record_ids is a list of ids, the path of a file"),
    ],
)
def test_wrong_input_sends_nothing(shop, options, says):
    run = shop.delete(strangers(1), **options)
    fails(run.execute, ValidationRejected, says, "Nothing was sent", final=True)
    assert shop.state["requests"] == {}


# -- polling ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_429_while_polling_is_waited_out(shop, sandbox, mode):
    sandbox.control("surecart", "rate", limit=3, window_seconds=1, retry_after=True)
    manifest = shop.delete(shop.customers(2), mode).execute()
    assert manifest["jobs"][0]["outcome"] == "succeeded"


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_a_sensor_waits_for_several_actions_in_one_request(shop, mode):
    handles = shop.delete(shop.customers(9), chunk_size=3, wait_for_completion=False).execute()
    manifest = shop.sensor(mode, handles).execute()
    assert [job["outcome"] for job in manifest["jobs"]] == ["succeeded"] * 3
    single, listed = shop.polls()
    assert listed > 0
    assert single <= listed


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_a_sensor_takes_the_id_of_an_action(shop, mode):
    job_id = SureCartHook().submit_bulk_action("delete_products", shop.state["products"][:2]).job_id
    assert shop.sensor(mode, job_id).execute()["jobs"][0]["job_id"] == job_id


@pytest.mark.parametrize("mode", MODES)
def test_actions_that_nobody_knows_are_not_found(shop, mode, clock):
    unknown = [{**_handle(item), "submitted_at": "2026-01-01T00:00:00Z"} for item in strangers(2)]
    fails(shop.sensor(mode, unknown).execute, JobNotFound, "does not know", "2 of 2 jobs", final=True)


def _handle(job_id):
    return {
        "system": "surecart",
        "kind": "delete_customers",
        "job_id": job_id,
        "status_url": f"/v1/bulk_actions/{job_id}",
        "item_count": 1,
    }
