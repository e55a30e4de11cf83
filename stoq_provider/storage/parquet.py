"""
The same rows as Parquet, made while the CSV streams by.

The types of the columns are found in the first block and hold for the whole file: a value further down that
does not fit is an error that names column and row, never a guess. Memory stays constant: one block of text
and one row group.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from stoq_provider.storage.columns import Columns, last_record_end
from stoq_provider.storage.policy import destination_error, verification_error
from stoq_provider.storage.sink import Sink, open_sink
from stoq_provider.storage.target import Target

if TYPE_CHECKING:
    from stoq_provider.storage.download import StoredFile

BLOCK_BYTES = 4 * 1024 * 1024
"""Text that becomes one row group, and in whose first the types are found."""

LONGEST_RECORD = 64 * 1024 * 1024


def parquet(
    *, column_types: Mapping[str, str] | None = None, overwrite: bool = True, job_id: str | None = None
) -> Callable[[Target], ParquetFile]:
    """
    Return what makes Parquet of a download: an ``also`` of ``storage.download.download_files``.

    The file is a neighbour of the CSV, with the suffix ``.parquet``.

    :param column_types: types by column that are not to be found out, such as ``{"zip": "string", "price":
        "decimal(38, 6)"}``; names as in Arrow.
    :raises ValidationRejected: where pyarrow is missing, or a type is none.
    """
    try:
        import pyarrow
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise destination_error(
            f"Parquet needs {error.name}: install airflow-provider-stoq[parquet].", job_id=job_id
        ) from error
    columns = Columns(column_types or {})

    def make(csv: Target) -> ParquetFile:
        target = csv.renamed(suffix=".parquet", drop=".csv")
        return ParquetFile(target, columns, overwrite=overwrite, job_id=job_id)

    return make


class ParquetFile:
    """
    A consumer of CSV text that writes Parquet.

    :param columns: finds the types.
    """

    def __init__(self, target: Target, columns: Columns, *, overwrite: bool, job_id: str | None) -> None:
        self._target = target
        self._columns = columns
        self._job_id = job_id
        self._rows = 0
        self._text = bytearray()
        self._reader: Any = None
        self._writer: Any = None
        self._sink = open_sink(target, overwrite=overwrite)
        self._file = _HashingFile(self._sink)

    def write(self, chunk: bytes) -> None:
        """Take text; convert what makes a block."""
        self._text += chunk
        if len(self._text) < BLOCK_BYTES:
            return
        end = last_record_end(self._text)
        if end:
            block = bytes(self._text[:end])
            del self._text[:end]
            self._convert(block)
        elif len(self._text) > LONGEST_RECORD:
            raise verification_error(
                f"The CSV has a record of more than {LONGEST_RECORD} bytes.", job_id=self._job_id
            )

    def finish(self) -> None:
        """Convert the rest, and close the file."""
        self._convert(bytes(self._text))
        self._text.clear()
        self._writer.close()
        self._sink.finish()

    def commit(self) -> StoredFile:
        """Publish."""
        from stoq_provider.storage.download import StoredFile

        self._sink.commit()
        uri = self._target.uri
        return StoredFile(
            uri, uri.rpartition("/")[2], self._file.bytes, self._rows, self._file.hash.hexdigest()
        )

    def abort(self) -> None:
        """Drop what is not committed."""
        if self._writer is not None and self._writer.is_open:
            # Closing writes a footer; left to the garbage collector, it would go to a sink that is gone.
            self._file.discards = True
            self._writer.close()
        self._sink.abort()

    def _convert(self, block: bytes) -> None:
        import pyarrow.parquet as pq

        if self._reader is None:
            self._reader = self._columns.reader(block, job_id=self._job_id)
            block = self._reader.rest
            self._writer = pq.ParquetWriter(self._file, self._reader.schema, compression="zstd")
        if not block:
            return
        table = self._reader.read(block, rows_before=self._rows, job_id=self._job_id)
        self._rows += table.num_rows
        self._writer.write_table(table)


class _HashingFile:
    """A sink as a file object, with the digest of what went through."""

    closed = False
    discards = False

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.bytes = 0
        self.hash = hashlib.sha256()

    def write(self, data: Any) -> int:
        """Take bytes."""
        chunk = bytes(data)
        if self.discards:
            return len(chunk)
        self._sink.write(chunk)
        self.hash.update(chunk)
        self.bytes += len(chunk)
        return len(chunk)

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self.bytes

    def flush(self) -> None:
        """Leave it to the sink."""

    def close(self) -> None:
        """Leave it to the sink: it is published after the check."""

    def readable(self) -> bool:
        """It is not."""
        return False

    def writable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is not."""
        return False
