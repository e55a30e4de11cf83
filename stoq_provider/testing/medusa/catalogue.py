"""A shop's products and orders, as the rows of an export."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from stoq_provider.testing.medusa.basics import Ids, StepFailed, instant, iso_ms

# Invented: of the server's columns, those that tell a product, a variant and an order. Prices and options
# are columns of an export only where a row has them (M); so is any other column that an import brought.
PRODUCT_COLUMNS = (
    "Product Id",
    "Product Handle",
    "Product Title",
    "Product Description",
    "Product Status",
    "Variant Id",
    "Variant Title",
    "Variant SKU",
    "Variant Inventory Quantity",
    "Variant Allow Backorder",
    "Variant Manage Inventory",
)
ORDER_COLUMNS = (
    "Order_ID",
    "Display_ID",
    "Order status",
    "Date",
    "Customer Email",
    "Payment Status",
    "Total",
    "Currency Code",
)
CREATED = "created_at"
"""Key of a row that is no column."""

# Columns of the tables that a filter may name; any other fails the job (M).
FIELDS = {
    "Product": {
        **{name: f"Product {name.title()}" for name in ("id", "handle", "title", "description", "status")},
        CREATED: CREATED,
        "updated_at": CREATED,
    },
    "Order": {
        "id": "Order_ID",
        "display_id": "Display_ID",
        "status": "Order status",
        "email": "Customer Email",
        "payment_status": "Payment Status",
        CREATED: CREATED,
    },
}
COLOURS = ("Black", "White", "Red")
Row = dict[str, str]


@dataclass
class Catalogue:
    """One row for each variant of a product, and one for each order."""

    products: list[Row]
    orders: list[Row]

    def ids(self) -> set[str]:
        """Ids of the products."""
        return {row["Product Id"] for row in self.products}


def seeded(ids: Ids, now: float) -> Catalogue:
    """As measured: 36 products, 72 variants, every ninth product a draft, three orders."""
    products = [row for number in range(1, 37) for row in _product(number, ids, now - 60 + number / 100)]
    return Catalogue(products, [_order(number, ids, now - 3600 * number) for number in range(1, 4)])


def _product(number: int, ids: Ids, created: float) -> list[Row]:
    product = {
        "Product Id": ids.new("prod", created),
        "Product Handle": f"lab-product-{number:02d}",
        "Product Title": f"Lab Product {number:02d}",
        "Product Description": 'comma, semicolon; and "quotes"' if number % 5 == 0 else "Seeded",
        "Product Status": "draft" if number % 9 == 0 else "published",
        CREATED: str(iso_ms(created)),
    }
    return [
        {
            **product,
            "Variant Id": ids.new("variant", created),
            "Variant Title": colour,
            "Variant SKU": f"LAB-{number:02d}-{colour.upper()}",
            "Variant Inventory Quantity": str(10 * number + index),
            "Variant Allow Backorder": "false",
            "Variant Manage Inventory": "true",
            "Price EUR": f"{10 + number / 10}",
            "Price USD": f"{11 + number / 10}",
            "Option 1 Name": "Color",
            "Option 1 Value": colour,
        }
        for index, colour in enumerate(COLOURS[: 1 + number % 3])
    ]


def _order(number: int, ids: Ids, created: float) -> Row:
    return {
        "Order_ID": ids.new("order", created),
        "Display_ID": str(number),
        "Order status": "pending",
        "Date": formatdate(created, usegmt=True),
        "Customer Email": f"customer{number}@example.test",
        "Payment Status": "awaiting",
        "Total": str(1000 * number),
        "Currency Code": "eur",
        CREATED: str(iso_ms(created)),
    }


def chosen(rows: list[Row], context: Mapping[str, Any], noun: str) -> list[Row]:
    """
    The rows that an export's context asks for, in its order.

    :param noun: `Product` or `Order`
    :raises StepFailed: a filter or the order names a column that the table lacks, in the server's words (M)
    """
    filters, order = context.get("filterable_fields") or {}, str(context.get("order") or CREATED)
    for name in (*filters, order.lstrip("-")):
        if name not in {*FIELDS[noun], "q"}:
            raise StepFailed(f'Property "{name}" was not found in "{noun}". Make sure your query is correct.')
    columns = FIELDS[noun]
    found = [row for row in rows if all(_passes(row, columns, *wanted) for wanted in filters.items())]
    # M: the order by creation, however it is asked for, comes out as the order of creation.
    if order.lstrip("-") not in {CREATED, "q"}:
        found.sort(key=lambda row: row[columns[order.lstrip("-")]], reverse=order.startswith("-"))
    return found


def _passes(row: Row, columns: Mapping[str, str], name: str, wanted: Any) -> bool:
    if name == "q":
        return any(str(wanted).lower() in cell.lower() for cell in row.values())
    value = row[columns[name]]
    if isinstance(wanted, dict):
        return within(value, wanted)
    return value in wanted if isinstance(wanted, list) else bool(value == wanted)


def within(value: str | None, bounds: Mapping[str, Any]) -> bool:
    """Whether an ISO time stamp lies in `{lt, gt, lte, gte}`. A bound that is no date holds nothing."""
    moment = instant(value)
    limits = {word: instant(text) for word, text in bounds.items()}
    if moment is None or None in limits.values():
        return False
    return all(COMPARE[word](moment, limit) for word, limit in limits.items())


COMPARE: dict[str, Any] = {"lt": operator.lt, "gt": operator.gt, "lte": operator.le, "gte": operator.ge}
