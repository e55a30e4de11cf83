"""Contents of export files: whole ones of the shop, and huge ones that are never held in memory."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

CHUNK = 128 * 1024
ROWS_PER_BLOCK = 512
# The same length and still valid CSV, but other bytes: a client that joins both halves gets a wrong hash.
_OTHER_DIGITS = bytes.maketrans(b"0123456789", b"1234567890")


class Content(Protocol):
    """Bytes of known size that can be read from any offset."""

    size: int
    rows: int
    etag: str

    def read(self, start: int, length: int) -> bytes:
        """Up to `length` bytes from `start`; fewer are no sign of the end."""


class Table:
    """A file that fits in memory."""

    def __init__(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        lines = encode([columns, *rows])
        self._data = b"".join(lines)
        self.rows = len(lines) - 1
        self.size = len(self._data)
        self.etag = _etag(self._data)

    def read(self, start: int, length: int) -> bytes:
        """Part of the file."""
        return self._data[start : start + length]


class RepeatedTable:
    """
    `count` rows that repeat those of the shop, each ending in a serial number of fixed width.

    Fixed width makes every block of rows equally long, so the size is known and any offset is found
    without making the rows before it.
    """

    def __init__(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], count: int) -> None:
        base = list(rows) or [[""] * len(columns)]
        lines = [line[:-1] for line in encode(base)]
        times = max(1, ROWS_PER_BLOCK // len(lines))
        self._lines = lines * times
        self._header = encode([[*columns, "serial"]])[0]
        ends = [0]
        for line in self._lines:
            ends.append(ends[-1] + len(line) + 14)  # comma, twelve digits, newline
        blocks, rest = divmod(count, len(self._lines))
        self._block_size = ends[-1]
        self.rows = count
        self.size = len(self._header) + blocks * self._block_size + ends[rest]
        self.etag = _etag(self._header, b"".join(lines), str(count).encode())

    def read(self, start: int, length: int) -> bytes:
        """Part of one block of the file, or of its first line."""
        length = min(length, self.size - start)
        if start < len(self._header):
            return self._header[start : start + length]
        block, offset = divmod(start - len(self._header), self._block_size)
        return self._block(block)[offset : offset + length]

    def _block(self, block: int) -> bytes:
        first = block * len(self._lines)
        return b"".join(b"%b,%012d\n" % (line, first + i) for i, line in enumerate(self._lines))


class Altered:
    """Another content of the same size, as if the file had been replaced meanwhile."""

    def __init__(self, original: Content) -> None:
        self._original = original
        self.size = original.size
        self.rows = original.rows
        self.etag = _etag(b"altered", original.etag.encode())

    def read(self, start: int, length: int) -> bytes:
        """Part of the file, with other digits."""
        return self._original.read(start, length).translate(_OTHER_DIGITS)


def chunks(content: Content, start: int, stop: int) -> Iterator[bytes]:
    """The bytes from `start` up to `stop`, a little at a time."""
    while start < stop:
        piece = content.read(start, min(CHUNK, stop - start))
        start += len(piece)
        yield piece


def encode(rows: Iterable[Sequence[Any]]) -> list[bytes]:
    """CSV records, each ending in a newline. Invented: UTF-8, comma, minimal quoting, LF."""
    lines = []
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for row in rows:
        writer.writerow(row)
        lines.append(buffer.getvalue().encode())
        buffer.seek(0)
        buffer.truncate()
    return lines


def _etag(*parts: bytes) -> str:
    return f'"{hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()}"'
