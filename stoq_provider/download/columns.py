"""Columns of a CSV: their names, the types they were given, and their values."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any
from zoneinfo import ZoneInfo

from stoq_provider.download.options import destination_error, verification_error
from stoq_provider.exceptions import VerificationError

DELIMITERS = (",", ";", "\t")

CARRIAGE_RETURNS = (
    "The CSV has lines that end with a carriage return alone, so it can't become Parquet, which needs line "
    "feeds; format='csv' stores the bytes as they are."
)

_BLANK_LINE = re.compile(rb"\n\r?\n")
_DECIMAL = re.compile(r"^decimal(?:128)?\((\d+),\s*(\d+)\)$")
_ZONED = re.compile(r"^timestamp\[(s|ms|us|ns),\s*(?:tz=)?([^\s\]]+)\]$")
_OFFSET = re.compile(r"^[+-](?:0\d|1[0-4]):[0-5]\d$")


def last_record_end(text: bytes | bytearray) -> int:
    """Return the length of the whole records that a text begins with; it begins outside of quotes."""
    pieces = bytes(text).split(b'"')
    ends = len(text)
    for number in range(len(pieces) - 1, -1, -1):
        starts = ends - len(pieces[number])
        if number % 2 == 0:
            found = pieces[number].rfind(b"\n")
            if found >= 0:
                return starts + found + 1
        ends = starts - 1
    return 0


class Columns:
    """
    Gives columns their types. A column is text unless it, or a pattern that it fits, was given a type.

    :param given: types by name or pattern (``*_sales``). A name goes before patterns, and of those the first.
    :raises ValidationRejected: where a type is none.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = {name: _given_type(name, text) for name, text in given.items()}

    def reader(self, block: bytes, *, job_id: str | None) -> BlockReader:
        """
        Read the header line of the first block.

        :raises VerificationError: where there is none, it can't be read, it names a column twice, or it has
            none that a type was given for.
        """
        import pyarrow as pa

        header, rest = _split_header(block)
        names, delimiter = _read_header(header, job_id)
        if not any(names):
            raise verification_error(
                "The CSV has no header line, so it can't become Parquet. For a result without rows, "
                "on_empty='skip' skips it, and 'empty' makes a file without columns.",
                job_id=job_id,
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise verification_error(
                f"The CSV has more than one column {twice[0]!r}, so it can't become Parquet.", job_id=job_id
            )
        unknown = [key for key in self._given if not any(_is_meant(key, name) for name in names)]
        if unknown:
            raise verification_error(
                f"column_types names {unknown[0]!r}, but the CSV has the columns {', '.join(names)}.",
                job_id=job_id,
            )
        return BlockReader(pa.schema([(name, self._type(name)) for name in names]), delimiter, rest)

    def _type(self, name: str) -> Any:
        import pyarrow as pa

        keys = [name, *(pattern for pattern in self._given if fnmatchcase(name, pattern))]
        return next((self._given[key] for key in keys if key in self._given), pa.string())


def _is_meant(key: str, name: str) -> bool:
    return key == name or fnmatchcase(name, key)


def _given_type(name: str, text: Any) -> Any:
    """
    Return the type of Arrow that is given for a column, by the name that Arrow has for it or prints.

    :raises ValidationRejected: where there is none, or Arrow reads none from a CSV.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

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


def _keeps_empty_text(kind: Any) -> bool:
    """Return whether a type has an empty value, as text and bytes do, which is not null."""
    from pyarrow import types

    tests = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    return any(test(kind) for test in tests)


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

    def read(self, block: bytes, *, rows_before: int, job_id: str | None) -> Any:
        """
        Return a block as a table of Arrow. A blank line is a row of one column without a value.

        :raises VerificationError: naming column and row of a value that does not fit or is not UTF-8, or
            the row that is a blank line where there are several columns.
        """
        import pyarrow as pa

        try:
            columns = self._parse(block)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise self._explain(str(error), rows_before, job_id) from None
        self._refuse_blank_rows(columns.values(), block, rows_before, job_id)
        for name, column in columns.items():
            row = _too_many_digits(column)
            if row is not None:
                raise self._misfit(name, f"row {rows_before + row}", job_id)
        return pa.table([columns[name] for name in self.schema.names], schema=self.schema)

    def _parse(self, block: bytes) -> dict[str, Any]:
        # Arrow takes a quoted empty text for null in all columns that it reads, or in none: where there may
        # be one, columns of text and others are read one after the other.
        texts, others = self.schema.names, []
        if b'""' in block:
            texts = [of.name for of in self.schema if _keeps_empty_text(of.type)]
            others = [name for name in self.schema.names if name not in texts]
        columns: dict[str, Any] = {}
        for names, quoted_nulls in ((texts, False), (others, True)):
            if names:
                columns.update(zip(names, self._read(block, names, quoted_nulls).columns, strict=True))
        return columns

    def _read(self, block: bytes, names: Sequence[str], quoted_nulls: bool) -> Any:
        from pyarrow import csv as arrow_csv

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
                ignore_empty_lines=False,
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

    def _refuse_blank_rows(
        self, found: Iterable[Any], block: bytes, rows_before: int, job_id: str | None
    ) -> None:
        # Arrow makes a row of nulls of a blank line, as it does of one of delimiters only. Looking for nulls
        # first costs nothing.
        columns = len(self.schema.names)
        suspect = columns > 1 and all(column.null_count for column in found)
        blank = _blank_row(block) if suspect else None
        if blank is not None:
            raise verification_error(
                f"The CSV can't become Parquet: row {rows_before + blank} is a blank line, and does not have "
                f"{columns} columns.",
                job_id=job_id,
            )

    def _explain(self, message: str, rows_before: int, job_id: str | None) -> VerificationError:
        """Say where a value does not fit, without the value: it may be a customer's."""
        column = re.search(r"column #(\d+)", message)
        row = re.search(r"[Rr]ow #(\d+)", message)
        where = f"row {rows_before + int(row[1])}" if row else f"a row after row {rows_before}"
        if column is None:
            columns = len(self.schema.names)
            return verification_error(
                f"The CSV can't become Parquet: {where} does not have {columns} columns.", job_id=job_id
            )
        name = self.schema.names[int(column[1])]
        if "invalid UTF8" not in message:
            return self._misfit(name, where, job_id)
        return verification_error(
            f"The CSV can't become Parquet: column {name!r} has text in {where} that is not UTF-8. "
            f"format='csv' stores the bytes as they are, and column_types={{{name!r}: 'binary'}} does so "
            "with this column.",
            job_id=job_id,
        )

    def _misfit(self, name: str, where: str, job_id: str | None) -> VerificationError:
        kind = self.schema.field(name).type
        return verification_error(
            f"The CSV can't become Parquet: column {name!r} is {kind} by column_types, but {where} has a "
            f"value that does not fit. Give the column another type, such as {{{name!r}: 'string'}}.",
            job_id=job_id,
        )


def _too_many_digits(column: Any) -> int | None:
    """Return the number, from 1, of the first decimal that is too long for its type: Arrow reads it."""
    import pyarrow as pa

    if not pa.types.is_decimal(column.type):
        return None
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        limit = Decimal(10) ** (column.type.precision - column.type.scale)
        rows = enumerate(column.to_pylist(), 1)
        return next(row for row, value in rows if value is not None and value.copy_abs() >= limit)
    return None


def _blank_row(block: bytes) -> int | None:
    """Return the number, from 1, of the first record that is a blank line; a block begins with a record."""
    outside_quotes = b'"'.join((b"\n" + block).split(b'"')[::2])
    found = _BLANK_LINE.search(outside_quotes)
    return outside_quotes.count(b"\n", 0, found.start()) + 1 if found else None


def _split_header(block: bytes) -> tuple[bytes, bytes]:
    block = block.removeprefix(b"\xef\xbb\xbf")
    pieces = block.split(b'"')
    at = 0
    for number, piece in enumerate(pieces):
        found = piece.find(b"\n") if number % 2 == 0 else -1
        if found >= 0:
            return block[: at + found + 1], block[at + found + 1 :]
        at += len(piece) + 1
    return block, b""


def _read_header(header: bytes, job_id: str | None) -> tuple[list[str], str]:
    """Return the columns' names, and the delimiter: the one that there is most of outside of quotes."""
    try:
        text = header.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise verification_error(
            "The CSV's header line is not UTF-8, so it can't become Parquet; format='csv' stores the bytes "
            "as they are.",
            job_id=job_id,
        ) from None
    outside_quotes = "".join(text.split('"')[::2])
    delimiter = max(DELIMITERS, key=outside_quotes.count)
    try:
        return next(csv.reader([text], delimiter=delimiter), []), delimiter
    except csv.Error as error:
        message = f"The CSV can't become Parquet: its header line can't be read: {error}."
        raise verification_error(
            CARRIAGE_RETURNS if "\r" in outside_quotes else message, job_id=job_id
        ) from None
