"""Imports of products and of price lists from an uploaded CSV file."""

from __future__ import annotations

import copy
import json
from typing import Any

from stoq_provider.testing.medusa.basics import Ids, StepFailed, invalid, not_found
from stoq_provider.testing.medusa.catalogue import REGIONS, Catalogue, Variant
from stoq_provider.testing.medusa.jobs import BatchJob, ServerDied
from stoq_provider.testing.medusa.parsing import Row, check_regions, price_cells, read_rows
from stoq_provider.testing.medusa.rows import apply
from stoq_provider.testing.medusa.storage import Storage

OPERATIONS = ("PRODUCT_CREATE", "PRODUCT_UPDATE", "VARIANT_CREATE", "VARIANT_UPDATE")
Plan = dict[str, list[Row]]
SECONDS_PER_ROW = 0.04  # M: seven operations took about 0.2 s


def uploaded(storage: Storage, job: BatchJob) -> bytes:
    """
    The file of an import.

    M: where there is none, the local file service's stream throws an error that nobody catches, and the
    process ends.
    """
    blob = storage.files.get(str(job.context.get("fileKey")))
    if blob is None:
        raise ServerDied
    return blob.data


class ProductImport:
    """`product-import`: all rows or none (M)."""

    def __init__(self, catalogue: Catalogue, storage: Storage, ids: Ids) -> None:
        self._catalogue = catalogue
        self._storage = storage
        self._ids = ids

    def prepare(self, context: dict[str, Any]) -> dict[str, Any]:
        """Nothing of the context is looked at (M)."""
        return dict(context)

    def pre_process(self, job: BatchJob, now: float) -> None:
        """Read the file and count what would be done."""
        rows = read_rows(uploaded(self._storage, job), ["Product Handle"])
        check_regions(rows, REGIONS)
        plan = _plan(rows)
        job.plan = plan
        counts = {name: len(plan[name]) for name in OPERATIONS}
        job.put(
            count=sum(counts.values()),
            advancement_count=0,
            operations=counts,
            files=self._operation_files(job, plan, now),
            stat_descriptors=[
                {
                    "key": "product-import-count",
                    "name": "Products/variants to import",
                    # M: with the line break and the blanks.
                    "message": (
                        f"There will be {counts['PRODUCT_CREATE']} products created "
                        f"({counts['PRODUCT_UPDATE']}  updated).\n             "
                        f"{counts['VARIANT_CREATE']} variants will be created and "
                        f"{counts['VARIANT_UPDATE']} updated"
                    ),
                }
            ],
        )

    def seconds(self, job: BatchJob) -> float:
        """The rows decide."""
        return float(SECONDS_PER_ROW * job.result["count"]) if job.result else 0.0

    def process(self, job: BatchJob, now: float) -> None:
        """Work on a copy, which becomes the catalogue only if every row could be done."""
        changed = Catalogue(copy.deepcopy(self._catalogue.products), [])
        for name in OPERATIONS:
            for row in job.plan[name]:
                apply(name, changed, row, self._ids, now)
        self._catalogue.products[:] = changed.products
        job.put(advancement_count=(job.result or {})["count"])

    def _operation_files(self, job: BatchJob, plan: Plan, now: float) -> dict[str, str]:
        """M: one file of operations for each kind that occurs."""
        return {
            name: self._storage.put(
                "imports/products/ops/", f"{job.id}-{name}.json", json.dumps(rows).encode(), now
            )
            for name, rows in plan.items()
            if rows
        }


class PriceListImport:
    """`price-list-import`. S: it adds prices to the variants of a price list."""

    def __init__(self, catalogue: Catalogue, storage: Storage, ids: Ids, now: float) -> None:
        self._catalogue = catalogue
        self._storage = storage
        # Invented: one price list, empty at first.
        self.lists: dict[str, dict[str, dict[str, str]]] = {ids.new("pl", now): {}}

    def prepare(self, context: dict[str, Any]) -> dict[str, Any]:
        """The price list must be named (M) and exist (S)."""
        list_id = context.get("price_list_id")
        if not list_id:
            raise invalid("Price list id is required")
        if list_id not in self.lists:
            raise not_found(f"Price list with id: {list_id} was not found")
        return dict(context)

    def pre_process(self, job: BatchJob, now: float) -> None:
        """Read the file and count the prices."""
        rows = read_rows(uploaded(self._storage, job), [], prices=True)
        check_regions(rows, REGIONS)
        for row in rows:
            if not self._variant(row):
                variant_id, sku = row.get("Product Variant ID"), row.get("SKU")
                raise StepFailed(
                    f"Error while processing row with:\n      variant ID: {variant_id or 'null'},\n"
                    f"      variant SKU: {sku or 'null'},\n      "
                    + (f"{variant_id or sku} was not found" if variant_id or sku else "SKU or ID is required")
                )
        job.plan = rows
        job.put(
            count=len(rows),
            advancement_count=0,
            operations={"PRICE_LIST_PRICE_CREATE": len(rows)},
            stat_descriptors=[
                {
                    "key": "price-list-import-count",
                    "name": "PriceList to import",
                    "message": f"{len(rows)} prices will be added",
                }
            ],
        )

    def seconds(self, job: BatchJob) -> float:
        """The rows decide."""
        return SECONDS_PER_ROW * len(job.plan)

    def process(self, job: BatchJob, now: float) -> None:
        """S: the prices of the list are replaced."""
        prices = {}
        for row in job.plan:
            variant = self._variant(row)
            assert variant is not None
            prices[variant.id] = price_cells(row)
        self.lists[job.context["price_list_id"]] = prices
        job.put(advancement_count=len(job.plan))

    def _variant(self, row: Row) -> Variant | None:
        wanted, sku = row.get("Product Variant ID"), row.get("SKU")
        for variant in self._catalogue.variants():
            if (wanted and variant.id == wanted) or (
                not wanted and sku and variant.fields["Variant SKU"] == sku
            ):
                return variant
        return None


def _plan(rows: list[Row]) -> Plan:
    """S: a product's first row says what becomes of it; every row is a variant."""
    plan: Plan = {name: [] for name in OPERATIONS}
    seen: dict[str, bool] = {}
    for row in rows:
        plan["VARIANT_UPDATE" if row.get("Variant Id") else "VARIANT_CREATE"].append(row)
        handle = row["Product Handle"]
        if not seen.get(handle):
            plan["PRODUCT_UPDATE" if row.get("Product Id") else "PRODUCT_CREATE"].append(row)
            seen[handle] = True
    return plan
