"""Imports of products and of price lists from an uploaded CSV file."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from typing import Any

from stoq_provider.testing.medusa.basics import Ids, StepFailed, invalid, iso_ms, not_found
from stoq_provider.testing.medusa.catalogue import CREATED, PRODUCT_COLUMNS, Catalogue, Row
from stoq_provider.testing.medusa.jobs import BatchJob, ServerDied
from stoq_provider.testing.medusa.storage import Storage

_PRODUCT_COLUMN = re.compile(r"(Product|Variant|Price|Option|Image|Sales Channel) .+")
_PRICE_COLUMN = re.compile(r"Product Variant ID|SKU|Price .+")
_HANDLE = "Product Handle"
_OF_PRODUCT = ("Product ", "Image ", "Sales Channel ")
_SKU_INDEX = "IDX_2ca8cfbdafb998ecfd6d340389"  # M
_HANDLE_INDEX = "IDX_sandbox_product_handle"  # Invented:


def read_rows(storage: Storage, job: BatchJob, known: re.Pattern[str]) -> list[Row]:
    """
    The rows of an import's file. One without rows has no columns that could be wrong (M).

    :raises StepFailed: with the server's text, for a column it does not know
    :raises ServerDied: there is no file. M: the local file service's stream throws an error that nobody
        catches, and the process ends.
    """
    blob = storage.files.get(str(job.context.get("fileKey")))
    if blob is None:
        raise ServerDied
    text = blob.data.decode("utf-8", "replace")
    delimiter = ";" if ";" in text.partition("\n")[0] else ","
    rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval=""))
    for name in dict.fromkeys(name for row in rows for name in row):
        if not known.fullmatch(str(name)):
            raise _unreadable(
                f"Unable to treat column {name} from the csv file. "
                "No target column found in the provided schema"
            )
    return rows


def _unreadable(reason: str) -> StepFailed:
    return StepFailed(f"The csv file parsing failed due to: {reason}")


class ProductImport:
    """`product-import`: all rows or none (M)."""

    def __init__(self, catalogue: Catalogue, storage: Storage, ids: Ids) -> None:
        self._catalogue = catalogue
        self._storage = storage
        self._ids = ids

    def pre_process(self, job: BatchJob) -> None:
        """Read the file and count what would be done."""
        job.plan = rows = read_rows(self._storage, job, _PRODUCT_COLUMN)
        for number, row in enumerate(rows, start=1):
            if _HANDLE not in row:
                raise _unreadable(f'Missing column(s) "{_HANDLE}" from the given csv file')
            if not row[_HANDLE]:
                where = f'target column "{_HANDLE}" in line {number}'
                raise _unreadable(f"No value found for {where} of the given csv file")
        # S: a product's first row says what becomes of it; every row is a variant.
        products = {row[_HANDLE]: row.get("Product Id") for row in reversed(rows)}
        updated, changed = sum(map(bool, products.values())), sum(bool(row.get("Variant Id")) for row in rows)
        counts = {
            "PRODUCT_CREATE": len(products) - updated,
            "PRODUCT_UPDATE": updated,
            "VARIANT_CREATE": len(rows) - changed,
            "VARIANT_UPDATE": changed,
        }
        # M: with the line break and the blanks.
        message = (
            f"There will be {counts['PRODUCT_CREATE']} products created ({updated}  updated).\n             "
            f"{counts['VARIANT_CREATE']} variants will be created and {changed} updated"
        )
        described = {"key": "product-import-count", "name": "Products/variants to import", "message": message}
        job.put(
            count=sum(counts.values()), advancement_count=0, operations=counts, stat_descriptors=[described]
        )

    def process(self, job: BatchJob, now: float) -> None:
        """Work on a copy, which becomes the catalogue only if every row could be done."""
        rows = [dict(row) for row in self._catalogue.products]
        made: dict[str, str] = {}
        for row in job.plan:
            try:
                self._variant(rows, row, self._product(rows, row, made, now), now)
            except StepFailed as error:
                raise StepFailed(_row_error(row, str(error))) from None
        self._catalogue.products = rows
        job.put(advancement_count=(job.result or {})["count"])

    def _product(self, rows: list[Row], row: Row, made: dict[str, str], now: float) -> str:
        """Create or update the product of a row; its id."""
        handle = row[_HANDLE]
        if row.get("Product Id"):
            own = [other for other in rows if other["Product Id"] == row["Product Id"]]
            if not own:
                raise StepFailed(f"Product with id: {row['Product Id']} was not found")
            for other in own:
                other |= {name: cell for name, cell in row.items() if name.startswith(_OF_PRODUCT)}
            return row["Product Id"]
        if handle not in made:
            _need(row, "product", {"Product Title": "title"})
            _unique(rows, _HANDLE, handle, _HANDLE_INDEX)
            made[handle] = self._ids.new("prod", now)
        return made[handle]

    def _variant(self, rows: list[Row], row: Row, product_id: str, now: float) -> None:
        """Create or update the variant of a row."""
        others = [other for other in rows if other["Variant Id"] != row.get("Variant Id")]
        if row.get("Variant SKU"):
            _unique(others, "Variant SKU", row["Variant SKU"], _SKU_INDEX)
        if row.get("Variant Id"):
            if len(others) == len(rows):
                raise StepFailed(f"Variant with id: {row['Variant Id']} was not found")
            own = next(other for other in rows if other["Variant Id"] == row["Variant Id"])
            own |= {name: cell for name, cell in row.items() if not name.startswith(_OF_PRODUCT)}
            return
        needed = {"Variant Title": "title", "Variant Inventory Quantity": "inventory_quantity"}
        _need(row, "product_variant", needed)
        for other in rows:
            if other["Product Id"] == product_id and _options(other) == _options(row):
                title = other["Variant Title"]
                raise StepFailed(f"Variant with title {title} with provided options already exists")  # M
        ids = {"Product Id": product_id, "Variant Id": self._ids.new("variant", now)}
        rows.append({**dict.fromkeys(PRODUCT_COLUMNS, ""), **row, **ids, CREATED: str(iso_ms(now))})


def _need(row: Row, relation: str, needed: dict[str, str]) -> None:
    """M: what a table's columns must not lack is only noticed by the database."""
    for name, column in needed.items():
        if not row.get(name):
            raise StepFailed(
                f'null value in column "{column}" of relation "{relation}" violates not-null constraint'
            )


