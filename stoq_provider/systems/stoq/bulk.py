"""
STOQ's bulk actions on orders and variants: one table of what is known of each.

Cap, price and names are documented (D [bulk]); the paths and the names of keys are inferred and stand in
``system.ASSUMPTIONS``. What a read can tell after the action stands here too, because ``completed`` only
means that every item was attempted: STOQ swallows the errors of single items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stoq_provider.core.records import RepeatSafety
from stoq_provider.core.submission import Submission
from stoq_provider.core.validation import InvalidInput, check_ids, merge, near_misses, read_mapping

Check = Callable[[Mapping[str, Any], Mapping[str, Any]], "bool | None"]
"""Takes an item as read and the body that was sent; ``None``: the item does not tell."""


@dataclass(frozen=True, slots=True)
class Family:
    """One resource: its bulk path and keys, its cap, and where its items are read."""

    name: str
    path: str
    ids_key: str
    cap: int
    list_path: str
    list_key: str
    item_key: str


ORDERS = Family(
    name="orders",
    path="/preorders/orders/bulk_{action}",
    ids_key="order_ids",
    cap=1000,
    list_path="/preorders/orders",
    list_key="orders",
    item_key="shopify_order_id",
)
VARIANTS = Family(
    name="variants",
    path="/preorders/product_variants/bulk_{action}",
    ids_key="variant_ids",
    cap=5000,
    list_path="/preorders/product_variants",
    list_key="product_variants",
    item_key="shopify_variant_id",
)


@dataclass(frozen=True, slots=True)
class BulkAction:
    """
    One bulk action.

    :param required: keys that the body must have beside the ids.
    :param optional: keys that it may have.
    :param changed: tells from an item as read whether the action took effect; ``None``: no read can tell.
    :param reads: what that read looks at, in words, with the certainty of the names.
    """

    name: str
    family: Family
    reads: str
    changed: Check | None = None
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = field(default=())

    @property
    def kind(self) -> str:
        """The kind of its jobs."""
        return f"bulk_{self.name}"


def _released(item: Mapping[str, Any], body: Mapping[str, Any]) -> bool | None:
    return _state_in(item, ("released", "fulfilled"))


def _cancelled(item: Mapping[str, Any], body: Mapping[str, Any]) -> bool | None:
    return _state_in(item, ("cancelled", "refunded"))


def _state_in(item: Mapping[str, Any], states: Sequence[str]) -> bool | None:
    state = item.get("state")
    return state in states if isinstance(state, str) else None


def _tagged(item: Mapping[str, Any], body: Mapping[str, Any]) -> bool | None:
    tags = item.get("tags")
    wanted = body.get("tags") or ()
    return all(tag in tags for tag in wanted) if isinstance(tags, list) else None


def _no_drift(item: Mapping[str, Any], body: Mapping[str, Any]) -> bool | None:
    drift = _metafields(item).get("drift")
    return not drift if isinstance(drift, bool) else None


def _metafield_written(item: Mapping[str, Any], body: Mapping[str, Any]) -> bool | None:
    metafields = _metafields(item)
    if "preorder_count" in metafields and "preorder_count" in item:
        return bool(metafields["preorder_count"] == item["preorder_count"])
    return _no_drift(item, body)


def _metafield_empty(item: Mapping[str, Any], body: Mapping[str, Any]) -> bool | None:
    metafields = _metafields(item)
    return metafields["preorder_count"] is None if "preorder_count" in metafields else None


def _metafields(item: Mapping[str, Any]) -> Mapping[str, Any]:
    value = item.get("metafields")
    return value if isinstance(value, Mapping) else {}


ORDER_ACTIONS: Mapping[str, BulkAction] = {
    action.name: action
    for action in (
        BulkAction("release", ORDERS, "state is released or fulfilled (D)", _released, optional=("force",)),
        BulkAction("cancel", ORDERS, "state is cancelled or refunded (D)", _cancelled),
        BulkAction("set_tags", ORDERS, "tags hold the tags sent (name U)", _tagged, required=("tags",)),
        BulkAction("send_payment_collection_url", ORDERS, "nothing: no read tells whether a mail went out"),
    )
}
VARIANT_ACTIONS: Mapping[str, BulkAction] = {
    action.name: action
    for action in (
        BulkAction("recalculate_preorder_counts", VARIANTS, "metafields show no drift (name I)", _no_drift),
        BulkAction(
            "sync_metafields",
            VARIANTS,
            "the metafield's count is the stored one (names U)",
            _metafield_written,
        ),
        BulkAction("reset_metafields", VARIANTS, "the metafield is empty (name U)", _metafield_empty),
    )
}


REPEAT_SAFETY: Mapping[str, RepeatSafety] = {
    "export": RepeatSafety.SAFE,
    "bulk_release": RepeatSafety.SAFE,
    "bulk_cancel": RepeatSafety.SAFE,
    "bulk_set_tags": RepeatSafety.SAFE,
    "bulk_recalculate_preorder_counts": RepeatSafety.SAFE,
    "bulk_sync_metafields": RepeatSafety.SAFE,
    "bulk_reset_metafields": RepeatSafety.WARN,
    "bulk_send_payment_collection_url": RepeatSafety.NEVER,
}
"""What sending the same submission twice does. An action that is not listed is never repeated."""


def find_action(name: Any, known: Mapping[str, BulkAction]) -> BulkAction:
    """
    Look an action up.

    :raises InvalidInput: with the near misses.
    """
    if not isinstance(name, str) or name not in known:
        raise InvalidInput(
            f"there is no bulk action {name!r}{near_misses(str(name), list(known)) or '.'} "
            f"Known are {', '.join(known)}"
        )
    return known[name]


def check_body(action: BulkAction, body: Any) -> dict[str, Any]:
    """
    Check what is sent beside the ids.

    :param body: as :func:`~stoq_provider.core.validation.read_mapping` takes it.
    :raises InvalidInput: naming the key that is missing or unknown.
    """
    read = read_mapping(body, "body") or {}
    given = {key: value for key, value in read.items() if value is not None}
    known = (*action.required, *action.optional)
    for key in given:
        if key not in known:
            raise InvalidInput(
                f"{action.name} has no key {key!r}{near_misses(key, known) or '.'} Known are: "
                f"{', '.join(known) or 'none'}. A key that is newer than this package goes into extra_body"
            )
    for key in action.required:
        if not given.get(key):
            raise InvalidInput(f"{action.name} needs {key!r}")
    tags = given.get("tags")
    if tags is not None and not _is_text_list(tags):
        raise InvalidInput(f"'tags' must be a list of texts, not {tags!r}")
    return given


def _is_text_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(tag, str) and tag.strip() for tag in value)


def submission(
    action: BulkAction,
    ids: Sequence[int],
    body: Mapping[str, Any] | None = None,
    *,
    extra_body: Mapping[str, Any] | None = None,
    extra_query: Mapping[str, Any] | None = None,
    round_: int = 0,
) -> Submission:
    """
    Build one submission of at most the action's cap.

    :param round_: counts resubmissions of items that did not change; part of the submission's identity.
    :raises InvalidInput: where ids or body are not what they must be.
    """
    family = action.family
    if not ids:
        raise InvalidInput(f"{action.name} without ids would do nothing")
    checked = check_ids(ids, what=family.ids_key, most=family.cap)
    return Submission(
        kind=action.kind,
        path=family.path.format(action=action.name),
        body=merge({family.ids_key: list(checked.ids), **check_body(action, body)}, extra_body),
        query=merge({}, extra_query, "extra_query"),
        item_count=len(checked.ids),
        round=round_,
    )
