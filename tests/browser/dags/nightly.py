"""A DAG as a new user writes it, whose connection is made in the browser."""

from __future__ import annotations

from airflow.sdk import DAG

from stoq_provider.operators.reports import StoqReportExportOperator

with DAG("nightly_revenue", schedule=None, catchup=False):
    StoqReportExportOperator(
        task_id="export",
        stoq_conn_id="my_shop",
        report="revenue",
        filters={"from": "2026-05-01", "to": "2026-05-31"},
        destination="s3://aws_default@acme-warehouse/stoq/revenue/",
        deferrable=True,
    )
