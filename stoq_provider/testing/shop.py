"""A seeded shop: the same seed gives the same records."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from stoq_provider.testing.records import INACTIVE_STATES, Customer, Line, Offer, Order, Variant

# Invented: everything below is made up; only the kinds of ids (UUIDs and Shopify integers) are documented.
FIRST_DAY = datetime(2026, 1, 1)
DAYS = 181
FIRST_ORDER_ID = 5_500_000_001_024
FIRST_VARIANT_ID = 44_100_000_000_512
FIRST_PRODUCT_ID = 8_200_000_000_256
FIRST_CUSTOMER_ID = 7_300_000_000_128
MARKETS = ((101, "USD"), (102, "EUR"), (103, "GBP"))
PRODUCTS = (
    'Parka "Nordic", long',
    "Canvas tote",
    'Desk lamp, 12"',
    "Crème brûlée set",
    "Trail shoe",
    "Kettle; matte",
    "Wool throw",
    "Film camera",
)
SIZES = ("S", "M", "L, tall", 'One size "flex"')
SHIPPING = ("Ships in March", "Ships in April,\nor when stock lands", 'Batch "B":\r\nlate May')
FIRST_NAMES = ("Ada", "Björn", "Chloé", "D'Arcy", "Emre", "Fatima", "Grace", "Hiro")
LAST_NAMES = ("Okafor", "Lindqvist", "O'Neil", 'van "Dutch" Dijk', "Sato, Jr.", "Müller", "García")
NOTES = ("", "Leave at the door,\nring twice", 'Says "no substitutes"', "Gift; no invoice, please")


@dataclass(frozen=True)
class ShopSize:
    """How many records a shop has."""

    orders: int = 1200
    variants: int = 150
    offers: int = 30
    customers: int = 300


class Shop:
    """The records behind one key."""

    def __init__(self, seed: int, size: ShopSize | None = None) -> None:
        self._random = Random(seed)
        size = size or ShopSize()
        self.offers: dict[str, Offer] = {}
        self.variants: dict[int, Variant] = {}
        self.orders: dict[int, Order] = {}
        self._seed_variants(size.variants)
        self._seed_offers(size.offers)
        self._seed_orders(size.orders, self._customers(size.customers))
        self._seed_metafields()

    def new_id(self) -> str:
        """The next STOQ id."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def newest_orders(self) -> list[Order]:
        """Invented: orders are listed newest first, as documented for offers."""
        return list(reversed(self.orders.values()))

    def active_counts(self) -> Counter[int]:
        """Preordered units by variant, over orders that still wait for goods."""
        counts: Counter[int] = Counter()
        for order in self.orders.values():
            if order.state not in INACTIVE_STATES:
                for line in order.lines:
                    counts[line.variant_id] += line.quantity
        return counts

    def offers_of(self, variant_id: int) -> Iterator[Offer]:
        """Offers that contain a variant."""
        return (offer for offer in self.offers.values() if variant_id in offer.variant_ids)

    def _seed_variants(self, number: int) -> None:
        for index in range(number):
            product = index // len(SIZES)
            variant = Variant(
                id=FIRST_VARIANT_ID + index * 32,
                product_id=FIRST_PRODUCT_ID + product * 64,
                product_title=f"{PRODUCTS[product % len(PRODUCTS)]} {product + 1}",
                title=SIZES[index % len(SIZES)],
                shipping_text=SHIPPING[index % len(SHIPPING)],
                sku=f"SKU-{index + 1:05d}",
                price_cents=self._random.randrange(1500, 40000),
            )
            self.variants[variant.id] = variant

    def _seed_offers(self, number: int) -> None:
        ids = list(self.variants)
        for index in range(number):
            name = f"Drop {index + 1}" if index % 3 else f'Drop {index + 1}, "early"'
            offer = Offer(
                id=self.new_id(),
                name=name,
                internal_name=name.lower(),
                created_at=_moment(index * DAYS // number, 9 * 3600),
                enabled=index % 5 != 4,
                variant_ids=sorted(self._random.sample(ids, min(8, len(ids)))),
            )
            self.offers[offer.id] = offer

    def _customers(self, number: int) -> list[Customer]:
        return [
            Customer(
                id=FIRST_CUSTOMER_ID + index * 16,
                name=f"{self._random.choice(FIRST_NAMES)} {self._random.choice(LAST_NAMES)}",
                email=f"customer{index + 1}@example.com",
                note=self._random.choice(NOTES),
            )
            for index in range(number)
        ]

    def _seed_orders(self, number: int, customers: list[Customer]) -> None:
        offers = list(self.offers.values())
        for index in range(number):
            age = index / number
            market_id, currency = self._random.choice(MARKETS)
            order = Order(
                id=self.new_id(),
                shopify_order_id=FIRST_ORDER_ID + index * 128,
                number=1001 + index,
                created_at=_moment(int(age * DAYS), self._random.randrange(86400)),
                customer=self._random.choice(customers),
                market_id=market_id,
                currency=currency,
                lines=[self._line(offers, paid_in_full=age >= 0.9) for _ in range(1 + index % 2)],
                tags=["preorder"] if index % 4 else ["preorder", "vip, gold"],
            )
            self._age(order, age)
            self.orders[order.shopify_order_id] = order

    def _line(self, offers: list[Offer], *, paid_in_full: bool) -> Line:
        offer = self._random.choice(offers)
        variant = self.variants[self._random.choice(offer.variant_ids)]
        return Line(
            variant_id=variant.id,
            product_id=variant.product_id,
            offer_id=offer.id,
            quantity=self._random.randint(1, 3),
            unit_cents=variant.price_cents,
            deposit_percent=100 if paid_in_full else 30,
        )

    def _age(self, order: Order, age: float) -> None:
        # States lie in blocks by age, so that a state filter leaves whole pages empty.
        luck = self._random.random()
        if luck < 0.08:
            order.cancelled = True
            return
        order.collected = age < 0.6 or age >= 0.9
        order.released = age < 0.45
        order.fulfilled = age < 0.3
        order.refunded = order.fulfilled and luck > 0.9

    def _seed_metafields(self) -> None:
        counts = self.active_counts()
        for index, variant in enumerate(self.variants.values()):
            variant.stored_count = counts[variant.id] + (index % 7 == 0)
            variant.metafield_count = None if index % 11 == 0 else variant.stored_count - (index % 5 == 0)
            variant.synced_at = None if index % 11 == 0 else _moment(DAYS - 1, 3600)


def _moment(day: int, second: int) -> str:
    return (FIRST_DAY + timedelta(days=day, seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ")
