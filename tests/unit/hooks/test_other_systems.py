"""The hooks of SureCart and PrintStudio as an author of DAGs uses them, against ``requests-mock``."""

from __future__ import annotations

import json
import uuid

import pytest

from stoq_provider.core.models import JobState
from stoq_provider.exceptions import (
    FinalJobFailed,
    JobFailed,
    ProtocolError,
    SubmissionUncertain,
    ValidationRejected,
)
from stoq_provider.hooks.printstudio import PrintStudioHook
from stoq_provider.hooks.surecart import SureCartHook
from stoq_provider.systems.printstudio.states import PRINT_JOB

SURECART = "https://api.surecart.com/v1"
STUDIO = "https://print.example/api"
KEY = "psk_live_0123456789abcdef"
IDS = [str(uuid.UUID(int=number, version=4)) for number in range(1, 121)]
ORDER = {"customerId": "c", "lineItems": [{"skuId": "s", "quantity": 1}]}


def connect(monkeypatch, system, **fields):
    monkeypatch.setenv(
        f"AIRFLOW_CONN_{system.upper()}_DEFAULT", json.dumps({"conn_type": system, "password": KEY, **fields})
    )


@pytest.fixture
def surecart(monkeypatch) -> SureCartHook:
    connect(monkeypatch, "surecart")
    return SureCartHook()


@pytest.fixture
def studio(monkeypatch) -> PrintStudioHook:
    connect(monkeypatch, "printstudio", host="print.example")
    return PrintStudioHook()


# -- SureCart ---------------------------------------------------------------------------------------------


def test_surecart_submits_and_asks(surecart, api):
    body = {"id": IDS[0], "status": "pending", "record_ids": IDS[1:3], "skipped_record_ids": []}
    api.post(f"{SURECART}/bulk_actions", json=body)
    api.get(f"{SURECART}/bulk_actions/{IDS[0]}", json={**body, "status": "succeeded"})
    handle = surecart.submit_bulk_action("delete_customers", IDS[1:3])
    assert surecart.get_job(handle.to_dict()).state is JobState.SUCCEEDED
    assert surecart.get_bulk_action(handle)["record_ids"] == IDS[1:3]
    sent = api.request_history[0]
    assert sent.headers["Authorization"] == f"Bearer {KEY}"
    assert sent.json() == {"bulk_action": {"action_type": "delete_customers", "record_ids": IDS[1:3]}}


def test_surecart_says_what_is_wrong_with_a_field(surecart, api):
    error = {
        "attribute": "record_ids",
        "type": "blank",
        "code": "x",
        "options": {},
        "message": "can't be blank",
    }
    api.post(
        f"{SURECART}/bulk_actions",
        status_code=422,
        json={"http_status": "unprocessable_entity", "message": "Failed", "validation_errors": [error]},
    )
    with pytest.raises(ValidationRejected, match="Failed; record_ids: can't be blank"):
        surecart.submit_bulk_action("delete_customers", IDS[:1])


def test_surecart_customers_that_still_exist_are_listed_by_fifty(surecart, api):
    api.get(
        f"{SURECART}/customers", json={"data": [{"id": IDS[70].upper()}, {"id": IDS[3]}, {"id": "other"}]}
    )
    assert list(surecart.iter_existing("delete_customers", IDS)) == [IDS[3], IDS[70]]
    assert [len(call.qs["ids[]"]) for call in api.request_history] == [50, 50, 20]
    assert {call.qs["limit"][0] for call in api.request_history} == {"100"}


def test_surecart_products_are_listed_with_and_without_the_archived(surecart, api):
    api.get(f"{SURECART}/products?archived=false", json={"data": [{"id": IDS[0]}]})
    api.get(f"{SURECART}/products?archived=true", json={"data": [{"id": IDS[2]}]})
    assert list(surecart.iter_existing("delete_products", IDS[:4])) == [IDS[0], IDS[2]]


def test_surecart_a_list_that_is_none_is_no_empty_list(surecart, api):
    api.get(f"{SURECART}/customers", json={"customers": []})
    with pytest.raises(ProtocolError, match="no list 'data'"):
        list(surecart.iter_existing("delete_customers", IDS[:1]))


def test_surecart_test_button(surecart, api):
    api.get(f"{SURECART}/bulk_actions", json={"object": "list", "data": []})
    assert surecart.test_connection() == (
        True,
        "SureCart at https://api.surecart.com accepted the key; it may ask for bulk actions.",
    )
    api.get(f"{SURECART}/bulk_actions", status_code=401, json={"message": "The API token is not valid."})
    ok, text = surecart.test_connection()
    assert not ok
    assert "The API token is not valid" in text
    assert KEY not in text


