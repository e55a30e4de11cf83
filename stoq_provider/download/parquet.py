"""
The same rows as Parquet, made while the CSV streams by. Loads pyarrow.

Types are given, not guessed: a column is text unless it was given a type, so that the files of a lake are
alike from day to day. A value that does not fit is an error that names column and row. Memory stays constant:
one block of text and one row group.
"""

from __future__ import annotations

import io
import os
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stoq_provider.core.manifest import parquet_name
from stoq_provider.download.columns import CARRIAGE_RETURNS, BlockReader, Columns, last_record_end
from stoq_provider.download.destination import Target, refuse_existing
from stoq_provider.download.options import (
    DownloadOptions,
    destination_error,
    download_error,
    verification_error,
)
from stoq_provider.download.verification import StoredFile, Tally
from stoq_provider.download.writers import AtomicWriter, open_writer, same_content

BLOCK_BYTES = 4 * 1024 * 1024
"""Text that becomes one row group."""

LONGEST_RECORD = 64 * 1024 * 1024


class Parquet:
    """
    Makes Parquet files of downloads.

    The file is a neighbour of the CSV, with the suffix ``.parquet`` instead of ``.csv``; where the
    destination ends with ``.parquet`` already, it is the destination itself.

    :param options: ``column_types``: types of columns that are not text, by name or pattern, such as
        ``{"*_sales": "decimal(18, 2)", "id": "int64"}``, named as in Arrow. A name goes before patterns, and
        of those the first that fits. Where a type is given, an empty text is null; elsewhere only one without
        quotes is. ``overwrite``: of the Parquet file: ``"if_different"`` leaves one alone that has the same
        bytes. The same rows give the same bytes as long as the version of pyarrow is the same. ``on_empty``:
        a CSV of a header line alone becomes a file of these columns without rows, whether ``"keep"``,
        ``"header"`` or ``"empty"``. One that lacks even the header line has no columns: with ``"empty"`` it
        becomes a valid file without columns and rows, which not all readers take; with ``"keep"`` it is an
        error, because there is no Parquet that says the same.
    :raises ValidationRejected: where a type is none.
    """

    def __init__(self, options: DownloadOptions) -> None:
        self._options = options
        self._columns = Columns(options.column_types)

    def place(self, csv: Target) -> Target:
        """Return where the Parquet of a CSV goes."""
        return replace(csv, uri=parquet_name(csv.uri), path=parquet_name(csv.path))

    def check_place(self, csv: Target) -> None:
        """
        Check where the Parquet of a CSV goes, before anything is requested.

        :raises ValidationRejected: the place is that of the CSV, a folder, or taken.
        """
        place = self.place(csv)
        if self._options.stores_csv and place.path == csv.path:
            raise destination_error(f"{csv.uri} can't be both the CSV and its Parquet.")
        if place.is_local and os.path.isdir(place.path):  # noqa: PTH112
            raise destination_error(f"{place.path} is a folder, and the Parquet goes there.")
        if not self._options.overwrite:
            refuse_existing(place)

    def begin(self, csv: Target) -> ParquetFile:
        """Begin the Parquet of a CSV."""
        return ParquetFile(self.place(csv), self._columns, self._options)


class ParquetFile:
    """
    Takes CSV text and writes Parquet.

    ``rows``: how many were written so far; all, once it has finished.

    :param columns: has the types.
    """

    def __init__(self, target: Target, columns: Columns, options: DownloadOptions) -> None:
        self.target = target
        self.rows = 0
        self._columns = columns
        self._options = options
        self._same = False
        self._text = bytearray()
        self._size = BLOCK_BYTES
        self._reader: BlockReader | None = None
        self._writer: Any = None
        self._output = open_writer(target, overwrite=options.overwrite)
        self._file = _HashingFile(self._output)

    def write(self, chunk: bytes) -> None:
        """Take text; convert what makes a block. How the text is cut into chunks changes no block."""
        self._text += chunk
        while len(self._text) >= self._size:
            block = bytes(self._text[: self._size])
            end = last_record_end(block)
            if end:
                self._size = BLOCK_BYTES
                del self._text[:end]
                self._convert(block[:end])
            elif self._size >= LONGEST_RECORD:
                text = f"The CSV has a record of more than {LONGEST_RECORD} bytes."
                lines = b"\n" in block or b"\r" not in block
                raise verification_error(text if lines else CARRIAGE_RETURNS)
            else:
                self._size += BLOCK_BYTES

    def finish(self) -> None:
        """
        Convert the rest, close the file, and look at what is there already.

        :raises VerificationError: the CSV can't become Parquet.
        :raises DownloadError: without ``overwrite``, the name was taken in the meantime.
        """
        if self._reader is None and self._options.on_empty == "empty" and not self._text.strip():
            self._writer = pq.ParquetWriter(self._file, pa.schema([]))
        else:
            self._convert(bytes(self._text))
        self._text.clear()
        self._writer.close()
        # Before anything is published: a CSV without its Parquet would be in the way of a retry.
        if not self._options.overwrite and self.target.exists():
            raise download_error(
                f"{self.target.uri} has come into being during the download, and overwrite is off."
            )
        if self._options.overwrite == "if_different":
            tally = self._file.tally
            self._same = same_content(self.target, tally.bytes, tally.sha256, lambda: None)

    def commit(self) -> StoredFile:
        """Publish, unless the same is there already."""
        if not self._same:
            self._output.commit()
        return self._file.tally.file(self.target.uri, self.rows, written=not self._same)

    def abort(self) -> None:
        """Drop what is not committed."""
        try:
            if self._writer is not None and self._writer.is_open:
                # Closing writes a footer; left to the garbage collector, it would go to a lost output.
                self._file.discards = True
                self._writer.close()
        finally:
            self._output.abort()

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


class _HashingFile(io.RawIOBase):
    """A writer as a file object, with the digest of what went through. Closing it publishes nothing."""

    def __init__(self, output: AtomicWriter) -> None:
        self.tally = Tally()
        self.discards = False
        self._output = output

    def write(self, data: Any) -> int:
        """Take bytes."""
        chunk = bytes(data)
        if not self.discards:
            self._output.write(chunk)
            self.tally.stored(chunk)
        return len(chunk)

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self.tally.bytes

    def writable(self) -> bool:
        """It is."""
        return True
