from __future__ import annotations

import csv
import hashlib
import io
import sys
from contextlib import contextmanager
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoq_provider.download import verification
from stoq_provider.download.verification import CsvRecordCounter, Tally

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


@pytest.fixture(autouse=True)
def slowly(monkeypatch):
    """Other tests may have loaded numpy; here only those use it that say so."""
    monkeypatch.setattr(verification, "FAST_FROM", 10**12)
    monkeypatch.setattr(verification, "FAST_FROM_LOADED", 10**12)


@contextmanager
def fast():
    pytest.importorskip("numpy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, "FAST_FROM", 1)
        patch.setattr(verification, "FAST_FROM_LOADED", 1)
        yield


pieces = st.sampled_from([b"a", b'"', b"\n", b'""', b"\r\n", b"b" * 61, b"\n" * 64, b'"' * 65, b"c" * 200])


@given(st.lists(pieces, max_size=60), st.lists(st.integers(0, 3000), max_size=8))
def test_large_files_are_counted_alike(parts, cuts):
    data = b"".join(parts)
    slow = count(data, cuts)
    with fast():
        quick = count(data, cuts)
    assert (quick.records, quick.inside_quotes) == (slow.records, slow.inside_quotes)


@pytest.mark.parametrize("cut", [0, 1, 2**20, 2**20 + 1, 2**20 + 64, 3 * 2**20 - 1])
def test_chunks_of_more_than_a_block_are_counted_alike(cut):
    data = b'1,"a\nb",2\r\n"' * 300_001
    slow = count(data, [cut])
    with fast():
        quick = count(data, [cut])
    assert (quick.records, quick.inside_quotes) == (slow.records, slow.inside_quotes)


@pytest.mark.parametrize("size", [1, 63, 64, 65, 1000])
def test_numpy_comes_in_once_a_file_is_large(size, monkeypatch):
    pytest.importorskip("numpy")
    monkeypatch.setattr(verification, "FAST_FROM_LOADED", 1000)
    counter = CsvRecordCounter()
    fed = 0
    while fed < 2000:
        counter.feed(b"\n" * size)
        fed += size
        assert (counter._bits is not None) == (fed >= 1000)
    assert counter.records == fed


def test_numpy_before_2_counts_alike(monkeypatch):
    numpy = pytest.importorskip("numpy")
    monkeypatch.delattr(numpy, "bitwise_count", raising=False)
    data = b'1,"a\nb",2\r\n"' * 30_001
    slow = count(data)
    with fast():
        quick = count(data)
    assert (quick.records, quick.inside_quotes) == (slow.records, slow.inside_quotes)


def test_without_numpy_large_files_are_counted_as_small_ones(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    monkeypatch.setattr(verification, "FAST_FROM", 1)
    monkeypatch.setattr(verification, "FAST_FROM_LOADED", 1)
    assert count(b'h\n"a\nb"\n', [3]).records == 2


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


@pytest.mark.parametrize(("data", "cut"), [(b'h\n"1\n', True), (b'h\n"1"\n', False), (b"", False)])
def test_file_that_was_cut_where_it_was_made(data, cut):
    tally = Tally()
    tally.update(data)
    assert tally.cut is cut


def test_stored_bytes_and_text_are_told_apart():
    tally = Tally()
    tally.stored(b"packed")
    tally.text(b"h\n1\n2\n")
    assert (tally.bytes, tally.rows) == (6, 2)
    assert tally.sha256 == hashlib.sha256(b"packed").hexdigest()
