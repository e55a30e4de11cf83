"""Types of single columns: given by name, or found in text whose form then holds for all of the column."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from stoq_provider.download.options import destination_error

SCALE = 4
"""Decimal places of a column of money at least: a first block with whole cents says nothing of the rest."""

_PATTERNS = {
    "bool": r"^(?i:true|false)$",
    # No leading zero: a postcode or a phone number is no number.
    "int64": r"^-?(0|[1-9][0-9]{0,17})$",
    "decimal": r"^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?$",
    "date32": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
    "timestamp": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,15}(Z|[+-][0-9]{2}:?[0-9]{2})$",
    "local": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,15}$",
}
"""In the order of trial; what fits none is text."""

# Further down a number may have more digits than are trusted at first, as long as the type holds them.
_LATER = _PATTERNS | {
    "int64": r"^-?(0|[1-9][0-9]*)$",
    "decimal": r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$",
}

_SHORTEST = {"bool": 4, "date32": 10, "timestamp": 16, "local": 16}
"""What Arrow takes though it has not the form, is shorter: ``1`` for true, a day for its midnight."""

_KINDS = {
    "bool": lambda pa: pa.bool_(),
    "int64": lambda pa: pa.int64(),
    "date32": lambda pa: pa.date32(),
    "timestamp": lambda pa: pa.timestamp("us", tz="UTC"),
    "local": lambda pa: pa.timestamp("us"),
}

_DECIMAL = re.compile(r"^decimal(?:128)?\((\d+),\s*(\d+)\)$")
_ZONED = re.compile(r"^timestamp\[(s|ms|us|ns),\s*(?:tz=)?([^\s\]]+)\]$")
_OFFSET = re.compile(r"^[+-](?:0\d|1[0-4]):[0-5]\d$")


class Misfit(Exception):
    """
    A text is no value of its column's type.

    :param row: its number in the column, from 0.
    """

    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


@dataclass(frozen=True, slots=True)
class FoundType:
    """
    A type that the first values of a column have.

    :param name: of the form that their text has.
    :param type: of Arrow.
    """

    name: str
    type: Any

    def convert(self, text: Any) -> Any:
        """
        Return a column of text as values; a quoted empty text is none.

        Arrow reads more than is meant: it takes ``01067`` for 1067, ``0x1F`` for 31, and a day for its
        midnight. So text must have the form of those values that the type was found by.

        :raises Misfit: naming the first text of another form, else the first that Arrow can't convert.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        text = _without_empty(text)
        if not self._is_plain(text):
            fits = pc.match_substring_regex(text, _LATER[self.name])
            odd = pc.index(fits, pa.scalar(False)).as_py()
            if odd >= 0:
                raise Misfit(odd)
        try:
            return pc.cast(text, self.type)
        except pa.ArrowInvalid:
            raise Misfit(_first_refused(text, self.type)) from None

    def _is_plain(self, text: Any) -> bool:
        """Return whether all that converts surely has the form too, in a fraction of the pattern's time."""
        import pyarrow.compute as pc

        if self.name in _SHORTEST:
            shortest = pc.min(pc.binary_length(text)).as_py()
            return shortest is None or shortest >= _SHORTEST[self.name]
        characters = _characters(text)
        if characters.translate(None, b"0123456789.-"):
            return False
        digits = pc.ascii_ltrim(text, characters="-") if b"-" in characters else text
        odd = pc.and_(pc.starts_with(digits, "0"), pc.greater(pc.binary_length(digits), 1))
        if b"." in characters:
            odd = pc.and_not(odd, pc.starts_with(digits, "0."))
            odd = pc.or_(odd, pc.or_(pc.starts_with(digits, "."), pc.ends_with(digits, ".")))
        return not pc.any(odd).as_py()


def find_type(column: Any) -> FoundType | None:
    """Return the type that all values of a column of text have; ``None``: text, or nothing to go by."""
    import pyarrow.compute as pc

    values = pc.drop_null(_without_empty(column))
    if len(values) == 0:
        return None
    for name, pattern in _PATTERNS.items():
        if pc.all(pc.match_substring_regex(values, pattern)).as_py():
            return FoundType(name, _decimal(values) if name == "decimal" else _kind(name))
    return None


def given_type(name: str, text: Any) -> Any:
    """
    Return the type of Arrow that is given for a column, by the name that Arrow has for it or prints.

    :raises ValidationRejected: where there is none, or Arrow reads none from a CSV.
    """
    import pyarrow as pa

    try:
        kind = _named(str(text))
        _try(kind)
    except (ValueError, LookupError, OSError, pa.ArrowNotImplementedError):
        raise destination_error(
            f"{text!r}, given for column {name!r}, is no type that Arrow reads from a CSV."
        ) from None
    return kind


def keeps_empty_text(kind: Any) -> bool:
    """Return whether a type has an empty value, as text and bytes do, which is not null."""
    import pyarrow as pa

    of = pa.types
    return bool(
        of.is_string(kind) or of.is_large_string(kind) or of.is_binary(kind) or of.is_large_binary(kind)
    )


def _named(text: str) -> Any:
    import pyarrow as pa

    decimal, zoned = _DECIMAL.match(text), _ZONED.match(text)
    if decimal:
        return pa.decimal128(int(decimal[1]), int(decimal[2]))
    if zoned:
        unit, zone = zoned.groups()
        # Arrow takes any zone and writes a file that can't be read.
        if not _OFFSET.match(zone):
            ZoneInfo(zone)
        return pa.timestamp(unit, tz=zone)
    return pa.type_for_alias(text)


def _try(kind: Any) -> None:
    """Read a row without values: there are types that Arrow knows and doesn't read."""
    from pyarrow import csv as arrow_csv

    options = arrow_csv.ConvertOptions(column_types={"b": kind})
    arrow_csv.read_csv(io.BytesIO(b"a,b\n,\n"), convert_options=options)


def _kind(name: str) -> Any:
    import pyarrow as pa

    return _KINDS[name](pa)


def _decimal(values: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    places = pc.utf8_length(pc.replace_substring_regex(values, r"^[^.]*\.?", ""))
    return pa.decimal128(38, max(SCALE, pc.max(places).as_py()))


def _characters(text: Any) -> bytes:
    """Return what a column's values are made of, one after another."""
    return b"".join(bytes(data) for chunk in text.chunks if (data := chunk.buffers()[2]))


def _without_empty(text: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.binary_length(text)
    if pc.min(lengths).as_py() != 0:
        return text
    return pc.if_else(pc.equal(lengths, 0), pa.scalar(None, text.type), text)


def _first_refused(text: Any, kind: Any) -> int:
    """Return the row of the first value that does not convert, by halves: Arrow does not tell which."""
    import pyarrow as pa
    import pyarrow.compute as pc

    low, high = 0, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            pc.cast(text.slice(low, middle - low), kind)
            low = middle
        except pa.ArrowInvalid:
            high = middle
    return low
