"""
Bring the preorder metafields of every variant back in step, offer by offer.

One mapped task an offer; each cuts its variants into submissions of 5000. Syncing twice does no harm, so the
DAG can be run again for any range of days: ``airflow backfill create --dag-id stoq_metafield_backfill ...``.
"""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, task

from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.operators.bulk import StoqBulkVariantsOperator

with DAG(
    "stoq_metafield_backfill",
    schedule="@weekly",
    start_date=datetime(2026, 5, 1),
    catchup=False,
    default_args={"retries": 3},
    tags=["stoq"],
    doc_md=__doc__,
):

    @task
    def offers() -> list[dict]:
        """Select the variants of each offer; the operator resolves the selection when it runs."""
        return [{"offer_id": offer["id"]} for offer in StoqHook().iter_offers()]

    StoqBulkVariantsOperator.partial(
        task_id="sync",
        action="sync_metafields",
        on_empty="skip",
        verify="warn",
        deferrable=True,
        max_active_tis_per_dagrun=4,
    ).expand(variant_ids=offers())
