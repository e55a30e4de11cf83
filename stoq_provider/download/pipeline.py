"""One download: from the source through the checks into the writer, from the start as often as it takes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from stoq_provider.core.error_text import sentences
from stoq_provider.download.consumer import Consumer, ConsumerThread
from stoq_provider.download.destination import Target
from stoq_provider.download.gunzip import Gunzip
from stoq_provider.download.options import DownloadOptions, download_error, verification_error
from stoq_provider.download.resume import Source, StartOver
from stoq_provider.download.verification import Acceptance, Tally
from stoq_provider.download.writers import AtomicWriter, check_place, open_writer
from stoq_provider.exceptions import DownloadError, StoqProviderError, VerificationError

_JOB_IS_DONE = "The remote job itself is done: a retry only downloads its result again and submits nothing."
_EMPTY_GZIP = bytes.fromhex("1f8b08000000000000ff03000000000000000000")


@dataclass(slots=True)
class Done:
    """
    What came of a download.

    :param target: where the file is.
    :param tally: what is known of what is there.
    :param written: ``False``: the same content was there already.
    :param others: what the other consumers returned from their commit.
    """

    target: Target
    tally: Tally
    written: bool = False
    others: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Transfer:
    """
    Copies a source through the checks into a writer, and its text into other consumers.

    :param find_target: returns the target, given whether gzip is stored.
    :param also: make further consumers of the text, given the target. One that has ``place(target)``, which
        returns where its file goes, is checked before anything is requested; a consumer that has ``rows`` is
        held to the rows that were counted before anything is published.
    :param store: whether the file itself is stored.
    """

    source: Source
    find_target: Callable[[bool], Target]
    options: DownloadOptions
    log: logging.Logger
    job_id: str | None = None
    also: Sequence[Callable[[Target], Consumer]] = ()
    store: bool = True
    expected_rows: int | None = None
    expected_bytes: int | None = None

    def run(self) -> Done:
        """
        Copy until it is done or given up; the source bounds how often it starts over.

        :raises ValidationRejected: another form of the file has no place to go to.
        """
        self._check_places()
        while True:
            try:
                return self._once()
            except StartOver as signal:
                self.log.warning("Download from %s starts again at byte 0: %s", self.source.host, signal)

    def _once(self) -> Done:
        source = self.source
        with (
            closing(source.chunks()) as chunks,
            ConsumerThread(lambda: _Pass(self), source.check) as consumer,
        ):
            # The first chunk before the consumer: a URL that is refused should not even make a folder.
            consumer.write(next(chunks, b""))
            for chunk in chunks:
                consumer.write(chunk)
            consumer.finish()
            try:
                done: Done = consumer.commit()
            except TimeoutError as error:
                raise self.not_confirmed("the file", error) from error
            return done

    def _check_places(self) -> None:
        csv = self.find_target(False)
        for make in self.also:
            if hasattr(make, "place"):
                check_place(make.place(csv), csv if self.store else None, overwrite=self.options.overwrite)

    def not_confirmed(self, what: str, error: Exception) -> DownloadError:
        """Return the error for a commit whose end is unknown: the store may have done it."""
        return DownloadError(
            sentences(
                f"The store did not confirm {what}: {type(error).__name__}: {error}",
                "It is either not published or there as a whole.",
                _JOB_IS_DONE,
            ),
            job_id=self.job_id,
        )

    def not_written(self, target: Target, error: Exception) -> DownloadError:
        """Return the error for a destination that could not be written to; the store's text is kept."""
        text = f"Could not write {target.uri}: {type(error).__name__}: {error}"
        return download_error(text, job_id=self.job_id)

    @contextmanager
    def writing(self, target: Target) -> Iterator[None]:
        """Turn what a store raises into an error that names the destination."""
        try:
            yield
        except StoqProviderError:
            raise
        except Exception as error:
            raise self.not_written(target, error) from error


