"""What the number of rows of a result has to say: whether it is whole, enough, or nothing at all."""

from __future__ import annotations

import threading


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
