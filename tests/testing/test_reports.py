"""The nine reports, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest

from stoq_provider.testing.content import RepeatedTable, Table, chunks
from stoq_provider.testing.reports import REPORTS

REPORT = "/preorders/reports"


def rows_of(client, status):
    content = client.file(status["download_url"]).content
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def offer_ids(client, count=2):
    return [offer["id"] for offer in client.get("/preorders/offers").json()["offers"][:count]]


def test_catalogue_lists_nine_reports_that_answer(client):
    entries = client.get(REPORT).json()["reports"]
    assert len(entries) == 9
    offer = offer_ids(client, 1)[0]
    for entry in entries:
        assert set(entry) == {"name", "description", "aliases", "url"}
        assert entry["url"] == f"/api/v2/external{REPORT}/{entry['name']}"
        answer = client.get(f"{REPORT}/{entry['name']}?offer_id={offer}&from=2026-03-01&to=2026-03-31")
        assert answer.status_code == 200
        assert answer.json()["window"] == {"from": "2026-03-01", "to": "2026-03-31"}


@pytest.mark.parametrize("name", sorted(REPORTS))
def test_every_report_exports_rows_that_depend_on_the_filters(client, name):
    offers = offer_ids(client, 10)
    some = rows_of(client, client.export(name, offer_ids=offers))
    fewer = rows_of(client, client.export(name, offer_ids=offers[:1]))
    assert some
    assert some != fewer
    again = client.export(name, offer_ids=offers)
    assert rows_of(client, again) == some
    assert again["row_count"] == len(some)


def test_by_variant_needs_an_offer(client):
    refused = client.post(f"{REPORT}/by_variant/export")
    assert refused.status_code == 422
    assert refused.json()["errors"] == ["offer_id or offer_ids[] is required"]
    assert client.get(f"{REPORT}/by_variant").status_code == 422
    first, second = offer_ids(client)
    assert client.get(f"{REPORT}/by_variant?offer_ids[]={first}&offer_ids[]={second}").status_code == 200
    assert client.post(f"{REPORT}/by_variant/export?offer_id={first}").status_code == 202


@pytest.mark.parametrize(
    ("flags", "columns"),
    [
        ({}, ["date", "deposits", "balances", "revenue"]),
        ({"include_deposits": False}, ["date", "balances", "revenue"]),
        ({"include_balances": False}, ["date", "deposits", "revenue"]),
    ],
)
def test_flags_of_revenue_choose_columns(client, flags, columns):
    rows = rows_of(client, client.export("revenue", **flags))
    assert list(rows[0]) == columns
    for row in rows:
        parts = [Decimal(row[name]) for name in ("deposits", "balances") if name in row]
        assert Decimal(row["revenue"]) == sum(parts)


def test_one_flag_of_revenue_must_be_true(client):
    refused = client.post(f"{REPORT}/revenue/export?include_deposits=false", json={"include_balances": False})
    assert refused.status_code == 422
    assert refused.json()["errors"] == ["at least one of include_deposits, include_balances must be true"]


def test_granularity(client):
    dates = {
        name: [row["date"] for row in client.get(f"{REPORT}/by_date?granularity={name}").json()["rows"]]
        for name in ("day", "week", "month")
    }
    assert dates["month"] == [f"2026-0{month}-01" for month in range(1, 7)]
    assert len(dates["day"]) > len(dates["week"]) > len(dates["month"])
    assert client.get(f"{REPORT}/by_date?granularity=year").json()["errors"] == [
        "granularity must be one of: day, week, month"
    ]


def test_dates_are_inclusive_and_checked(client):
    rows = client.get(f"{REPORT}/by_date?from=2026-02-01&to=2026-02-03").json()["rows"]
    assert [row["date"] for row in rows] == ["2026-02-01", "2026-02-02", "2026-02-03"]
    assert client.get(f"{REPORT}/by_date?from=02/01/2026").status_code == 422
    assert client.get(f"{REPORT}/by_date?from=2026-02-02&to=2026-02-01").status_code == 422


def test_metrics_choose_columns(client):
    rows = client.get(f"{REPORT}/by_date?metrics[]=units&metrics[]=orders&to=2026-01-02").json()["rows"]
    assert [set(row) for row in rows] == [{"date", "orders", "units"}] * 2


def test_customers_are_paged_but_exported_whole(client):
    page = client.get(f"{REPORT}/customers?per_page=10&page=2").json()
    assert len(page["customers"]) == 10
    assert page["meta"]["page"] == 2
    status = client.export("customers", page=1, per_page=10)
    assert status["row_count"] == page["meta"]["total_count"] > 10


def test_body_and_query_are_merged(client, sandbox):
    client.post(f"{REPORT}/revenue/export?from=2026-01-01&market_id=101", json={"to": "2026-01-02"})
    assert sandbox.submissions[0]["body"] == {"from": "2026-01-01", "market_id": 101, "to": "2026-01-02"}


def test_fields_hold_quotes_commas_and_newlines(client):
    customers = rows_of(client, client.export("customers"))
    variants = rows_of(client, client.export("by_variant", offer_ids=offer_ids(client, 25)))
    assert any("\n" in row["note"] and "," in row["note"] for row in customers)
    assert any('"' in row["note"] for row in customers)
    assert any("\r\n" in row["shipping_text"] for row in variants)


def test_no_rows_is_a_file_with_a_header(client):
    status = client.export("revenue", **{"from": "2020-01-01", "to": "2020-01-02"})
    assert status["row_count"] == 0
    assert client.file(status["download_url"]).text == "date,deposits,balances,revenue\n"


def test_row_count_can_lie(client, sandbox):
    sandbox.jobs("export", row_count_lie=3)
    status = client.export("by_market")
    assert status["row_count"] == 3
    assert len(rows_of(client, status)) > 2
    assert len(rows_of(client, status)) != 4


def test_number_of_rows_can_be_set(client, sandbox):
    sandbox.jobs("export", rows=5000)
    status = client.export("customers")
    rows = rows_of(client, status)
    assert status["row_count"] == len(rows) == 5000
    assert [int(row["serial"]) for row in rows] == list(range(5000))


def test_huge_file_is_readable_at_any_offset_without_making_it():
    table = RepeatedTable(["a", "b"], [["x", "1,2"], ["longer", 'q"\n']], 10**12)
    assert table.size > 10**13
    end = b"".join(chunks(table, table.size - 40, table.size))
    assert end.endswith(b'longer,"q""\n",999999999999\n')


@pytest.mark.parametrize("count", [0, 1, 3, 511, 512, 513, 2000])
def test_size_of_repeated_rows_is_exact(count):
    table = RepeatedTable(["a"], [["x"], ["y\nz"], ["é"]], count)
    whole = b"".join(chunks(table, 0, table.size))
    assert len(whole) == table.size
    records = list(csv.reader(io.StringIO(whole.decode(), newline="")))
    assert len(records) == count + 1
    assert b"".join(table.read(i, 1) for i in range(min(table.size, 200))) == whole[:200]


def test_repeated_rows_of_an_empty_table_are_blank():
    table = RepeatedTable(["a", "b"], [], 2)
    assert b"".join(chunks(table, 0, table.size)) == b"a,b,serial\n,,000000000000\n,,000000000001\n"


def test_etag_follows_the_content():
    assert Table(["a"], [[1]]).etag == Table(["a"], [[1]]).etag != Table(["a"], [[2]]).etag
