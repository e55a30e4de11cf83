"""The studio: its records, the passing of time, and what can be done to it."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from stoq_provider.testing import PRINTSTUDIO_KEYS
from stoq_provider.testing.points import PointsBucket
from stoq_provider.testing.printstudio.records import (
    ASIDE,
    STATES,
    Order,
    PrintJob,
    PrintStudioError,
    invalid,
    sku_problems,
)
from stoq_provider.testing.site import Controls, SiteLog, SiteSetup

STATE_SECONDS = 20.0  # Invented: how long a job stays in a state
PAYMENT_SECONDS = 20.0  # Invented: how long until an order is paid
WINDOW = 60.0
# Documented: requests a minute, on the bulk routes and in general by role.
BULK_LIMITS = {"orders": 10, "jobs": 20, "skus": 5}
LIMITS = {None: 20, "customer": 300, "operator": 300, "admin": 1000}
SKUS, SEEDED_JOBS = 24, 160  # Invented:
MODES = ("upsert", "append", "replace")


class PrintStudioSite:
    """One studio. Touched by the sandbox's event loop only."""

    def __init__(self, setup: SiteSetup) -> None:
        self.clock = setup.clock
        self.log = SiteLog()
        self.keys = {key: role for role, key in PRINTSTUDIO_KEYS.items()}
        self.state_seconds, self.payment_seconds = STATE_SECONDS, PAYMENT_SECONDS
        self.orders: dict[str, Order] = {}
        self.jobs: dict[str, PrintJob] = {}
        self._random = Random(setup.seed)
        self._limits: dict[str, int] = {}
        self._window = WINDOW
        self._buckets: dict[str, PointsBucket] = {}
        self.skus = {f"sku_{n:03d}": _sku(n) for n in range(1, SKUS + 1)}
        now = setup.clock.now()
        for n in range(SEEDED_JOBS):
            # Invented: seeded jobs stand still until somebody moves them, so that tests can count on them.
            job = PrintJob(
                self.new_id("job"), None, f"sku_{n % SKUS + 1:03d}", STATES[n % 7], now, now, held=True
            )
            self.jobs[job.id] = job

    def new_id(self, prefix: str) -> str:
        """Invented: how ids look."""
        return f"{prefix}_{self._random.getrandbits(64):016x}"

    def bucket(self, name: str, key: str, limit: int) -> PointsBucket:
        """The rate limit of a bulk route, or the general one, for a key."""
        mark = f"{name}:{key}"
        if mark not in self._buckets:
            self._buckets[mark] = PointsBucket(self._limits.get(name, limit), self._window)
        return self._buckets[mark]

    # What the API does.

    def plan_order(self, given: Any) -> Order:
        """Check an order and price it, without keeping it. Raises `PrintStudioError`."""
        if not isinstance(given, Mapping) or not isinstance(given.get("customerId"), str):
            raise invalid("customerId is required")
        lines = given.get("lineItems")
        if not isinstance(lines, list) or not lines:
            raise invalid("lineItems must not be empty")
        planned = [self._line(line) for line in lines]
        extra = {name: given[name] for name in ("shippingAddress", "notes") if name in given}
        return Order(self.new_id("order"), given["customerId"], planned, self.clock.now(), extra=extra)

    def _line(self, given: Any) -> dict[str, Any]:
        if not isinstance(given, Mapping):
            raise invalid("a line item must be an object")
        sku = self.skus.get(str(given.get("skuId")))
        quantity = given.get("quantity")
        if sku is None or not sku["active"]:
            raise invalid("Unknown or inactive SKU", skuId=given.get("skuId"))
        if isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 1:
            raise invalid("quantity must be a whole number of at least 1", skuId=sku["id"])
        price = float(sku.get("basePrice", 0))
        line = {"id": self.new_id("line"), "skuId": sku["id"], "quantity": quantity, "unitPrice": price}
        options = {"options": given["options"]} if "options" in given else {}
        return {**line, "total": round(price * quantity, 2), **options}

    def import_skus(self, skus: list[Any], mode: str) -> dict[str, Any]:
        """
        Add, change or replace SKUs.

        Documented: `replace` deactivates all others first, `append` leaves known ids alone. Invented: the
        answer, and that one bad SKU refuses all of them before anything is done.
        """
        for index, sku in enumerate(skus):
            found = sku_problems(sku)
            if found:
                raise invalid("; ".join(found), index=index)
        deactivated = 0
        if mode == "replace":
            for known in self.skus.values():
                deactivated += bool(known["active"])
                known["active"] = False
        counts = {"created": 0, "updated": 0, "skipped": 0}
        for sku in skus:
            known_id = sku["id"] in self.skus
            word = "created" if not known_id else "skipped" if mode == "append" else "updated"
            counts[word] += 1
            if word != "skipped":
                self.skus[sku["id"]] = {**self.skus.get(sku["id"], {}), "active": True, **sku}
        return {**counts, "deactivated": deactivated, "failed": 0, "total": len(skus)}

    def job(self, job_id: str) -> PrintJob:
        """A print job. Raises `PrintStudioError`."""
        if job_id not in self.jobs:
            raise PrintStudioError(404, "Not found", "JOB_NOT_FOUND", jobId=job_id)
        return self.jobs[job_id]

    def order(self, order_id: str) -> Order:
        """An order. Raises `PrintStudioError`."""
        if order_id not in self.orders:
            raise PrintStudioError(404, "Not found", "ORDER_NOT_FOUND", orderId=order_id)
        return self.orders[order_id]

    def cancel_order(self, order: Order, reason: str | None) -> None:
        """Cancel an order and its jobs. Raises `PrintStudioError`."""
        now = self.clock.now()
        if order.status in {"shipped", "cancelled", "refunded"}:
            raise PrintStudioError(409, f"Order is {order.status}", "INVALID_TRANSITION", orderId=order.id)
        order.ended = "cancelled"
        for job in order.jobs:
            if job.state not in {"SHIPPED", "CANCELLED"}:
                job.cancel(reason, now)

    # Time.

    def settle(self) -> None:
        """Pay orders, make their jobs, and move all jobs, up to now."""
        now = self.clock.now()
        for order in self.orders.values():
            due = order.created_at + self.payment_seconds
            if order.paid_at is None and not order.ended and now >= due:
                self._pay(order, due)
        for job in self.jobs.values():
            job.move(now, self.state_seconds)

    def _pay(self, order: Order, at: float) -> None:
        """Invented: an order gets one job for each line once it is paid."""
        order.paid_at = at
        for line in order.lines:
            job = PrintJob(self.new_id("job"), order.id, line["skuId"], STATES[0], at, at)
            order.jobs.append(job)
            self.jobs[job.id] = job

    def retire(self) -> None:
        """Nothing runs by itself here."""

    # Controls and state.

    def controls(self) -> Controls:
        """`move`, `fail`, `hold`, `pay`, `pace`, `limits`, `revoke`."""
        return {
            "move": self._move,
            "fail": self._fail,
            "hold": self._hold,
            "pay": self._pay_now,
            "pace": self._pace,
            "limits": self._set_limits,
            "revoke": self._revoke,
        }

    def _known(self, job_id: str) -> PrintJob:
        if job_id not in self.jobs:
            raise ValueError(f"no such print job: {job_id}")
        return self.jobs[job_id]

    def _move(self, job_id: str, state: str) -> None:
        if state not in (*STATES, *ASIDE):
            raise ValueError(f"state must be one of: {', '.join((*STATES, *ASIDE))}")
        self._known(job_id).enter(state, self.clock.now())

    def _fail(self, job_id: str, reason: str = "The printer stopped.") -> None:
        job = self._known(job_id)
        job.reason = reason
        job.enter("FAILED", self.clock.now())

    def _hold(self, job_id: str, held: bool = True) -> None:
        job = self._known(job_id)
        job.held = held
        job.since = self.clock.now()

    def _pay_now(self, order_id: str) -> None:
        order = self.orders.get(order_id)
        if order is None or order.paid_at is not None:
            raise ValueError(f"no unpaid order: {order_id}")
        self._pay(order, self.clock.now())

    def _pace(self, state_seconds: float = STATE_SECONDS, payment_seconds: float = PAYMENT_SECONDS) -> None:
        self.state_seconds, self.payment_seconds = float(state_seconds), float(payment_seconds)

    def _set_limits(self, window_seconds: float = WINDOW, **limits: int) -> None:
        unknown = set(limits) - {*BULK_LIMITS, "general"}
        if unknown:
            raise ValueError(f"unknown limits: {', '.join(sorted(unknown))}")
        self._limits |= limits
        self._window = float(window_seconds)
        self._buckets.clear()

    def _revoke(self, role: str) -> None:
        self.keys.pop(PRINTSTUDIO_KEYS[role], None)

    def state(self) -> dict[str, Any]:
        """Counters, and all records."""
        self.settle()
        return {
            **self.log.view(),
            "jobs": {job.id: job.view() for job in self.jobs.values()},
            "orders": {order.id: order.view() for order in self.orders.values()},
            "skus": {name: bool(sku["active"]) for name, sku in self.skus.items()},
        }


def _sku(number: int) -> dict[str, Any]:
    return {
        "id": f"sku_{number:03d}",
        "name": f"Part {number}",
        "description": f"Seeded part number {number}",
        "machineType": ("fdm_large", "fdm_standard", "resin", "laser")[number % 4],
        "material": ("PLA", "PETG", "resin", "plywood")[number % 4],
        "estimatedPrintTime": 30 + number,
        "estimatedMaterialGrams": 10 + number,
        "basePrice": 5.0 + number / 2,
        "qualityTiers": {
            "draft": {"multiplier": 0.8},
            "standard": {"multiplier": 1.0},
            "fine": {"multiplier": 1.5},
        },
        "options": [],
        "active": True,
    }
