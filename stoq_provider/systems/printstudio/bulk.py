"""
PrintStudio's bulk routes: caps, limits, and checks before sending.

Caps, limits and bodies are documented (D, page [bulk] of printstudio-docs.pages.dev). What comes back is
read in :mod:`.responses`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stoq_provider.core.ids import TEXTS, check_ids, chunks
from stoq_provider.core.rate_limit import PointsRules
from stoq_provider.core.records import RepeatSafety
from stoq_provider.core.submission import Submission
from stoq_provider.core.validation import (
    InvalidInput,
    check_json,
    is_text,
    listed,
    merge,
    read_mapping,
    read_text,
    some,
    unknown,
)
from stoq_provider.systems.printstudio.states import PRINT_JOB


@dataclass(frozen=True, slots=True)
class Route:
    """One bulk route: its list in the body, its cap in items, and the limit it counts against."""

    kind: str
    path: str
    key: str
    cap: int
    limit: str


CREATE_ORDERS = Route("create_orders", "/orders/bulk", "orders", 50, "orders")
ADVANCE_JOBS = Route("advance_jobs", "/jobs/bulk/advance", "jobIds", 100, "jobs")
CANCEL_JOBS = Route("cancel_jobs", "/jobs/bulk/cancel", "jobIds", 100, "jobs")
IMPORT_SKUS = Route("import_skus", "/skus/bulk", "skus", 500, "skus")
ROUTES: Mapping[str, Route] = {
    route.kind: route for route in (CREATE_ORDERS, ADVANCE_JOBS, CANCEL_JOBS, IMPORT_SKUS)
}

ROUTE_LIMITS: Mapping[str, PointsRules] = {
    "orders": PointsRules(limit=10, window=60.0),
    "jobs": PointsRules(limit=20, window=60.0),
    "skus": PointsRules(limit=5, window=60.0),
}
"""Requests a minute (D [bulk]); ``/api/jobs/bulk/*`` share one limit."""

MODES = ("upsert", "append", "replace")

REPEAT_SAFETY: Mapping[str, RepeatSafety] = {
    "create_orders": RepeatSafety.NEVER,
    "advance_jobs": RepeatSafety.SAFE,
    "cancel_jobs": RepeatSafety.SAFE,
    "import_skus:upsert": RepeatSafety.SAFE,
    "import_skus:append": RepeatSafety.SAFE,
    "import_skus:replace": RepeatSafety.NEVER,
}
"""
What sending the same call twice does. Orders would be doubled; ``replace`` deactivates all SKUs first (D
[bulk]). That ``upsert`` and ``append`` go by id, and that a print job may be advanced or cancelled twice, is
inferred.
"""


# -- input ------------------------------------------------------------------------------------------------


def check_orders(orders: Any) -> list[Mapping[str, Any]]:
    """
    Check orders: ``{"customerId", "lineItems": [{"skuId", "quantity"}]}`` (D [bulk]); more keys are kept.

    A list, or text of one, as a template renders it.

    :raises InvalidInput: naming the first that can't be right; nothing of such a list is sent.
    """
    return _checked(orders, "orders", _order_fault)


def check_skus(skus: Any, mode: Any) -> list[Mapping[str, Any]]:
    """
    Check SKUs and mode.

    :raises InvalidInput: naming the first SKU that can't be right; or where ``replace`` would take two calls.
    """
    if not isinstance(mode, str) or mode not in MODES:
        raise unknown("there is no mode", mode, MODES)
    checked = _checked(skus, "skus", _sku_fault)
    twice = [repr(sku_id) for sku_id, times in Counter(sku["id"] for sku in checked).items() if times > 1]
    if twice:
        raise InvalidInput(f"skus: {some(twice, between='; ')} stand in the list more than once")
    if mode == "replace" and len(checked) > IMPORT_SKUS.cap:
        raise InvalidInput(
            f"replace takes one call, because each deactivates all other SKUs; that is at most "
            f"{IMPORT_SKUS.cap} SKUs, not {len(checked):,}. Use mode='upsert'"
        )
    return checked


def check_target(target_status: Any) -> str:
    """
    Return a state that print jobs can be advanced to, as it is sent.

    :raises InvalidInput: with the near misses.
    """
    return PRINT_JOB.check(target_status, PRINT_JOB.course[1:], "advance print jobs to")


def check_reason(reason: Any) -> str:
    """
    Return the reason of a cancellation.

    :raises InvalidInput: where there is none.
    """
    if not is_text(reason):
        raise InvalidInput("reason must be a text: PrintStudio keeps it with each cancelled job")
    return str(reason)


def _checked(
    values: Any, what: str, fault: Callable[[Mapping[str, Any]], str | None]
) -> list[Mapping[str, Any]]:
    if isinstance(values, str):
        values = read_text(values, f"{what} given as text must be a JSON list, and this text is none")
    given = listed(values, what, "objects")
    faults: list[str] = []
    for at, value in enumerate(given):
        try:
            given[at] = _checked_one(value, fault)
        except InvalidInput as error:
            faults.append(f"number {at + 1} {error}")
    if faults:
        raise InvalidInput(
            f"{what}: {len(faults):,} of {len(given):,} can't be sent: {some(faults, between='; ')}"
        )
    return given


def _checked_one(value: Any, fault: Callable[[Mapping[str, Any]], str | None]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"is no object, but {type(value).__name__}")
    try:
        read = read_mapping(value, "it") or {}
        check_json(read, "it")
    except InvalidInput as error:
        raise InvalidInput(f"is no JSON: {error}") from None
    if found := fault(read):
        raise InvalidInput(found)
    return read


def _id_fault(value: Any, key: str) -> str | None:
    """Say what is wrong with an id of PrintStudio's, which are texts."""
    found = value.get(key) if isinstance(value, Mapping) else None
    if is_text(found):
        return None
    is_there = found is not None and not isinstance(found, str)
    return f"has the {key} {found!r:.40}, which is no text" if is_there else f"has no {key}"


def _order_fault(order: Mapping[str, Any]) -> str | None:
    if found := _id_fault(order, "customerId"):
        return found
    lines = order.get("lineItems")
    if not isinstance(lines, list) or not lines:
        return "has no lineItems"
    for number, line in enumerate(lines, 1):
        if found := _id_fault(line, "skuId"):
            return f"{found}, in line item {number}"
        quantity = line.get("quantity")
        if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
            return f"has in line item {number} the quantity {quantity!r}, which is no whole number above 0"
    return None


def _sku_fault(sku: Mapping[str, Any]) -> str | None:
    return _id_fault(sku, "id")


# -- submissions ------------------------------------------------------------------------------------------


def submissions(
    route: Route,
    items: Sequence[Any],
    body: Mapping[str, Any] | None = None,
    *,
    kind: str | None = None,
    extra_body: Mapping[str, Any] | None = None,
    round_: int = 0,
) -> list[Submission]:
    """
    Cut a list at the route's cap.

    Two chunks that hold the very same things are two calls all the same: identical orders may be meant.

    :param body: what goes along with each chunk.
    :param kind: the route's, where it depends on the body.
    :param extra_body: laid over the body; ``None`` takes a key away.
    :param round_: counts how often the same items were sent before on purpose.
    """
    made: list[Submission] = []
    seen: Counter[str] = Counter()
    for piece in chunks(items, route.cap):
        whole = merge({route.key: list(piece), **(body or {})}, extra_body)
        one = Submission(kind or route.kind, route.path, whole, item_count=len(piece), round=round_)
        digest = one.digest()
        made.append(replace(one, round=round_ + seen[digest]))
        seen[digest] += 1
    return made


def job_ids(ids: Any, *, most: int) -> tuple[str, ...]:
    """
    Check ids of print jobs and drop duplicates.

    :raises InvalidInput: as :func:`~stoq_provider.core.validation.check_ids`.
    """
    return check_ids(ids, what="job_ids", most=most, kind=TEXTS).ids
