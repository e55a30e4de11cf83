"""
One download: from the source through the checks into the writer, from the start as often as it takes.

One thread only reads, so that reading overlaps with hashing, counting and writing; all of those happen in the
thread of the caller, one after the other.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from stoq_provider.core.error_text import sentences
from stoq_provider.download.destination import Target, refuse_existing
from stoq_provider.download.gunzip import Gunzip
from stoq_provider.download.options import (
    JOB_IS_DONE,
    DownloadOptions,
    download_error,
    not_confirmed,
    verification_error,
)
from stoq_provider.download.resume import Source, StartOver
from stoq_provider.download.verification import CsvRecordCounter, StoredFile, Tally, check_rows, wants_nothing
from stoq_provider.download.writers import AtomicWriter, open_writer, same_content
from stoq_provider.exceptions import DownloadError, StoqProviderError

if TYPE_CHECKING:
    from stoq_provider.download.parquet import Parquet, ParquetFile

DEPTH = 4
"""Chunks that may wait to be written."""

_TICK_SECONDS = 0.5
_PATIENCE_SECONDS = 10.0
_EMPTY_GZIP = bytes.fromhex("1f8b08000000000000ff03000000000000000000")


@dataclass(frozen=True, slots=True)
class Transfer:
    """
    Copies a source through the checks into a writer, and its text into a Parquet file.

    :param target: where the file goes; what is gzip, or no longer gzip, is renamed.
    :param named_by_server: whether the target's name is the server's, for the file as it sends it.
    :param parquet: makes the Parquet of the text, if it is wanted.
    """

    source: Source
    target: Target
    options: DownloadOptions
    log: logging.Logger
    named_by_server: bool
    parquet: Parquet | None
    expected_rows: int | None
    expected_bytes: int | None

    def run(self) -> list[StoredFile]:
        """
        Copy until it is done or given up; the source bounds how often it starts over.

        :raises ValidationRejected: the Parquet has no place to go to.
        """
        if self.parquet is not None:
            self.parquet.check_place(self.target)
        while True:
            try:
                return self._once()
            except StartOver as signal:
                self.log.warning("Download from %s starts again at byte 0: %s", self.source.host, signal)

    def _once(self) -> list[StoredFile]:
        with closing(read_ahead(self.source)) as chunks, ExitStack() as begun:
            # The first chunk before anything is begun: a URL that is refused should not even make a folder.
            first = next(chunks, b"")
            one = _Pass(self, begun)
            one.write(first)
            for chunk in chunks:
                one.write(chunk)
            one.finish()
            self.source.check()
            return one.commit()

    def named(self, *, gzipped: bool) -> Target:
        """Return the target of the file as gzip, or of its text."""
        target, gz = self.target, self.target.path.endswith(".gz")
        if gz and self.named_by_server and self.source.gzipped and not gzipped:
            target = target.renamed(suffix="", drop=".gz")
        elif gzipped and not gz:
            target = target.renamed(suffix=".gz")
        if target is not self.target and self.options.stores_csv and not self.options.overwrite:
            refuse_existing(target)
        return target

    def not_written(self, target: Target, error: Exception) -> DownloadError:
        """Return the error for a destination that could not be written to; the store's text is kept."""
        text = f"Could not write {target.uri}: {type(error).__name__}: {error}"
        return download_error(text)

    @contextmanager
    def writing(self, target: Target) -> Iterator[None]:
        """Turn what a store raises into an error that names the destination."""
        try:
            yield
        except StoqProviderError:
            raise
        except Exception as error:
            raise self.not_written(target, error) from error


def read_ahead(source: Source) -> Generator[bytes, None, None]:
    """
    Yield the chunks of a source, which are read in a thread of its own; close it to end that.

    The slower of the two threads sets the pace, so memory stays constant. A stop and the deadline are heard
    also while the other thread waits for bytes.

    :raises StartOver: as :meth:`~stoq_provider.download.resume.Source.chunks`, and so all that it raises.
    """
    came: SimpleQueue[bytes | BaseException | None] = SimpleQueue()
    room = threading.Semaphore(DEPTH)

    def read() -> None:
        end: BaseException | None = None
        try:
            with closing(source.chunks()) as chunks:
                for chunk in chunks:
                    room.acquire()
                    came.put(chunk)
        except BaseException as error:
            end = error
        came.put(end)

    # A daemon: what looks up a name hears nothing, and must not keep the process from ending.
    reader = threading.Thread(target=read, name="stoq-reader", daemon=True)
    reader.start()
    try:
        while isinstance(item := _next_item(came, source), bytes):
            room.release()
            yield item
    except BaseException:  # of its user as well, who is not done with the chunks
        source.close()
        room.release()
        reader.join(_PATIENCE_SECONDS)
        raise
    if item is not None:
        raise item


def _next_item(
    came: SimpleQueue[bytes | BaseException | None], source: Source
) -> bytes | BaseException | None:
    while True:
        source.check()
        with suppress(Empty):
            return came.get(timeout=_TICK_SECONDS)


