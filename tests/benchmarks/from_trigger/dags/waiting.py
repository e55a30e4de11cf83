"""Sensors that wait for the job of a task before them, in both ways."""

from __future__ import annotations

import os

from airflow.sdk import DAG

from stoq_provider.operators.reports import StoqReportExportOperator
from stoq_provider.sensors.jobs import StoqJobSensor


def wait(start_from_trigger: bool) -> None:
    submit = StoqReportExportOperator(task_id="submit", report="revenue", wait_for_completion=False)
    for number in range(int(os.environ["STOQ_SENSORS"])):
        StoqJobSensor(
            task_id=f"wait_{number}",
            job=submit.output,
            deferrable=True,
            start_from_trigger=start_from_trigger,
        )


with DAG("on_a_worker", schedule=None, catchup=False):
    wait(start_from_trigger=False)

with DAG("in_the_triggerer", schedule=None, catchup=False):
    wait(start_from_trigger=True)
