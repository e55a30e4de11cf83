"""What is found out about the bytes while they pass, and whether a file that has arrived is published."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException

from stoq_provider.download.options import DownloadOptions, verification_error


class EmptyResult(AirflowSkipException):
    """The file has no data rows, and ``on_empty="skip"``: nothing was published."""


def row_problem(records: int, expected: int, header_counted: bool | None) -> str:
    """
    Say what is wrong with the number of rows, or nothing.

    :param records: CSV records of the file, its header line among them.
    :param expected: the job's own number.
    :param header_counted: whether that number includes the header line; ``None``: not known, both will do.
    """
    rows = max(records - 1, 0)
    allowed = {None: (rows, records), False: (rows,), True: (records,)}[header_counted]
    if expected in allowed:
        return ""
    how = ""
    if header_counted is not None:
        counted = "with" if header_counted else "without"
        how = (
            f"; header_counted={header_counted} takes the job's rows to be counted {counted} the header line"
        )
    return f"the job announced {expected} rows, but the file holds {rows} (not counting its header line){how}"


_OTHERS = bytes(i for i in range(256) if i not in b'"\n')
_LONE_CR = re.compile(rb"\r(?!\n)")
_BOM = b"\xef\xbb\xbf"


class CsvRecordCounter:
    """
    Counts CSV records in chunks of any size, in constant memory.

    A record ends at a line end (LF, CRLF, or CR alone) with an even number of quotes before it, so one inside
    a quoted field ends none; a doubled quote inside a field changes nothing about the parity. Holds for RFC
    4180: not for quotes escaped by a backslash, or stray quotes in unquoted fields. A blank line counts as a
    record, except at the end of the file. A byte order mark is no text.

    ``inside_quotes``: whether the bytes so far end inside a quoted field; at the end of a file: it is cut
    short.
    """

    def __init__(self) -> None:
        self.inside_quotes = False
        self._ended = 0
        self._blank = 0  # of those that ended: since the last text
        self._head = b""
        self._seen = self._text = 0  # bytes, and those up to the last that is no line end
        self._after_cr = False

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the file."""
        if not chunk:
            return
        self._head = (self._head + chunk[:3])[:3]
        after_cr, self._after_cr = self._after_cr, chunk.endswith(b"\r")
        if after_cr and chunk.startswith(b"\n"):
            self._seen += 1  # the line end is counted
            chunk = chunk[1:]
        text, ends = chunk.rstrip(b"\r\n"), 0
        if text:
            self._text = self._seen + len(text)
            self._ended += self._line_ends(text)
            self._blank = 0
        if not self.inside_quotes:
            ends = _line_feeds(chunk[len(text) :]).count(b"\n")
        self._ended += ends
        self._blank += ends
        self._seen += len(chunk)

    def _line_ends(self, text: bytes) -> int:
        """Return the number of those that are outside of quotes."""
        text = _line_feeds(text)
        if b'"' not in text:
            return 0 if self.inside_quotes else text.count(b"\n")
        # Without everything but quotes and newlines, the pieces between quotes are runs of newlines, and
        # every second piece lies outside of quotes.
        pieces = text.translate(None, _OTHERS).split(b'"')
        ended = sum(map(len, pieces[self.inside_quotes :: 2]))
        self.inside_quotes ^= len(pieces) % 2 == 0
        return ended

    @property
    def records(self) -> int:
        """Records so far, the header among them; an unfinished last line counts as one."""
        if self._text <= (len(_BOM) if self._head == _BOM else 0):
            return 0
        return self._ended - self._blank + 1

    @property
    def rows(self) -> int:
        """Records so far without the header line."""
        return max(self.records - 1, 0)


def _line_feeds(text: bytes) -> bytes:
    """Return a text with CR alone as LF; CRLF may stay, since its LF counts."""
    if b"\r" not in text or _LONE_CR.search(text) is None:
        return text
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """
    One published file. The manifest lists its first five fields; lineage takes the others as well.

    :param uri: where it is, with the connection id if one was given.
    :param file_name: last part of the URI.
    :param bytes: length.
    :param rows: CSV records without the header line.
    :param sha256: digest of the content, in hex.
    :param written: ``False``: the object had this content already and was left alone.
    :param kind: of the job whose result it is; ``None``: not known.
    :param columns: name and type of each; none where the header line can't be read.
    :param account: of Azure, which its URI does not name.
    """

    uri: str
    file_name: str
    bytes: int
    rows: int
    sha256: str
    written: bool = True
    kind: str | None = None
    columns: tuple[tuple[str, str], ...] = ()
    account: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of a manifest: ``{"uri", "file_name", "bytes", "rows", "sha256"}``."""
        return {name: getattr(self, name) for name in ("uri", "file_name", "bytes", "rows", "sha256")}


def check_rows(
    csv: CsvRecordCounter, expected: int | None, options: DownloadOptions, log: logging.Logger
) -> None:
    """
    Compare the rows with what the job announced, and with what is wanted at least.

    :raises VerificationError: they do not fit.
    """
    problem = ""
    if csv.inside_quotes:
        problem = "the file ends inside a quoted field, so it was cut short where it was made"
    elif expected is not None:
        problem = row_problem(csv.records, expected, options.header_counted)
    if problem and options.on_mismatch == "fail":
        raise verification_error(f"The downloaded result does not fit: {problem}.")
    if problem:
        log.warning("The result does not fit, and is published all the same: %s.", problem)
    least = options.min_rows
    left_to_on_empty = csv.rows == 0 and options.on_empty != "keep"
    if least is not None and csv.rows < least and not left_to_on_empty:
        raise verification_error(
            f"The file holds {csv.rows} rows, and at least {least} are wanted (min_rows)."
        )


def wants_nothing(csv: CsvRecordCounter, choice: str) -> bool:
    """
    Return whether a file without text is to be published instead of one that has no data rows.

    :raises EmptyResult: no rows, and ``on_empty="skip"``.
    :raises VerificationError: no rows, and ``on_empty`` does not allow that.
    """
    if csv.rows or choice == "keep":
        return False
    if choice == "skip":
        raise EmptyResult(
            "The result has no rows, and on_empty='skip': nothing was published. The remote job is done."
        )
    if choice == "fail":
        raise verification_error("The result has no rows, and on_empty='fail'.")
    if choice == "header" and not csv.records:
        raise verification_error("The result has not even a header line, and on_empty='header'.")
    return choice == "empty"
