"""The account behind SureCart's API: its records, and the bulk actions that delete them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from random import Random
from typing import Any

from stoq_provider.testing.jobs import Setting, take_settings
from stoq_provider.testing.points import PointsBucket
from stoq_provider.testing.site import Controls, SiteLog, SiteSetup

LIMIT, WINDOW = 150, 10.0  # documented: operations per ten seconds
PAGE, MOST = 20, 100  # documented
# Invented: how long an action waits, and how long it then takes.
PENDING_SECONDS = 2.0
PROCESSING_SECONDS = 3.0
SECONDS_PER_RECORD = 0.02
CUSTOMERS, PRODUCTS = 240, 60  # Invented:
ACTIONS = {"delete_customers": "customer", "delete_products": "product"}
OUTCOMES = ("succeeded", "completed", "invalid", "forever")
SETTINGS = frozenset({"pending_seconds", "processing_seconds", "outcome", "fail_ids", "status_word"})


@dataclass
class BulkAction:
    """One bulk action. Moments are seconds of job time."""

    id: str
    action_type: str
    record_ids: list[str]
    created_at: float
    settings: dict[str, Any]
    skipped: list[str] = field(default_factory=list)
    status: str = "pending"
    updated_at: float = 0.0

    @property
    def starts_at(self) -> float:
        """When it is taken up."""
        return self.created_at + float(self.settings.get("pending_seconds", PENDING_SECONDS))

    @property
    def ends_at(self) -> float:
        """When it ends."""
        seconds = PROCESSING_SECONDS + SECONDS_PER_RECORD * len(self.record_ids)
        return self.starts_at + float(self.settings.get("processing_seconds", seconds))

    def view(self) -> dict[str, Any]:
        """As documented; times are Unix seconds."""
        return {
            "id": self.id,
            "object": "bulk_action",
            "action_type": self.action_type,
            "record_ids": list(self.record_ids),
            "skipped_record_ids": list(self.skipped),
            "status": self.settings.get("status_word") or self.status,
            "created_at": int(self.created_at),
            "updated_at": int(self.updated_at),
        }


class SureCartSite:
    """One account. Touched by the sandbox's event loop only."""

    def __init__(self, setup: SiteSetup) -> None:
        self.clock = setup.clock
        self.log = SiteLog()
        self.actions: dict[str, BulkAction] = {}
        self.bucket = PointsBucket(LIMIT, WINDOW)
        self.retry_after = False
        self._random = Random(setup.seed)
        self._settings: list[Setting] = []
        now = int(setup.clock.now())
        self.records = {
            "customer": {new: _customer(new, n, now) for n, new in enumerate(self._ids(CUSTOMERS), start=1)},
            "product": {new: _product(new, n, now) for n, new in enumerate(self._ids(PRODUCTS), start=1)},
        }

    def _ids(self, count: int) -> list[str]:
        return [str(uuid.UUID(int=self._random.getrandbits(128), version=4)) for _ in range(count)]

    def create(self, action_type: str, record_ids: list[str]) -> BulkAction:
        """Take an action in."""
        now = self.clock.now()
        settings = take_settings(self._settings, action_type)
        action = BulkAction(self._ids(1)[0], action_type, record_ids, now, settings, updated_at=now)
        self.actions[action.id] = action
        self.log.submissions.append({"kind": action_type, "ids": list(record_ids), "job_id": action.id})
        self.settle()
        return action

    def settle(self) -> None:
        """Bring every action up to now, oldest first."""
        now = self.clock.now()
        for action in self.actions.values():
            if action.status == "pending" and now >= action.starts_at:
                action.status, action.updated_at = "processing", action.starts_at
            if action.status == "processing" and now >= action.ends_at:
                self._end(action)

    def _end(self, action: BulkAction) -> None:
        """
        Delete what can be deleted.

        Documented: `succeeded` without errors on all fitting records, `completed` perhaps with some,
        `invalid` when none fits. Invented: an unknown or deleted record does not fit.
        """
        wanted = action.settings.get("outcome")
        if wanted == "forever":
            return
        records = self.records[ACTIONS[action.action_type]]
        failing = {str(record_id) for record_id in action.settings.get("fail_ids") or ()}
        fitting = [] if wanted == "invalid" else [new for new in action.record_ids if new in records]
        action.skipped = [new for new in action.record_ids if new not in fitting]
        for record_id in fitting:
            if record_id not in failing:
                records.pop(record_id, None)
        natural = "completed" if failing & set(fitting) else "succeeded" if fitting else "invalid"
        action.status, action.updated_at = wanted or natural, action.ends_at

    def retire(self) -> None:
        """Nothing runs by itself here."""

    def controls(self) -> Controls:
        """`next_action`, `action`, `rate`."""
        return {"next_action": self._next_action, "action": self._change, "rate": self._rate}

    def _next_action(self, kind: str = "*", times: int | None = 1, **values: Any) -> None:
        unknown = set(values) - SETTINGS
        if unknown:
            raise ValueError(f"unknown settings of an action: {', '.join(sorted(unknown))}")
        if values.get("outcome") not in {None, *OUTCOMES}:
            raise ValueError(f"outcome must be one of: {', '.join(OUTCOMES)}")
        self._settings.append(Setting(kind, values, times))

    def _change(self, action_id: str, *, forget: bool = False, status_word: str | None = None) -> None:
        action = self.actions.get(action_id)
        if action is None:
            raise ValueError(f"no such action: {action_id}")
        if status_word is not None:
            action.settings["status_word"] = status_word
        if forget:
            del self.actions[action_id]

    def _rate(self, limit: int = LIMIT, window_seconds: float = WINDOW, *, retry_after: bool = False) -> None:
        self.bucket = PointsBucket(limit, window_seconds)
        self.retry_after = retry_after

    def state(self) -> dict[str, Any]:
        """Counters, actions, and the ids of the records that are left."""
        self.settle()
        return {
            **self.log.view(),
            "jobs": {action.id: action.view() for action in self.actions.values()},
            "customers": list(self.records["customer"]),
            "products": list(self.records["product"]),
        }


def _customer(new: str, number: int, now: int) -> dict[str, Any]:
    """Invented: which fields there are, beyond id and object."""
    return {
        "id": new,
        "object": "customer",
        "email": f"customer{number}@example.test",
        "name": f"Customer {number}",
        "live_mode": False,
        "created_at": now,
        "updated_at": now,
    }


def _product(new: str, number: int, now: int) -> dict[str, Any]:
    """Invented: which fields there are, beyond id and object."""
    return {
        "id": new,
        "object": "product",
        "name": f"Product {number}",
        "archived": False,
        "created_at": now,
        "updated_at": now,
    }
