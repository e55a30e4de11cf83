"""Records of a CSV are counted alike, however the bytes come, and as one counts who reads byte by byte."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from stoq_provider.download.verification import CsvRecordCounter

BOM = b"\xef\xbb\xbf"


def count(data: bytes, cuts: Iterable[int] = ()) -> CsvRecordCounter:
    """Count with the bytes cut at these places."""
    counter = CsvRecordCounter()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        counter.feed(data[start:end])
    return counter


def counted_slowly(data: bytes) -> tuple[int, bool]:
    """Count byte by byte; return the records, and whether the end is inside quotes."""
    inside, ended, records = False, 0, 0
    for at, byte in enumerate(data):
        if byte not in b"\r\n":
            inside ^= byte == ord('"')
            records = ended + 1
        elif inside:
            continue
        elif byte == ord("\n") or data[at + 1 : at + 2] != b"\n":
            ended += 1
    return (0 if data.rstrip(b"\r\n") in (b"", BOM) else records), inside


def check_counts(data: bytes, cuts: Iterable[int]) -> None:
    """Compare the counter with :func:`counted_slowly`."""
    counter = count(data, cuts)
    assert (counter.records, counter.inside_quotes) == counted_slowly(data)
