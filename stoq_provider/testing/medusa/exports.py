"""Exports of products and orders to a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from stoq_provider.testing.medusa.basics import StepFailed, millis
from stoq_provider.testing.medusa.catalogue import Catalogue, Order, Product, check_filters, matches
from stoq_provider.testing.medusa.columns import ORDER_COLUMNS, PRODUCT_COLUMNS, VARIANT_COLUMNS
from stoq_provider.testing.medusa.jobs import BatchJob, LoopsForever
from stoq_provider.testing.medusa.storage import Storage

PAGE = 50  # M: default of `limit`
# Fitted to two measurements: 3040 products in 13 s with pages of 50, in 30 s with pages of 10.
SECONDS_PER_PAGE = 0.07
SECONDS_PER_RECORD = 0.001
_CONSUMED = frozenset({"limit", "offset", "order", "fields", "expand", "list_config"})
_PRODUCT_RELATIONS = (
    "variants",
    "variants.prices",
    "variants.options",
    "profiles",
    "images",
    "options",
    "options.values",
    "tags",
    "type",
    "collection",
    "sales_channels",
    "variants.prices.region",
)
Records = Sequence[Product] | Sequence[Order]


def _list_config(context: dict[str, Any], relations: Sequence[str]) -> dict[str, Any]:
    """Built from the context's own keys; one that was sent is overwritten (M)."""
    order = str(context.get("order") or "-created_at")
    config: dict[str, Any] = {
        "relations": [*relations, *filter(None, str(context.get("expand") or "").split(","))],
        "skip": context.get("offset") or 0,
        "take": context.get("limit") or PAGE,
        "order": {order.lstrip("-"): "DESC" if order.startswith("-") else "ASC"},
    }
    if context.get("fields"):
        config["select"] = str(context["fields"]).split(",")
    return config


