"""
What a task keeps for its next try beside the records of its submissions.

Each note has a JSON form, which the store of records keeps; ``jobs.records`` lays ``clears`` and ``held``
beside it. ``from_dict`` raises :class:`~stoq_provider.core.http.MalformedResponse` for what is no such note.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from stoq_provider.core.forms import Form, JsonForm, Time
from stoq_provider.core.http import MalformedResponse


@dataclass(frozen=True, slots=True)
class PlanNote(JsonForm):
    """Keys of the records of what must not be repeated, noted before the first of it is sent."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListNote(JsonForm):
    """The head of a kept list of items: how many pieces and items it has; written after the pieces."""

    pieces: int
    count: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class PieceNote(JsonForm):
    """A piece of a kept list of items."""

    ids: tuple[int | str, ...]

    @classmethod
    def from_dict(cls, value: Any) -> PieceNote:
        """Read the JSON form, or the packed text of the first release."""
        packed = value.get("ids") if isinstance(value, Mapping) else None
        form = {"ids": _unpacked(packed)} if isinstance(packed, str) else value
        # Named, because a class with slots is another one than that which super() without arguments means.
        return super(PieceNote, cls).from_dict(form)


def _unpacked(text: str) -> list[Any]:
    """Read what the first release wrote: zlib of a list, of the differences where it holds numbers."""
    try:
        items = json.loads(zlib.decompress(base64.b64decode(text)))
        if not isinstance(items, list):
            raise TypeError(f"a list, not {type(items).__name__}")
        return list(accumulate(items)) if all(isinstance(item, int) for item in items) else items
    except (ValueError, TypeError, RecursionError, zlib.error) as error:
        raise MalformedResponse(f"the ids of a list can't be unpacked: {error}") from error


@dataclass(frozen=True, slots=True)
class PreparedNote(JsonForm):
    """What a preparation made, such as the key of an upload."""

    made: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ResponseNote(JsonForm):
    """
    That an action is called, and then its response.

    :param answered: whether there was a response; written once before the call and once after it.
    :param payload: the response, as XCom may hold it.
    """

    answered: bool = False
    payload: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"answer": {"payload": self.payload} if self.answered else None}

    @classmethod
    def from_dict(cls, value: Any) -> ResponseNote:
        """Read the JSON form."""
        response = Form(value, "the note of an action").get("answer", dict, type(None))
        if response is None:
            return cls()
        if "payload" not in response:
            raise MalformedResponse("the note of an action has a response without a payload")
        return cls(answered=True, payload=response["payload"])


@dataclass(frozen=True, slots=True)
class PokeNote(JsonForm):
    """What the pokes of a sensor saw of a job: when it was alive, and since when responses are bad."""

    try_number: int
    seen_at: Time | None = None
    bad_since: Time | None = None
    bad_count: int = 0
