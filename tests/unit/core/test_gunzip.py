from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoq_provider.core import gunzip
from stoq_provider.core.gunzip import FREE_BYTES, PIECE_BYTES, Gunzip

NOISE = random.Random(1).randbytes(300_000)


def feed(packed, step):
    decoder = Gunzip()
    pieces = [p for start in range(0, len(packed), step) for p in decoder.feed(packed[start : start + step])]
    return b"".join(pieces), decoder


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4), st.integers(1, 70))
def test_decodes_what_gzip_packed_however_it_is_cut(members, step):
    text, decoder = feed(b"".join(map(gzip.compress, members)), step)
    assert text == b"".join(members)
    assert decoder.ended
    assert not decoder.damage


def test_pieces_are_small_even_of_a_bomb():
    assert 40 * PIECE_BYTES < FREE_BYTES
    packed = gzip.compress(bytes(40 * PIECE_BYTES))
    tracemalloc.start()
    sizes = [len(piece) for piece in Gunzip().feed(packed)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(sizes) == 40 * PIECE_BYTES
    assert max(sizes) <= PIECE_BYTES
    assert peak < 8 * PIECE_BYTES


@pytest.mark.parametrize(
    ("free", "size", "refused"),
    [(500_000, 500_000, False), (500_000, 500_001, True), (0, 40_000, True)],
    ids=["short", "long", "ratio alone"],
)
@pytest.mark.parametrize("step", [10, 100_000])
def test_what_becomes_far_longer_is_refused(monkeypatch, free, size, refused, step):
    monkeypatch.setattr(gunzip, "FREE_BYTES", free)
    text, decoder = feed(gzip.compress(bytes(size)), step)
    assert ("more than 200 times" in decoder.damage) is refused
    assert refused or text == bytes(size)


@pytest.mark.parametrize("step", [1, 1000, 10**6])
def test_table_that_packs_well_is_taken(monkeypatch, step):
    monkeypatch.setattr(gunzip, "FREE_BYTES", 0)
    table = b"".join(b"%d,,,,0.00,0.00,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,\r\n" % n for n in range(20_000))
    text, decoder = feed(gzip.compress(table), step)
    assert (text, decoder.damage) == (table, "")


def test_rest_that_the_decoder_holds_is_not_lost(monkeypatch):
    monkeypatch.setattr(gunzip, "PIECE_BYTES", 1000)
    for size in (999, 1000, 1001, 2000, 100_000):
        text, decoder = feed(gzip.compress(bytes(size)), 10_000)
        assert len(text) == size
        assert decoder.ended


@pytest.mark.parametrize("keep", [0, 1, 9, 10, 100, -9, -1])
def test_stream_that_is_cut_has_not_ended(keep):
    _, decoder = feed(gzip.compress(NOISE)[:keep] if keep else b"", 1000)
    assert not decoder.ended
    assert not decoder.damage


def test_zeros_at_the_end_are_no_member():
    text, decoder = feed(gzip.compress(b"abc") + bytes(5000), 7)
    assert (text, decoder.ended, decoder.damage) == (b"abc", True, "")


@pytest.mark.parametrize(
    "packed",
    [
        b"id,name\n1,plain\n",
        gzip.compress(b"abc") + b"garbage after it",
        gzip.compress(NOISE)[:-8] + b"\1\2\3\4" + gzip.compress(NOISE)[-4:],
        zlib.compress(b"abc"),
    ],
    ids=["plain text", "garbage after the end", "wrong checksum", "zlib"],
)
def test_damage_is_an_error(packed):
    _, decoder = feed(packed, 100_000)
    assert decoder.damage
