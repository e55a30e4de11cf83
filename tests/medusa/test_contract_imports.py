"""Imports: announced in advance, done whole or not at all, and what becomes of bad tables."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.medusa.client import JOBS, Client, Row, as_new, rows_of, table

NOTHING = {"PRODUCT_CREATE": 0, "PRODUCT_UPDATE": 0, "VARIANT_CREATE": 0, "VARIANT_UPDATE": 0}


@pytest.fixture(scope="module")
def sample(client: Client) -> list[Row]:
    """The rows of two products, at least one of which has several variants."""
    rows = rows_of(client.file_of(client.run()))
    variants: dict[str, list[Row]] = {}
    for row in rows:
        variants.setdefault(row["Product Handle"], []).append(row)
    several = next(group for group in variants.values() if len(group) > 1)
    single = next(group for group in variants.values() if group is not several)
    return [*several, *single]


def handles(rows: list[Row]) -> list[str]:
    return sorted({row["Product Handle"] for row in rows})


def there(client: Client, rows: list[Row]) -> list[str]:
    """Which of these products the shop has."""
    return handles(client.products(handle=handles(rows)))


def test_a_dry_run_tells_exactly_and_changes_nothing(client: Client, sample: list[Row]) -> None:
    rows = as_new(sample)
    job = client.create("product-import", {"fileKey": client.upload(table(rows))}, dry_run=True)
    waiting = client.until(job, "pre_processed")
    result = waiting["result"]
    assert result["operations"] == {**NOTHING, "PRODUCT_CREATE": 2, "VARIANT_CREATE": len(rows)}
    assert (result["count"], result["advancement_count"]) == (2 + len(rows), 0)
    (described,) = result["stat_descriptors"]
    assert described["key"] == "product-import-count"
    assert "2 products created" in described["message"]
    assert f"{len(rows)} variants will be created" in described["message"]
    assert there(client, rows) == []


def test_a_dry_run_that_is_confirmed_imports(client: Client, sample: list[Row]) -> None:
    rows = as_new(sample)
    job = client.create("product-import", {"fileKey": client.upload(table(rows))}, dry_run=True)
    client.until(job, "pre_processed")
    assert client.confirm(job).status_code == 200
    done = client.until(job, "completed")
    assert done["result"]["operations"]["PRODUCT_CREATE"] == 2
    assert "file_key" not in done["result"]
    assert "progress" not in done["result"]
    found = client.products(handle=handles(rows))
    assert sorted(row["Variant SKU"] for row in found) == sorted(row["Variant SKU"] for row in rows)


def test_a_dry_run_that_is_cancelled_imports_nothing(client: Client, sample: list[Row]) -> None:
    rows = as_new(sample)
    job = client.create("product-import", {"fileKey": client.upload(table(rows))}, dry_run=True)
    client.until(job, "pre_processed")
    assert client.cancel(job).status_code == 200
    assert there(client, rows) == []


def test_an_import_without_a_dry_run_needs_no_decision(client: Client, sample: list[Row]) -> None:
    rows = as_new(sample)
    done = client.run("product-import", fileKey=client.upload(table(rows)))
    assert done["result"]["operations"]["PRODUCT_CREATE"] == 2
    assert there(client, rows) == handles(rows)


def test_an_export_that_is_imported_again_is_an_update(client: Client, sample: list[Row]) -> None:
    new = as_new(sample)
    client.run("product-import", fileKey=client.upload(table(new)))
    file = client.file_of(client.run(filterable_fields={"handle": handles(new)}))
    done = client.run("product-import", fileKey=client.upload(file))
    expected = {**NOTHING, "PRODUCT_UPDATE": 2, "VARIANT_UPDATE": len(new)}
    assert done["result"]["operations"] == expected
    assert there(client, new) == handles(new)


def test_one_bad_row_rolls_the_whole_import_back(client: Client, sample: list[Row]) -> None:
    rows = as_new(sample)
    taken = sample[0]["Variant SKU"]
    bad = [*rows[:-1], {**rows[-1], "Variant SKU": taken}]
    failed = client.fails("product-import", fileKey=client.upload(table(bad)))
    (message,) = failed["result"]["errors"]
    assert isinstance(message, str)
    assert f"(product handle: {bad[-1]['Product Handle']})" in message
    assert f"(variant sku: {taken})" in message
    assert "duplicate key value violates unique constraint" in message
    assert failed["result"]["operations"]["PRODUCT_CREATE"] == 2, "what it had counted stays"
    assert failed["completed_at"] is None
    assert there(client, rows) == []


def test_unknown_columns_fail_before_anything_is_done(client: Client) -> None:
    failed = client.fails("product-import", fileKey=client.upload("foo;bar\r\n1;2\r\n"))
    (message,) = failed["result"]["errors"]
    assert message.startswith("The csv file parsing failed due to: Unable to treat column foo")
    assert failed["pre_processed_at"] is None


@pytest.mark.parametrize("rows_kept", ["header", "nothing"])
def test_an_empty_table_completes_with_zero_counts(client: Client, sample: list[Row], rows_kept: str) -> None:
    text = table(sample).splitlines()[0] + "\r\n" if rows_kept == "header" else ""
    done = client.run("product-import", fileKey=client.upload(text))
    assert done["result"]["operations"] == NOTHING
    assert done["result"]["count"] == 0


def desk(*without: str) -> tuple[str, str]:
    """A table of a new product in two sizes, with the fewest columns that do; and its handle."""
    mark = uuid.uuid4().hex[:8]
    rows = [
        {
            "Product Handle": f"desk-{mark}",
            "Product Title": "Desk",
            "Variant Title": size,
            "Variant SKU": f"DESK-{size}-{mark}",
            "Variant Inventory Quantity": "5",
            "Option 1 Name": "Size",
            "Option 1 Value": size,
        }
        for size in ("S", "M")
    ]
    kept = [{name: value for name, value in row.items() if name not in without} for row in rows]
    return table(kept), f"desk-{mark}"


def test_a_table_needs_only_a_few_columns(client: Client) -> None:
    text, handle = desk()
    done = client.run("product-import", fileKey=client.upload(text))
    assert done["result"]["operations"] == {**NOTHING, "PRODUCT_CREATE": 1, "VARIANT_CREATE": 2}
    found = client.products(handle=handle)
    assert [row["Product Title"] for row in found] == ["Desk", "Desk"]
    assert {row["Option 1 Value"] for row in found} == {"S", "M"}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            ["Variant Inventory Quantity"],
            'null value in column "inventory_quantity" of relation "product_variant"',
        ),
        (["Product Title"], 'null value in column "title" of relation "product"'),
        (["Option 1 Name", "Option 1 Value"], "with provided options already exists"),
    ],
)
def test_a_column_that_is_needed_fails_the_import_only_when_it_is_done(
    client: Client, columns: list[str], message: str
) -> None:
    text, handle = desk(*columns)
    waiting = client.create("product-import", {"fileKey": client.upload(text)}, dry_run=True)
    client.until(waiting, "pre_processed")
    assert client.confirm(waiting).status_code == 200
    failed = client.until(waiting, "failed")
    assert message in failed["result"]["errors"][0]
    assert client.products(handle=handle) == []


def test_other_keys_survive_in_the_context_of_an_import(client: Client, sample: list[Row]) -> None:
    key = client.upload(table(as_new(sample)))
    job = client.create("product-import", {"fileKey": key, "mark": "m-1"}, dry_run=True)
    assert client.until(job, "pre_processed")["context"] == {"fileKey": key, "mark": "m-1"}


def test_a_price_list_import_needs_its_list(client: Client) -> None:
    body: dict[str, Any] = {"type": "price-list-import", "context": {"fileKey": client.upload("a;b\n")}}
    answer = client.post(JOBS, body)
    assert answer.status_code == 400
    assert answer.json() == {"type": "invalid_data", "message": "Price list id is required"}
