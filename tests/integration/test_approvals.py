"""What a person sees who is asked to approve: the example DAGs' texts, rendered with real plans."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.integration.medusa_bench import MedusaBench, connect

EXAMPLES = Path(__file__).parents[2] / "example_dags"


def seen(example: str, **xcoms: Any) -> tuple[str, str]:
    """Render subject and body of the approval, as its task does before it waits."""
    approve = runpy.run_path(str(EXAMPLES / f"{example}.py")).get("approve")
    if approve is None:
        pytest.skip("Airflow before 3.1 has no approval operator")
    approve.render_template_fields({"ti": SimpleNamespace(xcom_pull=xcoms.__getitem__)})
    return approve.subject, approve.body


def test_a_plan_is_a_table(bench, tmp_path):
    plan = bench.bulk("cancel", [1, 2, 3], dry_run=True, verify="fail", destination=f"{tmp_path}/").execute()
    subject, body = seen("stoq_approved_cancel", plan=plan)
    assert subject == "Cancel 3 preorders?"
    assert body.splitlines() == [
        "| Cancel | |",
        "| --- | ---: |",
        "| Preorders | 3 |",
        "| Submissions | 1 |",
        f"| Points | {plan['points']['total']} |",
        "| Minutes, about | 0.5 |",
        "",
        f"The list: `{plan['items_uri']}`",
    ]


def test_changes_are_a_table(sandbox, tmp_path, monkeypatch):
    connect(monkeypatch, sandbox)
    manifest = MedusaBench(sandbox, tmp_path).imports("worker", dry_run=True).execute()
    subject, body = seen("medusa_approved_import", dry_run=manifest)
    assert subject == "Import products into Medusa?"
    assert body.splitlines() == [
        "| Change | Count |",
        "| --- | ---: |",
        "| PRODUCT_CREATE | 1 |",
        "| PRODUCT_UPDATE | 0 |",
        "| VARIANT_CREATE | 2 |",
        "| VARIANT_UPDATE | 0 |",
    ]
