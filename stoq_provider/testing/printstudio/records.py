"""Orders, print jobs and SKUs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stoq_provider.testing.clock import iso

STATES = ("CREATED", "VALIDATED", "SLICED", "QUEUED", "PRINTING", "POST_PROCESS", "READY", "SHIPPED")
ASIDE = ("FAILED", "CANCELLED")
FINAL = ("SHIPPED", "CANCELLED")
MACHINES = ("fdm_large", "fdm_standard", "resin", "laser")
# Invented: jobs go on by themselves up to READY; shipping is somebody's act.
LAST_OF_ITSELF = "READY"
# Invented: an order has the state of its job that is least far.
_ORDER_STATUS = {
    "PRINTING": "printing",
    "POST_PROCESS": "post_processing",
    "READY": "ready",
    "SHIPPED": "shipped",
}


class PrintStudioError(Exception):
    """An error in the documented shape, `{error, code, details}`. Invented: the codes but JOB_NOT_FOUND."""

    def __init__(self, status: int, error: str, code: str, **details: Any) -> None:
        super().__init__(error)
        self.status = status
        self.code = code
        self.details = details

    @property
    def body(self) -> dict[str, Any]:
        """The JSON body."""
        return {"error": str(self), "code": self.code, "details": self.details}


def invalid(message: str, **details: Any) -> PrintStudioError:
    """400, as a refused body."""
    return PrintStudioError(400, message, "VALIDATION_ERROR", **details)


@dataclass
class PrintJob:
    """One print job. Moments are seconds of job time."""

    id: str
    order_id: str | None
    sku_id: str
    state: str
    since: float
    created_at: float
    held: bool = False
    reason: str | None = None

    def move(self, now: float, seconds: float) -> None:
        """Go on by itself, one state after `seconds` in the last."""
        while not self.held and self.state in STATES and self.state not in {LAST_OF_ITSELF, "SHIPPED"}:
            if now < self.since + seconds:
                return
            self.enter(STATES[STATES.index(self.state) + 1], self.since + seconds)

    def enter(self, state: str, now: float) -> None:
        """Be in a state from now on."""
        self.state, self.since = state, now

    def advance(self, target: str, now: float) -> None:
        """
        Go on to a later state; raises `PrintStudioError`.

        Invented: several steps at once are allowed, none back. A job that stands still
        goes on standing still.
        """
        if self.state not in STATES or self.state == "SHIPPED":
            raise PrintStudioError(409, f"Job is {self.state}", "INVALID_TRANSITION", jobId=self.id)
        if STATES.index(target) <= STATES.index(self.state):
            raise PrintStudioError(
                409, f"Job can't go from {self.state} to {target}", "INVALID_TRANSITION", jobId=self.id
            )
        self.enter(target, now)

    def cancel(self, reason: str | None, now: float) -> None:
        """Cancel unless final; raises `PrintStudioError`."""
        if self.state in FINAL:
            raise PrintStudioError(409, f"Job is {self.state}", "INVALID_TRANSITION", jobId=self.id)
        self.reason = reason
        self.enter("CANCELLED", now)

    def view(self) -> dict[str, Any]:
        """Invented: all names but `id` and `status`."""
        return {
            "id": self.id,
            "orderId": self.order_id,
            "skuId": self.sku_id,
            "status": self.state,
            "reason": self.reason,
            "createdAt": iso(self.created_at),
            "updatedAt": iso(self.since),
        }


@dataclass
class Order:
    """One order."""

    id: str
    customer_id: str
    lines: list[dict[str, Any]]
    created_at: float
    paid_at: float | None = None
    ended: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    jobs: list[PrintJob] = field(default_factory=list)

    @property
    def status(self) -> str:
        """Documented words; which applies when is Invented: see `_ORDER_STATUS`."""
        if self.ended:
            return self.ended
        if self.paid_at is None:
            return "pending_payment"
        living = [job.state for job in self.jobs if job.state != "CANCELLED"]
        if self.jobs and not living:
            return "cancelled"
        ranks = [STATES.index(state) for state in living if state in STATES]
        if not ranks or len(ranks) < len(living):
            return "processing" if living else "paid"
        return _ORDER_STATUS.get(STATES[min(ranks)], "processing")

    def view(self) -> dict[str, Any]:
        """As documented. Invented: shipping and tax cost nothing."""
        subtotal = round(sum(line["total"] for line in self.lines), 2)
        return {
            "id": self.id,
            "status": self.status,
            "customerId": self.customer_id,
            "lineItems": self.lines,
            "subtotal": subtotal,
            "shipping": 0,
            "tax": 0,
            "total": subtotal,
            "createdAt": iso(self.created_at),
            **self.extra,
        }


def sku_problems(sku: Any) -> list[str]:
    """What is wrong with a SKU. Invented: which fields are required."""
    if not isinstance(sku, Mapping):
        return ["a SKU must be an object"]
    found = [f"{name} is required" for name in ("id", "name", "machineType") if not sku.get(name)]
    if sku.get("machineType") and sku["machineType"] not in MACHINES:
        found.append(f"machineType must be one of: {', '.join(MACHINES)}")
    price = sku.get("basePrice", 0)
    if isinstance(price, bool) or not isinstance(price, (int, float)) or price < 0:
        found.append("basePrice must be a number of at least 0")
    return found
