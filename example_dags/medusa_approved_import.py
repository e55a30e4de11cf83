"""
Import products into Medusa, but only after a person has seen what the import would change.

The server reads the file and counts what it would create and update; the counts are shown in the approval,
and only then the import runs. Where a rule can decide, none is needed: ``confirm="max_changes: 100"`` of
``MedusaBatchJobOperator`` goes on by itself with no more than so many changes. Afterwards the whole
catalogue is exported, as a copy of what the shop has now.

Needs a connection ``medusa_default`` (type Medusa). The Airflow variable ``medusa_import`` is the file, such
as ``s3://aws_default@lake/products.csv``, and ``medusa_exports`` the folder of the copies.

Airflow 3.1 and later; older versions have no approval operator and see no DAG here.
"""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from stoq_provider.operators.medusa import MedusaBatchJobOperator, MedusaConfirmOperator

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except Exception:  # the module refuses to load on Airflow before 3.1, with an error of its own
    ApprovalOperator = None

CHANGES = """\
| Change | Count |
| --- | ---: |
{% for change, count in ti.xcom_pull('dry_run')['jobs'][0]['details']['operations'].items() -%}
| {{ change }} | {{ count }} |
{% endfor %}"""

if ApprovalOperator is not None:
    with DAG(
        "medusa_approved_import",
        schedule=None,
        start_date=datetime(2026, 5, 1),
        tags=["medusa"],
        doc_md=__doc__,
    ):
        dry_run = MedusaBatchJobOperator(
            task_id="dry_run",
            job_type="product-import",
            source="{{ var.value.get('medusa_import', 'file:///tmp/medusa-import.csv') }}",
            dry_run=True,
        )
        approve = ApprovalOperator(
            task_id="approve",
            subject="Import products into Medusa?",
            body=CHANGES,
        )
        confirm = MedusaConfirmOperator(task_id="import", job=dry_run.output, deferrable=True)
        copy = MedusaBatchJobOperator(
            task_id="copy",
            job_type="product-export",
            context={"order": "title"},
            destination="{{ var.value.get('medusa_exports', 'file:///tmp/medusa-exports') }}/",
            deferrable=True,
        )
        dry_run >> approve >> confirm >> copy
