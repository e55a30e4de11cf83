"""How PrintStudio spells bulk calls, print jobs and orders."""

from __future__ import annotations

import math

import pytest

from stoq_provider.core.http import MalformedResponse, Request
from stoq_provider.core.models import JobHandle, JobState
from stoq_provider.core.records import RepeatSafety
from stoq_provider.core.validation import InvalidInput
from stoq_provider.systems.printstudio import bulk
from stoq_provider.systems.printstudio.states import ORDER, PRINT_JOB, Goal
from stoq_provider.systems.printstudio.system import ASSUMPTIONS, PrintStudio

SYSTEM = PrintStudio()
ORIGIN = "http://print.example:8787"
READY = Goal(PRINT_JOB, ("READY",))


def test_contract():
    assert (SYSTEM.default_origin, SYSTEM.base_path) == (None, "/api")
    assert SYSTEM.auth_headers("k") == {"X-API-Key": "k"}
    assert (SYSTEM.points.limit, SYSTEM.points.window) == (300, 60.0)
    assert SYSTEM.rules.record_life == math.inf
    assert [SYSTEM.cadence("x").interval(age) for age in (0, 599, 600)] == [15, 15, 60]
    assert {assumption.mark for assumption in ASSUMPTIONS.values()} <= {"D", "I", "U"}


@pytest.mark.parametrize(
    ("method", "path", "route_limit"),
    [
        ("POST", "/orders/bulk", "orders"),
        ("POST", "/jobs/bulk/advance", "jobs"),
        ("POST", "/jobs/bulk/cancel", "jobs"),
        ("POST", "/skus/bulk", "skus"),
        ("POST", "/orders", None),
        ("GET", "/orders/bulk", None),
        ("GET", "/jobs/job_1", None),
    ],
)
def test_bulk_routes_have_limits_of_their_own(method, path, route_limit):
    assert SYSTEM.route_limit(Request(method, SYSTEM.url(ORIGIN, path))) == route_limit
    assert route_limit is None or SYSTEM.route_limits[route_limit].window == 60.0


def test_limits_and_caps():
    assert {name: rules.limit for name, rules in SYSTEM.route_limits.items()} == {
        "orders": 10,
        "jobs": 20,
        "skus": 5,
    }
    caps = {route.kind: route.cap for route in bulk.ROUTES.values()}
    assert caps == {"create_orders": 50, "advance_jobs": 100, "cancel_jobs": 100, "import_skus": 500}


@pytest.mark.parametrize(
    ("kind", "safety"),
    [
        ("create_orders", RepeatSafety.NEVER),
        ("import_skus:replace", RepeatSafety.NEVER),
        ("import_skus:upsert", RepeatSafety.SAFE),
        ("import_skus:append", RepeatSafety.SAFE),
        ("import_skus:merge", RepeatSafety.NEVER),
        ("import_skus", RepeatSafety.NEVER),
        ("advance_jobs", RepeatSafety.SAFE),
        ("cancel_jobs", RepeatSafety.SAFE),
        ("print_job:READY", RepeatSafety.NEVER),
    ],
)
def test_repeat_safety(kind, safety):
    assert SYSTEM.repeat_safety(kind) is safety


def test_the_answer_to_a_bulk_call_is_its_result():
    (call,) = bulk.submissions(bulk.CREATE_ORDERS, [{"customerId": "c"}])
    payload = {"created": 1, "failed": 0, "orders": [{"id": "o1", "status": "paid", "total": 3}]}
    handle = SYSTEM.read_submission(payload, call, 100.0)
    assert handle.job_id == SYSTEM.call_name(call)
    assert handle.job_id.startswith("create_orders-")
    assert (handle.status_url, handle.item_count, handle.submitted_at) == ("/api/orders/bulk", 1, 100.0)
    assert (handle.result.state, handle.result.processed) == (JobState.SUCCEEDED, 1)
    assert "result" not in handle.to_dict()
    assert JobHandle.from_dict(handle.to_dict()) == handle


@pytest.mark.parametrize(
    "payload",
    [
        {"id": "j1", "status": "READY"},
        {"id": "j1", "state": "ready"},
        {"job": {"id": "j1", "status": "Ready"}},
        {"status": "READY"},
    ],
)
def test_a_print_job_as_read(payload):
    (handle,) = SYSTEM.handles(READY, ["j1"])
    status = SYSTEM.read_status(payload, handle)
    assert status.state is JobState.SUCCEEDED
    assert status.details["status"].upper() == "READY"


@pytest.mark.parametrize("payload", [None, [], {}, {"status": 7}, {"id": "j2", "status": "READY"}])
def test_what_is_no_print_job_or_another_one(payload):
    (handle,) = SYSTEM.handles(READY, ["j1"])
    with pytest.raises(MalformedResponse):
        SYSTEM.read_status(payload, handle)


def test_a_bulk_call_can_not_be_asked_for():
    with pytest.raises(MalformedResponse, match="no job to ask for"):
        SYSTEM.read_status(
            {"status": "x"}, JobHandle("printstudio", "create_orders", "x", "/api/orders/bulk")
        )


def test_handles_hold_their_goal_and_quote_odd_ids():
    goal = Goal(ORDER, ("ready", "shipped"))
    first, second = SYSTEM.handles(goal, ["o/1", "o2", "o2"])
    assert (first.job_id, first.status_url) == ("o/1", "/api/orders/o%2F1")
    assert Goal.of_kind(second.kind) == goal
    assert SYSTEM.status_request(ORIGIN, second).url == f"{ORIGIN}/api/orders/o2"


def test_handles_need_ids():
    with pytest.raises(InvalidInput, match="print_jobs: 1 of 2 entries are no ids"):
        SYSTEM.handles(READY, ["j1", ""])


@pytest.mark.parametrize(
    ("url", "kind"),
    [("/api/orders/o1", "order:shipped"), (f"{ORIGIN}/api/jobs/j1", "print_job:SHIPPED")],
)
def test_a_url_is_waited_for_until_it_is_shipped(url, kind):
    (handle,) = SYSTEM.read_handles(url)
    assert handle.kind == kind
