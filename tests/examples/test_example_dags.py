"""Every example DAG runs against the sandbox, in a real Airflow with a database of its own."""

from __future__ import annotations

import csv
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from stoq_provider.testing.dag_runs import AIRFLOW, DagResult, RunDag
from stoq_provider.testing.scenarios import ScenarioSandbox
from stoq_provider.testing.shop import ShopSize
from tests.documents import ROOT
from tests.integration.medusa_bench import NEW

DAGS = ROOT / "example_dags"
API = "/api/v2/external/preorders"
FILES = {
    "STOQ_REPORTS": "reports",
    "STOQ_PLANS": "plans",
    "STOQ_RELEASE_LIST": "release.csv",
    "MEDUSA_IMPORT": "products.csv",
    "MEDUSA_EXPORTS": "medusa",
    "SURECART_FORGET_LIST": "forget.csv",
    "PRINTSTUDIO_ORDERS": "orders.json",
}
"""Variables of the examples, and where each leads to below the home of a test."""

pytestmark = pytest.mark.stoq_sandbox(time_scale=100, size=ShopSize(offers=4))


class Examples:
    """The examples, a sandbox that they meet, and the folder of their files."""

    def __init__(self, home: Path, sandbox: ScenarioSandbox, run_dag: RunDag) -> None:
        self.home = home
        self.sandbox = sandbox
        self._run_dag = run_dag

    def run(self, dag: str | Path, dag_id: str | None = None, **options: Any) -> DagResult:
        """Run an example, or the DAG of a file, to its end."""
        result = self._run_dag(DAGS / f"{dag}.py" if isinstance(dag, str) else dag, dag_id, **options)
        assert result.state == "success", result.states
        return result

    def get(self, path: str, **query: object) -> dict:
        answer = requests.get(
            f"{self.sandbox.origin}{API}{path}",
            params=query,
            headers={"X-Auth-Token": self.sandbox.key},
            timeout=60,
        )
        return answer.json()


