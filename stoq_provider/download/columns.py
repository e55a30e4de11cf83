"""Columns of a CSV: their names, the types they were given, and their values. Loads pyarrow."""

from __future__ import annotations

import fnmatch
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
from pyarrow import csv as arrow_csv

from stoq_provider.download.header import NOT_UTF_8, first_record_end, read_header
from stoq_provider.download.options import destination_error, verification_error
from stoq_provider.exceptions import VerificationError

_DECIMAL = re.compile(r"^decimal(?:128)?\((\d+),\s*(\d+)\)$")
_ZONED = re.compile(r"^timestamp\[(s|ms|us|ns),\s*(?:tz=)?([^\s\]]+)\]$")
_OFFSET = re.compile(r"^[+-](?:0\d|1[0-4]):[0-5]\d$")


def last_record_end(text: bytes) -> int:
    """Return the length of the whole records that a text begins with; it begins outside of quotes."""
    inside, end = text.count(b'"') % 2, len(text)
    while (at := text.rfind(b"\n", 0, end)) >= 0:
        inside ^= text.count(b'"', at, end) % 2
        if not inside:
            return at + 1
        end = at
    return 0


class Columns:
    """
    Gives columns their types. A column is text unless it, or a pattern that it fits, was given a type.

    :param given: types by name or pattern (``*_sales``). A name goes before patterns, and of those the first.
    :raises ValidationRejected: where a type is none.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = {name: _given_type(name, text) for name, text in given.items()}

    def reader(self, block: bytes) -> BlockReader:
        """
        Read the header line of the first block.

        :raises VerificationError: where there is none, it can't be read, it names a column twice, or it has
            none that a type was given for.
        """
        block = block.removeprefix(b"\xef\xbb\xbf")
        end = first_record_end(block)
        names, delimiter = read_header(block[:end])
        if not any(names):
            raise verification_error(
                "The CSV has no header line, so it can't become Parquet. For a result without rows, "
                "on_empty='skip' skips it, and 'empty' makes a file without columns."
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise verification_error(
                f"The CSV has more than one column {twice[0]!r}, so it can't become Parquet."
            )
        unknown = [key for key in self._given if key not in names and not fnmatch.filter(names, key)]
        if unknown:
            raise verification_error(
                f"column_types names {unknown[0]!r}, but the CSV has the columns {', '.join(names)}."
            )
        return BlockReader(pa.schema([(name, self._type(name)) for name in names]), delimiter, block[end:])

    def _type(self, name: str) -> Any:
        keys = [name, *(pattern for pattern in self._given if fnmatch.fnmatchcase(name, pattern))]
        return next((self._given[key] for key in keys if key in self._given), pa.string())


def _given_type(name: str, text: Any) -> Any:
    """
    Return the type of Arrow that is given for a column, by the name that Arrow has for it or prints.

    :raises ValidationRejected: where there is none, or Arrow reads none from a CSV.
    """
    try:
        kind = _named(str(text))
        # There are types that Arrow knows and doesn't read: a row without values tells.
        options = arrow_csv.ConvertOptions(column_types={"b": kind})
        arrow_csv.read_csv(io.BytesIO(b"a,b\n,\n"), convert_options=options)
    except (ValueError, LookupError, OSError, pa.ArrowNotImplementedError):
        raise destination_error(
            f"{text!r}, given for column {name!r}, is no type that Arrow reads from a CSV."
        ) from None
    return kind


def _named(text: str) -> Any:
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


_TEXTS = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
"""Types that have an empty value which is not null."""


@dataclass(frozen=True, slots=True)
class BlockReader:
    """
    Reads blocks of whole records.

    :param schema: columns and types of Arrow.
    :param rest: the first block, without the header line.
    """

    schema: Any
    delimiter: str
    rest: bytes

    def read(self, block: bytes, *, rows_before: int) -> Any:
        """
        Return a block as a table of Arrow. A blank line is a row where there is one column, else it is none.

        :raises VerificationError: naming column and row of a value that does not fit or is not UTF-8.
        """
        try:
            columns = self._parse(block)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise self._explain(str(error), rows_before) from None
        for name, column in columns.items():
            row = _too_many_digits(column)
            if row is not None:
                raise self._misfit(name, f"row {rows_before + row}")
        return pa.table([columns[name] for name in self.schema.names], schema=self.schema)

    def _parse(self, block: bytes) -> dict[str, Any]:
        # Arrow takes a quoted empty text for null in all columns that it reads, or in none: where there may
        # be one, columns of text and others are read one after the other.
        texts, others = self.schema.names, []
        if b'""' in block:
            texts = [of.name for of in self.schema if of.type in _TEXTS]
            others = [name for name in self.schema.names if name not in texts]
        columns: dict[str, Any] = {}
        for names, quoted_nulls in ((texts, False), (others, True)):
            if names:
                columns.update(zip(names, self._read(block, names, quoted_nulls).columns, strict=True))
        return columns

    def _read(self, block: bytes, names: Sequence[str], quoted_nulls: bool) -> Any:
        return arrow_csv.read_csv(
            io.BytesIO(block),
            # One thread: only then Arrow names the row; and hashing and writing have theirs.
            read_options=arrow_csv.ReadOptions(
                use_threads=False, column_names=self.schema.names, block_size=max(len(block), 1)
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=self.delimiter,
                newlines_in_values=True,
                # Dropping them would lose rows of a single column.
                ignore_empty_lines=len(self.schema.names) > 1,
            ),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=names,
                column_types=self.schema,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=quoted_nulls,
                true_values=["true", "True", "TRUE"],
                false_values=["false", "False", "FALSE"],
            ),
        )

    def _explain(self, message: str, rows_before: int) -> VerificationError:
        """Say where a value does not fit, without the value: it may be a customer's."""
        column = re.search(r"column #(\d+)", message)
        row = re.search(r"[Rr]ow #(\d+)", message)
        where = f"row {rows_before + int(row[1])}" if row else f"a row after row {rows_before}"
        if column is None:
            width = len(self.schema.names)
            return verification_error(f"The CSV can't become Parquet: {where} does not have {width} columns.")
        name = self.schema.names[int(column[1])]
        if "invalid UTF8" not in message:
            return self._misfit(name, where)
        return verification_error(
            f"The CSV can't become Parquet: column {name!r} has text in {where} that {NOT_UTF_8}, "
            f"and column_types={{{name!r}: 'binary'}} does so with this column."
        )

    def _misfit(self, name: str, where: str) -> VerificationError:
        kind = self.schema.field(name).type
        return verification_error(
            f"The CSV can't become Parquet: column {name!r} is {kind} by column_types, but {where} has a "
            f"value that does not fit. Give the column another type, such as {{{name!r}: 'string'}}."
        )


def _too_many_digits(column: Any) -> int | None:
    """Return the number, from 1, of the first decimal that is too long for its type: Arrow reads it."""
    if not pa.types.is_decimal(column.type):
        return None
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        limit = Decimal(10) ** (column.type.precision - column.type.scale)
        rows = enumerate(column.to_pylist(), 1)
        return next(row for row, value in rows if value is not None and value.copy_abs() >= limit)
    return None
