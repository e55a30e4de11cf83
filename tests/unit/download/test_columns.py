"""Columns of a CSV: text, types that are given, quoted nothing, other encodings, headers."""

from __future__ import annotations

import csv
import datetime as dt
from decimal import Decimal
from functools import partial
from zoneinfo import ZoneInfo

import pytest

from stoq_provider.download import parquet as module
from stoq_provider.exceptions import ValidationRejected, VerificationError

from .test_parquet import convert, parquet, types

pa = pytest.importorskip("pyarrow")

UTC = dt.timezone.utc
FITS = {
    "int64": ("12", 12),
    "decimal128(38, 4)": ("1.50", Decimal("1.5")),
    "decimal128(5, 2)": ("-999.99", Decimal("-999.99")),
    "bool": ("true", True),
    "date32[day]": ("2026-01-02", dt.date(2026, 1, 2)),
    "timestamp[us, tz=UTC]": ("2026-01-02T03:04:05Z", dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    "timestamp[us]": ("2026-01-02T03:04:05", dt.datetime(2026, 1, 2, 3, 4, 5)),
    "string": ("x", "x"),
}
"""A value of each type, and what is read."""


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 64)


def later(kind, value):
    """Return a CSV whose column ``x`` has values of a type, and another below the first block, in row 101."""
    return "".join(f"{line}\n" for line in ["x,y", *[f"{FITS[kind][0]},a"] * 100, f"{value},b"])


@pytest.mark.parametrize("value", ["1", "-0.5", "01067", "true", "2026-01-02", "2026-01-02T03:04:05Z", "1e5"])
def test_a_column_is_text_unless_it_was_given_a_type(tmp_path, value):
    _, table = convert(tmp_path, f"x,y\n{value},\n")
    assert types(table) == {"x": "string", "y": "string"}
    assert table.to_pydict() == {"x": [value], "y": [None]}


def test_files_of_the_same_columns_have_the_same_schema(tmp_path):
    given = {"column_types": {"price_*": "decimal(18, 2)", "id": "int64"}}
    files = ("1,2.50,01067", '2,,"Berlin, 10115"', ",10,", "")
    schemas = [convert(tmp_path, f"id,price_net,zip\n{rows}\n"[:-1], **given)[1].schema for rows in files]
    assert all(schema.equals(schemas[0], check_metadata=True) for schema in schemas)


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        ({"*_sales": "int64"}, ["int64", "int64", "string"]),
        ({"*": "int64"}, ["int64", "int64", "int64"]),
        ({"???_sales": "int64", "*": "date32"}, ["int64", "date32[day]", "date32[day]"]),
        ({"*": "date32", "net_sales": "int64"}, ["int64", "date32[day]", "date32[day]"]),
        ({"*_sales": "int64", "net*": "date32"}, ["int64", "int64", "string"]),
        ({"net*": "date32", "*_sales": "int64"}, ["date32[day]", "int64", "string"]),
        ({"[ng]*": "int64", "gross_sales": "string"}, ["int64", "string", "string"]),
    ],
)
def test_a_type_is_given_by_name_or_else_by_the_first_pattern(tmp_path, given, kinds):
    _, table = convert(tmp_path, "net_sales,gross_sales,Note\n", column_types=given)
    assert list(types(table).values()) == kinds


def test_a_name_that_looks_like_a_pattern_is_a_name(tmp_path):
    given = {"price [EUR]": "int64", "* [[]*]": "date32"}
    _, table = convert(tmp_path, "price [EUR],day [UTC]\n1,2026-01-02\n", column_types=given)
    assert types(table) == {"price [EUR]": "int64", "day [UTC]": "date32[day]"}


@pytest.mark.parametrize("pattern", ["*_sale", "X*", "?"])
def test_a_pattern_that_no_column_fits(tmp_path, pattern):
    with pytest.raises(VerificationError, match=r"names '.*', but the CSV has the columns xs, net_sales"):
        convert(tmp_path, "xs,net_sales\n", column_types={pattern: "int64"})


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("int64", value) for value in ("1.0", "--5", "-", "9223372036854775808", '"1,000"', "abc")),
        *(("decimal128(38, 4)", value) for value in ("1.12345", "NaN", "1" + "0" * 34, '"1,5"')),
        *(("decimal128(5, 2)", value) for value in ("1000", "-1000.00", "1e3")),
        *(("bool", value) for value in ("yes", "T")),
        *(("date32[day]", value) for value in ("2026-02-30", "2026-01-02T03:04")),
        *(("timestamp[us, tz=UTC]", value) for value in ("2026-01-02", "2026-01-02T03:04:05")),
        *(("timestamp[us]", value) for value in ("2026-01-02 25:00:00", "2026-01-02T03:04:05Z")),
    ],
)
@pytest.mark.parametrize("key", ["x", "[x]"], ids=["name", "pattern"])
def test_a_value_that_does_not_fit_is_an_error_that_says_where(tmp_path, small_blocks, key, kind, value):
    with pytest.raises(VerificationError, match=r"column 'x' is .* by column_types, but row 101 ") as caught:
        convert(tmp_path, later(kind, value), column_types={key: kind.replace("date32[day]", "date32")})
    assert kind in str(caught.value)
    assert len(value) < 3 or value not in str(caught.value), "it may be a customer's"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("kind", "value"), [*FITS.items(), *((kind, ("", None)) for kind in FITS)])