@pytest.fixture
def examples(
    stoq_sandbox: ScenarioSandbox, run_dag: RunDag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Examples:
    for name, file in FILES.items():
        monkeypatch.setenv(f"AIRFLOW_VAR_{name}", (tmp_path / file).as_uri())
    return Examples(tmp_path, stoq_sandbox, run_dag)


@pytest.mark.parametrize(
    "dates",
    [
        pytest.param({"logical_date": "2026-05-28T00:00:00+02:00"}, id="of the schedule"),
        pytest.param({"run_after": "2026-05-28T00:30:00+02:00"}, id="without a logical date"),
    ],
)
def test_daily_reports(examples: Examples, dates: dict[str, str]) -> None:
    examples.run("stoq_daily_reports", **{name: datetime.fromisoformat(date) for name, date in dates.items()})
    manifests = json.loads((examples.home / "reports/2026-05-27/manifest.json").read_text())
    files = [file for manifest in manifests for file in manifest["files"]]
    assert len(files) == 5
    assert {manifest["request"]["filters"]["to"] for manifest in manifests} == {"2026-05-27"}
    for file in files:
        assert "2026-05-27_2026-05-27" in file["file_name"]
        assert "/reports/2026-05-27/" in file["uri"]
        assert Path(file["uri"].removeprefix("file://")).stat().st_size == file["bytes"]


def by_assets(*, dag: Any, session: Any, **_: Any) -> Any:
    """Return the run that the scheduler makes of events, in place of the one that a test would make."""
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import DagRunState
    from sqlalchemy import select

    models = [DagModel.get_current(dag.dag_id, session=session)]
    SchedulerJobRunner(Job())._create_dag_runs_asset_triggered(dag_models=models, session=session)
    made = session.scalars(
        select(DagRun).where(DagRun.dag_id == dag.dag_id).order_by(DagRun.id.desc())
    ).first()
    assert made is not None, "no event asks for a run"
    made.state = DagRunState.RUNNING
    session.commit()  # the events too: what is not written is forgotten by the loop that runs the tasks
    return made


def test_revenue_asset(examples: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    noon = datetime.fromisoformat("2026-05-28T12:00:00+02:00")
    examples.run("stoq_revenue_asset", "stoq_revenue_export", logical_date=noon)
    monkeypatch.setattr("airflow.models.dagrun.get_or_create_dagrun", by_assets)
    (totals,) = examples.run("stoq_revenue_asset", "stoq_revenue_totals").tasks.values()
    with (examples.home / "reports/revenue/2026-05-27.csv").open() as file:
        total = sum(float(row["revenue"]) for row in csv.DictReader(file))
    assert totals.return_value == {"2026-05-27": total}
    assert total > 0


def test_release_on_stock(examples: Examples) -> None:
    orders = examples.get("/orders", per_page=200)["orders"]
    held = [o["shopify_order_id"] for o in orders if o["state"] in ("placed", "balance_collected")]
    lines = ["sku,order_id", *(f"A,{order_id}" for order_id in held)]
    (examples.home / "release.csv").write_text("\n".join(lines) + "\n")
    examples.run("stoq_release_on_stock")
    assert [sent["ids"] for sent in examples.sandbox.submissions] == [held]
    assert {examples.get(f"/orders/{order_id}")["state"] for order_id in held[:5]} == {"released"}


def test_release_on_stock_of_no_orders_is_skipped(examples: Examples) -> None:
    (examples.home / "release.csv").write_text("sku,order_id\n")
    assert examples.run("stoq_release_on_stock").states == {"plan": "skipped", "release": "skipped"}
    assert examples.sandbox.submissions == []


def test_metafield_backfill(examples: Examples) -> None:
    offers = examples.get("/offers", per_page=200)["offers"]
    examples.run("stoq_metafield_backfill")
    sent = examples.sandbox.submissions
    assert len(sent) == len(offers)
    assert {entry["kind"] for entry in sent} == {"bulk_sync_metafields"}


def test_approved_cancel(examples: Examples) -> None:
    if AIRFLOW < (3, 1):
        pytest.skip("Airflow before 3.1 has no approval operator")
    order = examples.get("/orders", state="placed", per_page=200)["orders"][0]
    offer = order["line_items"][0]["offer_id"]
    listed = examples.get("/orders", state="placed", offer_id=offer, per_page=200)["orders"]
    examples.run("stoq_approved_cancel", conf={"offer_id": offer}, mark_success="approve")
    (sent,) = examples.sandbox.submissions
    assert sorted(sent["ids"]) == sorted(o["shopify_order_id"] for o in listed)
    assert examples.get(f"/orders/{listed[0]['shopify_order_id']}")["state"] == "cancelled"


def test_surecart_forget_customers(examples: Examples) -> None:
    there = examples.sandbox.state["surecart"]["customers"]
    (examples.home / "forget.csv").write_text(
        "\n".join(["email,customer_id", *(f"x,{i}" for i in there[:5])])
    )
    examples.run("surecart_forget_customers")
    state = examples.sandbox.state["surecart"]
    assert [sent["ids"] for sent in state["submissions"]] == [there[:5]]
    assert state["customers"] == there[5:]


def test_surecart_forget_nobody_is_skipped(examples: Examples) -> None:
    (examples.home / "forget.csv").write_text("email,customer_id\n")
    assert examples.run("surecart_forget_customers").states == {"plan": "skipped", "forget": "skipped"}
    assert examples.sandbox.state["surecart"]["submissions"] == []


def test_printstudio_print_run(examples: Examples) -> None:
    orders = [{"customerId": f"c{n}", "lineItems": [{"skuId": "sku_001", "quantity": 1}]} for n in range(60)]
    (examples.home / "orders.json").write_text(json.dumps(orders))
    examples.sandbox.control("printstudio", "pace", state_seconds=10, payment_seconds=10)
    examples.run("printstudio_print_run")
    state = examples.sandbox.state["printstudio"]
    assert [sent["count"] for sent in state["submissions"]] == [50, 10]
    assert {order["status"] for order in state["orders"].values()} <= {"ready", "shipped"}


def test_medusa_approved_import(examples: Examples) -> None:
    if AIRFLOW < (3, 1):
        pytest.skip("Airflow before 3.1 has no approval operator")
    (examples.home / "products.csv").write_text(NEW)
    examples.run("medusa_approved_import", mark_success="approve")
    state = examples.sandbox.state["medusa"]
    assert [(sent["kind"], sent["dry_run"]) for sent in state["submissions"]] == [
        ("product-import", True),
        ("product-export", False),
    ]
    assert state["products"] == 37
    (copy,) = (examples.home / "medusa").iterdir()
    assert "made-here" in copy.read_text()