class _Pass:
    """
    One try, from byte zero: the consumer of its bytes.

    It hashes, counts and stores them, and hands the text to the other consumers.
    """

    def __init__(self, transfer: Transfer) -> None:
        source = transfer.source
        self._transfer = transfer
        self._source = source
        self._kept = source.gzipped and transfer.options.encoding == "keep"
        self._gunzip = Gunzip() if source.gzipped else None
        self._taken = 0
        self._tally = Tally()
        self._target = transfer.find_target(self._kept)
        self._begun: list[AtomicWriter | Consumer] = []
        self._others: list[tuple[Target, Consumer]] = []
        self._writer: AtomicWriter | None = None
        try:
            self._writer = self._open_writer() if transfer.store else None
            for make in transfer.also:
                self._others.append(self._begin(make))
        except BaseException:
            self.abort()
            raise

    def _open_writer(self) -> AtomicWriter:
        size = None if self._gunzip is not None and not self._kept else self._source.total
        with self._transfer.writing(self._target):
            writer = open_writer(self._target, overwrite=self._transfer.options.overwrite, size=size)
        self._begun.append(writer)
        return writer

    def _begin(self, make: Callable[[Target], Consumer]) -> tuple[Target, Consumer]:
        csv = self._transfer.find_target(False)
        place = make.place(csv) if hasattr(make, "place") else csv
        with self._transfer.writing(place):
            other = make(csv)
        self._begun.append(other)
        return place, other

    # --- bytes ------------------------------------------------------------------------------------

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        self._taken += len(chunk)
        if self._kept:
            self._store(chunk)
        for text in self._decoded(chunk):
            if not self._kept:
                self._store(text)
            self._tally.text(text)
            for place, other in self._others:
                with self._transfer.writing(place):
                    other.write(text)

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
            raise self._rejected(f"{self._source.host} sent damaged gzip ({self._gunzip.damage}).")

    # --- the end ----------------------------------------------------------------------------------

    def finish(self) -> None:
        """Check what came. After this, all that is wanted is ready to be published."""
        transfer = self._transfer
        self._check_transfer()
        self._finish_writer()
        acceptance = Acceptance(transfer.options, transfer.log, transfer.job_id)
        acceptance.check_rows(self._tally, transfer.expected_rows)
        if acceptance.wants_nothing(self._tally):
            self._replace()
        # Not before: what is wanted where there are no rows goes before what a form can't be made of.
        for place, other in self._others:
            with transfer.writing(place):
                other.finish()
            acceptance.check_form(self._tally, getattr(other, "rows", None))
        if self._writer is not None:
            with transfer.writing(self._target):
                if not acceptance.wants_writing(self._target, self._tally, self._source.check):
                    self._writer = None

    def _finish_writer(self) -> None:
        if self._writer is not None:
            with self._transfer.writing(self._target):
                self._writer.finish()

    def _check_transfer(self) -> None:
        source, expected = self._source, self._transfer.expected_bytes
        if not source.framed and source.total is None:
            self._transfer.log.warning(
                "%s announced no length: only the row count can tell whether the file is whole", source.host
            )
        if source.total is not None and source.total != self._taken:
            raise self._rejected(f"{source.host} announced {source.total} bytes, but {self._taken} arrived.")
        if expected is not None and self._gunzip is None and expected != self._taken:
            raise self._rejected(
                f"The job announced a file of {expected} bytes, but {self._taken} arrived: it is the file of "
                "another job, or was changed since."
            )
        if self._gunzip is not None and self._taken and not self._gunzip.ended:
            raise self._rejected(f"The gzip that {source.host} sent is cut short.")

    def _rejected(self, text: str) -> VerificationError:
        return verification_error(text, job_id=self._transfer.job_id)

    def _replace(self) -> None:
        """Let a file without text take the place of what was written, which is dropped at the end."""
        self._tally = Tally()
        if self._writer is not None:
            self._writer = self._open_writer()
        self._store(_EMPTY_GZIP if self._kept else b"")
        self._finish_writer()

    def commit(self) -> Done:
        """Publish the file, then what was made of it."""
        done = Done(self._target, self._tally)
        if self._writer is not None:
            self._publish(self._writer)
            done.written = True
        done.others = [self._publish_other(other) for _, other in self._others]
        return done

    def _publish(self, writer: AtomicWriter) -> None:
        target, transfer = self._target, self._transfer
        try:
            writer.commit()
        except FileExistsError as error:
            raise download_error(
                f"{target.uri} has come into being during the download, and overwrite is off.",
                job_id=transfer.job_id,
            ) from error
        except Exception as error:
            if target.is_local:
                raise transfer.not_written(target, error) from error
            raise transfer.not_confirmed(target.uri, error) from error

    def _publish_other(self, other: Consumer) -> Any:
        try:
            return other.commit()
        except StoqProviderError:
            raise
        except Exception as error:
            stored = self._transfer.store
            also = "is published, but another form of it" if stored else "is whole, but what was made of it"
            raise DownloadError(
                sentences(
                    f"{self._target.uri} {also} could not be: {type(error).__name__}: {error}", _JOB_IS_DONE
                ),
                job_id=self._transfer.job_id,
            ) from error

    def abort(self) -> None:
        """Drop all that is not committed: each, whatever the others say."""
        problems = []
        for begun in reversed(self._begun):
            try:
                begun.abort()
            except Exception as error:
                problems.append(error)
        if problems:
            raise problems[0]
