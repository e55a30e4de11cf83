"""PrintStudio's bulk calls: what is checked before sending, how lists are cut, what answers tell."""

from __future__ import annotations

import json

import pytest

from stoq_provider.core.http import MalformedResponse
from stoq_provider.core.models import JobState
from stoq_provider.core.submission import Submission
from stoq_provider.core.validation import InvalidInput
from stoq_provider.systems.printstudio import bulk as bulk
from stoq_provider.systems.printstudio.responses import ERRORS_KEPT, read_result

LINE = {"skuId": "s", "quantity": 1}


def order(**fields):
    return {"customerId": "c", "lineItems": [LINE], **fields}


@pytest.mark.parametrize(
    ("orders", "says"),
    [
        ("x", "orders given as text must be a JSON list.*render_template_as_native_obj"),
        ("[{'customerId'", "orders given as text must be a JSON list"),
        ('{"customerId": "c"}', "orders must be a list of objects, not dict"),
        ({"customerId": "c"}, "orders must be a list of objects, not dict"),
        (7, "not int"),
        ([order(), 7], "1 of 2 can't be sent: number 2 is no object, but int"),
        ([order(customerId=" ")], "number 1 has no customerId"),
        ([order(customerId=7)], "has the customerId 7, which is no text"),
        ([order(lineItems="x")], "has no lineItems"),
        ([order(lineItems=[LINE, "x"])], "has no skuId, in line item 2"),
        ([order(lineItems=[{"skuId": "s"}])], "the quantity None"),
        ([order(lineItems=[{**LINE, "quantity": 0}])], "the quantity 0, which is no whole number above 0"),
        ([order(lineItems=[{**LINE, "quantity": True}])], "the quantity True"),
        ([order(notes={1, 2})], "is no JSON"),
        ([order(notes=float("nan"))], "is no JSON"),
        ([{}] * 9, "9 of 9 .*number 5 has no customerId; and 4 more"),
    ],
)
def test_orders_that_can_not_be_sent(orders, says):
    with pytest.raises(InvalidInput, match=says):
        bulk.check_orders(orders)


def test_other_keys_of_an_order_are_kept():
    given = [order(notes="gift", shippingAddress={"city": "Oslo"})]
    assert bulk.check_orders(iter(given)) == given


@pytest.mark.parametrize("write", [json.dumps, repr])
def test_lists_as_text_are_read(write):
    assert bulk.check_orders(write([order(notes=None)])) == [order(notes=None)]
    assert bulk.check_skus(f" {write([{'id': 'a'}])}", "upsert") == [{"id": "a"}]


def test_extra_body_as_text_is_read_and_other_text_refused():
    (made,) = bulk.submissions(bulk.CANCEL_JOBS, ["a"], extra_body='{"x": 1}')
    assert made.body == {"jobIds": ["a"], "x": 1}
    with pytest.raises(InvalidInput, match=r"^extra_body given as text"):
        bulk.submissions(bulk.CANCEL_JOBS, ["a"], extra_body="x")


@pytest.mark.parametrize("mode", bulk.MODES)
def test_skus_in_each_mode(mode):
    assert bulk.check_skus([{"id": "a"}, {"id": "b"}], mode) == [{"id": "a"}, {"id": "b"}]


@pytest.mark.parametrize(
    ("skus", "mode", "says"),
    [
        ([{"id": "a"}], "upset", "did you mean 'upsert'"),
        ([{"id": "a"}], "upset", r"'upsert'\? Known are upsert"),
        ([{"id": "a"}], "zz", r"no mode 'zz'\. Known are upsert"),
        ([{"id": "a"}], None, "no mode None"),
        ([{"name": "a"}], "upsert", "number 1 has no id"),
        ([{"id": "a"}, {"id": "b"}, {"id": "a"}], "append", "'a' stand in the list more than once"),
        ([{"id": str(n)} for n in range(501)], "replace", "at most 500 SKUs, not 501"),
    ],
)
def test_skus_that_can_not_be_sent(skus, mode, says):
    with pytest.raises(InvalidInput, match=says):
        bulk.check_skus(skus, mode)


def test_targets_and_reasons():
    assert bulk.check_target(" post-process ") == "POST_PROCESS"
    for bad in ("CREATED", "FAILED", "", None, 7):
        with pytest.raises(InvalidInput, match="can't advance print jobs to"):
            bulk.check_target(bad)
    with pytest.raises(InvalidInput, match=r"'REDY'; did you mean 'READY'\? The states are VALIDATED"):
        bulk.check_target("REDY")
    with pytest.raises(InvalidInput, match=r"'x'\. The states are"):
        bulk.check_target("x")
    assert bulk.check_reason("late") == "late"
    for bad in ("", "  ", None, 7):
        with pytest.raises(InvalidInput, match="reason must be a text"):
            bulk.check_reason(bad)


