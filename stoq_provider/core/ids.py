"""Lists of ids: what a user gives, checked whole before anything is sent."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from stoq_provider.core.plan import InvalidInput

SHOWN = 3
"""Offenders that a message names."""


@dataclass(frozen=True, slots=True)
class IdList:
    """Ids without repetition, in the order given; ``duplicates`` counts what was dropped."""

    ids: tuple[int, ...]
    duplicates: int = 0


def check_ids(values: Any, *, what: str, most: int) -> IdList:
    """
    Check a list of ids.

    :param what: the parameter's name, for messages.
    :param most: how many are taken at the most.
    :raises InvalidInput: naming the count and the first offenders; nothing of such a list is sent.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise InvalidInput(f"{what} must be a list of whole numbers, not {type(values).__name__}")
    given = list(values)
    if len(given) > most:
        raise InvalidInput(
            f"{what} holds {len(given):,} ids; at most {most:,} are taken at a time. Split them over several "
            "tasks, or raise max_items if that many are meant"
        )
    bad = [(position, value) for position, value in enumerate(given) if not _is_id(value)]
    if bad:
        shown = ", ".join(f"{value!r} at position {position}" for position, value in bad[:SHOWN])
        raise InvalidInput(
            f"{what}: {len(bad):,} of {len(given):,} entries are no positive whole numbers: {shown}"
            f"{' and more' if len(bad) > SHOWN else ''}{_hint(bad)}"
        )
    unique = tuple(dict.fromkeys(given))
    return IdList(unique, len(given) - len(unique))


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63


def _hint(bad: Sequence[tuple[int, Any]]) -> str:
    if all(isinstance(value, str) and value.strip().isdigit() for _, value in bad):
        return ". They are text; give numbers, such as [int(i) for i in ids]"
    return ""


def chunks(ids: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """Cut a list into pieces of at most ``size``, in order."""
    return [tuple(ids[start : start + size]) for start in range(0, len(ids), size)]


def read_ids(lines: Iterable[str], *, column: str | None, what: str, most: int) -> IdList:
    """
    Read ids from the lines of a file: one id a line, or one column of a CSV with a header.

    Empty lines are passed over.

    :param what: names the file in messages.
    :raises InvalidInput: naming the first lines that hold no id; or where the column is missing.
    """
    found: list[int] = []
    bad: list[tuple[int, str]] = []
    count = 0
    for number, text in _cells(lines, column, what):
        if not text:
            continue
        count += 1
        # Very long numbers are not even read: int() refuses some thousands of digits by a plain ValueError.
        if text.isascii() and text.isdigit() and len(text) < 40 and _is_id(int(text)):
            found.append(int(text))
        else:
            bad.append((number, text))
        if count > most:
            raise InvalidInput(
                f"{what} holds more than {most:,} ids; split them over several tasks, or raise max_items if "
                "that many are meant"
            )
    if bad:
        shown = ", ".join(f"{text[:40]!r} in line {number}" for number, text in bad[:SHOWN])
        raise InvalidInput(f"{what}: {len(bad):,} of {count:,} lines hold no id: {shown}")
    return check_ids(found, what=what, most=most)


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
        reader.fieldnames = names
        for row in reader:
            yield reader.line_num, (row.get(column) or "").strip()
    except csv.Error as error:
        raise InvalidInput(
            f"{what} is no CSV that can be read, in line {reader.line_num}: {error}"
        ) from error
