"""Columns of a CSV: names, types that are found in a first block and pinned for the rest, and values."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stoq_provider.download.column_types import FoundType, Misfit, find_type, given_type, keeps_empty_text
from stoq_provider.download.options import verification_error
from stoq_provider.exceptions import VerificationError

DELIMITERS = (",", ";", "\t")

CARRIAGE_RETURNS = (
    "The CSV has lines that end with a carriage return alone, so it can't become Parquet, which needs line "
    "feeds; format='csv' stores the bytes as they are."
)

_BLANK_LINE = re.compile(rb"\n\r?\n")


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
        self._given = {name: given_type(name, text) for name, text in given.items()}

    def reader(self, block: bytes, *, job_id: str | None) -> BlockReader:
        """
        Read the header line of the first block, and find the types in its rows.

        :raises VerificationError: where there is no header line, it can't be read, it names a column twice,
            or it lacks one whose type was given; or the rows are no text in as many columns.
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
        unknown = sorted(set(self._given) - set(names))
        if unknown:
            raise verification_error(
                f"column_types names {unknown[0]!r}, but the CSV has the columns {', '.join(names)}.",
                job_id=job_id,
            )
        found = self._find(names, BlockReader(_texts(names, self._given), delimiter, rest), job_id)
        types = {
            name: found[name].type if name in found else self._given.get(name, pa.string()) for name in names
        }
        return BlockReader(pa.schema(list(types.items())), delimiter, rest, found)

    def _find(self, names: Sequence[str], texts: BlockReader, job_id: str | None) -> dict[str, FoundType]:
        if not texts.rest:
            return {}
        table = texts.read(texts.rest, rows_before=0, job_id=job_id)
        found = {name: find_type(table.column(name)) for name in names if name not in self._given}
        return {name: kind for name, kind in found.items() if kind}


def _texts(names: Sequence[str], given: Mapping[str, str]) -> Any:
    """Return all as text, but those whose type is not to be found: they need not be UTF-8."""
    import pyarrow as pa

    return pa.schema([(name, pa.binary() if name in given else pa.string()) for name in names])


@dataclass(frozen=True, slots=True)
class BlockReader:
    """
    Reads blocks of whole records.

    :param schema: columns and types of Arrow.
    :param rest: the first block, without the header line.
    :param found: the columns whose type was found; what was given is left to Arrow.
    """

    schema: Any
    delimiter: str
    rest: bytes
    found: Mapping[str, FoundType] = field(default_factory=dict)

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
        for name, kind in self.found.items():
            try:
                columns[name] = kind.convert(columns[name])
            except Misfit as misfit:
                where = f"row {rows_before + misfit.row + 1}"
                raise self._misfit(name, "began as {}", where, job_id) from None
        return pa.table([columns[name] for name in self.schema.names], schema=self.schema)

    def _parse(self, block: bytes) -> dict[str, Any]:
        """Return the columns: values where the type was given, else text."""
        apart = set()
        # Arrow takes a quoted empty text for null in all columns that it reads, or in none: where there may
        # be one, those of the other kind are read by themselves.
        if b'""' in block:
            apart = {
                of.name for of in self.schema if of.name not in self.found and not keeps_empty_text(of.type)
            }
        together = [name for name in self.schema.names if name not in apart]
        columns: dict[str, Any] = {}
        for names, quoted_nulls in ((together, False), (sorted(apart), True)):
            if names:
                columns.update(zip(names, self._read(block, names, quoted_nulls).columns, strict=True))
        return columns

    def _read(self, block: bytes, names: Sequence[str], quoted_nulls: bool) -> Any:
        import pyarrow as pa
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
                column_types={
                    of.name: pa.string() if of.name in self.found else of.type for of in self.schema
                },
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
        if "invalid UTF8" not in said:
            return self._misfit(name, "is {} by column_types", where, job_id)
        return verification_error(
            f"The CSV can't become Parquet: column {name!r} has text in {where} that is not UTF-8. "
            f"format='csv' stores the bytes as they are, and column_types={{{name!r}: 'binary'}} does so "
            "with this column.",
            job_id=job_id,
        )

    def _misfit(self, name: str, kind: str, where: str, job_id: str | None) -> VerificationError:
        return verification_error(
            f"The CSV can't become Parquet: column {name!r} {kind.format(self.schema.field(name).type)}, but "
            f"{where} has another kind of value. Give the column another type in column_types, such as "
            f"{{{name!r}: 'string'}}.",
            job_id=job_id,
        )


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
        said = f"The CSV can't become Parquet: its header line can't be read: {error}."
        raise verification_error(
            CARRIAGE_RETURNS if "\r" in outside_quotes else said, job_id=job_id
        ) from None