class _Pass:
    """
    One try, from byte zero.

    It hashes, counts and stores the bytes, and hands the text to the Parquet file.

    :param begun: drops all that is not committed when it is closed.
    """

    def __init__(self, transfer: Transfer, begun: ExitStack) -> None:
        source = transfer.source
        self._transfer = transfer
        self._source = source
        self._kept = source.gzipped and transfer.options.encoding == "keep"
        self._gunzip = Gunzip() if source.gzipped else None
        self._taken = 0
        self._tally = Tally()
        self._csv = CsvRecordCounter()
        self._target = transfer.named(gzipped=self._kept)
        self._begun = begun
        self._writer = self._open_writer() if transfer.options.stores_csv else None
        self._parquet = self._open_parquet(transfer.parquet) if transfer.parquet is not None else None

    def _open_writer(self) -> AtomicWriter:
        size = None if self._gunzip is not None and not self._kept else self._source.total
        with self._transfer.writing(self._target):
            writer = open_writer(self._target, overwrite=self._transfer.options.overwrite, size=size)
        self._begun.callback(self._drop, writer)
        return writer

    def _open_parquet(self, parquet: Parquet) -> ParquetFile:
        csv = self._transfer.named(gzipped=False)
        with self._transfer.writing(parquet.place(csv)):
            file = parquet.begin(csv)
        self._begun.callback(self._drop, file)
        return file

    def _drop(self, file: AtomicWriter | ParquetFile) -> None:
        """Drop what is not committed. Trouble with that must not hide why."""
        try:
            file.abort()
        except Exception as error:
            log = self._transfer.log
            log.warning("What was begun at the destination could not be cleaned up: %s", error)

    # --- bytes ------------------------------------------------------------------------------------

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        self._taken += len(chunk)
        if self._kept:
            self._store(chunk)
        for text in self._decoded(chunk):
            if not self._kept:
                self._store(text)
            self._csv.feed(text)
            if self._parquet is not None:
                with self._transfer.writing(self._parquet.target):
                    self._parquet.write(text)

    def _store(self, chunk: bytes) -> None:
        self._tally.stored(chunk)
        if self._writer is not None:
            with self._transfer.writing(self._target):
                self._writer.write(chunk)

    def _decoded(self, chunk: bytes) -> Iterator[bytes]:
        if self._gunzip is None:
            yield chunk
            return
        yield from self._gunzip.feed(chunk)
        if self._gunzip.damage:
            raise verification_error(f"{self._source.host} sent damaged gzip ({self._gunzip.damage}).")

    # --- the end ----------------------------------------------------------------------------------

    def finish(self) -> None:
        """Check what came. After this, all that is wanted is ready to be published."""
        transfer = self._transfer
        self._check_transfer()
        check_rows(self._csv, transfer.expected_rows, transfer.options, transfer.log)
        if wants_nothing(self._csv, transfer.options.on_empty):
            self._replace()
        # Not before: what is wanted where there are no rows goes before what Parquet can't be made of.
        if self._parquet is not None:
            with transfer.writing(self._parquet.target):
                self._parquet.finish()
            self._check_parquet(self._parquet.rows)
        if self._writer is not None and transfer.options.overwrite == "if_different":
            with transfer.writing(self._target):
                if same_content(self._target, self._tally.bytes, self._tally.sha256, self._source.check):
                    self._writer = None

    def _check_transfer(self) -> None:
        source, expected = self._source, self._transfer.expected_bytes
        if not source.framed and source.total is None:
            self._transfer.log.warning(
                "%s announced no length: only the row count can tell whether the file is whole", source.host
            )
        if source.total is not None and source.total != self._taken:
            raise verification_error(
                f"{source.host} announced {source.total} bytes, but {self._taken} arrived."
            )
        if expected is not None and self._gunzip is None and expected != self._taken:
            raise verification_error(
                f"The job announced a file of {expected} bytes, but {self._taken} arrived: it is the file of "
                "another job, or was changed since."
            )
        if self._gunzip is not None and self._taken and not self._gunzip.ended:
            raise verification_error(f"The gzip that {source.host} sent is cut short.")

    def _check_parquet(self, rows: int) -> None:
        """Compare its rows, whatever ``on_mismatch`` says: what was announced has no part in it."""
        if rows != self._csv.rows:
            raise verification_error(
                f"The file holds {self._csv.rows} rows (not counting its header line), but the Parquet made "
                f"of it holds {rows}: its quotes or line ends may not be those of RFC 4180, or it has blank "
                "lines."
            )

    def _replace(self) -> None:
        """Let a file without text take the place of what was written, which is dropped at the end."""
        self._tally = Tally()
        if self._writer is not None:
            self._writer = self._open_writer()
        self._store(_EMPTY_GZIP if self._kept else b"")

    def commit(self) -> list[StoredFile]:
        """Publish the file, then its Parquet."""
        files = []
        if self._writer is not None:
            self._publish(self._writer)
        if self._transfer.options.stores_csv:
            written = self._writer is not None
            files.append(self._tally.file(self._target.uri, self._csv.rows, written=written))
        if self._parquet is not None:
            files.append(self._publish_parquet(self._parquet))
        return files

    def _publish(self, writer: AtomicWriter) -> None:
        target, transfer = self._target, self._transfer
        try:
            writer.commit()
        except FileExistsError as error:
            raise download_error(
                f"{target.uri} has come into being during the download, and overwrite is off."
            ) from error
        except Exception as error:
            if target.is_local:
                raise transfer.not_written(target, error) from error
            raise not_confirmed(target.uri, f"{type(error).__name__}: {error}") from error

    def _publish_parquet(self, parquet: ParquetFile) -> StoredFile:
        try:
            return parquet.commit()
        except Exception as error:
            stored = self._transfer.options.stores_csv
            csv = "is published, but its Parquet" if stored else "is whole, but its Parquet"
            raise DownloadError(
                sentences(
                    f"{self._target.uri} {csv} could not be: {type(error).__name__}: {error}", JOB_IS_DONE
                )
            ) from error
