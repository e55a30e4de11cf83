"""PrintStudio's bulk routes in the sandbox."""

from __future__ import annotations

import math

import pytest

STATES = ["CREATED", "VALIDATED", "SLICED", "QUEUED", "PRINTING", "POST_PROCESS", "READY", "SHIPPED"]


def order(sku="sku_001", quantity=1, customer="cust_1", **more):
    return {"customerId": customer, "lineItems": [{"skuId": sku, "quantity": quantity}], **more}


def sku(number, **more):
    return {"id": number, "name": f"New {number}", "machineType": "resin", "basePrice": 3.5, **more}


@pytest.fixture
def studio(printstudio):
    return printstudio


@pytest.fixture
def in_state(studio):
    """Ids of seeded jobs in a state."""

    def find(state, count=1):
        jobs = studio.get(f"/api/jobs?status={state.lower()}").json()["jobs"]
        assert len(jobs) >= count
        return [job["id"] for job in jobs[:count]]

    return find


def status_of(studio, job_id):
    return studio.get(f"/api/jobs/{job_id}").json()["status"]


def test_orders_are_made_in_bulk(studio):
    made = studio.post("/api/orders/bulk", {"orders": [order(), order("sku_002", 3)]})
    body = made.json()
    assert made.status_code == 201
    assert (body["created"], body["failed"]) == (2, 0)
    assert [found["status"] for found in body["orders"]] == ["pending_payment"] * 2
    one = studio.get(f"/api/orders/{body['orders'][1]['id']}").json()
    assert set(one) == {
        "id",
        "status",
        "customerId",
        "lineItems",
        "subtotal",
        "shipping",
        "tax",
        "total",
        "createdAt",
    }
    assert one["total"] == one["lineItems"][0]["unitPrice"] * 3


@pytest.mark.parametrize(
    "bad",
    [
        order("sku_nobody"),
        order(quantity=0),
        order(quantity=True),
        order(customer=None),
        {"customerId": "c", "lineItems": []},
        {"customerId": "c", "lineItems": ["x"]},
        "x",
    ],
)
def test_one_bad_order_rejects_all(studio, bad):
    refused = studio.post("/api/orders/bulk", {"orders": [order(), bad]})
    assert refused.status_code == 400
    assert set(refused.json()) == {"error", "code", "details"}
    assert refused.json()["details"]["index"] == 1
    assert studio.state["orders"] == {}
    assert studio.state["submissions"] == []


@pytest.mark.parametrize(
    ("path", "name", "cap", "item", "more"),
    [
        ("/api/orders/bulk", "orders", 50, order(), {}),
        ("/api/jobs/bulk/advance", "jobIds", 100, "job_x", {"targetStatus": "READY"}),
        ("/api/jobs/bulk/cancel", "jobIds", 100, "job_x", {"reason": "r"}),
        ("/api/skus/bulk", "skus", 500, sku("s"), {}),
    ],
)
def test_caps_hold(studio, path, name, cap, item, more):
    assert studio.post(path, {name: [item] * cap, **more}).ok
    over = studio.post(path, {name: [item] * (cap + 1), **more})
    assert over.status_code == 400
    assert over.json()["details"] == {"max": cap, "received": cap + 1}
    assert studio.post(path, {name: [], **more}).status_code == 400


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/api/orders/bulk", 10),
        ("/api/jobs/bulk/advance", 20),
        ("/api/jobs/bulk/cancel", 20),
        ("/api/skus/bulk", 5),
    ],
)
def test_bulk_routes_have_limits_of_their_own(studio, wall, path, limit):
    answers = [studio.post(path, {}) for _ in range(limit + 1)]
    assert [answer.status_code for answer in answers] == [400] * limit + [429]
    first, last = answers[0].headers, answers[-1].headers
    assert (first["X-RateLimit-Limit"], first["X-RateLimit-Remaining"]) == (str(limit), str(limit - 1))
    assert last["X-RateLimit-Remaining"] == "0"
    assert last["X-RateLimit-Reset"] == str(math.ceil(wall.now + 60))
    assert "Retry-After" not in last
    assert answers[-1].json()["code"] == "RATE_LIMITED"
    assert studio.get("/api/skus").status_code == 200


def test_advance_and_cancel_share_their_limit(studio):
    for _ in range(10):
        studio.post("/api/jobs/bulk/advance", {})
        studio.post("/api/jobs/bulk/cancel", {})
    assert studio.post("/api/jobs/bulk/cancel", {}).status_code == 429


def test_limits_can_be_changed_and_end_with_their_window(studio, wall):
    studio.do("limits", skus=1, general=3, window_seconds=10)
    assert [studio.post("/api/skus/bulk", {}).status_code for _ in range(2)] == [400, 429]
    assert [studio.get("/api/skus").status_code for _ in range(4)] == [200, 200, 200, 429]
    wall.forward(10)
    assert studio.post("/api/skus/bulk", {}).status_code == 400


