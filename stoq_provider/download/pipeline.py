"""One download: from the source through the checks into the sink, from the start as often as it takes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from stoq_provider.download.consumer import Consumer, Lane, Lanes
from stoq_provider.download.destination import Target
from stoq_provider.download.gunzip import Gunzip
from stoq_provider.download.options import DownloadPolicy, download_error, verification_error
from stoq_provider.download.resume import Source, StartOver
from stoq_provider.download.verification import Acceptance, Tally
from stoq_provider.download.writers import check_place, open_writer
from stoq_provider.exceptions import DownloadError, StoqProviderError


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
    Copies a source through the checks into a sink, and its text into other consumers.

    :param find_target: returns the target, told whether gzip is stored.
    :param also: make further consumers of the text, told the target. One that has ``place(target)``, which
        returns where its file goes, is checked before anything is requested; a consumer that has ``rows`` is
        held to the rows that were counted before anything is published.
    :param store: whether the file itself is stored.
    """

    source: Source
    find_target: Callable[[bool], Target]
    policy: DownloadPolicy
    log: logging.Logger
    job_id: str | None = None
    system: str | None = None
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
        with closing(source.chunks()) as chunks, Lanes(source.check) as lanes:
            # Gets no bytes, so it looks twice a second whether the source still may wait for some.
            lanes.add(lambda: _Watcher(lambda chunk: None), "watch", source.wake_when_unwanted)
            # The first chunk before anything else: a URL that is refused should not even make a folder.
            first = next(chunks, b"")
            one = _Pass(self, lanes)
            one.copy(first, chunks)
            return one.end()

    def _check_places(self) -> None:
        csv = self.find_target(False)
        for make in self.also:
            find_place = getattr(make, "place", None)
            if find_place is not None:
                check_place(find_place(csv), csv if self.store else None, overwrite=self.policy.overwrite)

    def not_written(self, target: Target, error: Exception) -> DownloadError:
        """Return the error for a destination that could not be written to; the store's text is kept."""
        text = f"Could not write {target.uri}: {type(error).__name__}: {error}."
        return download_error(text, job_id=self.job_id)


