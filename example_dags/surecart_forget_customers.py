"""
Delete the customers who asked to be forgotten.

The legal team writes a CSV with a column ``customer_id``; its path is the Airflow variable
``surecart_forget_list``. SureCart says ``completed`` also where some records could not be deleted, and not
which. So the customers are read back: those that still exist fail the task by name, and a retry sends only
those.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from stoq_provider.operators.surecart import SureCartBulkActionOperator

FORGET_LIST = {"path": "{{ var.value.surecart_forget_list }}", "column": "customer_id"}

with DAG(
    "surecart_forget_customers",
    schedule=None,  # started by hand, with a new list
    start_date=datetime(2026, 5, 1),
    tags=["surecart"],
    doc_md=__doc__,
):
    plan = SureCartBulkActionOperator(
        task_id="plan",
        action_type="delete_customers",
        record_ids=FORGET_LIST,
        on_empty="skip",  # no requests: what comes after it is skipped as well
        verify="fail",
        dry_run=True,
    )
    forget = SureCartBulkActionOperator(
        task_id="forget",
        action_type="delete_customers",
        record_ids=FORGET_LIST,
        on_empty="skip",
        verify="fail",
        deferrable=True,
        retries=2,
        retry_delay=timedelta(minutes=30),
    )
    plan >> forget
