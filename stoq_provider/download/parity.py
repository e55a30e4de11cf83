"""Newlines outside of quotes, 64 bytes at a time. Needs numpy; releases the interpreter while it counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

WORD = 64
"""Bytes whose quotes, or newlines, are the bits of one word."""

_BLOCK_BYTES = 1024 * 1024
_WORDS = "<u8"


class QuoteBits:
    """
    Counts a file block by block.

    A newline counts where the number of quotes before it is even. With the quotes of a block as bits, that
    number's lowest bit at every byte is the exclusive or of all bits before it: six shifts within a word, and
    one pass over the words. Unlike cutting a text at its quotes, that costs the same however many there are.
    """

    def __init__(self, numpy: Any) -> None:
        self._np = numpy
        self._marks = numpy.empty(_BLOCK_BYTES, bool)
        self._scratch = numpy.empty(_BLOCK_BYTES // WORD, _WORDS)
        self._ones = getattr(numpy, "bitwise_count", None) or _table_of_ones(numpy)
        self._odd = 0
        """1 within quotes, else 0."""

    def feed(self, data: memoryview, inside: int) -> tuple[int, int]:
        """
        Return how many newlines end records, and whether the text ends within quotes: 1, else 0.

        :param data: bytes, a multiple of :data:`WORD`.
        :param inside: 1: it begins within quotes, else 0.
        """
        self._odd = inside
        codes = self._np.frombuffer(data, "u1")
        blocks = (codes[at : at + _BLOCK_BYTES] for at in range(0, len(codes), _BLOCK_BYTES))
        return sum(map(self._count, blocks)), self._odd

    def _count(self, codes: Any) -> int:
        np = self._np
        scratch = self._scratch[: len(codes) // WORD]
        quotes, newlines = self._bits(codes, ord('"')), self._bits(codes, ord("\n"))
        for distance in (1, 2, 4, 8, 16, 32):
            np.left_shift(quotes, distance, out=scratch)
            np.bitwise_xor(quotes, scratch, out=quotes)
        # Now each bit tells the parity within its word; the last one, whether what follows is turned over.
        np.right_shift(quotes, WORD - 1, out=scratch)
        scratch[0] ^= np.uint64(self._odd)
        np.bitwise_xor.accumulate(scratch, out=scratch)
        ends_inside = int(scratch[-1])
        np.negative(scratch, out=scratch)
        np.bitwise_xor(quotes[1:], scratch[:-1], out=quotes[1:])
        if self._odd:
            quotes[0] = ~quotes[0]
        np.invert(quotes, out=quotes)
        np.bitwise_and(newlines, quotes, out=newlines)
        self._odd = ends_inside
        return int(self._ones(newlines).sum())

    def _bits(self, codes: Any, code: int) -> Any:
        marks = self._marks[: len(codes)]
        self._np.equal(codes, code, out=marks)
        return self._np.packbits(marks, bitorder="little").view(_WORDS)


def _table_of_ones(numpy: Any) -> Callable[[Any], Any]:
    """Return what counts the ones of each byte, for numpy before 2.0."""
    table = numpy.array([number.bit_count() for number in range(256)], "u1")
    return lambda words: table[words.view("u1")]


def quote_bits() -> QuoteBits | None:
    """Return a counter, or ``None`` where numpy is missing."""
    try:
        import numpy
    except Exception:
        # Not only ImportError: its wheels refuse processors that are too old. Counting goes without.
        return None
    return QuoteBits(numpy)
