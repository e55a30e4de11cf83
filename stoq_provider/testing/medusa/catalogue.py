"""A shop's products and orders, seeded like the shop that was measured."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from stoq_provider.testing.medusa.basics import Ids, StepFailed, instant, iso_ms
from stoq_provider.testing.medusa.columns import ORDER_COLUMNS, PRODUCT_COLUMNS, VARIANT_COLUMNS

PRODUCTS = 36
ORDERS = 3
COLOURS = ("Black", "White", "Red")
REGIONS = {"Europe": "eur", "United States": "usd"}  # Invented: the names
IMAGES = "http://127.0.0.1:9000/uploads"  # M: nothing is there
CHANNEL = ("Default Sales Channel", "Default Sales Channel", "Created by Medusa")
# Columns of the tables that a filter may name; any other fails the job (M).
PRODUCT_FIELDS = (
    "id",
    "title",
    "subtitle",
    "description",
    "handle",
    "status",
    "thumbnail",
    "weight",
    "material",
    "discountable",
    "external_id",
    "created_at",
    "updated_at",
    "deleted_at",
)
ORDER_FIELDS = ("id", "display_id", "status", "email", "fulfillment_status", "payment_status", "created_at")


@dataclass
class Variant:
    """One variant: what its row of an export says."""

    id: str
    fields: dict[str, str]
    prices: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)


@dataclass
class Product:
    """One product and its variants."""

    id: str
    created_at: float
    fields: dict[str, str]
    images: list[str] = field(default_factory=list)
    channels: list[tuple[str, str, str]] = field(default_factory=list)
    variants: list[Variant] = field(default_factory=list)

    def value(self, name: str) -> Any:
        """Value of a column of the table."""
        if name == "id":
            return self.id
        if name in {"created_at", "updated_at"}:
            return iso_ms(self.created_at)
        return self.fields.get("Product " + name.replace("_", " ").title()) or None


@dataclass
class Order:
    """One order, as the cells of its row."""

    id: str
    created_at: float
    cells: dict[str, str]

    def value(self, name: str) -> Any:
        """Value of a column of the table."""
        names = {
            "id": "Order_ID",
            "display_id": "Display_ID",
            "status": "Order status",
            "email": "Customer Email",
        }
        if name == "created_at":
            return iso_ms(self.created_at)
        return self.cells[names.get(name) or name.replace("_", " ").title()]


@dataclass
class Catalogue:
    """All products and orders."""

    products: list[Product]
    orders: list[Order]

    def product(self, product_id: str | None, handle: str | None = None) -> Product | None:
        """By id, or by handle."""
        for product in self.products:
            if product.id == product_id or (handle and product.fields["Product Handle"] == handle):
                return product
        return None

    def variants(self) -> list[Variant]:
        """Of all products."""
        return [variant for product in self.products for variant in product.variants]


def decimal(amount: float) -> str:
    """A price as JavaScript writes it: 10.1, 11."""
    return f"{amount:.2f}".rstrip("0").rstrip(".")


def seeded(ids: Ids, now: float, products: int = PRODUCTS) -> Catalogue:
    """As measured: 36 products, 72 variants, every ninth product a draft, three orders."""
    return Catalogue(
        [_product(number, ids, now) for number in range(1, products + 1)],
        [_order(number, ids, now) for number in range(1, ORDERS + 1)],
    )


def _product(number: int, ids: Ids, now: float) -> Product:
    image = f"{IMAGES}/none-{number:02d}.png"
    given = {
        "Product Handle": f"lab-product-{number:02d}",
        "Product Title": f"Lab Product {number:02d}",
        "Product Subtitle": 'comma, semicolon; and "quotes"' if number % 5 == 0 else "",
        "Product Description": f"Seeded product number {number}",
        "Product Status": "draft" if number % 9 == 0 else "published",
        "Product Thumbnail": image,
        "Product Weight": str(100 + number),
        "Product Discountable": "true",
        "Product Profile Name": "Default Shipping Profile",
        "Product Profile Type": "default",
    }
    created = now - 60 + number / 100
    fields = dict.fromkeys(PRODUCT_COLUMNS, "") | given
    product = Product(ids.new("prod", created), created, fields, [image], [CHANNEL])
    for index, colour in enumerate(COLOURS[: (1, 2, 3)[number % 3]]):
        product.variants.append(_variant(number, index, colour, ids, created))
    return product


def _variant(number: int, index: int, colour: str, ids: Ids, now: float) -> Variant:
    given = {
        "Variant Title": colour,
        "Variant SKU": f"LAB-{number:02d}-{colour.upper()}",
        "Variant Inventory Quantity": str(10 * number + index),
        "Variant Allow Backorder": "false",
        "Variant Manage Inventory": "true",
    }
    extra = number / 10 + index / 100
    prices = {"EUR": decimal(10 + extra), "USD": decimal(11 + extra)}
    fields = dict.fromkeys(VARIANT_COLUMNS, "") | given
    return Variant(ids.new("variant", now), fields, prices, {"Color": colour})


def _order(number: int, ids: Ids, now: float) -> Order:
    created = now - 3600 * number
    cells = dict.fromkeys(ORDER_COLUMNS, "0") | {
        "Order_ID": ids.new("order", created),
        "Display_ID": str(number),
        "Order status": "pending",
        "Date": formatdate(created, usegmt=True),
        "Customer First name": ("Ada", "Björn", "Chloé")[number % 3],
        "Customer Last name": "Example",
        "Customer Email": f"customer{number}@example.test",
        "Customer ID": ids.new("cus", created),
        "Shipping Address 1": f"{number} Main Street",
        "Shipping Address 2": "",
        "Shipping Country Code": "de",
        "Shipping City": "Berlin",
        "Shipping Postal Code": "10115",
        "Shipping Region ID": ids.new("reg", created),
        "Fulfillment Status": "not_fulfilled",
        "Payment Status": "awaiting",
        "Subtotal": str(1000 * number),
        "Total": str(1000 * number),
        "Currency Code": "eur",
        "Sales channel name": CHANNEL[1],
        "Sales channel description": CHANNEL[2],
    }
    return Order(cells["Order_ID"], created, cells)


def matches(record: Product | Order, filters: Mapping[str, Any]) -> bool:
    """Whether a record passes `filterable_fields`; raises `StepFailed` for a column nobody has (M)."""
    return all(_passes(record, name, wanted) for name, wanted in filters.items())


def check_filters(filters: Mapping[str, Any], entity: str) -> None:
    """Refuse filters by columns that the table lacks, in the server's words (M)."""
    known = PRODUCT_FIELDS if entity == "Product" else ORDER_FIELDS
    for name in filters:
        if name not in {*known, "q"}:
            raise StepFailed(
                f'Property "{name}" was not found in "{entity}". Make sure your query is correct.'
            )


def _passes(record: Product | Order, name: str, wanted: Any) -> bool:
    if name == "q":
        return (
            str(wanted).lower()
            in str(record.value("title" if isinstance(record, Product) else "email")).lower()
        )
    value = record.value(name)
    if isinstance(wanted, list):
        return value in wanted
    if isinstance(wanted, dict):
        return within(value, wanted)
    return bool(value == wanted)


def within(value: str | None, bounds: Mapping[str, Any]) -> bool:
    """Whether an ISO time stamp lies in `{lt, gt, lte, gte}`. A bound that is no date holds nothing."""
    moment = instant(value)
    limits = {word: instant(text) for word, text in bounds.items()}
    if moment is None or None in limits.values():
        return False
    return all(_COMPARE[word](moment, limit) for word, limit in limits.items())


_COMPARE: dict[str, Any] = {"lt": operator.lt, "gt": operator.gt, "lte": operator.le, "gte": operator.ge}
