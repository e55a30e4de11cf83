"""
What is going to be sent: one :class:`Submission` for each job.

A list of ids that exceeds the cap of one call becomes several submissions, in order.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class InvalidInput(ValueError):
    """The caller's input is wrong; nothing was sent."""


class Preparation(Protocol):
    """What has to be done just before a submission, once: an upload, say."""

    def run(self) -> Mapping[str, Any]:
        """Do it; return as a small JSON object what came of it, which is kept for the next try."""

    def complete(self, submission: Submission, made: Mapping[str, Any]) -> Submission:
        """Put what came of it into the submission."""


@dataclass(frozen=True, slots=True)
class Submission:
    """
    One call that starts a job.

    :param kind: what is asked for, such as ``"export:revenue"``; names cadence and repeat safety.
    :param path: relative to the API's base path, with a leading slash.
    :param item_count: ids in the body; ``None`` where the call has none.
    :param round: counts how often the same items were sent before on purpose; keeps the submissions apart.
    :param source: where the items come from, if the body does not hold them but the key of an upload.
    :param preparation: what has to be done first; not part of what the submission is.
    """

    kind: str
    path: str
    body: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    item_count: int | None = None
    round: int = 0
    source: str | None = None
    preparation: Preparation | None = field(default=None, compare=False, repr=False)

    def digest(self) -> str:
        """Return a digest of everything that is sent; equal input gives an equal digest."""
        told: list[Any] = [self.kind, self.path, self.body, self.query, self.round]
        if self.source is not None:
            told.append(self.source)
        canonical = json.dumps(told, sort_keys=True, default=str)
        return hashlib.sha256(canonical.encode()).hexdigest()


def check_json(body: Any, what: str) -> None:
    """
    Check that a body can be sent as JSON.

    :param what: what it belongs to, for the message.
    :raises InvalidInput: where it can't be, as a date, a set or NaN can't.
    """
    try:
        json.dumps(body, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"the body of {what} can't be sent as JSON: {error}") from None


def read_text(text: str, otherwise: str) -> Any:
    """
    Read JSON, or what a template renders of a Python object where templates are not native.

    :param otherwise: the message where it is neither.
    :raises InvalidInput: with that message.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise InvalidInput(otherwise) from None


def read_mapping(value: Any, what: str) -> Mapping[str, Any] | None:
    """
    Read a mapping, or text that is one, as a template renders it.

    :param what: the parameter's name, for messages. The text is in none: it may hold what no log should show.
    :return: the mapping itself where it is one; ``None`` only for ``None``.
    :raises InvalidInput: where it is neither.
    """
    if value is None:
        return None
    if isinstance(value, str):
        otherwise = f"{what} given as text must be a JSON object, and this text is none"
        value = read_text(value, otherwise)
        if not isinstance(value, Mapping):
            raise InvalidInput(otherwise)
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{what} must be an object (a mapping), not {type(value).__name__}")
    odd = [key for key in value if not isinstance(key, str)]
    if odd:
        raise InvalidInput(f"the keys of {what} must be texts, not {odd[0]!r}")
    return value


def merge(base: Mapping[str, Any], extra: Any, what: str = "extra_body") -> dict[str, Any]:
    """
    Lay the caller's keys over ours.

    ``None`` takes a key away: so a caller can correct what the vendor's documentation leaves open.

    :param extra: as :func:`read_mapping` takes it.
    :param what: the caller's parameter, for messages.
    :raises InvalidInput: where ``extra`` is no mapping.
    """
    merged = {**base, **(read_mapping(extra, what) or {})}
    return {key: value for key, value in merged.items() if value is not None}
