"""What a user gives, checked whole before anything is sent: texts, mappings, JSON."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from numbers import Integral
from operator import index
from typing import Any
from uuid import UUID

IF_RENDERED = "where a template makes it, render_template_as_native_obj=True of the DAG keeps it what it is"
"""Ends messages about a text that should be something else: Jinja makes texts of all it is given."""

BYTES = (bytes, bytearray, memoryview)
"""Sequences of small numbers by accident."""


class InvalidInput(ValueError):
    """The caller's input is wrong; nothing was sent."""


def check_json(body: Any, what: str) -> str:
    """
    Check that a body can be sent as JSON, and return it so.

    :param what: what it belongs to, for the message.
    :raises InvalidInput: where it can't be, as a date, a set or NaN can't.
    """
    try:
        return json.dumps(body, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"the body of {what} can't be sent as JSON: {error}") from None


def read_text(text: str, otherwise: str) -> Any:
    """
    Read JSON, or what a template renders of a Python object where templates are not native.

    :param otherwise: the message where it is neither; a hint at native templates follows.
    :raises InvalidInput: with that message.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise InvalidInput(f"{otherwise}; {IF_RENDERED}") from None


def is_text(value: Any) -> bool:
    """Whether it is a text that holds more than blanks."""
    return isinstance(value, str) and bool(value.strip())


def check_text(value: Any, what: str) -> str:
    """
    Return a text without blanks around it.

    :raises InvalidInput: where it is no text, or a blank one.
    """
    if not is_text(value):
        raise InvalidInput(f"{what} must be a text, not {value!r:.80}")
    return str(value).strip()


_HALF = re.compile("[\ud800-\udfff]")


def plain(value: Any, what: str) -> Any:
    """
    Return a value as JSON has it, so that no other kind of object reaches what works with it.

    Whole numbers of any kind (numpy's as well) become Python's, UUIDs texts, mappings and sequences objects
    and lists. Dates and decimals stay: queries and paths take them, and :func:`check_json` refuses them.

    :param what: names the value in messages.
    :raises InvalidInput: where it is, or holds, something else, such as a set.
    """
    if isinstance(value, str) and _HALF.search(value):
        raise InvalidInput(f"{what} holds half of a character, which can't be written as UTF-8")
    if value is None or isinstance(value, (str, bool, float, date, Decimal)):
        return value
    if isinstance(value, (Integral, UUID)):
        return index(value) if isinstance(value, Integral) else str(value)
    if isinstance(value, Mapping):
        odd = [key for key in value if not isinstance(key, str)]
        if odd:
            raise InvalidInput(f"the keys of {what} must be texts, not {odd[0]!r:.80}")
        return {key: plain(item, f"{key!r} in {what}") for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, BYTES):
        return [plain(item, f"an entry of {what}") for item in value]
    raise InvalidInput(f"{what} can't be sent as JSON, which has nothing like {type(value).__name__}")


def some(items: Sequence[Any], shown: int = 5, between: str = ", ") -> str:
    """Name the first items of a list, and count the others."""
    more = f"{between.strip(', ')} and {len(items) - shown:,} more" if len(items) > shown else ""
    return between.join(map(str, items[:shown])) + more


def read_mapping(value: Any, what: str) -> Mapping[str, Any] | None:
    """
    Read a mapping, or text that is one, as a template renders it.

    :param what: the parameter's name, for messages. The text is in none: it may hold what no log should show.
    :return: the mapping as :func:`plain` gives it; ``None`` only for ``None``.
    :raises InvalidInput: where it is neither, or holds what JSON can't.
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
    try:
        return dict(plain(value, what))
    except RecursionError:
        raise InvalidInput(f"{what} holds objects in objects without an end") from None


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


def listed(values: Any, what: str, items: str) -> list[Any]:
    """
    Return as a list what can be gone through, such as what several tasks pushed.

    :param items: what they are, for messages.
    :raises InvalidInput: where it is no list, but a text, bytes or a mapping, say.
    """
    try:
        if not isinstance(values, (str, Mapping, *BYTES)):
            return list(values)
    except TypeError:  # so says also the output of another task where Airflow has not put its value
        pass
    raise InvalidInput(f"{what} must be a list of {items}, not {type(values).__name__}")


def unknown(what: str, name: Any, known: Iterable[str], then: str = "") -> InvalidInput:
    """
    Return the error about a name that is not known, with the near misses and all that are known.

    :param what: begins the message, such as ``there is no bulk action``.
    :param then: a sentence that ends it.
    """
    names = list(known)
    close = near_misses(str(name), names)
    listed = f"Known are {', '.join(names) or 'none'}"
    return InvalidInput(f"{what} {name!r:.80}{close or '.'} {listed}{then and f'. {then}'}")


def near_misses(name: str, known: Sequence[str]) -> str:
    """Return a hint such as ``; did you mean 'revenue'?``, or nothing."""
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
