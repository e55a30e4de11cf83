"""What is found out about the bytes while they pass: length, hash, number of CSV records. Pure."""

from __future__ import annotations

import hashlib
import sys

from stoq_provider.storage.parity import WORD, QuoteBits, quote_bits

_OTHERS = bytes(i for i in range(256) if i not in b'"\n')

FAST_FROM = 32 * 1024 * 1024
"""Bytes after which loading numpy, a tenth of a second, has paid for itself."""

FAST_FROM_LOADED = 256 * 1024
"""The same where it is loaded already."""


class CsvRecordCounter:
    """
    Counts CSV records in chunks of any size, in constant memory.

    It takes a second for a gigabyte; where numpy is installed (it comes with the extras for Parquet and S3)
    a third of that for large files, and other threads run meanwhile.

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
        self._asked = False
        self._bits: QuoteBits | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the file."""
        if not chunk:
            return
        self._fed += len(chunk)
        if not self._asked and self._fed >= (FAST_FROM_LOADED if "numpy" in sys.modules else FAST_FROM):
            self._asked, self._bits = True, quote_bits()
        whole = 0
        if self._bits is not None:
            whole = len(chunk) - len(chunk) % WORD
            ended, self._parity = self._bits.feed(memoryview(chunk)[:whole], self._parity)
            self._ended += ended
        self._feed_slowly(chunk[whole:] if whole else chunk)
        self._last = chunk[-1:]

    def _feed_slowly(self, chunk: bytes) -> None:
        # Without everything but quotes and newlines, the pieces between quotes are runs of newlines, and
        # every second piece lies outside of quotes.
        pieces = chunk.translate(None, _OTHERS).split(b'"')
        self._ended += sum(map(len, pieces[self._parity :: 2]))
        self._parity = (self._parity + len(pieces) - 1) & 1

    @property
    def inside_quotes(self) -> bool:
        """Whether the bytes so far end inside a quoted field; at the end of a file: it is cut short."""
        return self._parity == 1

    @property
    def records(self) -> int:
        """Records so far, the header among them; an unfinished last line counts as one."""
        return self._ended + (self.inside_quotes or self._last != b"\n")


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
