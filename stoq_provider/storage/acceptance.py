"""Whether a file that has arrived is published: its rows, and what is there already."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from stoq_provider.storage.checks import Tally
from stoq_provider.storage.existing import same_content
from stoq_provider.storage.policy import DownloadPolicy, EmptyResult, verification_error
from stoq_provider.storage.rows import LEARNED, counted, row_problem
from stoq_provider.storage.target import Target


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
