"""
Cancel preorders, but only after a person has seen what would be cancelled.

The approval shows the plan as a table: how many preorders, submissions, points, minutes. The plan also
stores the list, and just that list is cancelled: an order placed while the approval waits is not touched.
The Airflow variable ``stoq_plans`` is the folder of the lists.

Airflow 3.1 and later; older versions have no approval operator and see no DAG here.
"""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, Param

from stoq_provider.operators.bulk import StoqBulkOrdersOperator

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except Exception:  # the module refuses to load on Airflow before 3.1, with an error of its own
    ApprovalOperator = None

PLAN = """\
{% set plan = ti.xcom_pull('plan') -%}
| Cancel | |
| --- | ---: |
| Preorders | {{ plan['items'] }} |
| Submissions | {{ plan['submissions'] }} |
| Points | {{ plan['points']['total'] }} |
| Minutes, about | {{ plan['minutes'] }} |

The list: `{{ plan['items_uri'] }}`
"""

if ApprovalOperator is not None:
    with DAG(
        "stoq_approved_cancel",
        schedule=None,
        start_date=datetime(2026, 5, 1),
        params={"offer_id": Param(type="string", description="Cancel the placed preorders of this offer")},
        tags=["stoq"],
        doc_md=__doc__,
    ):
        plan = StoqBulkOrdersOperator(
            task_id="plan",
            action="cancel",
            order_ids={"offer_id": "{{ params.offer_id }}", "state": "placed"},
            destination="{{ var.value.get('stoq_plans', 'file:///tmp/stoq-plans') }}/",
            on_empty="skip",
            dry_run=True,
        )
        approve = ApprovalOperator(
            task_id="approve",
            subject="Cancel {{ ti.xcom_pull('plan')['items'] }} preorders?",
            body=PLAN,
        )
        cancel = StoqBulkOrdersOperator(
            task_id="cancel",
            action="cancel",
            order_ids={"path": "{{ ti.xcom_pull('plan')['items_uri'] }}"},
            verify="fail",
            deferrable=True,
        )
        plan >> approve >> cancel
