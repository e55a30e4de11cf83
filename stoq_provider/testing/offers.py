"""Actions on offers."""

from __future__ import annotations

from stoq_provider.testing.actions import Action, ApiError, Call, JsonObject, page_of
from stoq_provider.testing.bulk import start_hidden
from stoq_provider.testing.clock import iso
from stoq_provider.testing.records import Offer
from stoq_provider.testing.schemas import INTEGER, PAGE, STRING, array, params

SCOPE = "/preorders/offers"
ONE = f"{SCOPE}/:id"


def offer_of(call: Call, offer_id: str | None = None) -> Offer:
    """The offer of the path. Invented: wording of the 404."""
    offer = call.tenant.shop.offers.get(offer_id or call.path_params["id"])
    if offer is None:
        raise ApiError(404, "Offer not found")
    return offer


def _list(call: Call) -> JsonObject:
    # Invented: discarded offers appear only when asked for. Documented: newest first.
    wanted = call.params.get("status")
    shown = {wanted} if wanted else {"enabled", "disabled"}
    rows = [offer for offer in call.tenant.shop.offers.values() if offer.status in shown]
    rows.sort(key=lambda offer: offer.created_at, reverse=True)
    page, meta = page_of(rows, call.params)
    return {"offers": [offer.summary() for offer in page], "meta": meta}


def _read(call: Call) -> JsonObject:
    return offer_of(call).view()


def _create(call: Call) -> JsonObject:
    shop = call.tenant.shop
    name: str = call.params.get("name", "Preorder")
    offer = Offer(
        id=shop.new_id(),
        name=name,
        internal_name=call.params.get("internal_name", name),
        created_at=iso(call.world.clock.now()),
        enabled=False,  # Invented: a new offer is not on sale yet
    )
    shop.offers[offer.id] = offer
    return offer.view()


def _update(call: Call) -> JsonObject:
    offer = offer_of(call)
    offer.name = call.params.get("name", offer.name)
    offer.internal_name = call.params.get("internal_name", offer.internal_name)
    return offer.view()


def _discard(call: Call) -> JsonObject:
    offer = offer_of(call)
    offer.discarded = True
    return offer.view()


def _restore(call: Call) -> JsonObject:
    offer = offer_of(call)
    offer.discarded = False
    return offer.view()


def _switch(call: Call, *, enabled: bool) -> JsonObject:
    offer = offer_of(call)
    if offer.discarded:  # Invented: a discarded offer must be restored first
        raise ApiError(409, "Offer is discarded. Restore it first.")
    offer.enabled = enabled
    return offer.view()


def _enable(call: Call) -> JsonObject:
    return _switch(call, enabled=True)


def _disable(call: Call) -> JsonObject:
    return _switch(call, enabled=False)


def _add_variants(call: Call) -> JsonObject:
    offer = offer_of(call)
    known = call.tenant.shop.variants

    def add(variant_id: int) -> bool:
        if variant_id not in known or variant_id in offer.variant_ids:
            return False
        offer.variant_ids.append(variant_id)
        return True

    start_hidden(call, "products_add_variants", call.params["variant_ids"], add)
    # Documented: no handle. Invented: the body.
    return {"offer_id": offer.id, "accepted": len(call.params["variant_ids"])}


_NAMES = params({"name": STRING, "internal_name": STRING})
_STATUS = {"type": "string", "enum": ["enabled", "disabled", "discarded"]}

ACTIONS = (
    Action(
        "GET",
        SCOPE,
        "list",
        "List offers, newest first",
        _list,
        params({"status": _STATUS, **PAGE}),
        ("index",),
    ),
    Action("GET", ONE, "read", "Read one offer with its capabilities", _read, aliases=("show", "get")),
    Action("POST", SCOPE, "create", "Create an offer; configure it afterwards", _create, _NAMES),
    Action("PATCH", ONE, "update", "Rename an offer", _update, _NAMES),
    Action(
        "POST", f"{ONE}/discard", "discard", "Discard an offer, recoverably", _discard, aliases=("delete",)
    ),
    Action("POST", f"{ONE}/restore", "restore", "Restore a discarded offer", _restore),
    Action("POST", f"{ONE}/enable", "enable", "Put an offer on sale", _enable, aliases=("activate",)),
    Action("POST", f"{ONE}/disable", "disable", "Take an offer off sale", _disable, aliases=("deactivate",)),
    Action(
        "POST",
        f"{ONE}/products/add_variants",
        "add_variants",
        "Add variants to an offer, in the background",
        _add_variants,
        params({"variant_ids": array(INTEGER, minItems=1)}, ("variant_ids",)),
        notes="Fans out to a background job without a handle.",
    ),
)
