"""The DAGs of README.md and docs/examples.md run against the sandbox, as a reader would paste them."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone

import pytest

from tests.documents import README, ROOT, blocks
from tests.examples.test_example_dags import Examples, examples, pytestmark

__all__ = ["examples", "pytestmark"]

DAY = datetime(2026, 5, 28, 0, 30, tzinfo=timezone.utc)
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


def an_offer(examples: Examples) -> str:
    """Return one that has preorders whose balance is open."""
    listed = examples.get("/orders", state="awaiting_balance", per_page=200)["orders"]
    return str(listed[0]["line_items"][0]["offer_id"])


def prepare(examples: Examples) -> None:
    """Put what the DAGs read into the lake."""
    orders = examples.get("/orders", per_page=200)["orders"]
    held = [order for order in orders if order["state"] in ("placed", "balance_collected")]
    lake = examples.home / "lake"
    lake.mkdir()
    listed = [str(order["shopify_order_id"]) for order in held]
    (lake / "landed.csv").write_text("\n".join(["order_id", *listed]) + "\n")


@pytest.mark.parametrize("dag_id", SHOWN)
def test_it_runs(examples: Examples, dag_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(examples)
    offer = an_offer(examples)
    monkeypatch.setenv("AIRFLOW_VAR_STOQ_OFFER", offer)
    lake = (examples.home / "lake").as_uri()
    pasted = examples.home / f"{dag_id}.py"
    pasted.write_text(re.sub(r"(s3://aws_default@lake|file:///tmp/lake)/", f"{lake}/", SHOWN[dag_id]))
    examples.run(pasted, logical_date=DAY, conf={"offer_id": offer})
    for pattern in STORED.get(dag_id, ()):
        assert list((examples.home / "lake").glob(pattern)), pattern
    kinds = {sent["kind"] for sent in examples.sandbox.submissions}
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