def _unique(rows: list[Row], column: str, value: str, index: str) -> None:
    if any(row[column] == value for row in rows):
        raise StepFailed(f'duplicate key value violates unique constraint "{index}"')


def _options(row: Row) -> list[str]:
    return [cell for name, cell in row.items() if name.startswith("Option ") and cell]


def _row_error(row: Row, reason: str) -> str:
    """M: with the blanks and line breaks."""
    names = ("Product Id", "Product Handle", "Variant Id", "Variant SKU")
    ids = [row.get(name) or "null" for name in names]
    return (
        f"Error while processing row with\n      [(product id: {ids[0]}),\n"
        f"      (product handle: {ids[1]}),\n      (variant id: {ids[2]}),\n"
        f"      (variant sku: {ids[3]})]: \n      {reason}"
    )


class PriceListImport:
    """`price-list-import`. S: it adds prices to the variants of a price list."""

    def __init__(self, catalogue: Catalogue, storage: Storage, ids: Ids, now: float) -> None:
        self._catalogue = catalogue
        self._storage = storage
        # Invented: one price list, empty at first.
        self.lists: dict[str, list[Row]] = {ids.new("pl", now): []}

    def check(self, context: Mapping[str, Any]) -> None:
        """The price list must be named (M) and exist (S). Raises `MedusaError`."""
        list_id = context.get("price_list_id")
        if not list_id:
            raise invalid("Price list id is required")
        if list_id not in self.lists:
            raise not_found(f"Price list with id: {list_id} was not found")

    def pre_process(self, job: BatchJob) -> None:
        """Read the file and count the prices."""
        job.plan = rows = read_rows(self._storage, job, _PRICE_COLUMN)
        ids = {row["Variant Id"] for row in self._catalogue.products}
        skus = {row["Variant SKU"] for row in self._catalogue.products}
        for row in rows:
            variant_id, sku = row.get("Product Variant ID"), row.get("SKU")
            if variant_id in ids or (not variant_id and sku and sku in skus):
                continue
            raise StepFailed(
                f"Error while processing row with:\n      variant ID: {variant_id or 'null'},\n"
                f"      variant SKU: {sku or 'null'},\n      "
                + (f"{variant_id or sku} was not found" if variant_id or sku else "SKU or ID is required")
            )
        described = {
            "key": "price-list-import-count",
            "name": "PriceList to import",
            "message": f"{len(rows)} prices will be added",
        }
        counts = {"PRICE_LIST_PRICE_CREATE": len(rows)}
        job.put(count=len(rows), advancement_count=0, operations=counts, stat_descriptors=[described])

    def process(self, job: BatchJob, now: float) -> None:
        """S: the prices of the list are replaced."""
        self.lists[job.context["price_list_id"]] = job.plan
        job.put(advancement_count=len(job.plan))
