"""Types of CSV columns, found in a first block of text and pinned for the rest."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stoq_provider.exceptions import VerificationError
from stoq_provider.storage.policy import destination_error, verification_error

DELIMITERS = (",", ";", "\t")

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

_NAMED = re.compile(r"^decimal(?:128)?\((\d+),\s*(\d+)\)$")


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
    Finds the types of columns.

    :param given: types by column that are not to be found out.
    :raises ValidationRejected: where a type is none.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = {name: _arrow_type(name, text) for name, text in given.items()}

    def reader(self, block: bytes, *, job_id: str | None) -> BlockReader:
        """
        Read the header line of the first block, and find the types in its rows.

        :raises VerificationError: where there is no header line, it names a column twice, or it lacks one
            whose type was given.
        """
        import pyarrow as pa

        header, rest = _split_header(block)
        names, delimiter = _read_header(header)
        if not any(names):
            raise verification_error("The CSV has no header line, so it can't become Parquet.", job_id=job_id)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise verification_error(
                f"The CSV has more than one column {twice[0]!r}, so it can't become Parquet.", job_id=job_id
            )
        unknown = sorted(set(self._given) - set(names))
        if unknown:
            raise verification_error(
                f"column_types names {unknown[0]!r}, but the CSV has the columns {', '.join(names)}.",
                job_id=job_id,
            )
        strings = BlockReader(pa.schema([(name, pa.string()) for name in names]), delimiter, b"")
        table = strings.read(rest, rows_before=0, job_id=job_id) if rest else strings.schema.empty_table()
        types = [self._given.get(name) or _find_type(table.column(name)) for name in names]
        return BlockReader(pa.schema(list(zip(names, types, strict=True))), delimiter, rest)


@dataclass(frozen=True, slots=True)
class BlockReader:
    """Reads blocks of whole records; ``rest`` is the first one, without the header line."""

    schema: Any
    delimiter: str
    rest: bytes

    def read(self, block: bytes, *, rows_before: int, job_id: str | None) -> Any:
        """
        Return a block as a table of Arrow.

        :raises VerificationError: naming column and row of a value that does not fit.
        """
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        try:
            return arrow_csv.read_csv(
                io.BytesIO(block),
                # One thread: only then Arrow names the row; and hashing and writing have theirs.
                read_options=arrow_csv.ReadOptions(
                    use_threads=False, column_names=self.schema.names, block_size=max(len(block), 1)
                ),
                parse_options=arrow_csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=self.schema,
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                    true_values=["true", "True", "TRUE"],
                    false_values=["false", "False", "FALSE"],
                ),
            )
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise self._explain(str(error), rows_before, job_id) from None

    def _explain(self, said: str, rows_before: int, job_id: str | None) -> VerificationError:
        """Say where a value does not fit, without the value: it may be a customer's."""
        column = re.search(r"column #(\d+)", said)
        row = re.search(r"[Rr]ow #(\d+)", said)
        where = f"row {rows_before + int(row[1])}" if row else f"a row after row {rows_before}"
        if column is None:
            columns = len(self.schema.names)
            return verification_error(
                f"The CSV can't become Parquet: {where} does not have {columns} columns.", job_id=job_id
            )
        name = self.schema.names[int(column[1])]
        return verification_error(
            f"The CSV can't become Parquet: column {name!r} began as {self.schema.field(name).type}, but "
            f"{where} has another kind of value. Give the column's type in column_types, such as "
            f"{{{name!r}: 'string'}}.",
            job_id=job_id,
        )


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


def _read_header(header: bytes) -> tuple[list[str], str]:
    text = header.decode("utf-8", "replace").rstrip("\r\n")
    delimiter = max(DELIMITERS, key=text.count)
    return next(csv.reader([text], delimiter=delimiter), []), delimiter


def _find_type(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pc.drop_null(column)
    if len(values) == 0:
        return pa.string()
    for name, pattern in _PATTERNS.items():
        if pc.all(pc.match_substring_regex(values, pattern)).as_py():
            return _decimal(values) if name == "decimal" else _KINDS[name](pa)
    return pa.string()


_KINDS = {
    "bool": lambda pa: pa.bool_(),
    "int64": lambda pa: pa.int64(),
    "date32": lambda pa: pa.date32(),
    "timestamp": lambda pa: pa.timestamp("us", tz="UTC"),
    "local": lambda pa: pa.timestamp("us"),
}


def _decimal(values: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    places = pc.utf8_length(pc.replace_substring_regex(values, r"^[^.]*\.?", ""))
    return pa.decimal128(38, max(SCALE, pc.max(places).as_py()))


def _arrow_type(name: str, text: Any) -> Any:
    import pyarrow as pa

    decimal = _NAMED.match(str(text))
    try:
        if decimal:
            return pa.decimal128(int(decimal[1]), int(decimal[2]))
        return pa.type_for_alias(str(text))
    except ValueError:
        raise destination_error(
            f"{text!r}, given for column {name!r}, is no type that Arrow knows."
        ) from None
