"""Lists of ids, as a user gives them or a file holds them: checked whole, without repetition, cut."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from numbers import Integral
from operator import index
from typing import Any
from uuid import UUID

from stoq_provider.core.validation import IF_RENDERED, InvalidInput, listed, some

SHOWN = 3
"""Offenders that a message names."""

LARGEST_FIELD = 64 * 2**20
"""
Characters of a field beside the ids of a CSV.

The standard library's limit of 128 Ki is less than some notes and pages in a shop's export; without any, a
quote that is never closed would fill the memory with the rest of the file.
"""


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
    if isinstance(value, bool) or not isinstance(value, Integral):
        return None
    number = index(value)
    return number if 0 < number < 2**63 else None


def _number_of_text(text: str) -> int | None:
    # Very long numbers are not even read: int() refuses some thousands of digits by a plain ValueError.
    return _number(int(text)) if text.isascii() and text.isdigit() and len(text) < 40 else None


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def _uuid(value: Any) -> str | None:
    text = str(value).strip().lower() if isinstance(value, (str, UUID)) else ""
    return text if _UUID.fullmatch(text) else None


def _opaque(value: Any) -> str | None:
    text = value.strip() if isinstance(value, str) and value != "None" else ""
    # "." and ".." are steps: in the path of a request they would make it another one.
    fits = 0 < len(text) <= 200 and text.isprintable() and " " not in text and text not in (".", "..")
    return text if fits else None


NUMBERS = IdKind("whole numbers", "no positive whole numbers", _number, _number_of_text)
UUIDS = IdKind("UUIDs", "no UUIDs", _uuid, _uuid)
"""Sent in lower case, so that two spellings are one id."""
TEXTS = IdKind("texts", "no ids", _opaque, _opaque)
"""
Ids of which nothing is known but that they are texts without blanks.

A template renders ``None`` as a text, which is no id.
"""


def check_ids(values: Any, *, what: str, most: int, kind: IdKind = NUMBERS) -> IdList:
    """
    Check a list of ids, in any form that can be gone through.

    A set is sorted: a new try must cut the same chunks, to find what became of them.

    :param what: the parameter's name, for messages.
    :param most: how many are taken at the most.
    :param kind: what they look like.
    :raises InvalidInput: naming the count and the first offenders; nothing of such a list is sent.
    """
    given = listed(values, what, kind.items)
    if len(given) > most:
        raise InvalidInput(
            f"{what} holds {len(given):,} ids; at most {most:,} are taken at a time. Split them over several "
            "tasks, or raise max_items if that many are meant"
        )
    ids = [kind.read(value) for value in given]
    bad = [position for position, found in enumerate(ids) if found is None]
    if bad:
        named = some([f"{given[position]!r:.80} at position {position}" for position in bad], SHOWN)
        hint = _hint([given[position] for position in bad]) if kind is NUMBERS else ""
        raise InvalidInput(f"{what}: {len(bad):,} of {len(given):,} entries are {kind.bad}: {named}{hint}")
    unique = tuple(sorted(set(ids)) if isinstance(values, Set) else dict.fromkeys(ids))
    return IdList(unique, len(given) - len(unique))


def _hint(bad: Sequence[Any]) -> str:
    """Say how entries that hold a number become one."""
    if all(isinstance(value, str) and value.strip().isdigit() for value in bad):
        return f". They are text; give numbers, such as [int(i) for i in ids]; {IF_RENDERED}"
    if all(isinstance(value, str) and value.startswith("gid://") for value in bad):
        return (
            ". Of such an id of Shopify give the number at its end, as [int(i.split('/')[-1]) for i in ids]"
        )
    return ""


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
    # The limit is one of the whole process, so it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), LARGEST_FIELD))
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