@pytest.mark.parametrize(
    ("role", "limit"), [("customer", "300"), ("operator", "300"), ("admin", "1000"), (None, "20")]
)
def test_general_limits_are_those_of_the_role(studio, role, limit):
    headers = {"X-API-Key": studio.sandbox.printstudio_keys[role]} if role else {}
    assert studio.get("/", headers=headers).headers["X-RateLimit-Limit"] == limit


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        ("customer", "/api/orders/bulk", 400),
        ("customer", "/api/jobs/bulk/advance", 403),
        ("customer", "/api/skus/bulk", 403),
        ("operator", "/api/jobs/bulk/cancel", 400),
        ("operator", "/api/skus/bulk", 403),
        ("admin", "/api/skus/bulk", 400),
    ],
)
def test_roles(studio, role, path, status):
    headers = {"X-API-Key": studio.sandbox.printstudio_keys[role]}
    assert studio.post(path, {}, headers=headers).status_code == status


def test_a_revoked_key_is_refused_at_once(studio):
    studio.do("revoke", role="admin")
    assert studio.get("/api/skus").status_code == 401


def test_jobs_are_advanced_one_by_one(studio, in_state):
    printing, ready = in_state("PRINTING", 2), in_state("READY")
    ids = [printing[0], ready[0], "job_nobody", printing[1]]
    answer = studio.post("/api/jobs/bulk/advance", {"jobIds": ids, "targetStatus": "POST_PROCESS"})
    body = answer.json()
    assert (answer.status_code, body["advanced"], body["failed"]) == (200, 2, 2)
    assert body["jobs"] == [{"id": new, "status": "POST_PROCESS"} for new in printing]
    assert [(bad["jobId"], bad["code"]) for bad in body["errors"]] == [
        (ready[0], "INVALID_TRANSITION"),
        ("job_nobody", "JOB_NOT_FOUND"),
    ]
    assert [status_of(studio, new) for new in (*printing, ready[0])] == [
        "POST_PROCESS",
        "POST_PROCESS",
        "READY",
    ]


def test_an_unknown_target_is_refused(studio, in_state):
    body = {"jobIds": in_state("QUEUED"), "targetStatus": "FAILED"}
    assert studio.post("/api/jobs/bulk/advance", body).status_code == 400


def test_jobs_are_cancelled_unless_final(studio, in_state):
    queued, failed = in_state("QUEUED", 2)
    shipped = in_state("READY")[0]
    studio.do("fail", job_id=failed)
    studio.do("move", job_id=shipped, state="SHIPPED")
    ids = [queued, failed, shipped]
    body = studio.post("/api/jobs/bulk/cancel", {"jobIds": ids, "reason": "No filament"}).json()
    assert (body["cancelled"], body["failed"]) == (2, 1)
    assert [status_of(studio, new) for new in ids] == ["CANCELLED", "CANCELLED", "SHIPPED"]
    assert studio.get(f"/api/jobs/{queued}").json()["reason"] == "No filament"


def test_missing_jobs_and_orders_have_the_documented_error(studio):
    answer = studio.get("/api/jobs/job_nobody")
    assert answer.status_code == 404
    assert answer.json() == {
        "error": "Not found",
        "code": "JOB_NOT_FOUND",
        "details": {"jobId": "job_nobody"},
    }
    assert studio.get("/api/orders/order_nobody").status_code == 404
    assert studio.get("/api/toys").json()["code"] == "NOT_FOUND"


def test_jobs_are_listed_by_several_states(studio):
    found = studio.get("/api/jobs?status=printing,queued").json()["jobs"]
    assert {job["status"] for job in found} == {"PRINTING", "QUEUED"}
    assert len(studio.get("/api/jobs").json()["jobs"]) == 160


def test_seeded_jobs_stand_still_until_released(studio, in_state):
    (job_id,) = in_state("QUEUED")
    studio.sandbox.advance(3600)
    assert status_of(studio, job_id) == "QUEUED"
    assert studio.post(f"/api/jobs/{job_id}/release").status_code == 200
    studio.sandbox.advance(21)
    assert status_of(studio, job_id) == "PRINTING"


def test_an_order_goes_its_way_with_time(studio):
    made = studio.post("/api/orders/bulk", {"orders": [order()]}).json()["orders"][0]["id"]
    seen = []
    for _ in range(40):
        word = studio.get(f"/api/orders/{made}").json()["status"]
        if not seen or seen[-1] != word:
            seen.append(word)
        studio.sandbox.advance(5)
    assert seen == ["pending_payment", "processing", "printing", "post_processing", "ready"]
    job_ids = [new for new, job in studio.state["jobs"].items() if job["orderId"] == made]
    studio.post("/api/jobs/bulk/advance", {"jobIds": job_ids, "targetStatus": "SHIPPED"})
    assert studio.get(f"/api/orders/{made}").json()["status"] == "shipped"


