"""
One download: from the source through the checks into the writer, from the start as often as it takes.

One thread only reads, so that reading overlaps with hashing, counting and writing; all of those happen in the
thread of the caller, one after the other.
"""

from __future__ import annotations

import codecs
import logging
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from stoq_provider.core.gunzip import Gunzip
from stoq_provider.download.destination import Target, refuse_existing
from stoq_provider.download.header import HEAD_BYTES, column_names
from stoq_provider.download.options import DownloadOptions, verification_error
from stoq_provider.download.output import Output
from stoq_provider.download.resume import Source, StartOver
from stoq_provider.download.verification import CsvRecordCounter, StoredFile, check_rows, wants_nothing

if TYPE_CHECKING:
    from stoq_provider.download.parquet import ParquetFile

DEPTH = 4
"""Chunks that may wait to be written."""

_TICK_SECONDS = 0.5
_PATIENCE_SECONDS = 1.0
"""How long a reader that is to end is waited for: only one that looks up a name takes as long."""

_EMPTY_GZIP = bytes.fromhex("1f8b08000000000000ff03000000000000000000")


@dataclass(frozen=True, slots=True)
class Transfer:
    """
    Copies a source through the checks into a writer, and its text into a Parquet file.

    :param target: where the file goes; what is gzip, or no longer gzip, is renamed.
    :param named_by_server: whether the target's name is the server's, for the file as it sends it.
    :param parquet: writes the Parquet of the text to an output, if it is wanted.
    """

    source: Source
    target: Target
    options: DownloadOptions
    log: logging.Logger
    named_by_server: bool
    parquet: Callable[[Output], ParquetFile] | None
    expected_rows: int | None
    expected_bytes: int | None

    def run(self) -> list[StoredFile]:
        """Copy until it is done or given up; the source bounds how often it starts over."""
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
        if target is not self.target and self.options.stores_csv and self.options.refuses_existing:
            refuse_existing(target)
        return target


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
        self._begun = begun
        self._kept = source.gzipped and transfer.options.encoding == "keep"
        self._gunzip = Gunzip() if source.gzipped else None
        self._taken = 0
        self._rows = CsvRecordCounter()
        self._head = b""
        charset = codecs.lookup(transfer.options.charset)
        self._charset = None if charset.name == "utf-8" else charset.incrementaldecoder()
        target = transfer.named(gzipped=self._kept)
        size = None if self._gunzip is not None and not self._kept else source.total
        self._csv = self._open(target, size) if transfer.options.stores_csv else None
        self._parquet: ParquetFile | None = None
        if transfer.parquet is not None:
            self._parquet = transfer.parquet(self._open(transfer.named(gzipped=False).parquet()))
            begun.callback(self._drop, self._parquet)

    def _open(self, target: Target, size: int | None = None) -> Output:
        output = Output(target, self._transfer.options, size=size)
        self._begun.callback(self._drop, output)
        return output

    def _drop(self, file: Output | ParquetFile) -> None:
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
        if self._csv is not None and self._kept:
            self._csv.write(chunk)
        for text in self._decoded(chunk):
            if self._csv is not None and not self._kept:
                self._csv.write(text)
            self._read(text)

    def _read(self, text: bytes, *, final: bool = False) -> None:
        """Count the rows of the next text, and make Parquet of them."""
        if self._charset is not None:
            try:
                text = self._charset.decode(text, final).encode()
            except UnicodeError as error:
                reason = getattr(error, "reason", error)
                raise verification_error(
                    f"The file is not text in {self._transfer.options.charset} (charset): {reason}."
                ) from None
        if len(self._head) < HEAD_BYTES:
            self._head += text[: HEAD_BYTES - len(self._head)]
        self._rows.feed(text)
        if self._parquet is not None:
            self._parquet.write(text)

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
        self._read(b"", final=True)
        # Where a cut looks like the end, rows that do not fit are one.
        strict = transfer.options if self._source.framed else replace(transfer.options, on_mismatch="fail")
        check_rows(self._rows, transfer.expected_rows, strict, transfer.log)
        if wants_nothing(self._rows, transfer.options.on_empty) and self._csv is not None:
            # A file without text takes the place of what was written, which is dropped at the end.
            self._csv = self._open(self._csv.target)
            self._csv.write(_EMPTY_GZIP if self._kept else b"")
        # Not before: what is wanted where there are no rows goes before what Parquet can't be made of.
        if self._parquet is not None:
            self._parquet.finish()
            self._check_parquet(self._parquet.rows)
        for output in self._outputs():
            output.finish(self._source.check)

    def _outputs(self) -> list[Output]:
        outputs = (self._csv, self._parquet.output if self._parquet is not None else None)
        return [output for output in outputs if output is not None]

    def _check_transfer(self) -> None:
        source, expected = self._source, self._transfer.expected_bytes
        if not source.framed:
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
        if rows != self._rows.rows:
            raise verification_error(
                f"The file holds {self._rows.rows} rows (not counting its header line), but the Parquet made "
                f"of it holds {rows}: its quotes or line ends may not be those of RFC 4180, or it has blank "
                "lines."
            )

    def commit(self) -> list[StoredFile]:
        """Publish the file, then its Parquet."""
        files: list[StoredFile] = []
        for output in self._outputs():
            if output is self._csv:
                columns = [(name, "string") for name in column_names(self._head)]
            else:
                columns = self._parquet.columns if self._parquet is not None else []
            files.append(output.commit(self._rows.rows, columns, beside=files[0] if files else None))
        return files
