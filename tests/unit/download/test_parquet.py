"""CSV to Parquet while it streams: types, blocks, and values that do not fit."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoq_provider.download import parquet as module
from stoq_provider.download.columns import last_record_end
from stoq_provider.download.destination import resolve_target
from stoq_provider.download.download import parquet_of
from stoq_provider.download.options import DownloadOptions
from stoq_provider.download.output import Output
from stoq_provider.exceptions import ValidationRejected, VerificationError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 64)


def parquet(**options):
    return parquet_of(DownloadOptions(format="parquet", **options))


def convert(tmp_path, text, *, pieces=7, **options):
    """Return the stored file's entry, and the table that it holds."""
    data = text if isinstance(text, bytes) else text.encode()
    output = Output(resolve_target(str(tmp_path) + "/", "report.parquet"), DownloadOptions())
    made = parquet(**options)(output)
    try:
        for start in range(0, len(data), pieces):
            made.write(data[start : start + pieces])
        made.finish()
        entry = output.commit(made.rows)
    finally:
        made.abort()
        output.abort()
    return entry, pq.read_table(tmp_path / "report.parquet")


def types(table):
    return {field.name: str(field.type) for field in table.schema}


@pytest.mark.parametrize(
    ("values", "kind", "read"),
    [
        (["1", "-20", ""], "int64", [1, -20, None]),
        (["10.50", "3", "-0.125"], "decimal128(38, 4)", [Decimal("10.5"), Decimal(3), Decimal("-0.125")]),
        (["true", "False"], "bool", [True, False]),
        (["2026-05-28", ""], "date32", [dt.date(2026, 5, 28), None]),
        (
            ["2026-05-28T10:00:00Z", "2026-05-28T10:00:00+02:00"],
            "timestamp[us, tz=UTC]",
            [dt.datetime(2026, 5, 28, h, tzinfo=dt.timezone.utc) for h in (10, 8)],
        ),
        (["2026-05-28 10:00:00"], "timestamp[us]", [dt.datetime(2026, 5, 28, 10)]),
        (["00123", "99999"], "string", ["00123", "99999"]),
        (["", ""], "string", [None, None]),
        (["#1001", "a,b"], "string", ["#1001", "a,b"]),
    ],
)
def test_types(tmp_path, values, kind, read):
    rows = "".join(
        f'{n},"{value}"\r\n' if "," in value else f"{n},{value}\r\n" for n, value in enumerate(values)
    )
    _, table = convert(tmp_path, "n,x\r\n" + rows, column_types={"x": kind})
    assert types(table) == {"n": "string", "x": kind.replace("date32", "date32[day]")}
    assert table.column("x").to_pylist() == read


def test_a_quoted_empty_text_is_no_null(tmp_path):
    assert convert(tmp_path, 'x,y\n"",1\na,2\n')[1].column("x").to_pylist() == ["", "a"]


@pytest.mark.parametrize(
    ("delimiter", "end", "bom"),
    [
        (",", "\n", ""),
        (",", "\r\n", "\ufeff"),
        (";", "\n", "\ufeff"),
        (";", "\r\n", ""),
        ("\t", "\n", "\ufeff"),
        ("\t", "\r\n", ""),
    ],
)
def test_delimiters_line_ends_and_a_bom(tmp_path, delimiter, end, bom):
    text = bom + end.join([delimiter.join(["a", "b"]), delimiter.join(["1", "x"]), ""])
    assert convert(tmp_path, text)[1].to_pylist() == [{"a": "1", "b": "x"}]


def test_the_entry_describes_the_file(tmp_path):
    entry, table = convert(tmp_path, "a\n1\n2\n")
    content = (tmp_path / "report.parquet").read_bytes()
    assert entry.uri == f"file://{tmp_path}/report.parquet"
    assert (entry.rows, entry.bytes, entry.sha256) == (2, len(content), hashlib.sha256(content).hexdigest())
    assert table.num_rows == 2


def test_a_header_alone_gives_a_file_without_rows(tmp_path):
    for text in ("a,b\n", "a,b"):
        entry, table = convert(tmp_path, text)
        assert (entry.rows, types(table)) == (0, {"a": "string", "b": "string"})


def test_types_hold_for_all_blocks(tmp_path, small_blocks):
    rows = [f"{n},{n}.5,2026-01-01" for n in range(500)]
    entry, table = convert(tmp_path, "\n".join(["id,price,day", *rows]), column_types={"id": "int64"})
    assert entry.rows == 500
    assert table.column("id").to_pylist() == list(range(500))
    assert pq.ParquetFile(tmp_path / "report.parquet").num_row_groups > 100


