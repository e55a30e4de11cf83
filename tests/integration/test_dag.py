"""A whole DAG in a real Airflow: rendering, XCom, mapping, deferring and resuming are Airflow's own."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timezone
from pathlib import Path

from airflow import settings
from airflow.providers.common.compat.sdk import DAG, Asset, AssetAlias
from sqlalchemy import inspect, text

from stoq_provider.operators.reports import StoqReportExportOperator
from stoq_provider.sensors.jobs import StoqJobSensor
from tests.harness import as_the_server_reads_it

START = datetime(2026, 5, 1, tzinfo=timezone.utc)


def build(folder: Path) -> DAG:
    with DAG("stoq_smoke", start_date=START, schedule=None) as dag:
        StoqReportExportOperator(
            task_id="deferred",
            report="summary",
            filters={"from": "2026-05-01", "to": "2026-05-02"},
            destination=f"{folder}/deferred/",
            deferrable=True,
            outlets=[Asset("summary"), AssetAlias("files")],
        )
        StoqReportExportOperator(
            task_id="worker",
            report="customers",
            destination=f"{folder}/worker/",
            outlets=[Asset("customers"), AssetAlias("files")],
        )
        submitted = StoqReportExportOperator(task_id="submit", report="revenue")
        for name, options in {"pokes": {}, "defers": {"deferrable": True}}.items():
            StoqJobSensor(
                task_id=name,
                job=submitted.output,
                destination=f"{folder}/{name}/",
                outlets=[Asset(f"file://{folder}/{name}")],
                **options,
            )
        mapped = StoqReportExportOperator.partial(
            task_id="mapped", filters={"from": "{{ params.first }}"}, params={"first": "2026-03-01"}
        ).expand(report=["revenue", "by_date", "customers"])
        StoqJobSensor(
            task_id="all_mapped",
            job=mapped.output,
            destination=f"{folder}/mapped/",
            outlets=[Asset("all")],
        )
    return dag


def check_events(stored: dict[str, Path]) -> None:
    """Check that the event of each outlet tells of its file, and that the alias led to assets of files."""
    asset = "asset" if inspect(settings.engine).has_table("asset") else "dataset"
    with settings.engine.connect() as connection:
        found = connection.execute(
            text(
                f"select source_task_id, uri, event.extra from {asset}_event event "
                f"join {asset} on {asset}.id = event.{asset}_id"
            )
        ).fetchall()
    extras = {(task, uri): json.loads(extra) for task, uri, extra in found}
    files = {name: path.as_uri() for name, path in stored.items()}
    expected = {("all_mapped", "all")}
    for task, name in {"deferred": "summary", "worker": "customers"}.items():
        expected |= {(task, name), (task, files[task])}
        assert extras[task, name] == extras[task, files[task]]
    expected |= {(task, files[task].rpartition("/")[0]) for task in ("pokes", "defers")}
    assert set(extras) == expected
    assert len(extras.pop(("all_mapped", "all"))["files"]) == 3
    for (task, _), extra in extras.items():
        content = stored[task].read_bytes()
        assert (extra["uri"], extra["bytes"]) == (files[task], len(content))
        assert extra["sha256"] == hashlib.sha256(content).hexdigest()
    of_summary = extras["deferred", "summary"]
    assert (of_summary["report"], of_summary["from"], of_summary["to"]) == (
        "summary",
        "2026-05-01",
        "2026-05-02",
    )


def test_dag_runs_through(run_dag, stoq_sandbox, tmp_path, capfd, caplog):
    folder = tmp_path / "lake"
    dag = build(folder)
    result = run_dag(dag)
    assert set(result.states.values()) == {"success"}, str(result)
    assert set(result.states) == {
        "deferred",
        "worker",
        "submit",
        "pokes",
        "defers",
        "mapped[0]",
        "mapped[1]",
        "mapped[2]",
        "all_mapped",
    }
    # Read from XCom, also of a task that Airflow 3 asks once more when it has ended.
    read = as_the_server_reads_it(dag)
    for task in result.tasks.values():
        link = read.get_task(task.task_id).get_extra_links(task._instance, "STOQ admin")
        assert link == "https://admin.shopify.com/", task.task_id
    # Each export was submitted once, whichever task waited for it.
    assert len(stoq_sandbox.submissions) == 6
    assert [s["body"].get("from") for s in stoq_sandbox.submissions].count("2026-03-01") == 3
    stored = {path.parent.name: path for path in folder.rglob("*.csv")}
    assert set(stored) == {"deferred", "worker", "pokes", "defers", "mapped"}
    assert len(list((folder / "mapped").iterdir())) == 3
    assert stored["pokes"].read_bytes() == stored["defers"].read_bytes()
    check_events(stored)
    # But for the sandbox's own lines of access, which have each URL.
    logged = "\n".join(entry.getMessage() for entry in caplog.records if not entry.name.startswith("uvicorn"))
    output = "".join(capfd.readouterr()) + logged
    assert result["submit"].return_value[0]["job_id"] in output
    # Airflow 3.0 itself prints what it asks its own supervisor to hide.
    assert stoq_sandbox.key not in "".join(line for line in output.splitlines() if "MaskSecret(" not in line)
    assert "X-Amz-Signature" not in output
