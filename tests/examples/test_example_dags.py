"""Every example DAG runs against the sandbox, in a real Airflow with a database of its own."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from stoq_provider.testing import Sandbox
from stoq_provider.testing.shop import ShopSize
from tests.examples.runner import ROOT, Runner
from tests.integration.medusa_bench import NEW

DAGS = ROOT / "example_dags"
API = "/api/v2/external/preorders"


class Airflow:
    """An Airflow home with DAGs, by default the examples, and a sandbox as ``stoq_default``."""

    def __init__(self, home: Path, sandbox: Sandbox, dags: Path = DAGS) -> None:
        self.home = home
        self.sandbox = sandbox
        self.dags = dags
        output = home / "output"
        output.mkdir()
        self.runner = Runner(dags, output, self._environment())

    def _environment(self) -> dict[str, str]:
        home, sandbox = self.home, self.sandbox
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__STOQ__POLL_INTERVAL": "0.1",
            "AIRFLOW_VAR_STOQ_REPORTS": (home / "reports").as_uri(),
            "AIRFLOW_VAR_STOQ_PLANS": (home / "plans").as_uri(),
            "AIRFLOW_VAR_STOQ_RELEASE_LIST": (home / "release.csv").as_uri(),
            "AIRFLOW_CONN_STOQ_DEFAULT": json.dumps(
                {"conn_type": "stoq", "host": sandbox.origin, "password": sandbox.key}
            ),
            "AIRFLOW_VAR_MEDUSA_IMPORT": (home / "products.csv").as_uri(),
            "AIRFLOW_VAR_MEDUSA_EXPORTS": (home / "medusa").as_uri(),
            "AIRFLOW_CONN_MEDUSA_DEFAULT": json.dumps(
                {"conn_type": "medusa", "host": sandbox.medusa_origin, "password": sandbox.medusa_token}
            ),
            "AIRFLOW_VAR_SURECART_FORGET_LIST": (home / "forget.csv").as_uri(),
            "AIRFLOW_CONN_SURECART_DEFAULT": json.dumps(
                {"conn_type": "surecart", "host": sandbox.surecart_origin, "password": sandbox.surecart_key}
            ),
            "AIRFLOW_VAR_PRINTSTUDIO_ORDERS": (home / "orders.json").as_uri(),
            "AIRFLOW_CONN_PRINTSTUDIO_DEFAULT": json.dumps(
                {
                    "conn_type": "printstudio",
                    "host": sandbox.printstudio_origin,
                    "password": sandbox.printstudio_key,
                }
            ),
        }

    def last_states(self, dag_id: str) -> dict[str, str]:
        """How the tasks of the last run of a DAG ended."""
        with sqlite3.connect(self.home / "airflow.db") as database:
            rows = database.execute(
                "select task_id, state from task_instance where run_id = "
                "(select run_id from dag_run where dag_id = ? order by id desc limit 1) and dag_id = ?",
                (dag_id, dag_id),
            )
            return dict(rows.fetchall())

    def last_result(self, dag_id: str) -> Any:
        """What the one task of the last run of a DAG returned."""
        with sqlite3.connect(self.home / "airflow.db") as database:
            (value,) = database.execute(
                "select value from xcom where dag_id = ? and key = 'return_value' order by timestamp desc",
                (dag_id,),
            ).fetchone()
            return json.loads(value)

    def get(self, path: str, **query: object) -> dict:
        answer = requests.get(
            f"{self.sandbox.origin}{API}{path}",
            params=query,
            headers={"X-Auth-Token": self.sandbox.key},
            timeout=60,
        )
        return answer.json()


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    with Sandbox(time_scale=100, size=ShopSize(offers=4)) as sandbox:
        airflow = Airflow(tmp_path_factory.mktemp("airflow"), sandbox)
        with airflow.runner:
            yield airflow


@pytest.fixture(autouse=True)
def fresh(airflow: Airflow) -> None:
    airflow.sandbox.reset()


@pytest.mark.parametrize(
    "dates",
    [
        pytest.param({"logical_date": "2026-05-28T00:00:00+02:00"}, id="of the schedule"),
        pytest.param({"logical_date": "2026-05-28T09:30:00+02:00"}, id="by hand"),
        pytest.param({"run_after": "2026-05-28T00:30:00+02:00"}, id="without a logical date"),
    ],
)
def test_daily_reports(airflow: Airflow, dates: dict[str, str]) -> None:
    shutil.rmtree(airflow.home / "reports", ignore_errors=True)
    airflow.runner.run("stoq_daily_reports", **dates)
    manifests = json.loads((airflow.home / "reports/2026-05-27/manifest.json").read_text())
    files = [file for manifest in manifests for file in manifest["files"]]
    assert len(files) == 5
    assert {manifest["request"]["filters"]["to"] for manifest in manifests} == {"2026-05-27"}
    for file in files:
        assert "2026-05-27_2026-05-27" in file["file_name"]
        assert "/reports/2026-05-27/" in file["uri"]
        assert Path(file["uri"].removeprefix("file://")).stat().st_size == file["bytes"]


def test_revenue_asset(airflow: Airflow) -> None:
    airflow.runner.run(
        "stoq_revenue_export", file="stoq_revenue_asset", logical_date="2026-05-28T12:00:00+02:00"
    )
    airflow.runner.run("stoq_revenue_totals", file="stoq_revenue_asset", by_assets=True)
    with (airflow.home / "reports/revenue/2026-05-27.csv").open() as file:
        total = sum(float(row["revenue"]) for row in csv.DictReader(file))
    assert airflow.last_result("stoq_revenue_totals") == {"2026-05-27": total}
    assert total > 0


def test_release_on_stock(airflow: Airflow) -> None:
    orders = airflow.get("/orders", per_page=200)["orders"]
    held = [o["shopify_order_id"] for o in orders if o["state"] in ("placed", "balance_collected")]
    lines = ["sku,order_id", *(f"A,{order_id}" for order_id in held)]
    (airflow.home / "release.csv").write_text("\n".join(lines) + "\n")
    airflow.runner.run("stoq_release_on_stock")
    assert [sent["ids"] for sent in airflow.sandbox.submissions] == [held]
    assert {airflow.get(f"/orders/{order_id}")["state"] for order_id in held[:5]} == {"released"}


def test_release_on_stock_of_no_orders_is_skipped(airflow: Airflow) -> None:
    (airflow.home / "release.csv").write_text("sku,order_id\n")
    airflow.runner.run("stoq_release_on_stock")
    assert airflow.last_states("stoq_release_on_stock") == {"plan": "skipped", "release": "skipped"}
    assert airflow.sandbox.submissions == []


def test_metafield_backfill(airflow: Airflow) -> None:
    offers = airflow.get("/offers", per_page=200)["offers"]
    airflow.runner.run("stoq_metafield_backfill")
    sent = airflow.sandbox.submissions
    assert len(sent) == len(offers)
    assert {entry["kind"] for entry in sent} == {"bulk_sync_metafields"}


def test_approved_cancel(airflow: Airflow) -> None:
    from airflow import __version__

    if tuple(map(int, __version__.split(".")[:2])) < (3, 1):
        pytest.skip("Airflow before 3.1 has no approval operator")
    order = airflow.get("/orders", state="placed", per_page=200)["orders"][0]
    offer = order["line_items"][0]["offer_id"]
    listed = airflow.get("/orders", state="placed", offer_id=offer, per_page=200)["orders"]
    airflow.runner.run("stoq_approved_cancel", conf={"offer_id": offer}, mark_success="approve")
    (sent,) = airflow.sandbox.submissions
    assert sorted(sent["ids"]) == sorted(o["shopify_order_id"] for o in listed)
    assert airflow.get(f"/orders/{listed[0]['shopify_order_id']}")["state"] == "cancelled"


def test_surecart_forget_customers(airflow: Airflow) -> None:
    there = airflow.sandbox.state["surecart"]["customers"]
    (airflow.home / "forget.csv").write_text("\n".join(["email,customer_id", *(f"x,{i}" for i in there[:5])]))
    airflow.runner.run("surecart_forget_customers")
    state = airflow.sandbox.state["surecart"]
    assert [sent["ids"] for sent in state["submissions"]] == [there[:5]]
    assert state["customers"] == there[5:]


def test_surecart_forget_nobody_is_skipped(airflow: Airflow) -> None:
    (airflow.home / "forget.csv").write_text("email,customer_id\n")
    airflow.runner.run("surecart_forget_customers")
    assert airflow.last_states("surecart_forget_customers") == {"plan": "skipped", "forget": "skipped"}
    assert airflow.sandbox.state["surecart"]["submissions"] == []


def test_printstudio_print_run(airflow: Airflow) -> None:
    orders = [{"customerId": f"c{n}", "lineItems": [{"skuId": "sku_001", "quantity": 1}]} for n in range(60)]
    (airflow.home / "orders.json").write_text(json.dumps(orders))
    airflow.sandbox.control("printstudio", "pace", state_seconds=10, payment_seconds=10)
    airflow.runner.run("printstudio_print_run")
    state = airflow.sandbox.state["printstudio"]
    assert [sent["count"] for sent in state["submissions"]] == [50, 10]
    assert {order["status"] for order in state["orders"].values()} <= {"ready", "shipped"}


def test_medusa_approved_import(airflow: Airflow) -> None:
    from airflow import __version__

    if tuple(map(int, __version__.split(".")[:2])) < (3, 1):
        pytest.skip("Airflow before 3.1 has no approval operator")
    (airflow.home / "products.csv").write_text(NEW)
    airflow.runner.run("medusa_approved_import", mark_success="approve")
    state = airflow.sandbox.state["medusa"]
    assert [(sent["kind"], sent["dry_run"]) for sent in state["submissions"]] == [
        ("product-import", True),
        ("product-export", False),
    ]
    assert state["products"] == 37
    (copy,) = (airflow.home / "medusa").iterdir()
    assert "made-here" in copy.read_text()
