"""What a user gives, checked whole before anything is sent: mappings, JSON, and lists of ids."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any


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


def is_text(value: Any) -> bool:
    """Whether it is a text that holds more than blanks."""
    return isinstance(value, str) and bool(value.strip())


def some(items: Sequence[Any], shown: int = 5, between: str = ", ") -> str:
    """Name the first items of a list, and count the others."""
    more = f"{between.strip(', ')} and {len(items) - shown:,} more" if len(items) > shown else ""
    return between.join(map(str, items[:shown])) + more


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


SHOWN = 3
"""Offenders that a message names."""


@dataclass(frozen=True, slots=True)
class IdList:
    """Ids without repetition, in the order given; ``duplicates`` counts what was dropped."""

    ids: tuple[Any, ...]
    duplicates: int = 0


@dataclass(frozen=True, slots=True)
class IdKind:
    """
    What ids of a system look like.

    :param items: what they are, for messages.
    :param bad: what the others are, for messages.
    :param read: returns an id in the one form in which it is sent, or ``None`` where it is none.
    :param parse: the same for the text of a file.
    """

    items: str
    bad: str
    read: Callable[[Any], Any]
    parse: Callable[[str], Any]


def _number(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 < value < 2**63 else None


def _number_of_text(text: str) -> int | None:
    # Very long numbers are not even read: int() refuses some thousands of digits by a plain ValueError.
    return _number(int(text)) if text.isascii() and text.isdigit() and len(text) < 40 else None


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def _uuid(value: Any) -> str | None:
    text = value.strip().lower() if isinstance(value, str) else ""
    return text if _UUID.fullmatch(text) else None


def _opaque(value: Any) -> str | None:
    text = value.strip() if isinstance(value, str) else ""
    return text if 0 < len(text) <= 200 and text.isprintable() and " " not in text else None


NUMBERS = IdKind("whole numbers", "no positive whole numbers", _number, _number_of_text)
UUIDS = IdKind("UUIDs", "no UUIDs", _uuid, _uuid)
"""Sent in lower case, so that two spellings are one id."""
TEXTS = IdKind("texts", "no ids", _opaque, _opaque)
"""Ids of which nothing is known but that they are texts without blanks."""


def check_ids(values: Any, *, what: str, most: int, kind: IdKind = NUMBERS) -> IdList:
    """
    Check a list of ids.

    :param what: the parameter's name, for messages.
    :param most: how many are taken at the most.
    :param kind: what they look like.
    :raises InvalidInput: naming the count and the first offenders; nothing of such a list is sent.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise InvalidInput(f"{what} must be a list of {kind.items}, not {type(values).__name__}")
    given = list(values)
    if len(given) > most:
        raise InvalidInput(
            f"{what} holds {len(given):,} ids; at most {most:,} are taken at a time. Split them over several "
            "tasks, or raise max_items if that many are meant"
        )
    ids = [kind.read(value) for value in given]
    bad = [position for position, found in enumerate(ids) if found is None]
    if bad:
        named = some([f"{given[position]!r} at position {position}" for position in bad], SHOWN)
        texts = [given[at] for at in bad if isinstance(given[at], str) and given[at].strip().isdigit()]
        hint = ". They are text; give numbers, such as [int(i) for i in ids]"
        raise InvalidInput(
            f"{what}: {len(bad):,} of {len(given):,} entries are {kind.bad}: {named}"
            f"{hint if kind is NUMBERS and len(texts) == len(bad) else ''}"
        )
    unique = tuple(dict.fromkeys(ids))
    return IdList(unique, len(given) - len(unique))


def chunks(ids: Sequence[Any], size: int) -> list[tuple[Any, ...]]:
    """Cut a list into pieces of at most ``size``, in order."""
    return [tuple(ids[start : start + size]) for start in range(0, len(ids), size)]


def read_ids(
    lines: Iterable[str], *, column: str | None, what: str, most: int, kind: IdKind = NUMBERS
) -> IdList:
    """
    Read ids from the lines of a file: one id a line, or one column of a CSV with a header.

    Empty lines are passed over.

    :param what: names the file in messages.
    :raises InvalidInput: naming the first lines that hold no id; or where the column is missing.
    """
    found: list[Any] = []
    bad: list[str] = []
    count = 0
    for number, text in _cells(lines, column, what):
        if not text:
            continue
        count += 1
        item = kind.parse(text)
        if item is None:
            bad.append(f"{text[:40]!r} in line {number}")
        else:
            found.append(item)
        if count > most:
            raise InvalidInput(
                f"{what} holds more than {most:,} ids; split them over several tasks, or raise max_items if "
                "that many are meant"
            )
    if bad:
        raise InvalidInput(f"{what}: {len(bad):,} of {count:,} lines hold no id: {some(bad, SHOWN)}")
    return check_ids(found, what=what, most=most, kind=kind)


def _cells(lines: Iterable[str], column: str | None, what: str) -> Iterator[tuple[int, str]]:
    if column is None:
        for number, line in enumerate(lines, start=1):
            yield number, line.strip().lstrip("\ufeff")
        return
    # Strict, because a quote that is never closed would otherwise swallow the rows behind it.
    reader = csv.DictReader(lines, strict=True)
    try:
        names = [(name or "").lstrip("\ufeff") for name in reader.fieldnames or ()]
        if column not in names:
            raise InvalidInput(
                f"{what} has no column {column!r}; its columns are {', '.join(names) or 'none'}"
            )
        if names.count(column) > 1:
            raise InvalidInput(f"{what} has {names.count(column)} columns {column!r}; which one is meant?")
        reader.fieldnames = names
        for row in reader:
            yield reader.line_num, (row.get(column) or "").strip()
    except csv.Error as error:
        raise InvalidInput(
            f"{what} is no CSV that can be read, in line {reader.line_num}: {error}"
        ) from error


def unknown(what: str, name: Any, known: Iterable[str], then: str = "") -> InvalidInput:
    """
    Return the error about a name that is not known, with the near misses and all that are known.

    :param what: begins the message, such as ``there is no bulk action``.
    :param then: a sentence that ends it.
    """
    names = list(known)
    close = near_misses(str(name), names)
    listed = f"Known are {', '.join(names) or 'none'}"
    return InvalidInput(f"{what} {name!r}{close or '.'} {listed}{then and f'. {then}'}")


def near_misses(name: str, known: Sequence[str]) -> str:
    """Return a hint such as ``; did you mean 'revenue'?``, or nothing."""
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
