"""
Reads and writes the JSON forms that this package makes itself: handles, events, records, notes.

They cross processes, databases and releases, so each field is checked, and what is not as it must be is a
:class:`~stoq_provider.core.http.MalformedResponse` that names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field
from datetime import datetime, timezone
from enum import Enum
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Union, get_args, get_origin, get_type_hints

from stoq_provider.core.http import MalformedResponse

if TYPE_CHECKING:
    from typing_extensions import Self

LARGEST = 1e11
"""No field that is a number with a fraction is as large; as Unix seconds this is the year 5138."""

Time = Annotated[float, "ISO 8601"]
"""Unix seconds; the JSON form of a :class:`JsonForm` has them as ISO 8601."""


class JsonForm:
    """
    Base of frozen dataclasses whose JSON form is an object of their fields.

    A field holds a text, a number, a :data:`Time`, a mapping, an enumeration of texts, another form, or a
    tuple of texts, numbers or forms; or ``None``, which is its default. What is left out of the ``repr`` is
    left out of the JSON form as well. In reading, a field that is missing or null has its default, and others
    are ignored.
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        kinds = type(self)._kinds()
        return {name: _written(getattr(self, name), kinds[name]) for name in kinds}

    @classmethod
    def from_dict(cls, value: Any) -> Self:
        """
        Read the JSON form.

        :raises MalformedResponse: where a field is missing or of the wrong kind.
        """
        form = Form(value, f"a {cls.__name__}")
        return cls(
            **{
                name: form.read(name, kinds, cls.__dataclass_fields__[name].default)
                for name, kinds in cls._kinds().items()
                if value.get(name) is not None or cls.__dataclass_fields__[name].default is MISSING
            }
        )

    @classmethod
    @cache
    def _kinds(cls) -> dict[str, tuple[Any, ...]]:
        """Return the kinds of value that each field may hold."""
        hints = get_type_hints(cls, include_extras=True)
        return {name: _parts(hints[name]) for name, field in cls.__dataclass_fields__.items() if field.repr}


def _parts(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _written(value: Any, kinds: tuple[Any, ...]) -> Any:
    if isinstance(value, (int, float)) and Time in kinds:
        return iso(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, JsonForm):
        return value.to_dict()
    if isinstance(value, tuple):
        return [item.to_dict() if isinstance(item, JsonForm) else item for item in value]
    return dict(value) if isinstance(value, Mapping) else value


class VersionedForm(JsonForm):
    """
    A form with a version, which fixes its keys: one that lacks a key, or is of another version, is not read.

    :cvar added: keys that earlier releases of this version did not write.
    """

    __slots__ = ()
    VERSION: ClassVar[int] = 1
    added: ClassVar[tuple[str, ...]] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"version": self.VERSION, **super().to_dict()}

    @classmethod
    def from_dict(cls, value: Any) -> Self:
        """
        Read the JSON form.

        :raises MalformedResponse: where it is not that, or of another version.
        """
        if not isinstance(value, Mapping) or value.get("version") != cls.VERSION:
            raise MalformedResponse(f"not a {cls.__name__} of version {cls.VERSION}")
        missing = [name for name in cls._kinds() if name not in value and name not in cls.added]
        if missing:
            raise MalformedResponse(f"a {cls.__name__} without {', '.join(missing)}")
        return super().from_dict(value)


class Form:
    """
    A JSON object whose fields are read by name and type.

    :param what: what it is the form of, for messages.
    :raises MalformedResponse: where it is no object; so do the methods, where a field is not what it must be.
    """

    def __init__(self, value: Any, what: str) -> None:
        if not isinstance(value, Mapping):
            raise MalformedResponse(f"{what} is a mapping, not {type(value).__name__}")
        self._value = value
        self._what = what

    def get(self, name: str, *types: type, default: Any = MISSING) -> Any:
        """
        Return a field of one of the types; ``default`` where it is missing, or null with a default.

        A text that has no default must not be empty.
        """
        value = self._value.get(name)
        if value is None and default is not MISSING:
            return default
        if name not in self._value or (value == "" and default is MISSING):
            raise MalformedResponse(f"{self._what} needs {name!r}; it has {sorted(map(str, self._value))}")
        # True is an int to Python, and no number to JSON.
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            kinds = " or ".join(kind.__name__ for kind in types)
            raise MalformedResponse(f"{name!r} of {self._what} must be {kinds}, not {type(value).__name__}")
        return value

    def listed(self, name: str, *types: type) -> tuple[Any, ...]:
        """Return a list as a tuple, each item of one of the types."""
        items = tuple(self.get(name, list, tuple))
        entry = Form({str(at): item for at, item in enumerate(items)}, f"{name!r} of {self._what}")
        return tuple(entry.get(str(at), *types) for at in range(len(items)))

    def read(self, name: str, kinds: tuple[Any, ...], default: Any) -> Any:
        """Return a field as the type of a field of a :class:`JsonForm` wants it."""
        if Time in kinds:
            return from_iso(self.get(name, str))
        kind = get_origin(kinds[0]) or kinds[0]
        if kind is tuple:
            items = _parts(get_args(kinds[0])[0])
            if issubclass(items[0], JsonForm):
                return tuple(map(items[0].from_dict, self.listed(name, dict)))
            return self.listed(name, *items)
        if issubclass(kind, JsonForm):
            return kind.from_dict(self.get(name, dict))
        if issubclass(kind, Enum):
            value = self.get(name, str)
            try:
                return kind(value)
            except ValueError:
                raise MalformedResponse(f"{name!r} of {self._what} can't be {value!r}") from None
        if kind is float:
            return self._number(name, default)
        return self.get(name, kind, default=default)

    def _number(self, name: str, default: Any) -> Any:
        value = self.get(name, int, float, default=default)
        # NaN is not less either; and Unix seconds of that size are of no year that can be written.
        if value is not None and not abs(value) < LARGEST:
            raise MalformedResponse(f"{name!r} of {self._what} is no number that is used")
        return value

    def time(self, name: str) -> float | None:
        """Return a time as Unix seconds; ``None`` where there is none."""
        value = self.get(name, str, default=None)
        return None if value is None else from_iso(value)


def iso(at: float) -> str:
    """Write Unix seconds as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")


def from_iso(text: Any) -> float:
    """
    Read ISO 8601 with an offset.

    :raises MalformedResponse: where it is not that.
    """
    try:
        at = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError as error:
        raise MalformedResponse(f"not an ISO 8601 time: {text!r}") from error
    if at.tzinfo is None:
        raise MalformedResponse(f"a time without an offset: {text!r}")
    if not 0 <= at.timestamp() < LARGEST:
        raise MalformedResponse(f"{text!r} is too far away to be a time of a job")
    return at.timestamp()
