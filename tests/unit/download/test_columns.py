"""Columns of a CSV: values further down, quoted nothing, types that are given, other encodings, headers."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoq_provider.download import parquet as module
from stoq_provider.download.column_types import FoundType, Misfit
from stoq_provider.download.parquet import parquet
from stoq_provider.exceptions import ValidationRejected, VerificationError

from .test_parquet import convert, types

pa = pytest.importorskip("pyarrow")

UTC = dt.timezone.utc
FIRST = {
    "int64": "12",
    "decimal128(38, 4)": "1.50",
    "bool": "true",
    "date32[day]": "2026-01-02",
    "timestamp[us, tz=UTC]": "2026-01-02T03:04:05Z",
    "timestamp[us]": "2026-01-02T03:04:05",
}
"""A value that makes a column of each type."""


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 64)


def later(kind, value):
    """Return a CSV whose column ``x`` begins as a type and has a value below the first block, in row 101."""
    return "".join(f"{line}\n" for line in ["x,y", *[f"{FIRST[kind]},a"] * 100, f"{value},b"])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("int64", value) for value in ("01067", "-007", "00", "0x1F", "0X1f", "-0x1F", "+77", "1e3")),
        *(("int64", value) for value in (" 77 ", "77 ", "\t77", " ", "--5", "-", "5-", "1.0", "\u0661")),
        *(("int64", value) for value in ("9223372036854775808", '"1\n"', '"1,000"')),
        *(("decimal128(38, 4)", value) for value in ("007", "-00.5", "1e3", "1E-2", ".5", "1.", "+1")),
        *(("decimal128(38, 4)", value) for value in (" 5", "5 ", "0x1F", "1.12345", "NaN", "1" + "0" * 34)),
        *(("bool", value) for value in ("1", "0", "yes", " true", "T")),
        *(("date32[day]", value) for value in ("2026-01-02 ", "2026-02-30", "20260102", "2026-01-02T03:04")),
        *(("timestamp[us, tz=UTC]", value) for value in ("2026-01-02", "2026-01-02T03:04:05")),
        *(("timestamp[us]", value) for value in ("2026-01-02", "2026-01-02T03", "2026-01-02T03:04:05Z")),
        *(("timestamp[us]", value) for value in ("2026-01-02 25:00:00", "2026-01-02 03:04:05.1234567")),
    ],
)
def test_a_value_further_down_that_would_change_is_an_error_that_says_where(
    tmp_path, small_blocks, kind, value
):
    with pytest.raises(VerificationError, match=r"column 'x' began as .* row 101 .*column_types") as caught:
        convert(tmp_path, later(kind, value))
    assert kind in str(caught.value)
    assert len(value) < 3 or value not in str(caught.value), "it may be a customer's"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        ("int64", "0", 0),
        ("int64", '"7"', 7),
        ("int64", "-9223372036854775808", -(2**63)),
        ("int64", "9223372036854775807", 2**63 - 1),
        ("decimal128(38, 4)", "-0.5", Decimal("-0.5")),
        ("decimal128(38, 4)", "0", Decimal(0)),
        ("decimal128(38, 4)", "9" * 34 + ".9999", Decimal("9" * 34 + ".9999")),
        ("bool", "FALSE", False),
        ("date32[day]", "1999-12-31", dt.date(1999, 12, 31)),
        (
            "timestamp[us, tz=UTC]",
            "2026-01-02 03:04:05.25+01:00",
            dt.datetime(2026, 1, 2, 2, 4, 5, 250000, UTC),
        ),
        ("timestamp[us]", "2026-01-02 03:04", dt.datetime(2026, 1, 2, 3, 4)),
        *((kind, nothing, None) for kind in FIRST for nothing in ("", '""')),
    ],
)
def test_a_value_further_down_that_fits(tmp_path, small_blocks, kind, value, read):
    _, table = convert(tmp_path, later(kind, value))
    assert types(table)["x"] == kind
    assert table.column("x").to_pylist()[-1] == read
    assert table.num_rows == 101


def test_the_first_of_several_values_of_another_form_is_named(tmp_path, small_blocks):
    with pytest.raises(VerificationError, match="row 103 has another"):
        convert(tmp_path, later("decimal128(38, 4)", "1.5,a\n,a\n007,a\n1.5,a\n1e3"))


def test_one_value_that_does_not_fit_among_those_that_do_is_found(tmp_path):
    rows = ["2026-02-28"] * 37
    for at in range(37):
        text = "\n".join(["x", *rows[:at], "2026-02-30", *rows[at + 1 :]])
        with pytest.raises(VerificationError, match=f"row {at + 1} has another"):
            convert(tmp_path, text)


@settings(max_examples=300)
@given(st.lists(st.text("0159.-", max_size=4) | st.text("01-+. eExX\n\u0661", max_size=3), max_size=4))
def test_a_number_converts_if_it_is_written_as_numbers_are(texts):
    """What the fast check of a whole block says is what a slow one of each value says."""
    for name, kind, fraction in (
        ("int64", pa.int64(), ""),
        ("decimal", pa.decimal128(38, 4), r"(\.[0-9]+)?"),
    ):
        odd = [bool(text) and not re.fullmatch(rf"-?(0|[1-9][0-9]*){fraction}", text) for text in texts]
        column = pa.chunked_array([pa.array(texts, pa.string())])
        if any(odd):
            with pytest.raises(Misfit) as caught:
                FoundType(name, kind).convert(column)
            assert odd[caught.value.row]
        else:
            read = FoundType(name, kind).convert(column)
            assert read.to_pylist() == [Decimal(text) if text else None for text in texts]


@pytest.mark.parametrize(("text", "read"), [("007", 7), ("0x1F", 31), (" 77 ", 77), ('" 77 "', 77)])
def test_a_type_that_is_given_reads_what_arrow_reads(tmp_path, small_blocks, text, read):
    _, table = convert(tmp_path, later("int64", text), column_types={"x": "int64"})
    assert table.column("x").to_pylist()[-1] == read


def test_a_value_that_does_not_fit_a_given_type(tmp_path, small_blocks):
    with pytest.raises(
        VerificationError, match=r"column 'x' is int64 by column_types, but row 101 "
    ) as caught:
        convert(tmp_path, later("int64", "secret"), column_types={"x": "int64"})
    assert "secret" not in str(caught.value)


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
    _, table = convert(tmp_path, text, column_types={"a": kind})
    assert table.to_pydict() == {"a": [read, None], "b": ["", "x"], "c": [1, None]}


def test_a_quoted_nothing_is_null_where_every_type_is_given(tmp_path):
    _, table = convert(tmp_path, '"a"\n""\n"1"\n""\n', column_types={"a": "int64"})
    assert table.column("a").to_pylist() == [None, 1, None]


@pytest.mark.parametrize(("kind", "value"), FIRST.items())
def test_a_quoted_nothing_does_not_hide_the_type(tmp_path, kind, value):
    _, table = convert(tmp_path, f'"x","y"\n"","a"\n"{value}","b"\n')
    assert types(table) == {"x": kind, "y": "string"}
    assert table.column("x").null_count == 1


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
    said = str(caught.value)
    for words in ("column 'b'", f"row {before + 1} ", "not UTF-8", "format='csv'", "{'b': 'binary'}"):
        assert words in said
    assert "another kind" not in said
    assert list(tmp_path.iterdir()) == []


def test_text_that_is_not_utf8_in_a_column_of_numbers(tmp_path, small_blocks):
    with pytest.raises(VerificationError, match=r"column 'x'.*row 101 .*not UTF-8"):
        convert(tmp_path, later("int64", "\u00f6").encode("latin-1"))


def test_binary_keeps_the_bytes_as_they_are(tmp_path, small_blocks):
    text = "a,b\n" + "1,Berlin\n" * 50 + "2,K\u00f6ln\n3,\n"
    _, table = convert(tmp_path, text.encode("latin-1"), column_types={"b": "binary"})
    assert table.column("b").to_pylist()[-3:] == [b"Berlin", b"K\xf6ln", None]
    assert types(table)["a"] == "int64"


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
            {"Price (EUR; gross; incl. tax)": Decimal("10.5"), "Qty": 2},
        ),
        ('"a,b,c";"d,e"', "1;2", {"a,b,c": 1, "d,e": 2}),
        ('"a;b"\t"c,d,e"', "1\t2", {"a;b": 1, "c,d,e": 2}),
        ('"say ""a;b;c""",n', "1,2", {'say "a;b;c"': 1, "n": 2}),
        ('"a;b"', "1", {"a;b": 1}),
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


def test_a_header_that_csv_can_not_read(tmp_path):
    with pytest.raises(VerificationError, match="header line can't be read: field larger"):
        convert(tmp_path, "a" * 200_000 + ",b\n1,2\n", pieces=10**6)
