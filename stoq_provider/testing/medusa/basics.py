"""Ids, time stamps and errors of Medusa."""

from __future__ import annotations

from datetime import datetime, timezone
from random import Random
from typing import Any

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class MedusaError(Exception):
    """
    A JSON error: `{type, message}`, with `code` where the server gives one.

    :param status: HTTP status
    :param kind: the `type`
    """

    def __init__(self, status: int, kind: str, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        head = {"code": code} if code else {}
        self.body = {**head, "type": kind, "message": message}


def invalid(message: str) -> MedusaError:
    """400 `invalid_data`."""
    return MedusaError(400, "invalid_data", message)


def not_allowed(message: str) -> MedusaError:
    """400 `not_allowed`."""
    return MedusaError(400, "not_allowed", message)


def not_found(message: str) -> MedusaError:
    """404 `not_found`."""
    return MedusaError(404, "not_found", message)


def unknown_error() -> MedusaError:
    """500 without a reason (M)."""
    return MedusaError(500, "unknown_error", "An unknown error occurred.", "unknown_error")


class Unauthorized(Exception):
    """401 with the plain word."""


class StepFailed(Exception):
    """A step of a job failed; the text goes to `result.errors`."""


class Ids:
    """Ids as Medusa makes them: a prefix and a ULID."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)

    def new(self, prefix: str, now: float) -> str:
        """Next id."""
        number = (int(now * 1000) << 80) | self._random.getrandbits(80)
        digits = [_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5)]
        return f"{prefix}_{''.join(digits)}"


def iso_ms(moment: float | None) -> str | None:
    """ISO 8601 in UTC with milliseconds, or null."""
    if moment is None:
        return None
    text = datetime.fromtimestamp(moment, tz=timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def instant(text: Any) -> datetime | None:
    """A moment from ISO 8601 text; without an offset it is UTC. None for what is no date."""
    try:
        read = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=timezone.utc)


def millis(moment: float) -> int:
    """Milliseconds since the epoch, as file keys carry them."""
    return int(moment * 1000)