class _Pass:
    """One try, from byte zero: who gets which bytes."""

    def __init__(self, transfer: Transfer, lanes: Lanes) -> None:
        source = transfer.source
        kept = source.gzipped and transfer.policy.encoding == "keep"
        self._transfer = transfer
        self._source = source
        self._lanes = lanes
        self._kept = kept
        self._gunzip = Gunzip() if source.gzipped else None
        self._taken = 0
        self._tally = tally = Tally()
        self._target = transfer.find_target(kept)
        self._writer = self._add_writer() if transfer.store else None
        plain = transfer.find_target(False)
        others = [_Other(make, plain) for make in transfer.also]
        self._others = {lanes.add(other.begin, "other consumer"): other for other in others}
        writers = [self._writer] if self._writer else []
        # Two threads, because hashing lets others run at the same time, and counting takes as long.
        hashing = lanes.add(lambda: _Watcher(tally.stored), "hash")
        counting = lanes.add(lambda: _Watcher(tally.text), "count")
        self._raw = [hashing, *writers] if kept else []
        self._text = [counting, *self._others] if kept else [hashing, counting, *writers, *self._others]

    def _add_writer(self) -> Lane:
        size = None if self._gunzip is not None and not self._kept else self._source.total
        overwrite = self._transfer.policy.overwrite
        return self._lanes.add(lambda: open_writer(self._target, overwrite=overwrite, size=size), "writer")

    # --- copying ----------------------------------------------------------------------------------

    def copy(self, first: bytes, chunks: Generator[bytes, None, None]) -> None:
        """Hand all bytes to the lanes."""
        chunk: bytes | None = first
        while chunk is not None:
            self._taken += len(chunk)
            self._give(self._raw, chunk)
            for text in self._decoded(chunk):
                self._give(self._text, text)
            chunk = next(chunks, None)

    def _decoded(self, chunk: bytes) -> Iterator[bytes]:
        if self._gunzip is None:
            yield chunk
            return
        yield from self._gunzip.feed(chunk)
        if self._gunzip.damage:
            raise verification_error(
                f"{self._source.host} sent damaged gzip ({self._gunzip.damage}).",
                job_id=self._transfer.job_id,
            )

    def _give(self, lanes: Sequence[Lane], chunk: bytes) -> None:
        for lane in lanes:
            self._step(lane, lane.put, chunk)

    def _step(self, lane: Lane, step: Callable[..., Any], *args: Any) -> Any:
        """Take a step of a lane; what its consumer raises is about the destination, or speaks for itself."""
        try:
            return step(*args)
        except Exception as error:
            if error is not lane.error or lane not in (self._writer, *self._others):
                raise
            if isinstance(error, StoqProviderError):
                raise
            other = self._others.get(lane)
            raise self._transfer.not_written(other.place if other else self._target, error) from error

    # --- the end ----------------------------------------------------------------------------------

    def end(self) -> Done:
        """Check what came, and publish it or not."""
        self._check_transfer()
        self._finish(lane for lane in self._lanes if lane not in self._others)
        transfer = self._transfer
        acceptance = Acceptance(transfer.policy, transfer.log, transfer.job_id, transfer.system)
        acceptance.check_rows(self._tally, transfer.expected_rows, framed=self._source.framed)
        if acceptance.wants_nothing(self._tally):
            self._replace()
        # Not before: what is wanted where there are no rows goes before what a form can't be made of.
        self._finish(self._others)
        for other in self._others.values():
            acceptance.check_form(self._tally, other.rows)
        done = Done(self._target, self._tally)
        if self._writer is not None and acceptance.wants_writing(
            self._target, self._tally, self._source.check
        ):
            self._publish(self._writer)
            done.written = True
        done.others = [self._publish_other(lane) for lane in self._others]
        return done

    def _finish(self, lanes: Iterable[Lane]) -> None:
        for lane in lanes:
            self._step(lane, lane.finish)

    def _check_transfer(self) -> None:
        source, job_id = self._source, self._transfer.job_id
        if not source.framed and source.total is None:
            self._transfer.log.warning(
                "%s announced no length: only the row count can tell whether the file is whole", source.host
            )
        if source.total is not None and source.total != self._taken:
            raise verification_error(
                f"{source.host} announced {source.total} bytes, but {self._taken} arrived.", job_id=job_id
            )
        expected = self._transfer.expected_bytes
        if expected is not None and self._gunzip is None and expected != self._taken:
            raise verification_error(
                f"The job announced a file of {expected} bytes, but {self._taken} arrived: it is the file of "
                "another job, or was changed since.",
                job_id=job_id,
            )
        if self._gunzip is not None and self._taken and not self._gunzip.ended:
            raise verification_error(f"The gzip that {source.host} sent is cut short.", job_id=job_id)

    def _replace(self) -> None:
        """Let a file without text take the place of what was written; the first writer is dropped later."""
        content = _EMPTY_GZIP if self._kept else b""
        self._tally = Tally()
        self._tally.stored(content)
        if self._writer is not None:
            self._writer = self._add_writer()
            self._step(self._writer, self._writer.put, content)
            self._step(self._writer, self._writer.finish)

    def _publish(self, writer: Lane) -> None:
        uri, job_id = self._target.uri, self._transfer.job_id
        try:
            writer.commit()
        except FileExistsError as error:
            raise download_error(
                f"{uri} has come into being during the download, and overwrite is off.", job_id=job_id
            ) from error
        except Exception as error:
            if self._target.is_local:
                raise self._transfer.not_written(self._target, error) from error
            # The store may have done it and the answer been lost; then it is the whole, verified object.
            raise DownloadError(
                f"The store did not confirm {uri}: {type(error).__name__}: {error}. It is either "
                "not published or there as a whole. The remote job itself is done: a retry only downloads "
                "its result again and submits nothing.",
                job_id=job_id,
            ) from error

    def _publish_other(self, lane: Lane) -> Any:
        try:
            return lane.commit()
        except StoqProviderError:
            raise
        except Exception as error:
            also = (
                "is published, but another form of it"
                if self._writer
                else "is whole, but what was made of it"
            )
            raise DownloadError(
                f"{self._target.uri} {also} could not be: {type(error).__name__}: {error}. The remote job "
                "itself is done: a retry only downloads its result again and submits nothing.",
                job_id=self._transfer.job_id,
            ) from error


_EMPTY_GZIP = bytes.fromhex("1f8b08000000000000ff03000000000000000000")


class _Watcher:
    """A consumer that only looks."""

    def __init__(self, look: Callable[[bytes], None]) -> None:
        self.write = look

    def finish(self) -> None:
        """Nothing is left to do."""

    def commit(self) -> None:
        """Nothing is to be published."""

    def abort(self) -> None:
        """Nothing is to be dropped."""


class _Other:
    """Another consumer of the text: how it is made, and what it says of itself once it has finished."""

    def __init__(self, make: Callable[[Target], Consumer], target: Target) -> None:
        self._make = make
        self._target = target
        self._consumer: Consumer | None = None

    def begin(self) -> Consumer:
        """Make it, in its own thread."""
        self._consumer = consumer = self._make(self._target)
        return consumer

    @property
    def place(self) -> Target:
        """Where it writes to, if it tells; else where the CSV goes."""
        find_place = getattr(self._make, "place", None)
        return self._target if find_place is None else find_place(self._target)

    @property
    def rows(self) -> int | None:
        """How many rows it has made, if it tells."""
        return getattr(self._consumer, "rows", None)