# -- PrintStudio ------------------------------------------------------------------------------------------


def test_printstudio_needs_a_host(monkeypatch):
    connect(monkeypatch, "printstudio")
    assert PrintStudioHook().test_connection()[0] is False
    with pytest.raises(ValidationRejected, match="the connection has no host"):
        PrintStudioHook().create_orders([ORDER])


def test_printstudio_test_button(studio, api):
    api.get(f"{STUDIO}/orders", json={"orders": []})
    assert studio.test_connection() == (True, "PrintStudio at https://print.example accepted the key.")
    assert api.last_request.headers["X-API-Key"] == KEY
    api.get(f"{STUDIO}/orders", status_code=401, json={"error": "Unauthorized", "code": "UNAUTHORIZED"})
    assert studio.test_connection()[0] is False


def test_printstudio_calls_return_their_result(studio, api):
    api.post(
        f"{STUDIO}/orders/bulk", json={"created": 1, "failed": 0, "orders": [{"id": "o", "status": "paid"}]}
    )
    api.post(f"{STUDIO}/jobs/bulk/advance", json={"advanced": 2})
    api.post(f"{STUDIO}/jobs/bulk/cancel", status_code=200, json=[])
    api.post(f"{STUDIO}/skus/bulk", json={"created": 1})
    assert studio.create_orders([ORDER]).details["orders"] == [{"id": "o", "status": "paid"}]
    assert studio.advance_jobs(["a", "b"], "ready").processed == 2
    assert studio.cancel_jobs(["a"], "late").total == 1
    assert studio.import_skus([{"id": "s"}], "append").state is JobState.SUCCEEDED
    assert [call.json() for call in api.request_history] == [
        {"orders": [ORDER]},
        {"jobIds": ["a", "b"], "targetStatus": "READY"},
        {"jobIds": ["a"], "reason": "late"},
        {"skus": [{"id": "s"}], "mode": "append"},
    ]


def test_printstudio_says_which_order_is_wrong(studio, api):
    error = {"error": "Unknown SKU", "code": "VALIDATION_ERROR", "details": {"index": 3, "skuId": "s"}}
    api.post(f"{STUDIO}/orders/bulk", status_code=400, json=error)
    with pytest.raises(ValidationRejected, match="HTTP 400: Unknown SKU; index 3, skuId s"):
        studio.create_orders([ORDER])


@pytest.mark.parametrize("count", [0, 51])
def test_printstudio_a_single_call_is_not_cut(studio, api, count):
    with pytest.raises(ValidationRejected, match=f"takes 1 to 50 items in one call, not {count}"):
        studio.create_orders([ORDER] * count)
    assert api.call_count == 0


def test_printstudio_new_orders_are_sent_once_whatever_comes_back(studio, api):
    api.post(f"{STUDIO}/orders/bulk", status_code=500, json={"error": "boom"})
    with pytest.raises(SubmissionUncertain, match="boom"):
        studio.create_orders([ORDER])
    assert api.call_count == 1


def test_printstudio_a_call_that_did_nothing_fails(studio, api):
    api.post(f"{STUDIO}/orders/bulk", json={"created": 0, "failed": 1})
    api.post(f"{STUDIO}/jobs/bulk/cancel", json={"cancelled": 0, "failed": 1})
    with pytest.raises(FinalJobFailed, match="not sent again by itself"):
        studio.create_orders([ORDER])
    with pytest.raises(JobFailed, match="A retry sends it again") as error:
        studio.cancel_jobs(["a"], "late")
    assert type(error.value) is JobFailed


def test_printstudio_states_one_by_one(studio, api):
    api.get(f"{STUDIO}/jobs/a", json={"id": "a", "status": "READY"})
    api.get(f"{STUDIO}/jobs/b", status_code=404, json={"error": "Not found", "code": "JOB_NOT_FOUND"})
    api.get(f"{STUDIO}/orders/o", json={"id": "o", "status": "paid"})
    assert list(studio.iter_states(PRINT_JOB, ["a", "b"])) == [("a", "READY"), ("b", None)]
    assert (studio.get_print_job("a")["status"], studio.get_order("o")["status"]) == ("READY", "paid")


def test_a_hook_is_named_after_its_system_unless_it_says_otherwise():
    class Renamed(SureCartHook):
        system = SureCartHook.system
        conn_name_attr = "shop"

    assert (Renamed.conn_name_attr, Renamed.default_conn_name) == ("shop", "surecart_default")
    assert SureCartHook.conn_name_attr == "surecart_conn_id"
