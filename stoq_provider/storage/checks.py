"""What is found out about the bytes while they pass: length, hash, number of CSV records. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

_OTHERS = bytes(i for i in range(256) if i not in b'"\n')


FAST_FROM = 32 * 1024 * 1024
"""Bytes after which loading numpy, a tenth of a second, has paid for itself."""

FEW_QUOTES = 4000
"""Quotes in a mebibyte up to which it is quicker to cut the text at them than to strip it first."""


class CsvRecordCounter:
    """
    Counts CSV records in chunks of any size, in constant memory.

    At one to two gigabytes a second; where numpy is installed (it comes with Parquet and with many stores),
    large files without many quotes at three to six.

    A record ends at a newline with an even number of quotes before it, so a newline inside a quoted field
    ends none; a doubled quote inside a field changes nothing about the parity. Holds for RFC 4180
    with LF or CRLF: not for quotes escaped by a backslash, stray quotes in unquoted fields, or bare CR as
    the end of a line. A blank line counts as a record.
    """

    def __init__(self) -> None:
        self._ended = 0
        self._parity = 0
        self._last = b"\n"
        self._fed = 0
        self._count: Callable[[bytes], tuple[int, int]] | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the file."""
        if not chunk:
            return
        if self._fed < FAST_FROM <= self._fed + len(chunk):
            self._count = fast_counter()
        self._fed += len(chunk)
        quotes = self._many(chunk) if self._count is None else self._few(chunk, *self._count(chunk))
        self._parity = (self._parity + quotes) & 1
        self._last = chunk[-1:]

    def _many(self, chunk: bytes) -> int:
        """Count the records of a chunk, and return how many quotes it has."""
        # Without everything but quotes and newlines, the pieces between quotes are runs of newlines, and
        # every second piece lies outside of quotes.
        pieces = chunk.translate(None, _OTHERS).split(b'"')
        self._ended += sum(map(len, pieces[self._parity :: 2]))
        return len(pieces) - 1

    def _few(self, chunk: bytes, newlines: int, quotes: int) -> int:
        """Do as :meth:`_many` does, where the newlines and quotes are counted already."""
        if quotes > FEW_QUOTES * len(chunk) / 2**20:
            return self._many(chunk)
        inside = 0
        if quotes:
            inside = b"".join(chunk.split(b'"')[1 - self._parity :: 2]).count(b"\n")
        elif self._parity:
            inside = newlines
        self._ended += newlines - inside
        return quotes

    @property
    def inside_quotes(self) -> bool:
        """Whether the bytes so far end inside a quoted field; at the end of a file: it is cut short."""
        return self._parity == 1

    @property
    def records(self) -> int:
        """Records so far, the header among them; an unfinished last line counts as one."""
        return self._ended + (self.inside_quotes or self._last != b"\n")


def fast_counter() -> Callable[[bytes], tuple[int, int]] | None:
    """Return what counts newlines and quotes of a chunk, where numpy is there to do it."""
    try:
        import numpy as np
    except ImportError:
        return None

    def count(chunk: bytes) -> tuple[int, int]:
        codes = np.frombuffer(chunk, np.uint8)
        return int(np.count_nonzero(codes == 10)), int(np.count_nonzero(codes == 34))

    return count


class Tally:
    """
    Bytes and SHA-256 of what is stored, and CSV records of its text.

    The two are the same bytes, unless gzip is kept: then what is stored is not the text. Each has its own
    method, and each method may be called in a thread of its own.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._hash = hashlib.sha256()
        self._csv = CsvRecordCounter()

    def update(self, chunk: bytes) -> None:
        """Take the next bytes of a file that is stored as the text it is."""
        self.stored(chunk)
        self.text(chunk)

    def stored(self, chunk: bytes) -> None:
        """Take the next bytes of what is stored."""
        self.bytes += len(chunk)
        self._hash.update(chunk)

    def text(self, chunk: bytes) -> None:
        """Take the next bytes of the CSV."""
        self._csv.feed(chunk)

    @property
    def sha256(self) -> str:
        """Digest so far, in hex."""
        return self._hash.hexdigest()

    @property
    def records(self) -> int:
        """CSV records so far, the header line among them."""
        return self._csv.records

    @property
    def rows(self) -> int:
        """CSV records so far without the header line."""
        return max(self.records - 1, 0)

    @property
    def cut(self) -> bool:
        """Whether the text ends inside a quoted field, so that it was cut short where it was made."""
        return self._csv.inside_quotes
