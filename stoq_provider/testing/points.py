"""The rate limit: a bucket of points per key and window."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

READ_POINTS = 1
WRITE_POINTS = 2


def price(method: str) -> int:
    """Points a request costs."""
    return READ_POINTS if method in {"GET", "HEAD"} else WRITE_POINTS


@dataclass(frozen=True)
class Charge:
    """What the bucket answered to one request."""

    allowed: bool
    limit: int
    remaining: int
    reset_at: float
    retry_after: int

    def headers(self) -> dict[str, str]:
        """Rate-limit headers of the response; `Retry-After` only on a refusal."""
        headers = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(math.ceil(self.reset_at)),
        }
        if not self.allowed:
            headers["Retry-After"] = str(self.retry_after)
        return headers


class PointsBucket:
    """
    A fixed window that opens with the first request after the last window ended.

    Invented: the documentation says "rolling window" and yet names one moment of reset; a fixed window is
    the reading that agrees with the headers. A refused request costs nothing (Invented:).
    """

    def __init__(self, limit: int = 360, window_seconds: float = 60.0) -> None:
        if limit < 1 or window_seconds <= 0:
            raise ValueError("limit and window_seconds must be positive")
        self.limit = limit
        self.window_seconds = window_seconds
        self.spent_total = 0
        self.refused = 0
        self.highest_in_window = 0
        self.highest_rolling = 0
        self._spent = 0
        self._window_ends = 0.0
        self._recent: deque[tuple[float, int]] = deque()
        self._recent_points = 0

    def charge(self, points: int, now: float | None = None) -> Charge:
        """Take points from the current window, or refuse when it holds too few."""
        now = time.time() if now is None else now
        self._roll(now)
        if points > self.limit - self._spent:
            self.refused += 1
            return self._answer(now, allowed=False)
        self._spent += points
        self.spent_total += points
        self.highest_in_window = max(self.highest_in_window, self._spent)
        self._note(now, points)
        return self._answer(now, allowed=True)

    def look(self, now: float | None = None) -> Charge:
        """Answer as `charge` does, without taking anything."""
        now = time.time() if now is None else now
        self._roll(now)
        return self._answer(now, allowed=True)

    def state(self) -> dict[str, Any]:
        """Counters for the control endpoint."""
        return {
            "limit": self.limit,
            "window_seconds": self.window_seconds,
            "spent": self.spent_total,
            "refused": self.refused,
            "highest_in_window": self.highest_in_window,
            "highest_rolling": self.highest_rolling,
        }

    def _roll(self, now: float) -> None:
        if now >= self._window_ends:
            self._spent = 0
            self._window_ends = now + self.window_seconds

    def _note(self, now: float, points: int) -> None:
        self._recent.append((now, points))
        self._recent_points += points
        while self._recent and self._recent[0][0] <= now - self.window_seconds:
            self._recent_points -= self._recent.popleft()[1]
        self.highest_rolling = max(self.highest_rolling, self._recent_points)

    def _answer(self, now: float, *, allowed: bool) -> Charge:
        return Charge(
            allowed=allowed,
            limit=self.limit,
            remaining=self.limit - self._spent,
            reset_at=self._window_ends,
            retry_after=max(1, math.ceil(self._window_ends - now)),
        )


def refusal(charge: Charge, window_seconds: float) -> dict[str, Any]:
    """Body of a 429: the documented fields; the end of the message is Invented: it is cut in the source."""
    return {
        "error": "Rate limit exceeded",
        "retry_after": charge.retry_after,
        "message": (
            f"You have exceeded the rate limit of {charge.limit} points per {window_seconds:g} seconds. "
            f"Read requests cost {READ_POINTS} point(s) and write requests cost {WRITE_POINTS} point(s)."
        ),
    }
