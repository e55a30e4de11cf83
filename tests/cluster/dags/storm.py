"""What runs while the cluster fails: each way of running a job, retried until it has an end."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from stoq_provider.operators.bulk import StoqBulkOrdersOperator
from stoq_provider.operators.reports import StoqReportExportOperator
from stoq_provider.sensors.jobs import StoqJobSensor

LAKE = os.environ["STOQ_CLUSTER_LAKE"]
MAPPED = 3
CONF = "dag_run.conf"
FOLDER = f"{LAKE}{{{{ {CONF}['name'] }}}}/"
IDS = f"{{{{ {CONF}['orders'] + range({CONF}['first'], {CONF}['first'] + {CONF}['more']) | list }}}}"
TRIES: dict[str, Any] = {"retries": 100, "retry_delay": timedelta(seconds=1)}


def dag(dag_id: str) -> DAG:
    return DAG(dag_id, schedule=None, catchup=False, render_template_as_native_obj=True, default_args=TRIES)


def days(which: str) -> dict[str, str]:
    """The filters of an export, each of which is asked for once."""
    return {end: f"{{{{ {CONF}['days'][{which}]['{end}'] }}}}" for end in ("from", "to")}


def bulk(action: str, body: dict[str, Any] | None, *, deferrable: bool) -> None:
    StoqBulkOrdersOperator(task_id="bulk", action=action, order_ids=IDS, body=body, deferrable=deferrable)


def exports(*, deferrable: bool) -> None:
    StoqReportExportOperator.partial(
        task_id="export", report="revenue", filters=days("ti.map_index"), deferrable=deferrable
    ).expand(destination=[f"{FOLDER}{number}/" for number in range(MAPPED)])


def tags(*, deferrable: bool) -> None:
    bulk("set_tags", {"tags": [f"{{{{ {CONF}['name'] }}}}"]}, deferrable=deferrable)


def sensor(**options: Any) -> None:
    submitted = StoqReportExportOperator(
        task_id="submit", report="revenue", filters=days("0"), wait_for_completion=False
    )
    StoqJobSensor(task_id="wait", job=submitted.output, destination=FOLDER, **options)


with dag("storm_exports"):
    exports(deferrable=True)

with dag("storm_exports_on_worker"):
    exports(deferrable=False)

with dag("storm_large_export"):
    StoqReportExportOperator(
        task_id="export", report="customers", filters=days("0"), destination=FOLDER, deferrable=True
    )

with dag("storm_tags"):
    tags(deferrable=True)

with dag("storm_tags_on_worker"):
    tags(deferrable=False)

with dag("storm_links"):
    bulk("send_payment_collection_url", None, deferrable=True)

with dag("storm_links_on_worker"):
    bulk("send_payment_collection_url", None, deferrable=False)

with dag("storm_sensor_rescheduled"):
    sensor(mode="reschedule", poke_interval=2, deferrable=False)

with dag("storm_sensor_from_trigger"):
    sensor(deferrable=True, start_from_trigger=True)
