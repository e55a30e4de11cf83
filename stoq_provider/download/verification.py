"""What is found out about the bytes while they pass, and whether a file that has arrived is published."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from stoq_provider.download.destination import Target
from stoq_provider.download.options import DownloadOptions, EmptyResult, verification_error
from stoq_provider.download.writers import same_content


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
    how = {
        None: "",
        False: "; header_counted=False takes the job's rows to be counted without the header line",
        True: "; header_counted=True takes the job's rows to be counted with the header line",
    }[header_counted]
    return f"the job announced {expected} rows, but the file holds {rows} (not counting its header line){how}"


_OTHERS = bytes(i for i in range(256) if i not in b'"\n')


class CsvRecordCounter:
    """
    Counts CSV records in chunks of any size, in constant memory.

    A record ends at a newline with an even number of quotes before it, so a newline inside a quoted field
    ends none; a doubled quote inside a field changes nothing about the parity. Holds for RFC 4180
    with LF or CRLF: not for quotes escaped by a backslash, stray quotes in unquoted fields, or bare CR as
    the end of a line. A blank line counts as a record.

    ``inside_quotes``: whether the bytes so far end inside a quoted field; at the end of a file: it is cut
    short.
    """

    def __init__(self) -> None:
        self.inside_quotes = False
        self._ended = 0
        self._last = b"\n"

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the file."""
        if b'"' in chunk:
            # Without everything but quotes and newlines, the pieces between quotes are runs of newlines, and
            # every second piece lies outside of quotes.
            pieces = chunk.translate(None, _OTHERS).split(b'"')
            self._ended += sum(map(len, pieces[self.inside_quotes :: 2]))
            self.inside_quotes ^= len(pieces) % 2 == 0
        elif not self.inside_quotes:
            self._ended += chunk.count(b"\n")
        self._last = chunk[-1:] or self._last

    @property
    def records(self) -> int:
        """Records so far, the header among them; an unfinished last line counts as one."""
        return self._ended + (self.inside_quotes or self._last != b"\n")


class Tally:
    """
    Bytes and SHA-256 of what is stored, and CSV records of its text.

    The two are the same bytes, unless gzip is kept: then what is stored is not the text.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._hash = hashlib.sha256()
        self._csv = CsvRecordCounter()

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


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Holds a file against the options."""

    options: DownloadOptions
    log: logging.Logger
    job_id: str | None = None

    def check_rows(self, tally: Tally, expected: int | None) -> None:
        """
        Compare the rows with what the job announced, and with what is wanted at least.

        :raises VerificationError: they do not fit.
        """
        problem = self._problem(tally, expected)
        if problem and self.options.on_mismatch == "fail":
            raise verification_error(f"The downloaded result does not fit: {problem}.", job_id=self.job_id)
        if problem:
            self.log.warning("The result does not fit, and is published all the same: %s.", problem)
        least = self.options.min_rows
        left_to_on_empty = tally.rows == 0 and self.options.on_empty != "keep"
        if least is not None and tally.rows < least and not left_to_on_empty:
            raise verification_error(
                f"The file holds {tally.rows} rows, and at least {least} are wanted (min_rows).",
                job_id=self.job_id,
            )

    def check_form(self, tally: Tally, rows: int | None) -> None:
        """
        Compare the rows of another form of the file with those that were counted.

        :param rows: ``None``: the form does not tell.
        :raises VerificationError: they differ, whatever ``on_mismatch`` says: what was announced has no part
            in it.
        """
        if rows is not None and rows != tally.rows:
            raise verification_error(
                f"The file holds {tally.rows} rows (not counting its header line), but another form that was "
                f"made of it holds {rows}: its quotes or line ends may not be those of RFC 4180.",
                job_id=self.job_id,
            )

    def _problem(self, tally: Tally, expected: int | None) -> str:
        if tally.cut:
            return "the file ends inside a quoted field, so it was cut short where it was made"
        if expected is None:
            return ""
        return row_problem(tally.records, expected, self.options.header_counted)

    def wants_nothing(self, tally: Tally) -> bool:
        """
        Return whether a file without text is to be published instead of one that has no data rows.

        :raises EmptyResult: no rows, and ``on_empty="skip"``.
        :raises VerificationError: no rows, and ``on_empty`` does not allow that.
        """
        choice = self.options.on_empty
        if tally.rows or choice == "keep":
            return False
        if choice == "skip":
            raise EmptyResult(
                "The result has no rows, and on_empty='skip': nothing was published. The remote job is done."
            )
        if choice == "fail":
            raise verification_error("The result has no rows, and on_empty='fail'.", job_id=self.job_id)
        if choice == "header" and not tally.records:
            raise verification_error(
                "The result has not even a header line, and on_empty='header'.", job_id=self.job_id
            )
        return choice == "empty"

    def wants_writing(self, target: Target, tally: Tally, check: Callable[[], None]) -> bool:
        """Return whether the file is to be published: not where ``if_different`` finds the same content."""
        if self.options.overwrite != "if_different":
            return True
        return not same_content(target, tally.bytes, tally.sha256, check)
