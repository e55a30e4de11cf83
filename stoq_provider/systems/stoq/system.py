"""
STOQ external API v2 (public beta): how it spells jobs.

Pages in brackets are those of docs.stoqapp.com. What is inferred stands in :data:`ASSUMPTIONS`, and every
caller can override it with ``extra_body`` and ``extra_query``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stoq_provider.core.error_text import hide_queries
from stoq_provider.core.models import JobHandle, JobState, JobStatus
from stoq_provider.core.polling import Cadence
from stoq_provider.core.rate_limit import PointsRules
from stoq_provider.core.submission import Submission
from stoq_provider.systems.base import Assumption, System
from stoq_provider.systems.payload import optional_int, optional_text, percent, require
from stoq_provider.systems.stoq import bulk
from stoq_provider.systems.stoq.bulk import REPEAT_SAFETY

ASSUMPTIONS: Mapping[str, Assumption] = {
    "export.path": Assumption(
        "/preorders/reports/{report}/export", "I", "bulk: every report has a paired */export action"
    ),
    "export.filters_in": Assumption(
        "body",
        "I",
        "a POST with a JSON body; move one to the query by extra_body={k: None}, extra_query={k: v}",
    ),
    "export.offer_ids": Assumption("offer_ids", "I", "offer_ids[] of the query is a plain list in JSON"),
    "orders.path": Assumption(bulk.ORDERS.path, "I", "bulk: preorders/orders/bulk_*; a POST"),
    "orders.ids": Assumption(
        bulk.ORDERS.ids_key, "I", "bulk speaks of order IDs, and returns order_count; Shopify's ids"
    ),
    "orders.tags": Assumption("tags", "U", "name and meaning (replace or add) are not documented"),
    "orders.force": Assumption("force", "U", "documented for the release of one order only"),
    "variants.path": Assumption(bulk.VARIANTS.path, "I", "as for orders"),
    "variants.ids": Assumption(
        bulk.VARIANTS.ids_key, "I", "the name in add_variants and in the list's filter"
    ),
    "orders.item_id": Assumption(bulk.ORDERS.item_key, "D", "read shape of an order"),
    "admin.url": Assumption(
        "https://admin.shopify.com/",
        "I",
        "getting-started: the app is opened within Shopify's admin; no call tells which store a key is of, "
        "and the app's page there is not documented. The connection's admin_url names it",
    ),
    "variants.metafields": Assumption("metafields", "U", "drift detection is documented, its keys are not"),
}

_PAGE = "bulk: the table of job endpoints"
JOB_PATHS: Mapping[str, Assumption] = {
    "bulk_orders_": Assumption("/preorders/orders/jobs/{job_id}", "D", _PAGE),
    "bulk_": Assumption("/preorders/product_variants/jobs/{job_id}", "D", _PAGE),
    "exp_": Assumption("/preorders/reports/exports/{job_id}", "D", _PAGE),
}
"""
Where a job is asked for of which only the id is known, by what the id begins with; longer ones come first.

A ``status_url`` is followed wherever there is one: other exports and bulk actions may use these prefixes too
(I; those of back in stock).
"""


class Stoq(System):
    """STOQ, a preorder app for Shopify."""

    name = "stoq"
    label = "STOQ"
    default_origin = "https://app.stoqapp.com"
    admin_url = ASSUMPTIONS["admin.url"].value
    base_path = "/api/v2/external"
    key_header = "X-Auth-Token"
    """The key alone selects the shop (D [getting-started])."""
    points = PointsRules(limit=360, window=60.0, read=1, write=2)
    usual_cadence = Cadence(then=15.0, steps=((60.0, 5.0),))
    """Of bulk jobs (D [bulk])."""
    bare_id = re.compile(rf"({'|'.join(JOB_PATHS)})[A-Za-z0-9_-]{{1,60}}")
    """D [bulk]."""
    repeats = REPEAT_SAFETY
    status_words = {
        "running": JobState.RUNNING,
        "completed": JobState.SUCCEEDED,
        "ready": JobState.SUCCEEDED,
        "failed": JobState.FAILED,
        "cancelled": JobState.CANCELLED,
    }
    """D [bulk]; ``running`` also while queued."""

    def cadence(self, kind: str) -> Cadence:
        """Exports every 10 s (D [bulk])."""
        return Cadence(then=10.0) if kind.startswith("export") else self.usual_cadence

    def repeat_expired(self, kind: str) -> bool:
        """Only exports: what is wanted of them is the file."""
        return kind.startswith("export")

    def handle_of_url(self, url: str) -> JobHandle:
        """Make a handle of a status URL or a job's id; ``/exports/`` tells an export (D [bulk])."""
        handle = super().handle_of_url(url)
        return replace(handle, kind="export" if "/exports/" in handle.status_url else "bulk")

    def job_path(self, job_id: str) -> str:
        """Return the endpoint that :data:`JOB_PATHS` has for the beginning of the id."""
        path: str = next(known.value for begin, known in JOB_PATHS.items() if job_id.startswith(begin))
        return path.format(job_id=job_id)

    def read_submission(self, payload: Any, submission: Submission, now: float) -> JobHandle:
        """
        Read ``{"job_id", "status_url", "order_count" | "variant_count"}`` (D [bulk]).

        Every write returns 202, so only these keys tell a job from a finished action.
        """
        what = f"the response to {submission.kind}"
        return JobHandle(
            system=self.name,
            kind=submission.kind,
            job_id=require(payload, "job_id", what),
            status_url=require(payload, "status_url", what),
            item_count=optional_int(payload, "order_count", "variant_count"),
            submitted_at=now,
        )

    def read_status(self, payload: Any, handle: JobHandle) -> JobStatus:
        """Read the poll's response (D [bulk]; the type of ``error`` is inferred)."""
        word, state = self.read_word(payload, handle, "job_id")
        error = payload.get("error")
        return JobStatus(
            job_id=handle.job_id,
            word=word,
            state=state,
            progress=percent(payload.get("progress"), 1.0),
            total=optional_int(payload, "total"),
            processed=optional_int(payload, "processed"),
            error=None if error in (None, "") else hide_queries(str(error))[:1000],
            file_name=optional_text(payload, "file_name"),
            row_count=optional_int(payload, "row_count"),
            download_url=optional_text(payload, "download_url"),
        )
