"""What one row of a product import does to the catalogue."""

from __future__ import annotations

from collections.abc import Iterator

from stoq_provider.testing.medusa.basics import Ids, StepFailed
from stoq_provider.testing.medusa.catalogue import Catalogue, Product, Variant
from stoq_provider.testing.medusa.columns import PRODUCT_COLUMNS, VARIANT_COLUMNS
from stoq_provider.testing.medusa.parsing import Row, numbered, price_cells

_SKU_INDEX = "IDX_2ca8cfbdafb998ecfd6d340389"  # M
_HANDLE_INDEX = "IDX_sandbox_product_handle"  # Invented:
_STATUSES = ("draft", "proposed", "published", "rejected")
_WHOLE_NUMBERS = ("Product Weight", "Variant Inventory Quantity", "Variant Weight")


def apply(operation: str, catalogue: Catalogue, row: Row, ids: Ids, now: float) -> None:
    """
    Do one operation of an import.

    :param operation: `PRODUCT_CREATE`, `PRODUCT_UPDATE`, `VARIANT_CREATE` or `VARIANT_UPDATE`
    :raises StepFailed: with the server's text, which names the row
    """
    try:
        _OPERATIONS[operation](catalogue, row, ids, now)
    except StepFailed as error:
        raise StepFailed(_row_error(row, str(error))) from None


def _row_error(row: Row, reason: str) -> str:
    """M: with the blanks and line breaks."""
    names = ("Product Id", "Product Handle", "Variant Id", "Variant SKU")
    ids = [row.get(name) or "null" for name in names]
    return (
        f"Error while processing row with\n      [(product id: {ids[0]}),\n"
        f"      (product handle: {ids[1]}),\n      (variant id: {ids[2]}),\n"
        f"      (variant sku: {ids[3]})]: \n      {reason}"
    )


def _check_values(row: Row) -> None:
    """Invented: of all the columns' types, those of the status and of three numbers."""
    status = row.get("Product Status")
    if status and status not in _STATUSES:
        raise StepFailed(f'invalid input value for enum product_status_enum: "{status}"')
    for name in _WHOLE_NUMBERS:
        value = row.get(name)
        if value and not value.lstrip("-").isdigit():
            raise StepFailed(f'invalid input syntax for type integer: "{value}"')


def _check_needed(row: Row, relation: str, needed: dict[str, str]) -> None:
    """M: what a table's columns must not lack is only noticed by the database."""
    for name, column in needed.items():
        if not row.get(name):
            raise StepFailed(
                f'null value in column "{column}" of relation "{relation}" violates not-null constraint'
            )


def _create_product(catalogue: Catalogue, row: Row, ids: Ids, now: float) -> None:
    _check_values(row)
    _check_needed(row, "product", {"Product Title": "title"})
    if catalogue.product(None, row["Product Handle"]):
        raise StepFailed(f'duplicate key value violates unique constraint "{_HANDLE_INDEX}"')
    product = Product(ids.new("prod", now), now, dict.fromkeys(PRODUCT_COLUMNS, ""))
    _fill(product, row)
    catalogue.products.append(product)


def _update_product(catalogue: Catalogue, row: Row, ids: Ids, now: float) -> None:
    _check_values(row)
    product = catalogue.product(row["Product Id"])
    if product is None:
        raise StepFailed(f"Product with id: {row['Product Id']} was not found")
    _fill(product, row)


def _create_variant(catalogue: Catalogue, row: Row, ids: Ids, now: float) -> None:
    _check_values(row)
    _check_sku(catalogue, row, None)
    _check_needed(
        row, "product_variant", {"Variant Title": "title", "Variant Inventory Quantity": "inventory_quantity"}
    )
    product = catalogue.product(row.get("Product Id") or None, row["Product Handle"])
    assert product is not None  # its first row made or found it
    variant = Variant(ids.new("variant", now), dict.fromkeys(VARIANT_COLUMNS, ""))
    _fill_variant(variant, row)
    same = next((other for other in product.variants if other.options == variant.options), None)
    if same is not None:
        raise StepFailed(  # M
            f"Variant with title {same.fields['Variant Title']} with provided options already exists"
        )
    product.variants.append(variant)


def _update_variant(catalogue: Catalogue, row: Row, ids: Ids, now: float) -> None:
    _check_values(row)
    variant = next((v for v in catalogue.variants() if v.id == row["Variant Id"]), None)
    if variant is None:
        raise StepFailed(f"Variant with id: {row['Variant Id']} was not found")
    _check_sku(catalogue, row, variant)
    _fill_variant(variant, row)


_OPERATIONS = {
    "PRODUCT_CREATE": _create_product,
    "PRODUCT_UPDATE": _update_product,
    "VARIANT_CREATE": _create_variant,
    "VARIANT_UPDATE": _update_variant,
}


def _check_sku(catalogue: Catalogue, row: Row, own: Variant | None) -> None:
    sku = row.get("Variant SKU")
    if sku and any(v is not own and v.fields["Variant SKU"] == sku for v in catalogue.variants()):
        raise StepFailed(f'duplicate key value violates unique constraint "{_SKU_INDEX}"')


def _fill(product: Product, row: Row) -> None:
    product.fields |= {name: row[name] for name in PRODUCT_COLUMNS if name in row}
    product.images = numbered(row, r"Image \d+ Url") or product.images
    channels = list(_channels(row))
    product.channels = channels or product.channels


def _channels(row: Row) -> Iterator[tuple[str, str, str]]:
    number = 1
    while f"Sales Channel {number} Name" in row:
        name = row[f"Sales Channel {number} Name"]
        if name:
            yield name, name, row.get(f"Sales Channel {number} Description", "")
        number += 1


def _fill_variant(variant: Variant, row: Row) -> None:
    variant.fields |= {name: row[name] for name in VARIANT_COLUMNS if name in row}
    variant.prices |= price_cells(row)
    names, values = numbered(row, r"Option \d+ Name"), numbered(row, r"Option \d+ Value")
    variant.options |= dict(zip(names, values, strict=False))
