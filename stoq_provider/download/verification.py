"""What is found out about the bytes while they pass, and whether a file that has arrived is published."""

from __future__ import annotations

import hashlib
import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

from stoq_provider.download.destination import Target
from stoq_provider.download.options import DownloadPolicy, EmptyResult, verification_error
from stoq_provider.download.parity import WORD, QuoteBits, quote_bits
from stoq_provider.download.writers import same_content


class RowCounts:
    """
    Whether a system's ``row_count`` includes the header line.

    No documentation says so (U). Either is accepted until a file decides: the file's records can fit only
    one of the two. From then on the other one is a mismatch, because a file that lacks one row looks like it.
    Kept for the life of the process, by the name of the system. Threads may share it.
    """

    def __init__(self) -> None:
        self._with_header: dict[str, bool] = {}
        self._lock = threading.Lock()

    def knows(self, system: str | None) -> bool | None:
        """Return whether the header line is counted, or ``None`` where no file has told yet."""
        return None if system is None else self._with_header.get(system)

    def settle(self, system: str, with_header: bool) -> bool:
        """Note what a file has told, unless another one was first; return what holds."""
        with self._lock:
            return self._with_header.setdefault(system, with_header)


LEARNED = RowCounts()
"""What this process has learned."""


def counted(records: int, expected: int) -> bool | None:
    """
    Return whether ``expected`` counts the header line of a file with that many ``records``.

    ``None``: it fits neither way, or both: nothing and 0 rows.
    """
    fits = {False: max(records - 1, 0) == expected, True: records == expected}
    if fits[False] == fits[True]:
        return None
    return fits[True]


def row_problem(records: int, expected: int, with_header: bool | None) -> str:
    """
    Say what is wrong with the number of rows, or nothing.

    :param records: CSV records of the file, its header line among them.
    :param expected: the job's own number.
    :param with_header: whether that number includes the header line; ``None``: not known, both will do.
    """
    rows = max(records - 1, 0)
    allowed = {None: (rows, records), False: (rows,), True: (records,)}[with_header]
    if expected in allowed:
        return ""
    how = {
        None: "",
        False: "; rows are taken to be counted without the header line, as in an earlier file or as told",
        True: "; rows are taken to be counted with the header line, as in an earlier file or as told",
    }[with_header]
    return f"the job announced {expected} rows, but the file holds {rows} (not counting its header line){how}"


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


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Holds a file against the policy."""

    policy: DownloadPolicy
    log: logging.Logger
    job_id: str | None = None
    system: str | None = None

    def check_rows(self, tally: Tally, expected: int | None, *, framed: bool) -> None:
        """
        Compare the rows with what the job announced, and with what is wanted at least.

        :param framed: whether the transfer is known to be whole. Only such a file teaches how its system
            counts.
        :raises VerificationError: they do not fit.
        """
        problem = self._problem(tally, expected)
        if problem and self.policy.on_mismatch == "fail":
            raise verification_error(f"The downloaded result does not fit: {problem}.", job_id=self.job_id)
        if problem:
            self.log.warning("The downloaded result does not fit, and is published all the same: %s", problem)
        elif framed and expected is not None:
            self._learn(tally, expected)
        least = self.policy.min_rows
        left_to_on_empty = tally.rows == 0 and self.policy.on_empty != "keep"
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
        with_header = self.policy.header_counted
        if with_header is None:
            with_header = LEARNED.knows(self.system)
        return row_problem(tally.records, expected, with_header)

    def _learn(self, tally: Tally, expected: int) -> None:
        with_header = counted(tally.records, expected)
        if self.system is None or with_header is None or self.policy.header_counted is not None:
            return
        if LEARNED.knows(self.system) is None:
            self.log.info(
                "%s counts rows %s the header line; later files of this process are held to it",
                self.system,
                "with" if with_header else "without",
            )
        if LEARNED.settle(self.system, with_header) is not with_header:
            # Another thread's file was first, and told the opposite.
            self.check_rows(tally, expected, framed=False)

    def wants_nothing(self, tally: Tally) -> bool:
        """
        Return whether a file without text is to be published instead of one that has no data rows.

        :raises EmptyResult: no rows, and ``on_empty="skip"``.
        :raises VerificationError: no rows, and ``on_empty`` does not allow that.
        """
        choice = self.policy.on_empty
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
        if self.policy.overwrite != "if_different":
            return True
        return not same_content(target, tally.bytes, tally.sha256, check)