def test_a_failed_job_can_be_retried(studio, in_state):
    (job_id,) = in_state("PRINTING")
    studio.do("fail", job_id=job_id, reason="Nozzle")
    assert studio.get(f"/api/jobs/{job_id}").json()["reason"] == "Nozzle"
    assert studio.post(f"/api/jobs/{job_id}/release").json()["status"] == "QUEUED"


def test_payment_and_pace_are_in_the_tests_hands(studio):
    studio.do("pace", state_seconds=1, payment_seconds=1000)
    made = studio.post("/api/orders/bulk", {"orders": [order()]}).json()["orders"][0]["id"]
    studio.sandbox.advance(500)
    assert studio.get(f"/api/orders/{made}").json()["status"] == "pending_payment"
    studio.do("pay", order_id=made)
    studio.sandbox.advance(10)
    assert studio.get(f"/api/orders/{made}").json()["status"] == "ready"


def test_a_cancelled_order_stays_so(studio):
    made = studio.post("/api/orders", order()).json()["id"]
    answer = studio.post(f"/api/orders/{made}/cancel", {"reason": "r"})
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    studio.sandbox.advance(3600)
    assert studio.get(f"/api/orders/{made}").json()["status"] == "cancelled"
    assert studio.post(f"/api/orders/{made}/cancel").status_code == 409


def test_orders_are_listed_by_page_status_and_customer(studio):
    studio.post("/api/orders/bulk", {"orders": [order(customer=f"c{n % 2}") for n in range(5)]})
    found = studio.get("/api/orders?customerId=c0&limit=2&page=2").json()
    assert (len(found["orders"]), found["total"]) == (1, 3)
    assert studio.get("/api/orders?status=shipped").json()["orders"] == []
    assert studio.get("/api/orders?page=0").status_code == 400


@pytest.mark.parametrize(
    ("mode", "counts", "name"),
    [
        ("upsert", {"created": 1, "updated": 1, "skipped": 0, "deactivated": 0}, "New sku_001"),
        ("append", {"created": 1, "updated": 0, "skipped": 1, "deactivated": 0}, "Part 1"),
        ("replace", {"created": 1, "updated": 1, "skipped": 0, "deactivated": 24}, "New sku_001"),
    ],
)
def test_skus_are_imported_by_mode(studio, mode, counts, name):
    body = studio.post("/api/skus/bulk", {"skus": [sku("sku_001"), sku("sku_new")], "mode": mode}).json()
    assert body == {**counts, "failed": 0, "total": 2}
    active = {found["id"]: found["name"] for found in studio.get("/api/skus").json()["skus"]}
    assert len(active) == (2 if mode == "replace" else 25)
    assert active["sku_001"] == name
    assert len(studio.get("/api/skus?includeInactive=true").json()["skus"]) == 25


@pytest.mark.parametrize(
    "bad", [{"id": "x"}, sku("x", machineType="oven"), sku("x", basePrice=-1), sku("x", basePrice="1"), "x"]
)
def test_a_bad_sku_refuses_the_call_before_anything_is_done(studio, bad):
    answer = studio.post("/api/skus/bulk", {"skus": [sku("y"), bad], "mode": "replace"})
    assert answer.status_code == 400
    assert answer.json()["details"]["index"] == 1
    assert len(studio.get("/api/skus").json()["skus"]) == 24


def test_skus_default_to_upsert_and_unknown_modes_are_refused(studio):
    assert studio.post("/api/skus/bulk", {"skus": [sku("sku_001")]}).json()["updated"] == 1
    assert studio.post("/api/skus/bulk", {"skus": [sku("x")], "mode": "merge"}).status_code == 400


def test_a_deactivated_sku_takes_no_orders(studio):
    studio.post("/api/skus/bulk", {"skus": [sku("sku_new")], "mode": "replace"})
    assert studio.post("/api/orders/bulk", {"orders": [order("sku_001")]}).status_code == 400
    assert studio.post("/api/orders/bulk", {"orders": [order("sku_new")]}).status_code == 201


def test_submissions_are_logged(studio, in_state):
    ids = in_state("PRINTING")
    studio.post("/api/jobs/bulk/advance", {"jobIds": ids, "targetStatus": "READY"})
    studio.post("/api/skus/bulk", {"skus": [sku("a")], "mode": "append"})
    assert studio.state["submissions"] == [
        {"kind": "advance_jobs", "items": ids, "count": 1, "how": "READY"},
        {"kind": "import_skus", "items": ["a"], "count": 1, "mode": "append"},
    ]


def test_bodies_must_be_objects(studio):
    assert studio.call("POST", "/api/orders", data="{oops").json()["error"] == "The body is not valid JSON"
    assert studio.call("POST", "/api/orders", data="[]").json()["error"] == "The body must be an object"
