"""
The same rows as Parquet, made while the CSV streams by.

Types are given, not guessed: a column is text unless it was given a type, so that the files of a lake are
alike from day to day. A value that does not fit is an error that names column and row. Memory stays constant:
one block of text and one row group.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stoq_provider.core.manifest import parquet_name
from stoq_provider.download.columns import CARRIAGE_RETURNS, Columns, last_record_end
from stoq_provider.download.destination import Target
from stoq_provider.download.options import Overwrite, destination_error, download_error, verification_error
from stoq_provider.download.writers import AtomicWriter, open_writer, same_content

if TYPE_CHECKING:
    from stoq_provider.download.download import StoredFile

BLOCK_BYTES = 4 * 1024 * 1024
"""Text that becomes one row group."""

LONGEST_RECORD = 64 * 1024 * 1024


def parquet(
    *,
    column_types: Mapping[str, str] | None = None,
    overwrite: Overwrite = True,
    on_empty: str = "keep",
    job_id: str | None = None,
) -> ParquetFactory:
    """
    Return what makes Parquet of a download: an ``also`` of ``download.download.download_files``.

    The file is a neighbour of the CSV, with the suffix ``.parquet`` instead of ``.csv``; where the
    destination ends with ``.parquet`` already, it is the destination itself.

    :param column_types: types of columns that are not text, by name or pattern, such as ``{"*_sales":
        "decimal(18, 2)", "id": "int64"}``, named as in Arrow. A name goes before patterns, and of those the
        first that fits. Where a type is given, an empty text is null; elsewhere only one without quotes is.
    :param overwrite: as in the options, of the Parquet file: ``"if_different"`` leaves one alone that has the
        same bytes. The same rows give the same bytes as long as the version of pyarrow is the same.
    :param on_empty: as in the options. A CSV of a header line alone becomes a file of these columns without
        rows, whether ``"keep"``, ``"header"`` or ``"empty"``. One that lacks even the header line has no
        columns: with ``"empty"`` it becomes a valid file without columns and rows, which not all readers
        take; with ``"keep"`` it is an error, because there is no Parquet that says the same.
    :raises ValidationRejected: where pyarrow is missing, or a type is none.
    """
    try:
        import pyarrow
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise destination_error(
            f"Parquet needs {error.name}: install airflow-provider-stoq[parquet].", job_id=job_id
        ) from error
    return ParquetFactory(Columns(column_types or {}), overwrite, on_empty, job_id)


@dataclass(frozen=True, slots=True)
class ParquetFactory:
    """Makes the consumer of a download's text, each time that it begins; see :func:`parquet`."""

    columns: Columns
    overwrite: Overwrite = True
    on_empty: str = "keep"
    job_id: str | None = None

    def place(self, csv: Target) -> Target:
        """Return where the Parquet of a CSV goes."""
        return replace(csv, uri=parquet_name(csv.uri), path=parquet_name(csv.path))

    def __call__(self, csv: Target) -> ParquetFile:
        """Begin the Parquet of a CSV."""
        return ParquetFile(
            self.place(csv),
            self.columns,
            overwrite=self.overwrite,
            without_columns=self.on_empty == "empty",
            job_id=self.job_id,
        )


class ParquetFile:
    """
    A consumer of CSV text that writes Parquet.

    ``rows``: how many were written so far; all, once it has finished.

    :param columns: has the types.
    :param without_columns: whether a text without a line becomes a file without columns; else it is an error.
    """

    def __init__(
        self,
        target: Target,
        columns: Columns,
        *,
        overwrite: Overwrite = True,
        without_columns: bool = False,
        job_id: str | None = None,
    ) -> None:
        self._target = target
        self._columns = columns
        self._overwrite = overwrite
        self._without_columns = without_columns
        self._job_id = job_id
        self._same = False
        self.rows = 0
        self._text = bytearray()
        self._size = BLOCK_BYTES
        self._reader: Any = None
        self._writer: Any = None
        self._output = open_writer(target, overwrite=overwrite)
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
                raise verification_error(text if lines else CARRIAGE_RETURNS, job_id=self._job_id)
            else:
                self._size += BLOCK_BYTES

    def finish(self) -> None:
        """
        Convert the rest, close the file, and look at what is there already.

        :raises VerificationError: the CSV can't become Parquet.
        :raises DownloadError: without ``overwrite``, the name was taken in the meantime.
        """
        if self._reader is None and self._without_columns and not self._text.strip():
            self._begin_without_columns()
        else:
            self._convert(bytes(self._text))
        self._text.clear()
        self._writer.close()
        self._output.finish()
        self._compare()

    def _begin_without_columns(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._writer = pq.ParquetWriter(self._file, pa.schema([]))

    def _compare(self) -> None:
        """Look before anything is published: a CSV without its Parquet would be in the way of a retry."""
        if not self._overwrite and self._target.exists():
            raise download_error(
                f"{self._target.uri} has come into being during the download, and overwrite is off.",
                job_id=self._job_id,
            )
        if self._overwrite == "if_different":
            digest = self._file.hash.hexdigest()
            self._same = same_content(self._target, self._file.bytes, digest, lambda: None)

    def commit(self) -> StoredFile:
        """Publish, unless the same is there already."""
        from stoq_provider.download.download import StoredFile

        if not self._same:
            self._output.commit()
        uri, file = self._target.uri, self._file
        return StoredFile(
            uri,
            uri.rpartition("/")[2],
            file.bytes,
            self.rows,
            file.hash.hexdigest(),
            written=not self._same,
        )

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
        import pyarrow.parquet as pq

        if self._reader is None:
            self._reader = self._columns.reader(block, job_id=self._job_id)
            block = self._reader.rest
            self._writer = pq.ParquetWriter(self._file, self._reader.schema, compression="zstd")
        if not block:
            return
        table = self._reader.read(block, rows_before=self.rows, job_id=self._job_id)
        self.rows += table.num_rows
        self._writer.write_table(table)


class _HashingFile:
    """A writer as a file object, with the digest of what went through."""

    closed = False
    discards = False

    def __init__(self, output: AtomicWriter) -> None:
        self._output = output
        self.bytes = 0
        self.hash = hashlib.sha256()

    def write(self, data: Any) -> int:
        """Take bytes."""
        chunk = bytes(data)
        if self.discards:
            return len(chunk)
        self._output.write(chunk)
        self.hash.update(chunk)
        self.bytes += len(chunk)
        return len(chunk)

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self.bytes

    def flush(self) -> None:
        """Leave it to the writer."""

    def close(self) -> None:
        """Leave it to the writer: it is published after the check."""

    def readable(self) -> bool:
        """It is not."""
        return False

    def writable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is not."""
        return False
