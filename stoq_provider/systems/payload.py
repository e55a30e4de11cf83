"""Fields of payloads, queries and origins: what the systems share in reading and writing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from stoq_provider.core.http import MalformedResponse
from stoq_provider.core.models import JobHandle
from stoq_provider.core.validation import InvalidInput, read_mapping


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of a URL, with the scheme's own port filled in."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), port


def query_pairs(query: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """
    Return a query with lists under ``name[]`` and booleans in lower case, as Rails reads them.

    :raises InvalidInput: where a value is neither a text, a number, a date, nor a list of these.
    """
    pairs: dict[str, Any] = {}
    for key, value in (read_mapping(query, "the query") or {}).items():
        if isinstance(value, list):
            pairs[key.removesuffix("[]") + "[]"] = [_query_text(key, item) for item in value]
        elif value is not None:
            pairs[key] = _query_text(key, value)
    return pairs or None


def _query_text(key: str, value: Any) -> str:
    if value is None or isinstance(value, (list, dict)):
        raise InvalidInput(f"{key!r} in the query must be a text, a number or a list of these")
    return str(value).lower() if isinstance(value, bool) else str(value)


def require(payload: Any, key: str, what: str) -> str:
    """
    Return a text field of a payload.

    :raises MalformedResponse: where it is missing, empty or no text.
    """
    value = payload.get(key) if isinstance(payload, Mapping) else None
    if isinstance(value, str) and value:
        return value
    is_there = value is not None and value != ""
    fault = f"{key!r} as {type(value).__name__}, not as text" if is_there else f"no {key!r}"
    raise MalformedResponse(f"{what} has {fault}")


def rows(payload: Any, key: str, what: str) -> list[dict[str, Any]]:
    """
    Return the rows of a list.

    :raises MalformedResponse: where there is no list of objects under ``key``.
    """
    found = payload.get(key) if isinstance(payload, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise MalformedResponse(f"{what} has no list {key!r}")
    return found


def is_count(value: Any) -> TypeGuard[int]:
    """Whether it is a whole number from 0 on, and one of which many have a sum that 64 bits hold."""
    return type(value) is int and 0 <= value < 2**53


def optional_int(payload: Mapping[str, Any], *keys: str) -> int | None:
    """Return the first of these fields that is a count; ``None`` where none is."""
    return next(filter(is_count, map(payload.get, keys)), None)


def optional_text(payload: Mapping[str, Any], *keys: str) -> str | None:
    """Return the first of these fields that is a text and not empty; ``None`` where none is."""
    return next((value for value in map(payload.get, keys) if isinstance(value, str) and value), None)


def percent(value: Any, factor: float) -> float | None:
    """Return a number as percent; ``None`` where it is none from 0 to 100, such as NaN."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(factor * value) if is_number and 0 <= value <= 100 / factor else None


@dataclass(frozen=True, slots=True)
class JobList:
    """
    How several jobs are asked for at once.

    :param path: relative to the API's base path.
    :param ids_key: the query's name for the ids.
    :param rows_key: the response's name for the jobs.
    :param row_key: under which a response about one job holds it; empty: it is the response.
    :param absent: the message about a job that is not in the list.
    """

    path: str
    ids_key: str
    rows_key: str
    row_key: str = ""
    absent: str = "not in the list of jobs"

    def query(self, ids: Sequence[str]) -> dict[str, Any]:
        """Return the query for these jobs and no other."""
        return {self.ids_key: ids, "limit": str(len(ids))}

    def by_id(self, payload: Any) -> dict[str, Any]:
        """
        Return each job of the list, as a response about it alone has it.

        :raises MalformedResponse: where it is no list.
        """
        listed = rows(payload, self.rows_key, "the list of jobs")
        named = [row for row in listed if isinstance(row.get("id"), str)]
        return {row["id"]: {self.row_key: row} if self.row_key else row for row in named}


@dataclass(frozen=True, slots=True)
class FoundPage:
    """
    What one page of a list of jobs tells of a submission.

    :param handle: the job, if it is on the page.
    :param next_offset: where the next page begins; ``None``: this was the last.
    """

    handle: JobHandle | None = None
    next_offset: int | None = None
