"""
Order a print run, and wait until it stands ready.

The wholesale portal writes a JSON list of orders; its path is the Airflow variable ``printstudio_orders``.
They are created in calls of 50, each sent once: orders are never doubled, whatever fails. The sensor waits in
the triggerer until all are ready, which takes days; a print job that fails is put back into the queue by the
people at the printers, so it is no reason to stop.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, ObjectStoragePath, task

from stoq_provider.operators.printstudio import PrintStudioCreateOrdersOperator
from stoq_provider.sensors.jobs import PrintStudioJobSensor

with DAG(
    "printstudio_print_run",
    schedule=None,
    start_date=datetime(2026, 5, 1),
    tags=["printstudio"],
    doc_md=__doc__,
):

    @task
    def read_orders(path: str) -> list[dict[str, Any]]:
        orders: list[dict[str, Any]] = json.loads(ObjectStoragePath(path).read_text())
        return orders

    create = PrintStudioCreateOrdersOperator(
        task_id="create",
        orders=read_orders("{{ var.value.printstudio_orders }}"),
        retries=3,
        retry_delay=timedelta(minutes=10),
    )
    PrintStudioJobSensor(
        task_id="ready",
        orders=create.output,
        target_states=["ready"],
        deferrable=True,
        timeout=timedelta(days=5).total_seconds(),
    )
