from __future__ import annotations

import csv
import hashlib
import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoq_provider.storage.checks import CsvRecordCounter, Tally

fields = st.text(alphabet='ab,;"\n é', max_size=8)
tables = st.lists(st.lists(fields, min_size=1, max_size=4), max_size=12)


def written(rows, newline, quoting):
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=newline, quoting=quoting).writerows(rows)
    return out.getvalue()


def count(data: bytes, cuts=()) -> CsvRecordCounter:
    counter = CsvRecordCounter()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        counter.feed(data[start:end])
    return counter


@given(
    tables,
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.booleans(),
    st.lists(st.integers(0, 400), max_size=6),
)
def test_counts_what_the_csv_module_counts_however_it_is_cut(rows, newline, quoting, chomp, cuts):
    text = written(rows, newline, quoting)
    if chomp:
        text = text.removesuffix(newline)
    counter = count(text.encode(), cuts)
    assert counter.records == len(list(csv.reader(io.StringIO(text, newline=""))))
    assert not counter.inside_quotes


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
        (b"h\n\n", 2, 1),
    ],
)
def test_known_files(data, records, rows):
    tally = Tally()
    tally.update(data)
    assert (tally.records, tally.rows, tally.bytes) == (records, rows, len(data))
    assert tally.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("data", "expected", "problem"),
    [
        (b"h\n1\n2\n", 2, ""),
        (b"h\n1\n2\n", 3, ""),  # an API that counts the header line
        (b"h\n1\n2\n", None, ""),
        (b"h\n1\n2\n", 1, "1 rows"),
        (b"h\n1\n2\n", 4, "4 rows"),
        (b"h\n", 0, ""),
        (b"", 0, ""),
        (b"", 1, "1 rows"),
        (b'h\n"1\n', 1, "quoted field"),
        (b'h\n"1\n', None, "quoted field"),
    ],
)
def test_row_count_of_the_job(data, expected, problem):
    tally = Tally()
    tally.update(data)
    found = tally.problem(expected)
    assert problem in found
    assert bool(found) == bool(problem)
