"""
STOQ's bulk actions on orders and variants: one table of what is known of each.

Cap, price and names are documented (D [bulk]); the paths and the names of keys are inferred and stand in
``system.ASSUMPTIONS``. What a read can tell after the action stands here too, because ``completed`` only
means that every item was attempted: STOQ swallows the errors of single items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stoq_provider.core.ids import check_ids
from stoq_provider.core.records import RepeatSafety
from stoq_provider.core.submission import Submission
from stoq_provider.core.validation import InvalidInput, is_text, merge, read_mapping, unknown

Check = Callable[[Mapping[str, Any], Mapping[str, Any]], "bool | None"]
"""Takes an item as read and the body that was sent; ``None``: the item does not tell."""


@dataclass(frozen=True, slots=True)
class Family:
    """
    One resource: its keys, its cap, and where its items are read and acted upon.

    :param cap: ids in one action.
    :param filters: what its list can be filtered by (D [orders], [variants]).
    :param lists_ids: whether its list can be asked for many ids (D [variants]).
    """

    name: str
    resource: str
    ids_key: str
    item_key: str
    cap: int
    filters: tuple[str, ...]
    lists_ids: bool = False

    @property
    def list_path(self) -> str:
        """Where its items are read (D)."""
        return f"/preorders/{self.resource}"

    @property
    def path(self) -> str:
        """Where an action on many is asked for (I)."""
        return self.list_path + "/bulk_{action}"


ORDERS = Family(
    "orders",
    "orders",
    "order_ids",
    "shopify_order_id",
    cap=1000,
    filters=("state", "offer_id", "variant_id", "customer_id", "from", "to"),
)
VARIANTS = Family(
    "variants",
    "product_variants",
    "variant_ids",
    "shopify_variant_id",
    cap=5000,
    filters=("offer_id", "product_id"),
    lists_ids=True,
)


@dataclass(frozen=True, slots=True)
class BulkAction:
    """
    One bulk action.

    :param repeat: what sending the same submission twice does.
    :param reads: what a read-back looks at, in words, with the certainty of the names.
    :param changed: tells from an item as read whether the action took effect; ``None``: no read can tell.
    :param required: keys that the body must have beside the ids.
    :param optional: keys that it may have.
    """

    name: str
    family: Family
    repeat: RepeatSafety
    reads: str
    changed: Check | None = None
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The kind of its jobs."""
        return f"bulk_{self.name}"


def _has_state(*states: str) -> Check:
    def check(item: Mapping[str, Any], body: Mapping[str, Any]) -> bool | None:
        state = item.get("state")
        return state in states if isinstance(state, str) else None

    return check


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


SAFE, WARN, NEVER = RepeatSafety.SAFE, RepeatSafety.WARN, RepeatSafety.NEVER
_ACTIONS = (
    BulkAction(
        "release",
        ORDERS,
        SAFE,
        "state is released or fulfilled (D)",
        _has_state("released", "fulfilled"),
        optional=("force",),
    ),
    BulkAction(
        "cancel", ORDERS, SAFE, "state is cancelled or refunded (D)", _has_state("cancelled", "refunded")
    ),
    BulkAction("set_tags", ORDERS, SAFE, "tags hold the tags sent (name U)", _tagged, required=("tags",)),
    BulkAction(
        "send_payment_collection_url", ORDERS, NEVER, "nothing: no read tells whether a mail went out"
    ),
    BulkAction("recalculate_preorder_counts", VARIANTS, SAFE, "metafields show no drift (name I)", _no_drift),
    BulkAction(
        "sync_metafields",
        VARIANTS,
        SAFE,
        "the metafield's count is the stored one (names U)",
        _metafield_written,
    ),
    BulkAction("reset_metafields", VARIANTS, WARN, "the metafield is empty (name U)", _metafield_empty),
)
ORDER_ACTIONS = {action.name: action for action in _ACTIONS if action.family is ORDERS}
VARIANT_ACTIONS = {action.name: action for action in _ACTIONS if action.family is VARIANTS}

REPEAT_SAFETY: Mapping[str, RepeatSafety] = {
    "export": SAFE,
    **{action.kind: action.repeat for action in _ACTIONS},
}
"""What sending the same submission twice does, by kind. What is not listed is never repeated."""

NEWER = "A key that is newer than this package goes into extra_body"

FAN_OUTS = ("add_variants", "bulk_toggle_inventory_policy")
"""Actions that go on in the background without a job handle (D [bulk])."""


def find_action(name: Any, known: Mapping[str, BulkAction]) -> BulkAction:
    """
    Look an action up.

    :raises InvalidInput: with the near misses.
    """
    if not isinstance(name, str) or name not in known:
        raise unknown("there is no bulk action", name, known)
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
            raise unknown(f"{action.name} has no key", key, known, NEWER)
    for key in action.required:
        if not given.get(key):
            raise InvalidInput(f"{action.name} needs {key!r}")
    tags = given.get("tags")
    if tags is not None and not (isinstance(tags, list) and all(map(is_text, tags))):
        raise InvalidInput(f"'tags' must be a list of texts, not {tags!r:.80}")
    return given


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
    checked = check_ids(ids, what=family.ids_key, most=family.cap)
    if not checked.ids:
        raise InvalidInput(f"{action.name} without ids would do nothing")
    return Submission(
        kind=action.kind,
        path=family.path.format(action=action.name),
        body=merge({family.ids_key: list(checked.ids), **check_body(action, body)}, extra_body),
        query=merge({}, extra_query, "extra_query"),
        item_count=len(checked.ids),
        round=round_,
    )
