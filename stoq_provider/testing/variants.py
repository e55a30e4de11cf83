"""Actions on product variants, single and bulk."""

from __future__ import annotations

from collections.abc import Callable

from stoq_provider.testing.actions import Action, ApiError, Call, JsonObject, page_of
from stoq_provider.testing.bulk import bulk_status, start_bulk
from stoq_provider.testing.clock import iso
from stoq_provider.testing.jobs import ItemError
from stoq_provider.testing.records import Variant
from stoq_provider.testing.schemas import INTEGER, PAGE, UUID, array, params

SCOPE = "/preorders/product_variants"
ONE = f"{SCOPE}/:variant_id"
MAX_VARIANTS = 5000  # documented; Invented: that exceeding it is a 422, as documented for orders


def variant_of(call: Call) -> Variant:
    """The variant of the path. Invented: wording of the 404."""
    variant = call.tenant.shop.variants.get(call.record_id("variant_id"))
    if variant is None:
        raise ApiError(404, "Product variant not found")
    return variant


def _view(call: Call, variant: Variant, counts: dict[int, int]) -> JsonObject:
    return variant.view(
        counts.get(variant.id, 0), [offer.id for offer in call.tenant.shop.offers_of(variant.id)]
    )


def _list(call: Call) -> JsonObject:
    shop, asked = call.tenant.shop, call.params
    wanted = set(asked.get("variant_ids") or shop.variants)
    if "offer_id" in asked:
        offer = shop.offers.get(asked["offer_id"])
        wanted &= set(offer.variant_ids) if offer else set()
    rows = [
        variant
        for variant in shop.variants.values()
        if variant.id in wanted and asked.get("product_id") in {None, variant.product_id}
    ]
    page, meta = page_of(rows, asked)
    counts = shop.active_counts()
    return {"product_variants": [_view(call, variant, counts) for variant in page], "meta": meta}


def _read(call: Call) -> JsonObject:
    return _view(call, variant_of(call), call.tenant.shop.active_counts())


def _offers(call: Call) -> JsonObject:
    offers = call.tenant.shop.offers_of(variant_of(call).id)
    state = call.params.get("state")
    return {"offers": [offer.summary() for offer in offers if state in {None, offer.status}]}


def _recount(call: Call, variant: Variant) -> bool:
    count = call.tenant.shop.active_counts()[variant.id]
    changed = (variant.stored_count, variant.metafield_count) != (count, count)
    variant.stored_count = count
    return _write_metafield(call, variant, count) or changed


def _write_metafield(call: Call, variant: Variant, count: int) -> bool:
    changed = variant.metafield_count != count
    variant.metafield_count = count
    variant.synced_at = iso(call.world.clock.now())
    return changed


def _recalculate(call: Call) -> JsonObject:
    _recount(call, variant_of(call))
    return _read(call)


def _bulk(kind: str, change: Callable[[Call, Variant], bool]) -> Callable[[Call], JsonObject]:
    def handler(call: Call) -> JsonObject:
        def apply(variant_id: int) -> bool:
            variant = call.tenant.shop.variants.get(variant_id)
            if variant is None:  # Invented: unknown ids are swallowed like other errors of items
                raise ItemError("Product variant not found")
            return change(call, variant)

        return start_bulk(call, kind, "variants", "variant_ids", apply)

    return handler


def _reset(call: Call, variant: Variant) -> bool:
    # Invented: a reset empties the metafield until the next sync.
    changed = variant.metafield_count is not None
    variant.metafield_count = None
    variant.synced_at = None
    return changed


def _sync(call: Call, variant: Variant) -> bool:
    return _write_metafield(call, variant, variant.stored_count)


def _job(call: Call) -> JsonObject:
    return bulk_status(call, "variants")


# Invented: the key `variant_ids`, and that it can't be left out.
_BULK = params({"variant_ids": array(INTEGER, minItems=1, maxItems=MAX_VARIANTS)}, ("variant_ids",))
_LIST = params({"offer_id": UUID, "product_id": INTEGER, "variant_ids": array(INTEGER), **PAGE})
_OFFERS = params({"state": {"type": "string", "enum": ["enabled", "disabled", "discarded"]}})

ACTIONS = (
    Action("GET", SCOPE, "list", "List product variants", _list, _LIST, ("index",)),
    Action("GET", ONE, "read", "Read counts, offers and metafields of a variant", _read, aliases=("show",)),
    Action("GET", f"{ONE}/offers", "offers", "Offers of a variant", _offers, _OFFERS),
    Action(
        "POST",
        f"{ONE}/recalculate_preorder_count",
        "recalculate_preorder_count",
        "Count again from active order lines and push to Shopify",
        _recalculate,
        aliases=("recalculate",),
    ),
    Action(
        "POST",
        f"{SCOPE}/bulk_recalculate_preorder_counts",
        "bulk_recalculate_preorder_counts",
        "Count many variants again",
        _bulk("bulk_recalculate_preorder_counts", _recount),
        _BULK,
    ),
    Action(
        "POST",
        f"{SCOPE}/bulk_reset_metafields",
        "bulk_reset_metafields",
        "Empty the metafields of many variants",
        _bulk("bulk_reset_metafields", _reset),
        _BULK,
    ),
    Action(
        "POST",
        f"{SCOPE}/bulk_sync_metafields",
        "bulk_sync_metafields",
        "Write the metafields of many variants",
        _bulk("bulk_sync_metafields", _sync),
        _BULK,
    ),
    Action("GET", f"{SCOPE}/jobs/:job_id", "job_status", "Status of a bulk job", _job),
)
