"""
The same rows as Parquet, made while the CSV streams by. Loads pyarrow.

Types are given, not guessed: a column is text unless it was given a type, so that the files of a lake are
alike from day to day. A value that does not fit is an error that names column and row. Memory stays constant:
one block of text and one row group.
"""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stoq_provider.download.columns import BlockReader, Columns, last_record_end
from stoq_provider.download.header import CARRIAGE_RETURNS
from stoq_provider.download.options import verification_error
from stoq_provider.download.output import Output, writing

BLOCK_BYTES = 4 * 1024 * 1024
"""Text that becomes one row group."""

LONGEST_RECORD = 64 * 1024 * 1024


class ParquetFile:
    """
    Takes CSV text and writes Parquet.

    ``rows``: how many were written so far; all, once it has finished.

    :param columns: has the types. Where a type is given, an empty text is null; elsewhere only one without
        quotes is. The same rows give the same bytes as long as the version of pyarrow is the same.
    :param on_empty: a CSV of a header line alone becomes a file of these columns without rows, whether
        ``"keep"``, ``"header"`` or ``"empty"``. One that lacks even the header line has no columns: with
        ``"empty"`` it becomes a valid file without columns and rows, which not all readers take; with
        ``"keep"`` it is an error, because there is no Parquet that says the same.
    :param output: where it goes; errors name it.
    """

    def __init__(self, columns: Columns, on_empty: str, output: Output) -> None:
        self.output = output
        self.rows = 0
        self._columns = columns
        self._on_empty = on_empty
        self._text = bytearray()
        self._size = BLOCK_BYTES
        self._reader: BlockReader | None = None
        self._writer: Any = None
        self._file = _OutputFile(output)

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Name and type of each column, once the header line was read."""
        return [] if self._reader is None else [(of.name, str(of.type)) for of in self._reader.schema]

    def write(self, chunk: bytes) -> None:
        """Take text; convert what makes a block. How the text is cut into chunks changes no block."""
        self._text += chunk
        while len(self._text) >= self._size:
            block = bytes(self._text[: self._size])
            # Blank lines may be those at the end of the file, which are no rows.
            rows = block[: last_record_end(block)].rstrip(b"\r\n")
            if rows:
                self._size = BLOCK_BYTES
                del self._text[: len(rows) + (2 if block.startswith(b"\r\n", len(rows)) else 1)]
                with writing(self.output.target):
                    self._convert(rows)
            elif self._size >= LONGEST_RECORD:
                text = f"The CSV has a record of more than {LONGEST_RECORD} bytes."
                lines = b"\n" in block or b"\r" not in block
                raise verification_error(text if lines else CARRIAGE_RETURNS)
            else:
                self._size += BLOCK_BYTES

    def finish(self) -> None:
        """
        Convert the rest and close the file.

        :raises VerificationError: the CSV can't become Parquet.
        """
        with writing(self.output.target):
            if self._reader is None and self._on_empty == "empty" and not self._text.strip():
                self._writer = pq.ParquetWriter(self._file, pa.schema([]))
            else:
                self._convert(bytes(self._text.rstrip(b"\r\n")))
            self._text.clear()
            self._writer.close()

    def abort(self) -> None:
        """Write nothing more."""
        if self._writer is not None and self._writer.is_open:
            # Closing writes a footer; left to the garbage collector, it would go to a lost output.
            self._file.discards = True
            self._writer.close()

    def _convert(self, block: bytes) -> None:
        if self._reader is None:
            self._reader = self._columns.reader(block)
            block = self._reader.rest
            self._writer = pq.ParquetWriter(self._file, self._reader.schema, compression="zstd")
        if not block:
            return
        table = self._reader.read(block, rows_before=self.rows)
        self.rows += table.num_rows
        self._writer.write_table(table)


class _OutputFile(io.RawIOBase):
    """An output as a file object. Closing it publishes nothing."""

    def __init__(self, output: Output) -> None:
        self.discards = False
        self._output = output

    def write(self, data: Any) -> int:
        """Take bytes."""
        chunk = bytes(data)
        if not self.discards:
            self._output.write(chunk)
        return len(chunk)

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._output.bytes

    def writable(self) -> bool:
        """It is."""
        return True
