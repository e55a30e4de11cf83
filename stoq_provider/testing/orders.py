"""Actions on orders, single and bulk."""

from __future__ import annotations

from datetime import datetime, timezone

from stoq_provider.testing.actions import Action, ApiError, Call, JsonObject, page_of
from stoq_provider.testing.bulk import bulk_status, start_bulk
from stoq_provider.testing.jobs import ItemError
from stoq_provider.testing.records import ORDER_STATES, Order
from stoq_provider.testing.schemas import BOOLEAN, INTEGER, PAGE, STRING, UUID, Schema, array, params

SCOPE = "/preorders/orders"
ONE = f"{SCOPE}/:id"
MAX_ORDERS = 1000  # documented


def _moment(text: str, *, end_of_day: bool) -> datetime:
    """Read an ISO 8601 date or moment. Invented: a bare date as `to` includes that day; UTC by default."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise ApiError(422, "from and to must be ISO 8601 dates or times") from None
    if len(text) == 10 and end_of_day:
        moment = moment.replace(hour=23, minute=59, second=59)
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _chosen(call: Call) -> list[Order]:
    """Orders that pass every filter but `state`."""
    asked = call.params
    chosen = call.tenant.shop.newest_orders()
    if "from" in asked or "to" in asked:
        begin = _moment(asked.get("from", "0001-01-01"), end_of_day=False)
        end = _moment(asked.get("to", "9999-12-31"), end_of_day=True)
        chosen = [one for one in chosen if begin <= _moment(one.created_at, end_of_day=False) <= end]
    if "customer_id" in asked:
        chosen = [one for one in chosen if one.customer.id == asked["customer_id"]]
    if "offer_id" in asked:
        chosen = [one for one in chosen if any(line.offer_id == asked["offer_id"] for line in one.lines)]
    if "variant_id" in asked:
        chosen = [one for one in chosen if any(line.variant_id == asked["variant_id"] for line in one.lines)]
    return chosen


def _list(call: Call) -> JsonObject:
    # Documented: the state filter runs after fetching, so pages are short or empty.
    # Invented: `meta` counts the unfiltered rows.
    page, meta = page_of(_chosen(call), call.params)
    state = call.params.get("state")
    return {"orders": [order.view() for order in page if state in {None, order.state}], "meta": meta}


def order_of(call: Call) -> Order:
    """The order of the path. Invented: wording of the 404."""
    order = call.tenant.shop.orders.get(call.record_id())
    if order is None:
        raise ApiError(404, "Order not found")
    return order


def _read(call: Call) -> JsonObject:
    return order_of(call).view()


def release(order: Order, *, force: bool) -> bool:
    """Lift the holds of an order. Documented: not before the balance is collected, unless forced."""
    if order.state in {"cancelled", "refunded", "fulfilled"}:  # Invented: final states
        raise ItemError(f"Order is {order.state} and can't be released.")
    if order.state == "awaiting_balance" and not force:
        raise ItemError("Balance is not collected. Charge the balance first, or pass force: true.")
    changed = not order.released
    order.released = True
    return changed


def _release(call: Call) -> JsonObject:
    order = order_of(call)
    try:
        release(order, force=call.params.get("force", False))
    except ItemError as error:
        raise ApiError(409, str(error)) from None
    return order.view()


def _charge_balance(call: Call) -> JsonObject:
    order = order_of(call)
    if order.outstanding_cents == 0:  # Invented: nothing to charge is a conflict
        raise ApiError(409, "Order has no outstanding balance.")
    order.collected = True
    return order.view()


def _set_tags(call: Call) -> JsonObject:
    order = order_of(call)
    order.tags = list(call.params["tags"])
    return order.view()


def _item(call: Call, order_id: int) -> Order:
    order = call.tenant.shop.orders.get(order_id)
    if order is None:  # Invented: unknown ids are swallowed like other errors of items
        raise ItemError("Order not found")
    return order


def _bulk_release(call: Call) -> JsonObject:
    def apply(order_id: int) -> bool:
        return release(_item(call, order_id), force=call.params.get("force", False))

    return start_bulk(call, "bulk_orders_release", "orders", "order_ids", apply)


def _bulk_cancel(call: Call) -> JsonObject:
    def apply(order_id: int) -> bool:
        order = _item(call, order_id)
        if order.state in {"fulfilled", "refunded"}:  # Invented: final states
            raise ItemError(f"Order is {order.state} and can't be cancelled.")
        changed = not order.cancelled
        order.cancelled = True
        return changed

    return start_bulk(call, "bulk_orders_cancel", "orders", "order_ids", apply)


def _bulk_set_tags(call: Call) -> JsonObject:
    def apply(order_id: int) -> bool:
        order = _item(call, order_id)
        changed: bool = order.tags != call.params["tags"]
        order.tags = list(call.params["tags"])
        return changed

    return start_bulk(call, "bulk_orders_set_tags", "orders", "order_ids", apply)


def _bulk_send_links(call: Call) -> JsonObject:
    def apply(order_id: int) -> bool:
        order = _item(call, order_id)
        if order.outstanding_cents == 0:  # Invented: no link without a balance
            raise ItemError("Order has no outstanding balance.")
        order.payment_links += 1
        return True

    return start_bulk(call, "bulk_orders_send_payment_collection_url", "orders", "order_ids", apply)


def _job(call: Call) -> JsonObject:
    return bulk_status(call, "orders")


# Invented: the keys `order_ids` and `tags`, that tags are replaced, and `force` in bulk.
_TAGS = array(STRING)
_IDS = array(INTEGER, minItems=1, maxItems=MAX_ORDERS)


def _bulk_schema(required: tuple[str, ...] = (), **more: Schema) -> Schema:
    return params({"order_ids": _IDS, **more}, ("order_ids", *required))


_LIST = params(
    {
        "state": {"type": "string", "enum": list(ORDER_STATES)},
        "offer_id": UUID,
        "variant_id": INTEGER,
        "customer_id": INTEGER,
        "from": STRING,
        "to": STRING,
        **PAGE,
    }
)

ACTIONS = (
    Action("GET", SCOPE, "list", "List preorders", _list, _LIST, ("index",)),
    Action("GET", ONE, "read", "Read one preorder", _read, aliases=("show", "get")),
    Action(
        "POST", f"{ONE}/release", "release", "Lift fulfilment holds", _release, params({"force": BOOLEAN})
    ),
    Action("POST", f"{ONE}/payments/charge_balance", "charge_balance", "Charge the balance", _charge_balance),
    # Invented: path and body; the documentation names the action only.
    Action("POST", f"{ONE}/tags", "set_tags", "Replace tags", _set_tags, params({"tags": _TAGS}, ("tags",))),
    Action(
        "POST",
        f"{SCOPE}/bulk_release",
        "bulk_release",
        "Release many orders",
        _bulk_release,
        _bulk_schema(force=BOOLEAN),
    ),
    Action("POST", f"{SCOPE}/bulk_cancel", "bulk_cancel", "Cancel many orders", _bulk_cancel, _bulk_schema()),
    Action(
        "POST",
        f"{SCOPE}/bulk_set_tags",
        "bulk_set_tags",
        "Replace the tags of many orders",
        _bulk_set_tags,
        _bulk_schema(("tags",), tags=_TAGS),
    ),
    Action(
        "POST",
        f"{SCOPE}/bulk_send_payment_collection_url",
        "bulk_send_payment_collection_url",
        "Mail payment links to the customers of many orders",
        _bulk_send_links,
        _bulk_schema(),
    ),
    Action("GET", f"{SCOPE}/jobs/:job_id", "job_status", "Status of a bulk job", _job),
)
