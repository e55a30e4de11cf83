"""Files of exports: their form, their address, and what the context of an export does."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests

from tests.medusa.client import Client, Row, rows_of

ORDER_COLUMNS = 26
BOM = b"\xef\xbb\xbf"


@pytest.fixture(scope="module")
def exported(client: Client) -> dict[str, Any]:
    return client.run()


@pytest.fixture(scope="module")
def file(client: Client, exported: dict[str, Any]) -> bytes:
    return client.file_of(exported)


@pytest.fixture(scope="module")
def rows(file: bytes) -> list[Row]:
    return rows_of(file)


# -- the result


def test_an_export_tells_its_file_and_counts_products(
    exported: dict[str, Any], file: bytes, rows: list[Row]
) -> None:
    result = exported["result"]
    products = len({row["Product Id"] for row in rows})
    assert (result["count"], result["advancement_count"], result["progress"]) == (products, products, 1)
    assert result["file_size"] == len(file)
    assert re.fullmatch(r"exports/products/.+\.csv", result["file_key"])
    assert {"key", "name", "message"} == set(result["stat_descriptors"][0])


def test_there_are_more_rows_than_products(exported: dict[str, Any], rows: list[Row]) -> None:
    assert len(rows) > exported["result"]["count"], "one row for each variant"
    assert len({row["Variant Id"] for row in rows}) == len(rows)


# -- the file


def test_a_file_has_semicolons_and_crlf_and_no_mark_at_its_start(file: bytes) -> None:
    assert not file.startswith(BOM)
    assert file.startswith(b"Product Id;Product Handle;Product Title;")
    assert file.endswith(b"\r\n")


def test_a_file_is_utf8_and_quotes_what_needs_it(rows: list[Row]) -> None:
    assert {len(row) for row in rows} == {len(rows[0])}, "no row broke at a separator in a text"
    assert all(None not in row and None not in row.values() for row in rows)


@pytest.mark.usefixtures("only_real")
def test_the_columns_come_in_groups(rows: list[Row]) -> None:
    names = list(rows[0])
    assert len(names) > 20
    groups = [name for name in ("Product Id", "Variant Id", "Price EUR", "Option 1 Name") if name in names]
    assert groups == sorted(groups, key=names.index)
    assert len(groups) == 4
    assert "Image 1 Url" in names
    assert "Sales Channel 1 Id" in names


def test_prices_are_decimals_of_the_main_unit(rows: list[Row]) -> None:
    prices = [row["Price EUR"] for row in rows if row["Price EUR"]]
    assert prices
    assert all(re.fullmatch(r"\d+(\.\d{1,2})?", price) for price in prices)


# -- the address


def test_the_address_needs_nobody_and_says_what_it_sends(
    client: Client, exported: dict[str, Any], file: bytes
) -> None:
    url = client.url_of(exported["result"]["file_key"])
    answer = requests.get(url, timeout=30)
    assert answer.content == file
    assert answer.headers["Content-Type"] == "text/csv; charset=UTF-8"
    assert answer.headers["Content-Length"] == str(len(file))
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"]


def test_a_file_can_be_resumed_where_it_broke(client: Client, exported: dict[str, Any], file: bytes) -> None:
    url = client.url_of(exported["result"]["file_key"])
    tag = requests.get(url, timeout=30).headers["ETag"]
    strong = tag.removeprefix("W/")
    answer = requests.get(url, headers={"Range": "bytes=100-199"}, timeout=30)
    assert (answer.status_code, answer.content) == (206, file[100:200])
    assert answer.headers["Content-Range"] == f"bytes 100-199/{len(file)}"
    changed = requests.get(url, headers={"Range": "bytes=100-", "If-Range": f'{strong[:-1]}x"'}, timeout=30)
    assert (changed.status_code, changed.content) == (200, file), "another version: all of it"


def test_the_address_of_a_file_is_given_whether_it_is_there_or_not(client: Client) -> None:
    answer = requests.get(client.url_of("exports/none.csv"), timeout=30)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_an_address_needs_a_key(client: Client) -> None:
    answer = client.post("/admin/uploads/download-url", {})
    assert answer.status_code == 400
    assert answer.json() == {"type": "invalid_data", "message": "file_key must be a string"}


@pytest.mark.usefixtures("only_real")
def test_a_file_that_was_removed_is_gone(client: Client) -> None:
    key = client.upload("a;b\r\n1;2\r\n")
    url = client.url_of(key)
    assert requests.get(url, timeout=30).content == b"a;b\r\n1;2\r\n"
    for _ in range(2):
        answer = client.ask("DELETE", "/admin/uploads", json={"file_key": key})
        assert answer.status_code == 200
        assert answer.json() == {"id": key, "object": "file", "deleted": True}
    assert requests.get(url, timeout=30).status_code == 404


# -- uploads


@pytest.mark.parametrize("path", ["/admin/uploads", "/admin/uploads/protected"])
def test_an_upload_gets_a_key_that_ends_with_its_name(client: Client, path: str) -> None:
    answer = client.post(path, files={"files": ("wares.csv", b"a;b\n", "text/csv")})
    assert answer.status_code == 200
    (upload,) = answer.json()["uploads"]
    assert set(upload) == {"url", "key"}
    assert upload["key"].endswith("wares.csv")
    assert upload["key"] != "wares.csv", "two uploads of one name do not meet"


def test_an_upload_under_another_field_is_a_server_error(client: Client) -> None:
    answer = client.post("/admin/uploads/protected", files={"file": ("wares.csv", b"a;b\n", "text/csv")})
    assert answer.status_code == 500
    assert answer.json()["type"] == "unknown_error"


# -- what the context does


def test_an_export_that_finds_nothing_is_a_header(client: Client, rows: list[Row]) -> None:
    job = client.run(filterable_fields={"title": "no product has this title"})
    assert set(job["result"]) == {"stat_descriptors", "file_key", "file_size"}, "not even a count"
    (line,) = client.file_of(job).decode().splitlines()
    without_values = [name for name in rows[0] if not re.match(r"(Price|Option|Image|Sales Channel) ", name)]
    assert line.split(";") == without_values


def test_an_export_is_filtered(client: Client, rows: list[Row]) -> None:
    handle = rows[0]["Product Handle"]
    assert {row["Product Handle"] for row in client.products(handle=handle)} == {handle}


def test_the_limit_of_a_context_is_a_page_and_no_cap(client: Client, exported: dict[str, Any]) -> None:
    job = client.run(limit=10)
    assert job["result"]["count"] == exported["result"]["count"]
    assert len(rows_of(client.file_of(job))) == len(rows_of(client.file_of(exported)))


@pytest.mark.usefixtures("only_real")
def test_a_list_config_that_is_sent_is_overwritten(client: Client) -> None:
    job = client.create("product-export", {"list_config": {"take": 3, "skip": 5}, "shape": {"odd": 1}})
    assert (job["context"]["list_config"]["take"], job["context"]["list_config"]["skip"]) == (50, 0)
    done = client.until(job, "completed")
    assert "odd" not in done["context"]["shape"]


@pytest.mark.usefixtures("only_real")
def test_an_export_that_starts_at_an_offset_counts_all(client: Client, exported: dict[str, Any]) -> None:
    job = client.run(offset=exported["result"]["count"] - 6)
    result = job["result"]
    assert result["count"] == exported["result"]["count"]
    assert result["advancement_count"] == 6
    assert 0 < result["progress"] < 1, "completed, with a progress that never reached the end"


@pytest.mark.usefixtures("only_real")
def test_a_batch_size_caps_the_whole_export(client: Client) -> None:
    job = client.run(batch_size=3)
    assert len({row["Product Id"] for row in rows_of(client.file_of(job))}) == 3


# -- orders


@pytest.fixture(scope="module")
def order_export(client: Client) -> dict[str, Any]:
    return client.run("order-export")


@pytest.mark.usefixtures("only_real")
def test_orders_have_fixed_columns(client: Client, order_export: dict[str, Any]) -> None:
    assert {len(order) for order in rows_of(client.file_of(order_export))} == {ORDER_COLUMNS}


def test_orders_have_amounts_in_cents(client: Client, order_export: dict[str, Any]) -> None:
    job, orders = order_export, rows_of(client.file_of(order_export))
    assert re.fullmatch(r"exports/orders/.+\.csv", job["result"]["file_key"])
    assert job["result"]["count"] == len(orders) > 0
    for order in orders:
        assert order["Order_ID"].startswith("order_")
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", order["Date"])
        assert re.fullmatch(r"\d+", order["Total"])
