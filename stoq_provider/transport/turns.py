"""Turns at one event loop, which a triggerer shares with everybody's triggers."""

from __future__ import annotations

import time

SPACING = 0.005
"""
Seconds between two polls of one event loop, over all shops.

A poll takes a millisecond or two of the loop: beyond two hundred a second, which needs some forty shops with
more jobs than points, other triggers would notice.
"""


class Turns:
    """Turns at one event loop: one after the other, so that no crowd of polls holds it up."""

    def __init__(self, spacing: float = SPACING) -> None:
        self._spacing = spacing
        self._next = float("-inf")

    def reserve(self) -> float:
        """Return the time of the next turn, in seconds of the monotonic clock, and take it."""
        turn = max(self._next, time.monotonic())
        self._next = turn + self._spacing
        return turn
