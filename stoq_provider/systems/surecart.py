"""
SureCart API v1: bulk actions on customers and products.

Pages in brackets are those of developer.surecart.com; S is read in the vendor's own plugin. What is inferred
or unknown stands in :data:`ASSUMPTIONS`; the operator's ``chunk_size`` and ``extra_body`` override it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stoq_provider.core.ids import UUIDS, check_ids
from stoq_provider.core.lifecycle import WatchRules
from stoq_provider.core.models import JobHandle, JobState, JobStatus
from stoq_provider.core.polling import Cadence
from stoq_provider.core.rate_limit import PointsRules
from stoq_provider.core.records import RepeatSafety
from stoq_provider.core.submission import Submission
from stoq_provider.core.validation import InvalidInput, merge, unknown
from stoq_provider.systems.base import Assumption, System
from stoq_provider.systems.payload import JobList, require

BULK_PATH = "/bulk_actions"
"""D [bulk-actions/create]."""

ASSUMPTIONS: Mapping[str, Assumption] = {
    "bulk.cap": Assumption(
        100, "U", "no cap is documented; the vendor's plugin sends a page of a table, and a page has 100"
    ),
    "bulk.repeat": Assumption(
        RepeatSafety.SAFE, "I", "a record that is gone already is skipped, or leaves the action 'invalid'"
    ),
    "bulk.cadence": Assumption(
        5.0, "I", "seconds between polls for a minute, then twice that; none is advised"
    ),
    "bulk.record_life": Assumption(math.inf, "U", "how long an action can be asked for is not documented"),
    "list.ids": Assumption(
        "ids[]", "D", "[customers/list]; for products as the vendor's partners use it (I)"
    ),
    "list.archived": Assumption(
        "archived", "I", "a filter of products; whether a list without it holds archived ones is unknown (U)"
    ),
    "admin.url": Assumption(
        "https://app.surecart.com/",
        "S",
        "the vendor's plugin leads there; the connection's admin_url names another",
    ),
    "read.page": Assumption(100, "D", "[pagination-sorting] the default is 20"),
}

MOST_IN_A_QUERY = 50
"""Ids in one query: some 2.4 kilobytes of it."""


@dataclass(frozen=True, slots=True)
class RecordAction:
    """
    One bulk action (D [bulk-actions/create]).

    :param records: the collection it deletes from; names the path where they are read.
    :param views: queries that together show every record of it there is.
    """

    name: str
    records: str
    views: tuple[Mapping[str, Any], ...] = ({},)

    @property
    def reads(self) -> str:
        """What a read-back looks at."""
        return f"the {self.records} that GET /{self.records} with ids[] still shows"


_ARCHIVED = ASSUMPTIONS["list.archived"].value
_SECONDS = ASSUMPTIONS["bulk.cadence"].value
ACTIONS: Mapping[str, RecordAction] = {
    action.name: action
    for action in (
        RecordAction("delete_customers", "customers"),
        RecordAction("delete_products", "products", ({_ARCHIVED: False}, {_ARCHIVED: True})),
    )
}


class SureCart(System):
    """SureCart, a hosted shop behind a WordPress plugin; its secret key is a bearer token (D)."""

    name = "surecart"
    label = "SureCart"
    default_origin = "https://api.surecart.com"
    admin_url = ASSUMPTIONS["admin.url"].value
    base_path = "/v1"
    points = PointsRules(limit=150, window=10.0)
    """Requests (D [rate-limiting]); no header tells what is left (U)."""
    poll_size = MOST_IN_A_QUERY
    job_list = JobList(BULK_PATH, "ids[]", "data", absent="not in the list of bulk actions")
    """D [bulk-actions/list]."""
    bare_id = re.compile(r"[0-9a-fA-F-]{36}")
    """The route of an action is documented (D [bulk-actions/retrieve])."""
    rules = WatchRules(record_life=ASSUMPTIONS["bulk.record_life"].value)
    usual_cadence = Cadence(then=2 * _SECONDS, steps=((60.0, _SECONDS),))
    repeats = dict.fromkeys(ACTIONS, ASSUMPTIONS["bulk.repeat"].value)
    status_words = {
        "pending": JobState.RUNNING,
        "processing": JobState.RUNNING,
        "succeeded": JobState.SUCCEEDED,
        "completed": JobState.PARTIAL,
        "invalid": JobState.FAILED,
    }
    """D [bulk-actions/retrieve]. ``completed``: it ran, perhaps with errors, and does not say which; there
    is no ``failed``. ``invalid``: no record fits the action."""

    def read_submission(self, payload: Any, submission: Submission, now: float) -> JobHandle:
        """Read the bare object with ``id`` and ``status`` (D [bulk-actions/create])."""
        job_id = require(payload, "id", f"the response to {submission.kind}")
        return replace(self.handle(job_id, submission.kind, now), item_count=submission.item_count)

    def read_status(self, payload: Any, handle: JobHandle) -> JobStatus:
        """
        Read the object (D [bulk-actions/retrieve]).

        ``details`` holds ``skipped_record_ids``: records to which the action does not apply.
        """
        word, state = self.read_word(payload, handle)
        skipped = _texts(payload.get("skipped_record_ids"))
        total = len(_texts(payload.get("record_ids"))) or handle.item_count
        processed = 0 if word == "invalid" else None
        if total is not None and state in (JobState.SUCCEEDED, JobState.PARTIAL):
            processed = max(0, total - len(skipped))
        return JobStatus(
            job_id=handle.job_id,
            word=word,
            state=state,
            total=total,
            processed=processed,
            error="no record id fits the action" if word == "invalid" else None,
            details={"skipped_record_ids": skipped} if skipped else None,
        )


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def find_action(name: Any) -> RecordAction:
    """
    Look an action up.

    :raises InvalidInput: with the near misses.
    """
    if not isinstance(name, str) or name not in ACTIONS:
        raise unknown("SureCart has no bulk action", name, ACTIONS)
    return ACTIONS[name]


def submission(
    action_type: str,
    record_ids: Sequence[str],
    *,
    extra_body: Mapping[str, Any] | None = None,
    round_: int = 0,
) -> Submission:
    """
    Build one bulk action (D [bulk-actions/create]).

    :param extra_body: laid over the keys within ``bulk_action``; ``None`` takes one away.
    :param round_: counts resubmissions of records that still exist; part of the submission's identity.
    :raises InvalidInput: where action or ids are not what they must be.
    """
    action = find_action(action_type)
    ids = check_ids(record_ids, what="record_ids", most=10**6, kind=UUIDS).ids
    if not ids:
        raise InvalidInput(f"{action_type} without record_ids would do nothing")
    inner = merge({"action_type": action.name, "record_ids": list(ids)}, extra_body)
    return Submission(
        kind=action.name,
        path=BULK_PATH,
        body={"bulk_action": inner},
        item_count=len(ids),
        round=round_,
    )