class ProductExport:
    """`product-export`."""

    folder = "exports/products/"
    name = "product-export"
    noun = "Product"
    relations: Sequence[str] = _PRODUCT_RELATIONS

    def __init__(self, catalogue: Catalogue, storage: Storage) -> None:
        self._catalogue = catalogue
        self._storage = storage

    def prepare(self, context: dict[str, Any]) -> dict[str, Any]:
        """Other keys are kept as they are (M)."""
        kept = {name: value for name, value in context.items() if name not in _CONSUMED}
        return {**kept, "list_config": _list_config(context, self.relations)}

    def pre_process(self, job: BatchJob, now: float) -> None:
        """Count, and find the shape of the file."""
        found = self._found(job)
        count = self._count(job, found)
        if self._loops_while_counting and count > len(found):
            raise LoopsForever
        self._shape(job, found[job.context["list_config"]["skip"] : count])
        config = job.context["list_config"]
        job.context["list_config"] = {**config, "relations": sorted(config["relations"])}  # M
        noun = self.noun.lower()
        job.put(
            stat_descriptors=[
                {
                    "key": f"{noun}-export-count",
                    "name": f"{self.noun} count to export",
                    "message": f"There will be {count} {noun}s exported by this action",
                }
            ]
        )

    def seconds(self, job: BatchJob) -> float:
        """The pages decide."""
        found = len(self._found(job))
        pages = -(-found // max(1, int(job.context["list_config"]["take"])))
        return SECONDS_PER_PAGE * pages + SECONDS_PER_RECORD * found

    def process(self, job: BatchJob, now: float) -> None:
        """Write the file. An export of nothing has no counts (M)."""
        found = self._found(job)
        count = self._count(job, found)
        if count > len(found):
            raise LoopsForever
        chosen = found[job.context["list_config"]["skip"] : count]
        data = _encode(self._table(chosen))
        key = self._storage.put(self.folder, f"{self.name}-{millis(now)}.csv", data, now)
        job.put(file_key=key, file_size=len(data))
        if chosen:
            job.put(
                count=count,
                advancement_count=len(chosen),
                progress=1 if len(chosen) == count else len(chosen) / count,
            )

    def _found(self, job: BatchJob) -> list[Any]:
        filters = job.context.get("filterable_fields") or {}
        check_filters(filters, self.noun)
        found = [record for record in self._records() if matches(record, filters)]
        ((name, direction),) = job.context["list_config"]["order"].items()
        # M: the default order comes out as the order of creation.
        if name != "created_at":
            found.sort(key=lambda record: str(_sort_value(record, name)), reverse=direction == "DESC")
        return found

    def _count(self, job: BatchJob, found: list[Any]) -> int:
        """M: `batch_size` caps the whole export, and is not held against what there is."""
        return int(job.context.get("batch_size") or len(found))

    _loops_while_counting = True

    def _records(self) -> Records:
        return self._catalogue.products

    def _shape(self, job: BatchJob, products: list[Product]) -> None:
        """M: computed here; one that was sent is replaced."""
        job.context["shape"] = {
            "prices": [
                {"region": None, "currency_code": name.lower()}
                for name in _prices(products)
                if "[" not in name
            ],
            "dynamicImageColumnCount": _most(len(product.images) for product in products),
            "dynamicOptionColumnCount": _most(len(_options(product)) for product in products),
            "dynamicSalesChannelsColumnCount": _most(len(product.channels) for product in products),
            "dynamicProductCategoriesColumnCount": 0,
        }

    def _table(self, products: list[Product]) -> list[list[str]]:
        prices = _prices(products)
        options = _most(len(_options(product)) for product in products)
        images = _most(len(product.images) for product in products)
        channels = _most(len(product.channels) for product in products)
        header = ["Product Id", *PRODUCT_COLUMNS, "Variant Id", *VARIANT_COLUMNS]
        header += [f"Price {name}" for name in prices]
        header += [f"Option {n} {part}" for n in range(1, options + 1) for part in ("Name", "Value")]
        header += [f"Image {n} Url" for n in range(1, images + 1)]
        parts = ("Id", "Name", "Description")
        header += [f"Sales Channel {n} {part}" for n in range(1, channels + 1) for part in parts]
        rows = [header]
        for product in products:
            start = [product.id, *(product.fields[name] for name in PRODUCT_COLUMNS)]
            end = _padded(product.images, images)
            end += _padded([cell for channel in product.channels for cell in channel], 3 * channels)
            for variant in product.variants:
                row = [*start, variant.id, *(variant.fields[name] for name in VARIANT_COLUMNS)]
                row += [variant.prices.get(name, "") for name in prices]
                row += _padded([cell for pair in variant.options.items() for cell in pair], 2 * options)
                rows.append(row + end)
        return rows


class OrderExport(ProductExport):
    """`order-export`: fixed columns, amounts in cents (M)."""

    folder = "exports/orders/"
    name = "order-export"
    noun = "Order"
    relations: Sequence[str] = ("customer", "shipping_address")
    # S: it counts without reading, so that only the writing of the file never ends.
    _loops_while_counting = False

    def _records(self) -> Records:
        return self._catalogue.orders

    def _shape(self, job: BatchJob, products: list[Product]) -> None:
        """It has none."""

    def _table(self, orders: list[Any]) -> list[list[str]]:
        return [list(ORDER_COLUMNS), *([order.cells[name] for name in ORDER_COLUMNS] for order in orders)]


def _sort_value(record: Product | Order, name: str) -> Any:
    try:
        return record.value(name) or ""
    except KeyError:
        raise StepFailed(f'Property "{name}" was not found. Make sure your query is correct.') from None


def _prices(products: list[Product]) -> list[str]:
    """Names of price columns, in the order in which they turn up."""
    names: dict[str, None] = {}
    for product in products:
        for variant in product.variants:
            names |= dict.fromkeys(variant.prices)
    return list(names)


def _options(product: Product) -> dict[str, None]:
    names: dict[str, None] = {}
    for variant in product.variants:
        names |= dict.fromkeys(variant.options)
    return names


def _most(counts: Any) -> int:
    return max(counts, default=0)


def _padded(cells: Sequence[str], width: int) -> list[str]:
    return [*cells, *[""] * (width - len(cells))]


def _encode(rows: list[list[str]]) -> bytes:
    """M: semicolons, CRLF, UTF-8 without a BOM, quotes where needed."""
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=";", lineterminator="\r\n").writerows(rows)
    return buffer.getvalue().encode()
