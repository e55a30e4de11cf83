from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.counting import count

fields = st.text(alphabet='ab,;"\n\r é', max_size=8)
ends = st.sampled_from(["\n", "\r\n", "\r"])
tables = st.lists(st.lists(fields, min_size=1, max_size=4), max_size=12)


def written(rows, newline, quoting):
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=newline, quoting=quoting).writerows(rows)
    return out.getvalue()


def counted_by_csv(text: str) -> int:
    """The records that the module reads, without empty lines at the end."""
    records = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    while records and not records[-1]:
        records.pop()
    return len(records)


@given(
    tables,
    ends,
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.lists(ends, max_size=4),
    st.booleans(),
    st.sampled_from(["", "\ufeff"]),
    st.lists(st.integers(0, 400), max_size=6),
)
def test_counts_what_the_csv_module_counts_however_it_is_cut(rows, newline, quoting, blank, chomp, bom, cuts):
    text = bom + written(rows, newline, quoting)
    text = text.removesuffix(newline) if chomp else text + "".join(blank)
    counter = count(text.encode(), cuts)
    assert counter.records == counted_by_csv(text)
    assert not counter.inside_quotes


lines = st.tuples(st.sampled_from(["", "a", "b,c", '"x\r"', '"\n"', '"\r\n"']), ends).map("".join)


@given(st.lists(lines, max_size=20).map("".join), st.lists(st.integers(0, 100), max_size=8))
def test_line_ends_of_all_kinds_in_one_file(text, cuts):
    assert count(text.encode(), cuts).records == counted_by_csv(text)


@given(tables.filter(bool), st.integers(0, 10_000))
def test_end_inside_a_quoted_field_is_seen(rows, where):
    data = written(rows, "\n", csv.QUOTE_ALL).encode()
    where %= len(data)
    assert count(data[:where]).inside_quotes == (data[:where].count(b'"') % 2 == 1)


@pytest.mark.parametrize(
    ("data", "records", "rows"),
    [
        (b"", 0, 0),
        (b"h", 1, 0),
        (b"h\n", 1, 0),
        (b"h\r\n1\r\n2", 3, 2),
        (b'h\n"a\nb"\n', 2, 1),
        (b'h\n"a""\n""b"\n', 2, 1),
        (b"h\n\n", 1, 0),
        (b"h\r\n\r\n\r\n", 1, 0),
        (b"h\n1\n\n\n", 2, 1),
        (b"h\n1\n\n2\n", 4, 3),
        (b"h\r1\r2", 3, 2),
        (b"h\r1\r2\r\r", 3, 2),
        (b"h\n1\r2\r\n", 3, 2),
        (b'h\r"a\rb"\r', 2, 1),
        (b"\n\n", 0, 0),
        (b"\r", 0, 0),
        (b"\nh\n", 2, 1),
        (b"\xef\xbb\xbf", 0, 0),
        (b"\xef\xbb\xbf\n", 0, 0),
        (b"\xef\xbb\xbfh\n1\n", 2, 1),
        (b'h\n"\n', 2, 1),
    ],
)
def test_known_files(data, records, rows):
    for cuts in ((), range(len(data))):
        counter = count(data, cuts)
        assert (counter.records, counter.rows) == (records, rows)


@pytest.mark.parametrize(("data", "cut"), [(b'h\n"1\n', True), (b'h\n"1"\n', False), (b"", False)])
def test_file_that_was_cut_where_it_was_made(data, cut):
    assert count(data).inside_quotes is cut
