"""Records of the sandbox's shop, and how the API shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# Documented: the seven derived states of an order.
ORDER_STATES = (
    "placed",
    "awaiting_balance",
    "balance_collected",
    "released",
    "fulfilled",
    "cancelled",
    "refunded",
)
INACTIVE_STATES = frozenset({"fulfilled", "cancelled", "refunded"})


def money(cents: int) -> str:
    """Amounts are decimal strings (documented for one report, Invented: everywhere else)."""
    return f"{cents // 100}.{cents % 100:02d}"


@dataclass
class Offer:
    """One preorder offer."""

    id: str
    name: str
    internal_name: str
    created_at: str
    enabled: bool = True
    discarded: bool = False
    variant_ids: list[int] = field(default_factory=list)

    @property
    def status(self) -> str:
        """Invented: the values of the `status` filter."""
        if self.discarded:
            return "discarded"
        return "enabled" if self.enabled else "disabled"

    def summary(self) -> dict[str, Any]:
        """Shape of one row of the list. Invented: all fields but `id` and `name`."""
        return {
            "id": self.id,
            "name": self.name,
            "internal_name": self.internal_name,
            "status": self.status,
            "created_at": self.created_at,
        }

    def view(self) -> dict[str, Any]:
        """Shape of the read: the row and a `capabilities` block. Invented: what stands in the block."""
        return self.summary() | {
            "capabilities": {
                "widget": {
                    "badge": {"enabled": True, "text": "Preorder"},
                    "button": {"text": f"Preorder {self.name}"},
                },
                "products": {"variant_ids": list(self.variant_ids), "count": len(self.variant_ids)},
                "remaining_balance": {"auto_collect": False},
                "terms": {"enabled": False},
            }
        }


@dataclass
class Customer:
    """A person who orders."""

    id: int
    name: str
    email: str
    note: str

    def view(self) -> dict[str, Any]:
        """Shape inside an order."""
        return {"id": self.id, "name": self.name, "email": self.email}


@dataclass
class Line:
    """One preordered variant of an order."""

    variant_id: int
    product_id: int
    offer_id: str
    quantity: int
    unit_cents: int
    deposit_percent: int

    @property
    def total_cents(self) -> int:
        """Price of the line."""
        return self.unit_cents * self.quantity

    @property
    def deposit_cents(self) -> int:
        """The part charged at checkout."""
        return self.total_cents * self.deposit_percent // 100

    @property
    def balance_cents(self) -> int:
        """The part charged later."""
        return self.total_cents - self.deposit_cents

    def view(self) -> dict[str, Any]:
        """Invented: shape of a line."""
        return {
            "shopify_variant_id": self.variant_id,
            "shopify_product_id": self.product_id,
            "offer_id": self.offer_id,
            "quantity": self.quantity,
            "price": money(self.unit_cents),
        }


@dataclass
class Order:
    """One order with preorder lines."""

    id: str
    shopify_order_id: int
    number: int
    created_at: str
    customer: Customer
    market_id: int
    currency: str
    lines: list[Line]
    tags: list[str]
    collected: bool = False
    released: bool = False
    fulfilled: bool = False
    cancelled: bool = False
    refunded: bool = False
    payment_links: int = 0

    @property
    def balance_cents(self) -> int:
        """The balance of all lines, collected or not."""
        return sum(line.balance_cents for line in self.lines)

    @property
    def outstanding_cents(self) -> int:
        """What is still to be charged."""
        return 0 if self.collected or self.cancelled or self.refunded else self.balance_cents

    @property
    def state(self) -> str:
        """
        Documented: derived, not stored.

        Invented: an order paid in full at checkout is `placed` until it is released.
        """
        for flag in ("refunded", "cancelled", "fulfilled", "released"):
            if getattr(self, flag):
                return flag
        if self.balance_cents == 0:
            return "placed"
        return "balance_collected" if self.collected else "awaiting_balance"

    def view(self) -> dict[str, Any]:
        """Shape of the read. Documented down to `payments`; Invented: the rest, which is cut."""
        deposit = sum(line.deposit_cents for line in self.lines)
        return {
            "id": self.id,
            "shopify_order_id": self.shopify_order_id,
            "name": f"#{self.number}",
            "state": self.state,
            "created_at": self.created_at,
            "customer": self.customer.view(),
            "currency": self.currency,
            "total_price": money(deposit + self.balance_cents),
            "payments": {
                "deposit": money(deposit),
                "balance": money(self.balance_cents),
                "total_outstanding": money(self.outstanding_cents),
                "charged_balance": money(self.balance_cents if self.collected else 0),
                "payment_links_sent": self.payment_links,
            },
            "tags": list(self.tags),
            "market_id": self.market_id,
            "line_items": [line.view() for line in self.lines],
        }


@dataclass
class Variant:
    """One product variant that is or was sold as a preorder."""

    id: int
    product_id: int
    product_title: str
    title: str
    shipping_text: str
    sku: str
    price_cents: int
    stored_count: int = 0
    metafield_count: int | None = None
    synced_at: str | None = None

    def view(self, active_count: int, offer_ids: list[str]) -> dict[str, Any]:
        """Documented: counts, offers, metafield state, drift. Invented: the names of these fields."""
        return {
            "shopify_variant_id": self.id,
            "shopify_product_id": self.product_id,
            "product_title": self.product_title,
            "title": self.title,
            "sku": self.sku,
            "price": money(self.price_cents),
            "preorder_count": self.stored_count,
            "active_preorder_count": active_count,
            "offer_ids": offer_ids,
            "metafields": {
                "preorder_count": self.metafield_count,
                "synced_at": self.synced_at,
                "drift": self.metafield_count != self.stored_count or self.stored_count != active_count,
            },
        }