def test_lists_are_cut_in_order_and_nothing_is_lost():
    items = [f"j{n}" for n in range(250)]
    made = bulk.submissions(bulk.ADVANCE_JOBS, items, {"targetStatus": "READY"}, extra_body={"x": 1})
    assert [piece for call in made for piece in call.body["jobIds"]] == items
    assert [call.item_count for call in made] == [100, 100, 50]
    assert made[0].path == "/jobs/bulk/advance"
    assert {(call.body["targetStatus"], call.body["x"]) for call in made} == {("READY", 1)}


def test_equal_chunks_are_calls_of_their_own_and_stay_so_in_every_try():
    first = bulk.submissions(bulk.CREATE_ORDERS, [order()] * 150)
    again = bulk.submissions(bulk.CREATE_ORDERS, [order()] * 150)
    digests = [call.digest() for call in first]
    assert len(set(digests)) == 3
    assert [call.digest() for call in again] == digests


# -- answers ----------------------------------------------------------------------------------------------


def result(payload, kind="create_orders", items=4):
    return read_result(payload, Submission(kind, "/x", item_count=items), "call-1")


def test_the_documented_answer():
    rows = [{"id": f"o{n}", "status": "pending_payment", "total": n} for n in range(4)]
    found = result({"created": 4, "failed": 0, "orders": rows})
    assert (found.state, found.total, found.processed, found.error) == (JobState.SUCCEEDED, 4, 4, None)
    assert found.details["orders"] == [{"id": f"o{n}", "status": "pending_payment"} for n in range(4)]


@pytest.mark.parametrize(
    ("payload", "state", "processed"),
    [
        ({"created": 3, "failed": 1}, JobState.PARTIAL, 3),
        ({"created": 3, "failed": 0}, JobState.PARTIAL, 3),
        ({"created": 0, "failed": 4}, JobState.FAILED, 0),
        ({"created": 0}, JobState.FAILED, 0),
    ],
)
def test_orders_that_are_missing_are_not_passed_over(payload, state, processed):
    found = result(payload)
    assert (found.state, found.processed) == (state, processed)
    assert "of 4 items failed" in found.error


@pytest.mark.parametrize("payload", [None, [], "ok", {}, {"orders": []}, {"created": "4"}, {"created": True}])
def test_an_answer_to_orders_that_does_not_count_is_no_answer(payload):
    with pytest.raises(MalformedResponse, match="how many orders"):
        result(payload)


@pytest.mark.parametrize(
    "payload", [None, [], "ok", {}, {"ok": True}, {"jobs": [{"id": "a"}]}, {"advanced": 4}]
)
def test_other_answers_of_any_shape_count_as_success(payload):
    assert result(payload, "advance_jobs").state is JobState.SUCCEEDED


@pytest.mark.parametrize(
    ("payload", "state", "first"),
    [
        ({"advanced": 3, "failed": 1}, JobState.PARTIAL, None),
        (
            {"jobs": [{"id": "a", "error": "stuck"}, {"id": "b"}]},
            JobState.PARTIAL,
            {"id": "a", "message": "stuck"},
        ),
        ({"results": [{"jobId": "a", "success": False}]}, JobState.PARTIAL, {"id": "a", "message": "failed"}),
        ({"errors": ["one"] * 4}, JobState.FAILED, {"id": None, "message": "one"}),
        ({"advanced": 0, "failed": 1}, JobState.FAILED, None),
        ({"failures": [{"index": 2, "code": "X"}]}, JobState.PARTIAL, {"id": 2, "message": "X"}),
        ({"advanced": 0}, JobState.FAILED, None),
        ({"cancelled": 3}, JobState.PARTIAL, None),
        (
            {"advanced": ["a", "b", "c"], "failed": [{"id": "d", "error": "stuck"}]},
            JobState.PARTIAL,
            {"id": "d", "message": "stuck"},
        ),
        ({"success": False, "error": "boom"}, JobState.FAILED, {"id": None, "message": "boom"}),
        ({"error": "maintenance"}, JobState.FAILED, {"id": None, "message": "maintenance"}),
        ({"advanced": 0, "error": "boom"}, JobState.FAILED, {"id": None, "message": "boom"}),
        (
            {"results": [{"id": "a", "status": "failed"}, {"id": "b", "status": "ok"}]},
            JobState.PARTIAL,
            {"id": "a", "message": "failed"},
        ),
    ],
)
def test_items_that_failed_are_found_wherever_they_stand(payload, state, first):
    found = result(payload, "advance_jobs")
    assert found.state is state
    assert (found.details or {}).get("errors", [None])[0] == first


@pytest.mark.parametrize("payload", [{"appended": 1}, {"imported": 0}, {"appended": ["a"], "skipped": ["b"]}])
def test_skus_that_are_known_already_need_not_be_counted(payload):
    assert result(payload, "import_skus:append").state is JobState.SUCCEEDED


def test_a_manifest_names_only_some_errors():
    found = result(
        {"errors": [{"id": n, "message": "x" * 999} for n in range(90)]}, "import_skus:upsert", 100
    )
    assert (found.processed, len(found.details["errors"])) == (10, ERRORS_KEPT)
    assert len(found.details["errors"][0]["message"]) == 300
