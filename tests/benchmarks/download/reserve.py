"""
Memory that goes from copy to copy, so that none has to wait for memory and another has not.

A virtual machine may give memory that nobody has used for two seconds back to its host (free page reporting),
and getting it again takes longer than copying a file into it. Without a reserve it is chance, and the time
that Python takes to start, which copies pay for that: a gigabyte was written in 0.36 s or in 0.86 s. So the
file of one copy is kept, and removed when the next copy begins.
"""

from __future__ import annotations

import time
from pathlib import Path

_PASSES = Path("/sys/module/page_reporting/parameters/passes")
"""Counts how often memory was given back, on kernels that tell."""

_QUIET_SECONDS = 2.5
_PATIENCE_SECONDS = 15.0
_PIECE = bytes(range(256)) * 4096


class Reserve:
    """The file that is kept, in a folder in memory."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "reserve"

    def hold(self, size: int) -> None:
        """Have at least ``size`` bytes, and not many more."""
        if self.path.exists() and size <= self.path.stat().st_size < size + len(_PIECE):
            return
        self.path.unlink(missing_ok=True)
        with self.path.open("wb") as file:
            for _ in range(-(-size // len(_PIECE))):
                file.write(_PIECE)

    def take(self, copy: Path) -> None:
        """Keep a file that is done with, instead of the one before."""
        copy.replace(self.path)


def release(path: str) -> float:
    """
    Free what is kept, if anything, once the kernel has given back the rest: it rests for two seconds then.

    Return how many seconds that took.
    """
    began = time.perf_counter()
    if path:
        _settle()
        Path(path).unlink(missing_ok=True)
    return time.perf_counter() - began


def _settle() -> None:
    if not _PASSES.exists():
        return
    before, since, until = _PASSES.read_text(), time.monotonic(), time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < min(since + _QUIET_SECONDS, until):
        time.sleep(0.1)
        if (now := _PASSES.read_text()) != before:
            before, since = now, time.monotonic()
