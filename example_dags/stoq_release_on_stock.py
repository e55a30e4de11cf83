"""
Release held preorders when stock lands.

The warehouse writes a CSV with a column ``order_id``; its path is the Airflow variable ``stoq_release_list``.
Orders are released in submissions of 1000, each sent once, and read back: an order that STOQ did not release
(its balance is open, say) fails the task by name, and a retry sends only those.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from stoq_provider.operators.bulk import StoqBulkOrdersOperator

WAREHOUSE_LIST = {"path": "{{ var.value.stoq_release_list }}", "column": "order_id"}

with DAG(
    "stoq_release_on_stock",
    schedule=None,  # started by whatever learns of the stock: an asset, a sensor, a person
    start_date=datetime(2026, 5, 1),
    tags=["stoq"],
    doc_md=__doc__,
):
    plan = StoqBulkOrdersOperator(
        task_id="plan",
        action="release",
        order_ids=WAREHOUSE_LIST,
        on_empty="skip",  # no orders: what comes after it is skipped as well
        verify="fail",
        dry_run=True,
    )
    release = StoqBulkOrdersOperator(
        task_id="release",
        action="release",
        order_ids=WAREHOUSE_LIST,
        on_empty="skip",
        verify="fail",
        deferrable=True,
        retries=2,
        retry_delay=timedelta(minutes=30),
    )
    plan >> release
