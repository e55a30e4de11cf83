"""
Every night: yesterday's STOQ reports as CSV files in object storage.

Needs a connection ``stoq_default`` (type STOQ, API key as password). The Airflow variable ``stoq_reports``
says where the files go, such as ``s3://aws_default@lake/stoq``: one folder a day. Running a day again
replaces its files. Triggered by hand, it exports the last whole day before the run.
"""

from __future__ import annotations

import json
from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, ObjectStoragePath, task
from airflow.timetables.trigger import CronTriggerTimetable

from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.operators.reports import StoqReportExportOperator

SHOP_TIMEZONE = "Europe/Berlin"
FOLDER = "{{ var.value.get('stoq_reports', 'file:///tmp/stoq-reports') }}"

with DAG(
    "stoq_daily_reports",
    schedule=CronTriggerTimetable("0 0 * * *", timezone=SHOP_TIMEZONE),
    start_date=datetime(2026, 5, 1),
    catchup=False,
    max_active_tasks=4,
    default_args={"retries": 2},
    tags=["stoq"],
    doc_md=__doc__,
):

    @task
    def exports() -> list[dict]:
        """Say which reports to export; by_variant is refused without an offer."""
        offers = [offer["id"] for offer in StoqHook().iter_offers()]
        plain = [{"report": name} for name in ("summary", "revenue", "by_date", "customers")]
        return [*plain, {"report": "by_variant", "filters": {"offer_ids": offers}}]

    export = StoqReportExportOperator.partial(
        task_id="export",
        window="previous_day",
        timezone=SHOP_TIMEZONE,
        destination=FOLDER + "/{from}/",  # the day that is exported
        deferrable=True,
    ).expand_kwargs(exports())

    @task
    def write_manifest(manifests: list[dict], folder: str) -> str:
        """Put one manifest beside the files, for the task that loads them."""
        listed = list(manifests)
        day = listed[0]["request"]["filters"]["from"]
        path = ObjectStoragePath(folder) / day / "manifest.json"
        path.write_text(json.dumps(listed, indent=2))
        return str(path)

    write_manifest(export.output, FOLDER)
