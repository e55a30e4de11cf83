"""What is found out about the bytes while they pass: length, hash, number of CSV records. Pure."""

from __future__ import annotations

import hashlib

_OTHERS = bytes(i for i in range(256) if i not in b'"\n')


class CsvRecordCounter:
    """
    Counts CSV records in chunks of any size, in constant memory, at more than a gigabyte a second.

    A record ends at a newline with an even number of quotes before it, so a newline inside a quoted field
    ends none; a doubled quote inside a field changes nothing about the parity. Holds for RFC 4180
    with LF or CRLF: not for quotes escaped by a backslash, stray quotes in unquoted fields, or bare CR as
    the end of a line. A blank line counts as a record.
    """

    def __init__(self) -> None:
        self._ended = 0
        self._parity = 0
        self._last = b"\n"

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the file."""
        if not chunk:
            return
        # Without everything but quotes and newlines, the pieces between quotes are runs of newlines, and
        # every second piece lies outside of quotes.
        pieces = chunk.translate(None, _OTHERS).split(b'"')
        self._ended += sum(map(len, pieces[self._parity :: 2]))
        self._parity = (self._parity + len(pieces) - 1) & 1
        self._last = chunk[-1:]

    @property
    def inside_quotes(self) -> bool:
        """Whether the bytes so far end inside a quoted field; at the end of a file: it is cut short."""
        return self._parity == 1

    @property
    def records(self) -> int:
        """Records so far, the header among them; an unfinished last line counts as one."""
        return self._ended + (self.inside_quotes or self._last != b"\n")


class Tally:
    """Bytes, SHA-256 and CSV records of what has passed."""

    def __init__(self) -> None:
        self.bytes = 0
        self._hash = hashlib.sha256()
        self._csv = CsvRecordCounter()

    def update(self, chunk: bytes) -> None:
        """Take the next bytes of the file."""
        self.bytes += len(chunk)
        self._hash.update(chunk)
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

    def problem(self, expected_rows: int | None) -> str:
        """
        Say what is wrong with the whole file, or nothing.

        :param expected_rows: the job's own number, or ``None`` where it gives none. It presumably leaves
            out the header line, but the API does not say so; therefore either count is accepted.
        """
        if self._csv.inside_quotes:
            return "the file ends inside a quoted field, so it was cut short where it was made"
        if expected_rows is not None and expected_rows not in (self.records - 1, self.records):
            return (
                f"the job announced {expected_rows} rows, but the file of {self.bytes} bytes holds "
                f"{self.rows} (not counting its header line)"
            )
        return ""
