"""
Export yesterday's revenue, and work on the file as soon as it is there, in a DAG of its own.

The second DAG is scheduled on the asset that the export updates. It finds the file by the event of the asset,
whose ``extra`` names it: it knows neither report nor folder.

Needs a connection ``stoq_default`` (type STOQ, API key as password). The Airflow variable ``stoq_reports``
says where the files go, such as ``s3://aws_default@lake/stoq``.
"""

from __future__ import annotations

import csv
from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, Asset, ObjectStoragePath, get_current_context, task

from stoq_provider.operators.reports import StoqReportExportOperator

REVENUE = Asset("stoq_revenue")

with DAG(
    "stoq_revenue_export",
    schedule="@daily",
    start_date=datetime(2026, 5, 1),
    catchup=False,
    default_args={"retries": 2},
    tags=["stoq"],
    doc_md=__doc__,
):
    StoqReportExportOperator(
        task_id="export",
        report="revenue",
        window="previous_day",
        timezone="Europe/Berlin",
        destination="{{ var.value.get('stoq_reports', 'file:///tmp/stoq-reports') }}/revenue/{from}.csv",
        outlets=[REVENUE],
        deferrable=True,
    )

with DAG(
    "stoq_revenue_totals",
    schedule=[REVENUE],
    start_date=datetime(2026, 5, 1),
    catchup=False,
    tags=["stoq"],
    doc_md=__doc__,
):

    @task
    def totals() -> dict[str, float]:
        """Add up the revenue of each file; a run may have several. Your own load would stand here."""
        context = get_current_context()
        # Airflow 2 calls assets datasets.
        triggered = context.get("triggering_asset_events") or context.get("triggering_dataset_events")
        found = {}
        for events in triggered.values():
            for event in events:
                lines = ObjectStoragePath(event.extra["uri"]).read_text().splitlines()
                found[event.extra["from"]] = sum(float(row["revenue"]) for row in csv.DictReader(lines))
        return found

    totals()
