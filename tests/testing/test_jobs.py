"""Jobs of the three families, from the submission to the end of the record."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from stoq_provider.testing import Sandbox, clock

from .conftest import Client

ORDERS = "/preorders/orders"
VARIANTS = "/preorders/product_variants"
DAY = 24 * 3600


def test_bulk_job_runs_in_documented_shapes(client, sandbox):
    ids = client.orders("balance_collected", 47)
    sandbox.jobs("bulk_orders_release", duration=100_000)
    submitted = client.post(f"{ORDERS}/bulk_release", json={"order_ids": ids})
    assert submitted.status_code == 202
    body = submitted.json()
    job_id = body["job_id"]
    assert job_id.startswith("bulk_orders_release_")
    assert body == {
        "job_id": job_id,
        "status_url": f"/api/v2/external/preorders/orders/jobs/{job_id}",
        "order_count": 47,
    }
    assert client.poll(submitted).json() == {
        "job_id": job_id,
        "status": "running",
        "progress": 0,
        "total": 47,
        "processed": 0,
    }
    sandbox.advance(26_000)
    running = client.poll(submitted).json()
    assert (running["progress"], running["processed"]) == (25, 12)
    assert client.get(f"{ORDERS}/{ids[11]}").json()["state"] == "released"
    assert client.get(f"{ORDERS}/{ids[12]}").json()["state"] == "balance_collected"
    sandbox.advance(74_000)
    assert client.poll(submitted).json() == {
        "job_id": job_id,
        "status": "completed",
        "progress": 100,
        "total": 47,
        "processed": 47,
    }
    assert sandbox.state["jobs"][job_id]["changed"] == ids


def test_errors_of_items_are_swallowed(client, sandbox):
    good, forced = client.orders("balance_collected", 2)
    unpaid = client.orders("awaiting_balance", 1)[0]
    done = client.orders("released", 1)[0]
    sandbox.jobs("bulk_orders_*", duration=0, item_errors=[forced])
    ids = [good, unpaid, forced, 42, done]
    submitted = client.post(f"{ORDERS}/bulk_release", json={"order_ids": ids})
    status = client.poll(submitted).json()
    assert (status["status"], status["total"], status["processed"]) == ("completed", 5, 5)
    assert "error" not in status
    truth = sandbox.state["jobs"][status["job_id"]]
    assert truth["changed"] == [good]
    assert truth["unchanged"] == [done]
    assert set(truth["swallowed"]) == {str(unpaid), str(forced), "42"}
    assert client.get(f"{ORDERS}/{unpaid}").json()["state"] == "awaiting_balance"
    assert client.get(f"{ORDERS}/{forced}").json()["state"] == "balance_collected"


@pytest.mark.parametrize(
    ("action", "state", "body", "check"),
    [
        ("release", "awaiting_balance", {"force": True}, lambda order: order["state"] == "released"),
        ("cancel", "placed", {}, lambda order: order["state"] == "cancelled"),
        ("set_tags", "placed", {"tags": ["late"]}, lambda order: order["tags"] == ["late"]),
        (
            "send_payment_collection_url",
            "awaiting_balance",
            {},
            lambda order: order["payments"]["payment_links_sent"] == 1,
        ),
    ],
)
def test_bulk_actions_on_orders(client, sandbox, action, state, body, check):
    order_id = client.orders(state, 1)[0]
    assert not check(client.get(f"{ORDERS}/{order_id}").json())
    sandbox.jobs("*", duration=0)
    submitted = client.post(f"{ORDERS}/bulk_{action}", json={"order_ids": [order_id], **body})
    assert submitted.json()["job_id"].startswith(f"bulk_orders_{action}_")
    assert client.poll(submitted).json()["status"] == "completed"
    assert check(client.get(f"{ORDERS}/{order_id}").json())
    assert sandbox.submissions == [
        {
            "kind": f"bulk_orders_{action}",
            "path": f"{ORDERS}/bulk_{action}",
            "body": {"order_ids": [order_id], **body},
            "ids": [order_id],
            "job_id": submitted.json()["job_id"],
        }
    ]


def test_payment_links_are_counted(client, sandbox):
    order_id = client.orders("awaiting_balance", 1)[0]
    sandbox.jobs("*", duration=0, times=None)
    for _ in range(2):
        client.post(f"{ORDERS}/bulk_send_payment_collection_url", json={"order_ids": [order_id]})
    assert sandbox.state["payment_links"] == {str(order_id): 2}


@pytest.mark.parametrize(
    ("action", "check"),
    [
        ("recalculate_preorder_counts", lambda row: not row["metafields"]["drift"]),
        ("reset_metafields", lambda row: row["metafields"]["preorder_count"] is None),
        ("sync_metafields", lambda row: row["metafields"]["preorder_count"] == row["preorder_count"]),
    ],
)
def test_bulk_actions_on_variants(client, sandbox, action, check):
    rows = client.get(f"{VARIANTS}?per_page=200").json()["product_variants"]
    variant_id = next(row["shopify_variant_id"] for row in rows if not check(row))
    submitted = client.post(f"{VARIANTS}/bulk_{action}", json={"variant_ids": [variant_id, 42]})
    body = submitted.json()
    assert body["job_id"].startswith("bulk_")
    assert body["status_url"] == f"/api/v2/external{VARIANTS}/jobs/{body['job_id']}"
    assert body["variant_count"] == 2
    sandbox.advance(10)
    assert client.poll(submitted).json()["status"] == "completed"
    assert check(client.get(f"{VARIANTS}/{variant_id}").json())
    assert list(sandbox.state["jobs"][body["job_id"]]["swallowed"]) == ["42"]


@pytest.mark.parametrize(
    ("path", "key", "cap"),
    [
        (f"{ORDERS}/bulk_release", "order_ids", 1000),
        (f"{VARIANTS}/bulk_sync_metafields", "variant_ids", 5000),
    ],
)
def test_caps_of_a_submission(client, sandbox, path, key, cap):
    assert client.post(path, json={key: list(range(1, cap + 1))}).status_code == 202
    refused = client.post(path, json={key: list(range(1, cap + 2))})
    assert refused.status_code == 422
    assert refused.json()["errors"] == [f"{key} size cannot be greater than {cap}"]
    assert client.post(path, json={key: []}).status_code == 422
    assert client.post(path, json={}).json()["errors"] == [f"{key} is missing"]
    for wrong in (["x"], [1, "x"], [1, True], [1, 1.5]):
        assert client.post(path, json={key: wrong}).status_code == 422
    assert len(sandbox.submissions) == 1


def test_export_runs_in_documented_shapes(client, sandbox):
    submitted = client.post(
        "/preorders/reports/revenue/export", json={"from": "2026-01-01", "to": "2026-05-28"}
    )
    body = submitted.json()
    assert submitted.status_code == 202
    assert set(body) == {"job_id", "status_url"}
    assert body["job_id"].startswith("exp_")
    assert body["status_url"] == f"/api/v2/external/preorders/reports/exports/{body['job_id']}"
    running = client.poll(submitted).json()
    assert running == {"job_id": body["job_id"], "status": "running", "progress": 0}
    sandbox.advance(20)
    ready = client.poll(submitted).json()
    assert set(ready) == {"job_id", "status", "download_url", "file_name", "row_count", "progress"}
    assert (ready["status"], ready["progress"]) == ("ready", 100)
    assert ready["file_name"] == "preorders_revenue_2026-01-01_2026-05-28.csv"
    assert ready["download_url"].startswith(sandbox.files_origin + "/")


def test_polling_a_ready_export_again_signs_afresh(client):
    client.sandbox.jobs("export", duration=0)
    submitted = client.post("/preorders/reports/revenue/export")
    first, second = (client.poll(submitted).json()["download_url"] for _ in range(2))
    assert first != second
    assert client.file(first).content == client.file(second).content


@pytest.mark.parametrize("path", ["/preorders/reports/revenue/export", f"{VARIANTS}/bulk_sync_metafields"])
def test_record_expires_a_day_after_the_end(client, sandbox, path):
    sandbox.jobs("*", duration=100)
    submitted = client.post(path, json={"variant_ids": [1]})
    sandbox.advance(100 + DAY - 5)
    assert client.poll(submitted).status_code == 200
    sandbox.advance(5)
    gone = client.poll(submitted)
    assert gone.status_code == 404
    assert gone.json()["errors"]


def test_job_is_not_found_in_another_family(client):
    job_id = client.post("/preorders/reports/revenue/export").json()["job_id"]
    assert client.get(f"/preorders/reports/exports/{job_id}").status_code == 200
    assert client.get(f"{ORDERS}/jobs/{job_id}").status_code == 404


@pytest.mark.parametrize("outcome", ["failed", "cancelled"])
def test_jobs_that_end_badly_stop_half_way(client, sandbox, outcome):
    sandbox.jobs("*", outcome=outcome, error="Shopify said no", duration=10)
    ids = client.orders("balance_collected", 10)
    submitted = client.post(f"{ORDERS}/bulk_release", json={"order_ids": ids})
    assert client.poll(submitted).json()["status"] == "running"
    sandbox.advance(10)
    status = client.poll(submitted).json()
    assert status["status"] == outcome
    assert status.get("error") == ("Shopify said no" if outcome == "failed" else None)
    assert (status["processed"], status["total"], status["progress"]) == (5, 10, 50)
    assert sandbox.state["jobs"][status["job_id"]]["changed"] == ids[:5]


def test_failed_export_shows_no_download(client, sandbox):
    sandbox.jobs("export", outcome="failed", duration=0)
    status = client.poll(client.post("/preorders/reports/revenue/export")).json()
    assert status["status"] == "failed"
    assert isinstance(status["error"], str)
    assert "download_url" not in status


def test_endless_job_ends_by_force_only(client, sandbox):
    sandbox.jobs("*", outcome="forever")
    ids = client.orders("balance_collected", 10)
    submitted = client.post(f"{ORDERS}/bulk_release", json={"order_ids": ids})
    sandbox.advance(10 * DAY)
    status = client.poll(submitted).json()
    assert (status["status"], status["processed"]) == ("running", 9)
    sandbox.end_job(status["job_id"])
    assert client.poll(submitted).json()["status"] == "completed"
    assert sandbox.state["jobs"][status["job_id"]]["changed"] == ids


def test_forgotten_job_is_404(client, sandbox):
    submitted = client.post("/preorders/reports/revenue/export")
    sandbox.forget_job(submitted.json()["job_id"])
    assert client.poll(submitted).status_code == 404


def test_unlisted_status_word(client, sandbox):
    sandbox.jobs("export", status_word="paused", duration=10)
    submitted = client.post("/preorders/reports/revenue/export")
    assert client.poll(submitted).json()["status"] == "paused"
    sandbox.advance(10)
    assert client.poll(submitted).json()["status"] == "ready"


def test_settings_hold_for_the_given_number_of_jobs(client, sandbox):
    sandbox.jobs("*", times=None, duration=0)
    sandbox.jobs("export:revenue", times=2, outcome="failed")
    reports = ["by_date", "revenue", "revenue", "revenue"]
    seen = [
        client.poll(client.post(f"/preorders/reports/{name}/export")).json()["status"] for name in reports
    ]
    assert seen == ["ready", "failed", "failed", "ready"]


@pytest.mark.parametrize(
    "settings", [{"outcome": "lost"}, {"durations": 3}], ids=["unknown outcome", "unknown setting"]
)
def test_misspelt_settings_are_refused(sandbox, settings):
    with pytest.raises(ValueError, match=r"outcome must be one of|unknown job settings"):
        sandbox.jobs("export", **settings)


def test_jobs_run_on_the_scaled_clock(monkeypatch):
    real = SimpleNamespace(now=0.0)
    monkeypatch.setattr(clock, "time", SimpleNamespace(time=time.time, monotonic=lambda: real.now))
    with Sandbox(time_scale=100) as sandbox:
        client = Client(sandbox)
        submitted = client.post("/preorders/reports/revenue/export")
        real.now = 0.15
        assert client.poll(submitted).json()["status"] == "running"
        real.now = 0.25
        assert client.poll(submitted).json()["status"] == "ready"


def test_a_clock_without_a_scale_stands_until_it_is_moved():
    standing = clock.JobClock(0)
    begin = standing.now()
    time.sleep(0.001)
    assert standing.now() == begin
    standing.advance(1.5)
    assert standing.now() == begin + 1.5
    with pytest.raises(ValueError, match="must not be negative"):
        clock.JobClock(-1)


def test_identical_submissions_are_jobs_of_their_own(client, sandbox):
    ids = [client.post("/preorders/reports/revenue/export").json()["job_id"] for _ in range(2)]
    assert ids[0] != ids[1]
    assert sandbox.state["submissions_by_kind"] == {"export": 2}


def test_job_ids_do_not_come_back_after_a_reset(client, sandbox):
    before = client.post("/preorders/reports/revenue/export")
    sandbox.reset()
    after = client.post("/preorders/reports/revenue/export")
    assert before.json() != after.json()
    assert client.poll(before).status_code == 404
    assert len(sandbox.submissions) == 1
