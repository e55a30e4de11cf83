"""What the transports report of a shop's points, for whoever wants to draw it."""

from __future__ import annotations

from typing import Protocol


class Meter(Protocol):
    """Takes measurements; must neither block nor raise."""

    def points_left(self, points: int) -> None:
        """Points that the ledger still has, after an answer."""

    def waited(self, seconds: float) -> None:
        """Seconds that a call waited for points."""

    def throttled(self) -> None:
        """An answer was a 429."""

    def polled(self) -> None:
        """A call asked for the status of jobs."""

    def finished(self, jobs: int, polls: int) -> None:
        """A wait for so many jobs has ended, after so many answers about them."""


class NoMeter:
    """Measures nothing."""

    def points_left(self, points: int) -> None:
        """Ignore it."""

    def waited(self, seconds: float) -> None:
        """Ignore it."""

    def throttled(self) -> None:
        """Ignore it."""

    def polled(self) -> None:
        """Ignore it."""

    def finished(self, jobs: int, polls: int) -> None:
        """Ignore it."""