def test_a_value_that_fits(tmp_path, small_blocks, kind, value):
    written, read = value
    given = kind.replace("date32[day]", "date32")
    _, table = convert(tmp_path, later(kind, written), column_types={"x": given})
    assert types(table)["x"] == kind
    assert table.column("x").to_pylist()[-1] == read
    assert table.num_rows == 101


def test_one_value_that_does_not_fit_among_those_that_do_is_found(tmp_path):
    rows = ["2026-02-28"] * 37
    for at in range(0, 37, 6):
        text = "\n".join(["x", *rows[:at], "2026-02-30", *rows[at + 1 :]])
        with pytest.raises(VerificationError, match=f"row {at + 1} has a value that does not fit"):
            convert(tmp_path, text, column_types={"x": "date32"})


@pytest.mark.parametrize(("text", "read"), [("007", 7), ("0x1F", 31), (" 77 ", 77), ('" 77 "', 77)])
def test_a_type_that_is_given_reads_what_arrow_reads(tmp_path, small_blocks, text, read):
    _, table = convert(tmp_path, later("int64", text), column_types={"x": "int64"})
    assert table.column("x").to_pylist()[-1] == read


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        ("int64", "1", 1),
        ("float64", "1.5", 1.5),
        ("decimal(9, 2)", "1.50", Decimal("1.50")),
        ("bool", "true", True),
        ("date32", "2026-01-02", dt.date(2026, 1, 2)),
        ("timestamp[us, tz=UTC]", "2026-01-02T03:04:05Z", dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("time32[s]", "03:04:05", dt.time(3, 4, 5)),
    ],
)
def test_a_quoted_nothing_is_null_where_a_type_is_given(tmp_path, kind, value, read):
    text = f'"a","b","c"\n"{value}","","1"\n"","x",""\n'
    _, table = convert(tmp_path, text, column_types={"a": kind, "c": "int64"})
    assert table.to_pydict() == {"a": [read, None], "b": ["", "x"], "c": [1, None]}


def test_a_quoted_nothing_is_null_where_every_type_is_given(tmp_path):
    _, table = convert(tmp_path, '"a"\n""\n"1"\n""\n', column_types={"a": "int64"})
    assert table.column("a").to_pylist() == [None, 1, None]


@pytest.mark.parametrize(("kind", "nothing"), [("string", ""), ("large_string", ""), ("binary", b"")])
def test_a_quoted_nothing_stays_an_empty_text(tmp_path, kind, nothing):
    _, table = convert(tmp_path, '"a","b"\n"",""\n,""\n', column_types={"a": kind, "b": "int64"})
    assert table.to_pydict() == {"a": [nothing, None], "b": [None, None]}
    assert convert(tmp_path, '"a"\n""\n""\n')[1].column("a").to_pylist() == ["", ""]


def test_where_there_is_a_quoted_nothing_errors_name_the_right_place(tmp_path):
    text = '"a","b","c"\n"","","1"\n"x","y","z"\n'
    with pytest.raises(VerificationError, match=r"column 'c' is int64 by column_types, but row 2 "):
        convert(tmp_path, text, column_types={"c": "int64"})


@pytest.mark.parametrize(
    ("zone", "unit", "written"),
    [
        ("UTC", "s", "timestamp[{}, tz={}]"),
        ("UTC", "ms", "timestamp[{},tz={}]"),
        ("UTC", "us", "timestamp[{},{}]"),
        ("Europe/Berlin", "ms", "timestamp[{},{}]"),
        ("Europe/Berlin", "us", "timestamp[{}, tz={}]"),
        ("Europe/Berlin", "ns", "timestamp[{},tz={}]"),
        ("America/Argentina/Ushuaia", "s", "timestamp[{},tz={}]"),
        ("America/Argentina/Ushuaia", "ns", "timestamp[{}, tz={}]"),
        ("America/Argentina/Ushuaia", "us", "timestamp[{},{}]"),
        ("+02:00", "s", "timestamp[{},{}]"),
        ("+02:00", "ms", "timestamp[{}, tz={}]"),
        ("+02:00", "us", "timestamp[{},tz={}]"),
    ],
)
def test_a_timestamp_with_a_zone_is_given(tmp_path, small_blocks, written, unit, zone):
    lines = ["at,n", *[",1"] * 50, "2026-07-01T10:00:00Z,2"]
    _, table = convert(tmp_path, "\n".join(lines), column_types={"at": written.format(unit, zone)})
    kept = "ms" if unit == "s" else unit  # Parquet has no seconds
    assert types(table)["at"] == f"timestamp[{kept}, tz={zone}]"
    *empty, at = table.column("at").to_pylist()
    assert empty == [None] * 50
    assert at == dt.datetime(2026, 7, 1, 10, tzinfo=UTC)
    if "/" in zone:
        assert at.utcoffset() == at.replace(tzinfo=ZoneInfo(zone)).utcoffset()


