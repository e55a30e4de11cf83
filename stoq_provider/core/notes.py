"""
What a task keeps for its next try beside the records of its submissions.

Each note has a JSON form, which the store of records keeps; ``jobs.records`` lays ``clears`` and ``held``
beside it. ``from_dict`` raises :class:`~stoq_provider.core.http.MalformedAnswer` for what is no such note.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

from stoq_provider.core.forms import Form
from stoq_provider.core.http import MalformedAnswer
from stoq_provider.core.models import iso

if TYPE_CHECKING:
    from typing_extensions import Self


class Note(Protocol):
    """What all notes have."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""

    @classmethod
    def from_dict(cls, value: Any) -> Self:
        """Read the JSON form."""


@dataclass(frozen=True, slots=True)
class PlanNote:
    """Keys of the records of what must not be repeated, noted before the first of it is sent."""

    keys: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"keys": list(self.keys)}

    @classmethod
    def from_dict(cls, value: Any) -> PlanNote:
        """Read the JSON form."""
        return cls(Form(value, "the note of a plan").listed("keys", str))


@dataclass(frozen=True, slots=True)
class ListNote:
    """The head of a kept list of items: how many pieces and items it has; written after the pieces."""

    pieces: int
    count: int
    duplicates: int

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"pieces": self.pieces, "count": self.count, "duplicates": self.duplicates}

    @classmethod
    def from_dict(cls, value: Any) -> ListNote:
        """Read the JSON form."""
        form = Form(value, "the note of a list")
        return cls(*(form.get(name, int) for name in ("pieces", "count", "duplicates")))


@dataclass(frozen=True, slots=True)
class PieceNote:
    """A piece of a kept list of items."""

    ids: tuple[int | str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"ids": list(self.ids)}

    @classmethod
    def from_dict(cls, value: Any) -> PieceNote:
        """Read the JSON form, or the packed text of the first release."""
        form = Form(value, "the note of a piece of a list")
        packed = form.get("ids", list, tuple, str)
        if isinstance(packed, str):
            form = Form({"ids": _unpacked(packed)}, "the note of a piece of a list")
        return cls(form.listed("ids", int, str))


def _unpacked(text: str) -> list[Any]:
    """Read what the first release wrote: zlib of a list, of the differences where it holds numbers."""
    try:
        items = json.loads(zlib.decompress(base64.b64decode(text)))
        if not isinstance(items, list):
            raise TypeError(f"a list, not {type(items).__name__}")
        return list(accumulate(items)) if all(isinstance(item, int) for item in items) else items
    except (ValueError, TypeError, zlib.error) as error:
        raise MalformedAnswer(f"the ids of a list can't be unpacked: {error}") from error


@dataclass(frozen=True, slots=True)
class PreparedNote:
    """What a preparation made, such as the key of an upload."""

    made: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"made": dict(self.made)}

    @classmethod
    def from_dict(cls, value: Any) -> PreparedNote:
        """Read the JSON form."""
        return cls(Form(value, "the note of a preparation").get("made", dict))


@dataclass(frozen=True, slots=True)
class AnswerNote:
    """
    That an action is called, and then its answer.

    :param answered: whether there was an answer; written once before the call and once after it.
    :param payload: the answer, as XCom may hold it.
    """

    answered: bool = False
    payload: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"answer": {"payload": self.payload} if self.answered else None}

    @classmethod
    def from_dict(cls, value: Any) -> AnswerNote:
        """Read the JSON form."""
        answer = Form(value, "the note of an action").get("answer", dict, type(None))
        if answer is None:
            return cls()
        if "payload" not in answer:
            raise MalformedAnswer("the note of an action has an answer without a payload")
        return cls(answered=True, payload=answer["payload"])


@dataclass(frozen=True, slots=True)
class PokeNote:
    """What the pokes of a sensor saw of a job: when it was alive, and since when answers are bad."""

    try_number: int
    seen_at: float | None = None
    bad_since: float | None = None
    bad_count: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "try_number": self.try_number,
            "seen_at": None if self.seen_at is None else iso(self.seen_at),
            "bad_since": None if self.bad_since is None else iso(self.bad_since),
            "bad_count": self.bad_count,
        }

    @classmethod
    def from_dict(cls, value: Any) -> PokeNote:
        """Read the JSON form."""
        form = Form(value, "the note of a poke")
        return cls(
            try_number=form.get("try_number", int),
            seen_at=form.time("seen_at"),
            bad_since=form.time("bad_since"),
            bad_count=form.get("bad_count", int, default=0),
        )
