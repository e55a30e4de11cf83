"""One DAG for each way of running a job that the tests need; the shop's answers are up to the tests."""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from stoq_provider.operators.bulk import StoqBulkOrdersOperator
from stoq_provider.operators.medusa import MedusaBatchJobOperator
from stoq_provider.operators.reports import StoqReportExportOperator
from stoq_provider.sensors.jobs import StoqJobSensor

FOLDER = Path(os.environ["STOQ_CLUSTER_FOLDER"])
DESTINATION = f"{(FOLDER / 'files').as_uri()}/{{{{ run_id }}}}/"
MONTH = {"from": "2026-05-01", "to": "2026-05-31"}
DAYS = [{"from": f"2026-05-{day:02}", "to": f"2026-05-{day:02}"} for day in range(1, 13)]
RETRY = timedelta(seconds=0.5)


def hear_http_libraries() -> None:
    """
    Log what urllib3 says at DEBUG: the address of every request, which is where a signed link would show.

    Airflow's settings do not reach it short of DEBUG for everything, so it is done where tasks begin.
    """
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.DEBUG)
    logger = logging.getLogger("urllib3.connectionpool")
    logger.setLevel(logging.DEBUG)
    logger.debug("urllib3 is heard")


class TellsItsProcess:
    """Writes down which process runs a try, so that a test can kill it."""

    def execute(self, context: Any) -> Any:
        ti = context["ti"]
        file = FOLDER / "processes" / f"{ti.run_id}.{ti.try_number}.json"
        file.parent.mkdir(exist_ok=True)
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_text(str(os.getpid()))
        unfinished.rename(file)
        return super().execute(context)


class Export(TellsItsProcess, StoqReportExportOperator):
    """An export that tells its process."""


class BulkOrders(TellsItsProcess, StoqBulkOrdersOperator):
    """A bulk action that tells its process."""


def dag(dag_id: str, **options: Any) -> DAG:
    return DAG(dag_id, schedule=None, catchup=False, render_template_as_native_obj=True, **options)


def export(operator: type[StoqReportExportOperator] = StoqReportExportOperator, **options: Any) -> Any:
    return operator(task_id="export", report="revenue", filters=MONTH, destination=DESTINATION, **options)


hear_http_libraries()

with dag("deferred_export"):
    export(deferrable=True)

with dag("deferred_export_reuse"):
    export(deferrable=True, on_clear="reuse")

with dag("sensor_in_the_triggerer"):
    StoqJobSensor(
        task_id="wait",
        job="{{ dag_run.conf['job'] }}",
        destination=DESTINATION,
        deferrable=True,
        start_from_trigger=True,
    )

with dag("deferred_medusa"):
    MedusaBatchJobOperator(task_id="batch", job_type="product-export", deferrable=True)

with dag("worker_export"):
    export(Export, deferrable=False, retries=1, retry_delay=RETRY)

with dag("bulk_action"):
    # More retries than any test needs, so that one that stops early is seen to have stopped.
    BulkOrders(
        task_id="bulk",
        action="{{ dag_run.conf['action'] }}",
        order_ids="{{ dag_run.conf['order_ids'] }}",
        deferrable=False,
        retries=3,
        retry_delay=RETRY,
    )

with dag("mapped_exports"):
    StoqReportExportOperator.partial(
        task_id="export",
        report="revenue",
        stoq_conn_id="stoq_busy",
        deferrable=True,
        poll_interval=0.2,
        destination=f"{DESTINATION}{{{{ ti.map_index }}}}/",
    ).expand(filters=DAYS)