def test_a_time_without_a_zone_does_not_fit_a_type_with_one(tmp_path):
    with pytest.raises(VerificationError, match=r"column 'at' is timestamp.* row 1 "):
        convert(tmp_path, "at\n2026-07-01T10:00:00\n", column_types={"at": "timestamp[us, tz=UTC]"})


@pytest.mark.parametrize(
    "kind",
    [
        *(f"timestamp[us, tz={zone}]" for zone in ("", "Europe/Berlyn", "../UTC", "America", "+2", "+25:00")),
        *(
            "timestamp[h, tz=UTC]",
            "timestamp[us, tz=UTC",
            "decimal(99, 2)",
            "list<int64>",
            "float16",
            "",
            None,
        ),
    ],
)
def test_a_type_that_no_csv_can_have_is_refused_before_the_download(kind):
    with pytest.raises(ValidationRejected, match="given for column 'x'"):
        parquet(column_types={"x": kind})


@pytest.mark.parametrize("kind", [{}, {"column_types": {"b": "string"}}])
@pytest.mark.parametrize("before", [0, 100])
def test_text_that_is_not_utf8_is_called_so(tmp_path, small_blocks, before, kind):
    text = "a,b\n" + "1,Berlin\n" * before + "2,K\u00f6ln\n"
    with pytest.raises(VerificationError) as caught:
        convert(tmp_path, text.encode("latin-1"), **kind)
    message = str(caught.value)
    for words in ("column 'b'", f"row {before + 1} ", "not UTF-8", "format='csv'", "{'b': 'binary'}"):
        assert words in message
    assert "does not fit" not in message
    assert list(tmp_path.iterdir()) == []


def test_text_that_is_not_utf8_further_down(tmp_path, small_blocks):
    with pytest.raises(VerificationError, match=r"column 'x'.*row 101 .*not UTF-8"):
        convert(tmp_path, later("string", "\u00f6").encode("latin-1"))


def test_binary_keeps_the_bytes_as_they_are(tmp_path, small_blocks):
    text = "a,b\n" + "1,Berlin\n" * 50 + "2,K\u00f6ln\n3,\n"
    _, table = convert(tmp_path, text.encode("latin-1"), column_types={"b": "binary"})
    assert table.column("b").to_pylist()[-3:] == [b"Berlin", b"K\xf6ln", None]
    assert types(table) == {"a": "string", "b": "binary"}


@pytest.mark.parametrize(
    "text", ["gr\u00f6\u00dfe,b\n1,2\n".encode("latin-1"), "a,b\n1,2\n".encode("utf-16")]
)
def test_a_header_that_is_not_utf8(tmp_path, text):
    with pytest.raises(VerificationError, match=r"header line is not UTF-8.*format='csv'"):
        convert(tmp_path, text)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("header", "row", "read"),
    [
        (
            '"Price (EUR; gross; incl. tax)",Qty',
            "10.5,2",
            {"Price (EUR; gross; incl. tax)": "10.5", "Qty": "2"},
        ),
        ('"a,b,c";"d,e"', "1;2", {"a,b,c": "1", "d,e": "2"}),
        ('"a;b"\t"c,d,e"', "1\t2", {"a;b": "1", "c,d,e": "2"}),
        ('"say ""a;b;c""",n', "1,2", {'say "a;b;c"': "1", "n": "2"}),
        ('"a;b"', "1", {"a;b": "1"}),
    ],
)
def test_a_delimiter_inside_of_quotes_is_none(tmp_path, header, row, read):
    assert convert(tmp_path, f"{header}\n{row}\n")[1].to_pylist() == [read]


@pytest.mark.parametrize("text", ["a,b\r1,2\r", "a,b\r1,2", "a\r1\r", "a,b\rc,d\n1,2\n"])
def test_lines_that_end_with_a_carriage_return_alone(tmp_path, text):
    with pytest.raises(VerificationError, match=r"end with a carriage return alone.*format='csv'"):
        convert(tmp_path, text)


def test_many_lines_that_end_with_a_carriage_return_alone(tmp_path, monkeypatch, small_blocks):
    monkeypatch.setattr(module, "LONGEST_RECORD", 1000)
    with pytest.raises(VerificationError, match=r"end with a carriage return alone"):
        convert(tmp_path, "a,b\r" + "1,2\r" * 1000)


@pytest.mark.parametrize("limit", [131_072, 2**26], ids=["default", "raised by others"])
def test_a_header_that_csv_can_not_read(tmp_path, request, limit):
    request.addfinalizer(partial(csv.field_size_limit, csv.field_size_limit(limit)))
    with pytest.raises(VerificationError, match="header line can't be read: field larger"):
        convert(tmp_path, "a" * 200_000 + ",b\n1,2\n", pieces=10**6)
