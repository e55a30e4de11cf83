"""
Reads the JSON forms that this package wrote itself: events, records, notes.

They cross processes, databases and releases, so each field is checked, and what is not as it must be is a
:class:`~stoq_provider.core.http.MalformedAnswer` that names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from stoq_provider.core.http import MalformedAnswer
from stoq_provider.core.models import from_iso

E = TypeVar("E", bound=Enum)

_REQUIRED: Any = object()


class Form:
    """
    A JSON object whose fields are read by name and type.

    :param what: what it is the form of, for messages.
    :raises MalformedAnswer: where it is no object; so do the methods, where a field is not what it must be.
    """

    def __init__(self, value: Any, what: str) -> None:
        if not isinstance(value, Mapping):
            raise MalformedAnswer(f"{what} is a mapping, not {type(value).__name__}")
        self._value = value
        self._what = what

    def get(self, name: str, *types: type, default: Any = _REQUIRED) -> Any:
        """Return a field of one of the types; ``default`` where it is missing, or null with a default."""
        value = self._value.get(name)
        if value is None and default is not _REQUIRED:
            return default
        if name not in self._value:
            raise MalformedAnswer(f"{self._what} needs {name!r}; it has {sorted(map(str, self._value))}")
        # True is an int to Python, and no number to JSON.
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            kinds = " or ".join(kind.__name__ for kind in types)
            raise MalformedAnswer(f"{name!r} of {self._what} must be {kinds}, not {type(value).__name__}")
        return value

    def listed(self, name: str, *types: type, default: Any = _REQUIRED) -> tuple[Any, ...]:
        """Return a list as a tuple, each item of one of the types."""
        items = tuple(self.get(name, list, tuple, default=default))
        entry = Form({str(at): item for at, item in enumerate(items)}, f"{name!r} of {self._what}")
        return tuple(entry.get(str(at), *types) for at in range(len(items)))

    def choice(self, name: str, kind: type[E]) -> E:
        """Return a field that is one of the values of an enumeration."""
        value = self.get(name, str)
        try:
            return kind(value)
        except ValueError:
            raise MalformedAnswer(f"{name!r} of {self._what} can't be {value!r}") from None

    def time(self, name: str) -> float | None:
        """Return a time as Unix seconds; ``None`` where there is none."""
        value = self.get(name, str, default=None)
        return None if value is None else from_iso(value)
