"""A DAG against a sandbox. ``test_dag.py`` puts it into the DAGs folder of an Airflow and runs it there."""

from __future__ import annotations

import datetime as dt
import gc
import json
import os
import sys
from typing import Any

from airflow import __version__
from airflow.providers.common.compat.sdk import DAG, Asset, AssetAlias
from airflow.utils.db import initdb

from stoq_provider.operators.reports import StoqReportExportOperator
from stoq_provider.sensors.jobs import StoqJobSensor


def build(folder: str) -> DAG:
    with DAG(
        "stoq_smoke",
        start_date=dt.datetime(2026, 5, 1, tzinfo=dt.timezone.utc),
        schedule=None,
        default_args={"poll_interval": 0.05, "retries": 0},
    ) as dag:
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
                poke_interval=0.05,
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
            poke_interval=0.05,
            outlets=[Asset("all")],
        )
    return dag


dag = build(os.environ.get("STOQ_TEST_LAKE", "/nowhere"))


def make_known() -> None:
    """Let Airflow know the assets of the DAG; from 3.2 on, ``dag.test()`` does so itself."""
    if tuple(map(int, __version__.split(".")[:2])) < (3, 2):
        from airflow.cli.cli_parser import get_parser

        arguments = get_parser().parse_args(["dags", "reserialize"])
        arguments.func(arguments)


def main() -> None:
    # Here, since a process that only makes the tables would have to import Airflow too.
    initdb()
    # Airflow builds a million objects that stay; looking through them for garbage takes a fifth of the time.
    gc.disable()
    make_known()
    run = dag.test()
    states, links = {}, {}
    read = as_the_server_reads_it(dag)
    for ti in run.get_task_instances():
        name = f"{ti.task_id}[{ti.map_index}]" if ti.map_index >= 0 else ti.task_id
        states[name] = str(ti.state)
        links[name] = read.get_task(ti.task_id).get_extra_links(ti, "STOQ admin")
    sys.stdout.write(f"RESULT {json.dumps({'run': str(run.state), 'tasks': states, 'links': links})}\n")


def as_the_server_reads_it(dag: DAG) -> Any:
    """Serialize a DAG and read it back."""
    from airflow.serialization import serialized_objects

    serializer = getattr(serialized_objects, "DagSerialization", serialized_objects.SerializedDAG)
    return serializer.from_dict(serializer.to_dict(dag))


if __name__ == "__main__":
    main()