def test_the_same_text_gives_the_same_bytes_however_it_comes(tmp_path, small_blocks):
    rows = [f"{n},{'x' * (n % 90)}" for n in range(300)]
    text = "\n".join(["id,note", *rows])
    assert len({convert(tmp_path, text, pieces=pieces)[0].sha256 for pieces in (1, 7, 64, 100, 10**6)}) == 1


@pytest.mark.parametrize(
    ("late", "column"),
    [("x,1.5,b", "id"), ("3,abc,b", "price"), ("3,1.12345,b", "price"), ("3.5,1.5,b", "id")],
)
def test_a_value_that_does_not_fit_is_an_error_that_says_where(tmp_path, small_blocks, late, column):
    rows = [f"{n},{n}.5,a" for n in range(100)]
    text = "\n".join(["id,price,text", *rows, late, ""])
    given = {"id": "int64", "price": "decimal(38, 4)"}
    with pytest.raises(VerificationError, match=rf"column '{column}' .*column_types, but row 101 ") as caught:
        convert(tmp_path, text, column_types=given)
    assert "abc" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


@pytest.mark.parametrize("row", ["1", "1,2,3"])
def test_a_row_of_another_width(tmp_path, row):
    with pytest.raises(VerificationError, match="does not have 2 columns"):
        convert(tmp_path, f"a,b\n1,2\n{row}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "values", [["", "a"], ["a", "", "", "b"], ["a"], [], ["x" * 70, "", "y" * 70], ["x" * 58, "", "y"]]
)
@pytest.mark.parametrize("blank", [0, 1, 2, 200], ids="{} at the end".format)
def test_a_blank_line_is_a_row_where_there_is_one_column(tmp_path, small_blocks, values, end, blank):
    text = "".join(f"{line}{end}" for line in ["note", *values, *[""] * blank])
    entry, table = convert(tmp_path, text)
    assert table.column("note").to_pylist() == [value or None for value in values]
    assert entry.rows == len(values)


def test_blank_lines_among_several_columns_are_no_rows(tmp_path, small_blocks):
    lines = [f'{n},"two\n\nlines"' if n % 7 else "" for n in range(100)]
    entry, table = convert(tmp_path, "".join(f"{line}\n" for line in ["a,b", *lines]))
    assert entry.rows == table.num_rows == sum(map(bool, lines))


def test_blank_lines_inside_of_quotes_and_rows_of_nothing_are_no_blank_lines(tmp_path):
    _, table = convert(tmp_path, 'a,b\n"\n\nx\r\n\r\n",1\n,\n"\n\n",2\n')
    assert table.column("a").to_pylist() == ["\n\nx\r\n\r\n", None, "\n\n"]


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "no header line"), ("\n1\n", "no header line"), ("a,b,a\n1,2,3\n", "more than one column 'a'")],
)
def test_a_header_of_no_use(tmp_path, text, words):
    with pytest.raises(VerificationError, match=words):
        convert(tmp_path, text)


def test_a_type_for_a_column_that_is_not_there(tmp_path):
    with pytest.raises(VerificationError, match=r"names 'prize'.* columns id, price"):
        convert(tmp_path, "id,price\n1,2\n", column_types={"prize": "string"})


def test_a_type_that_is_none(tmp_path):
    with pytest.raises(ValidationRejected, match="'money', given for column 'price'"):
        parquet(column_types={"price": "money"})


def test_a_record_without_end_is_refused(tmp_path, monkeypatch, small_blocks):
    monkeypatch.setattr(module, "LONGEST_RECORD", 1000)
    with pytest.raises(VerificationError, match="more than 1000 bytes"):
        convert(tmp_path, 'a\n"' + "x" * 5000)


cells = st.text(st.sampled_from('ab1,;"\n\r é'), max_size=8)


@settings(max_examples=60)
@given(st.lists(st.tuples(cells, cells), max_size=30), st.integers(1, 40))
def test_every_text_comes_through_whatever_the_blocks(tmp_path_factory, rows, pieces):
    tmp_path = tmp_path_factory.mktemp("rows")
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerows([("first", "second"), *rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BYTES", 32)
        types = {"first": "string", "second": "string"}
        _, table = convert(tmp_path, out.getvalue(), pieces=pieces, column_types=types)
    assert [tuple(row.values()) for row in table.to_pylist()] == rows


@given(st.lists(st.sampled_from([b"a", b'"', b"\n", b'""']), max_size=40).map(b"".join))
def test_the_end_of_the_last_record_is_outside_of_quotes(text):
    end = last_record_end(text)
    assert text[:end].count(b'"') % 2 == 0
    assert end == 0 or text[end - 1 : end] == b"\n"
    rest, quoted = text[end:], False
    for n in range(len(rest)):
        quoted ^= rest[n : n + 1] == b'"'
        assert quoted or rest[n : n + 1] != b"\n", "no later record ends in the rest"
