"""The DAGs of README.md and docs/examples.md run against the sandbox, as a reader would paste them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from stoq_provider.testing import Sandbox
from stoq_provider.testing.shop import ShopSize
from tests.documents import README, ROOT, blocks
from tests.examples.test_example_dags import API, Airflow

DAY = "2026-05-28T00:30:00+00:00"
SHOWN = {
    match[1]: source
    for document in (README, ROOT / "docs" / "examples.md")
    for source in blocks(document, "python")
    if (match := re.search(r'^with DAG\("(\w+)"', source, re.MULTILINE))
}
STORED = {
    "revenue": ["2026-05-27/*.csv"],
    "export": ["revenue/2026-05-27/*.csv"],
    "many": [f"{report}/2026-05-27/*.csv" for report in ("summary", "revenue", "by_date")],
    "two_steps": ["customers/*.csv"],
    "sync": ["plans/*"],
}
"""What is in the lake afterwards."""
SUBMITTED = {
    "release": "bulk_orders_release",
    "tag": "bulk_orders_set_tags",
    "sync": "bulk_sync_metafields",
    "by_hand": "bulk_orders_set_tags",
}
"""The action that the shop was asked for."""


def an_offer(sandbox: Sandbox) -> str:
    """Return one that has preorders whose balance is open."""
    answer = requests.get(
        f"{sandbox.origin}{API}/orders",
        params={"state": "awaiting_balance", "per_page": 200},
        headers={"X-Auth-Token": sandbox.key},
        timeout=60,
    )
    return str(answer.json()["orders"][0]["line_items"][0]["offer_id"])


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    home = tmp_path_factory.mktemp("airflow")
    dags = home / "dags"
    dags.mkdir()
    for dag_id, source in SHOWN.items():
        here = re.sub(r"(s3://aws_default@lake|file:///tmp/lake)/", f"{(home / 'lake').as_uri()}/", source)
        (dags / f"{dag_id}.py").write_text(here)
    with Sandbox(time_scale=100, size=ShopSize(offers=4)) as sandbox, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_VAR_STOQ_OFFER", an_offer(sandbox))
        airflow = Airflow(home, sandbox, dags)
        with airflow.runner:
            yield airflow


def prepare(airflow: Airflow) -> None:
    """Put what the DAGs read into the lake."""
    orders = airflow.get("/orders", per_page=200)["orders"]
    held = [order for order in orders if order["state"] in ("placed", "balance_collected")]
    lake: Path = airflow.home / "lake"
    lake.mkdir(exist_ok=True)
    listed = [str(order["shopify_order_id"]) for order in held]
    (lake / "landed.csv").write_text("\n".join(["order_id", *listed]) + "\n")


@pytest.mark.parametrize("dag_id", SHOWN)
def test_it_runs(airflow: Airflow, dag_id: str) -> None:
    airflow.sandbox.reset()
    prepare(airflow)
    airflow.runner.run(dag_id, logical_date=DAY, conf={"offer_id": an_offer(airflow.sandbox)})
    for pattern in STORED.get(dag_id, ()):
        assert list((airflow.home / "lake").glob(pattern)), pattern
    kinds = {sent["kind"] for sent in airflow.sandbox.submissions}
    assert SUBMITTED.get(dag_id) in {None, *kinds}


def test_what_is_expected_is_shown() -> None:
    assert set(STORED) | set(SUBMITTED) <= set(SHOWN)


def test_the_connection_of_the_readme_is_the_sandbox() -> None:
    from stoq_provider.testing import SANDBOX_KEY
    from stoq_provider.testing.cli import parser

    shown = re.search(r"AIRFLOW_CONN_STOQ_DEFAULT='(.*)'", README.read_text())
    assert shown is not None
    origin = f"http://127.0.0.1:{parser().parse_args([]).port}"
    assert json.loads(shown[1]) == {"conn_type": "stoq", "host": origin, "password": SANDBOX_KEY}
