"""The job clock: wall time that can run faster and be moved forward."""

from __future__ import annotations

import time
from datetime import datetime, timezone


class JobClock:
    """
    Seconds since the epoch, running `time_scale` times as fast as real time; 0: it moves only by `advance`.

    Lives of jobs, their records and their download links follow this clock; the rate limit does not.
    """

    def __init__(self, time_scale: float = 1.0) -> None:
        if time_scale < 0:
            raise ValueError(f"time_scale must not be negative, as {time_scale} is")
        self.time_scale = time_scale
        self._epoch = time.time()
        self._started = time.monotonic()
        self._advanced = 0.0

    def now(self) -> float:
        """Job time, in seconds since the epoch."""
        return self._epoch + (time.monotonic() - self._started) * self.time_scale + self._advanced

    def advance(self, seconds: float) -> None:
        """Move job time forward at once."""
        if seconds < 0:
            raise ValueError("the clock only moves forward")
        self._advanced += seconds


def iso(seconds: float) -> str:
    """ISO 8601 text of a moment, in UTC, to the second."""
    return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
