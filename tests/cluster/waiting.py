"""Waiting for a condition: the one place of these tests that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 180.0
"""
Seconds until a condition counts as never met.

Much longer than anything takes on a quiet machine, so that a busy one only makes the tests slow.
"""

INTERVAL = 0.25


def until(
    what: str, look: Callable[[], T], timeout: float = PATIENCE, tell: Callable[[], object] | None = None
) -> T:
    """
    Return the first true answer of ``look``.

    :param tell: what to say when there was none in time; the last answer of ``look`` where not given.
    """
    deadline = time.monotonic() + timeout
    while True:
        answer = look()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s for {what}; at last: {tell() if tell else answer!r}")
        time.sleep(INTERVAL)
