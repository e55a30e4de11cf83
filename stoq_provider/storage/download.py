"""
The trusted download: stream, resume, verify, and only then publish.

Runs on the worker, never in a trigger. Memory stays constant: one chunk, and for object stores one or two
blocks. What is published is the whole file; everything else leaves nothing behind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from stoq_provider.exceptions import DownloadError
from stoq_provider.storage.checks import Tally
from stoq_provider.storage.names import clean_file_name
from stoq_provider.storage.policy import DownloadPolicy, download_error, verification_error
from stoq_provider.storage.sink import Sink, open_sink
from stoq_provider.storage.source import Source, StartOver
from stoq_provider.storage.target import Target, resolve_target

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

__all__ = ["DownloadPolicy", "StoredFile", "check_destination", "download"]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """
    One published file, as the manifest lists it.

    :param uri: where it is, with the connection id if one was given.
    :param file_name: last part of the URI.
    :param bytes: length.
    :param rows: CSV records without the header line.
    :param sha256: digest of the content, in hex.
    """

    uri: str
    file_name: str
    bytes: int
    rows: int
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of a manifest: ``{"uri", "file_name", "bytes", "rows", "sha256"}``."""
        return asdict(self)


def _never() -> bool:
    return False


def check_destination(destination: str | ObjectStoragePath, *, overwrite: bool = True) -> None:
    """
    Check a destination before a job is submitted, so that its result will not be stranded.

    :raises ValidationRejected: as :func:`~stoq_provider.storage.target.resolve_target`.
    """
    folder = str(destination).endswith("/")
    resolve_target(destination, clean_file_name(None), overwrite=overwrite or folder)


def download(
    get_url: Callable[[], str],
    destination: str | ObjectStoragePath,
    *,
    file_name: str | None,
    expected_rows: int | None = None,
    policy: DownloadPolicy | None = None,
    job_id: str | None = None,
    should_stop: Callable[[], bool] = _never,
    log: logging.Logger | None = None,
) -> StoredFile:
    """
    Fetch the result of a job and publish it at ``destination``, whole and verified, or not at all.

    :param get_url: returns a pre-signed URL; called once at the start, and again when one is refused. Its
        own errors pass through.
    :param destination: ends with ``/``: the cleaned ``file_name`` is appended; else it is the object itself.
    :param file_name: as the server gave it; not trusted.
    :param expected_rows: the job's row count, if it gives one.
    :param policy: limits and permissions; the defaults if left out.
    :param job_id: for messages, and for a file name if the server gives none.
    :param should_stop: asked about once a second; ``True`` ends the download as an error. ``on_kill`` of an
        operator sets the flag behind it, because Airflow 3.3 raises nothing when a task is terminated.
    :param log: a task's logger.
    :raises ValidationRejected: the destination cannot be used; nothing was downloaded.
    :raises DownloadError: the file could not be fetched or stored; nothing was published.
    :raises VerificationError: the file is not what was announced; nothing was published.
    """
    policy = policy or DownloadPolicy()
    log = log or logging.getLogger(__name__)
    name = clean_file_name(file_name, fallback=f"{job_id}.csv" if job_id else "")
    target = resolve_target(destination, name, overwrite=policy.overwrite)
    with closing(Source(get_url, policy, should_stop=should_stop, log=log, job_id=job_id)) as source:
        tally = _Transfer(source, target, policy, log, job_id, expected_rows).run()
        resumes = source.resumes
    stored = StoredFile(
        uri=target.uri,
        file_name=target.uri.rpartition("/")[2],
        bytes=tally.bytes,
        rows=tally.rows,
        sha256=tally.sha256,
    )
    log.info(
        "Stored %s: %s bytes, %s rows, sha256 %s, %s broken connections on the way",
        stored.uri,
        stored.bytes,
        stored.rows,
        stored.sha256,
        resumes,
    )
    return stored


@dataclass(frozen=True, slots=True)
class _Transfer:
    """Copies a source through the checks into a sink."""

    source: Source
    target: Target
    policy: DownloadPolicy
    log: logging.Logger
    job_id: str | None
    expected_rows: int | None

    def run(self) -> Tally:
        """Copy, from the start as often as the source says so; the source bounds how often that is."""
        while True:
            tally = self._once()
            if tally is not None:
                return tally

    def _once(self) -> Tally | None:
        tally = Tally()
        try:
            with closing(self.source.chunks()) as chunks:
                # The first chunk before the sink: a URL that is refused should not even make a folder.
                first = next(chunks, b"")
                with self._storing(open_sink, self.target, overwrite=self.policy.overwrite) as sink:
                    self._copy(first, chunks, tally, sink)
                    self._verify(tally)
                    self._publish(sink)
            return tally
        except StartOver as signal:
            self.log.warning("Download from %s starts again at byte 0: %s", self.source.host, signal)
            return None

    def _copy(self, first: bytes, chunks: Generator[bytes, None, None], tally: Tally, sink: Sink) -> None:
        chunk: bytes | None = first
        while chunk is not None:
            tally.update(chunk)
            self._storing(sink.write, chunk)
            chunk = next(chunks, None)

    def _verify(self, tally: Tally) -> None:
        total = self.source.total
        if not self.source.framed and total is None:
            self.log.warning(
                "%s announced no length: only the row count can tell whether the file is whole",
                self.source.host,
            )
        if total is not None and total != tally.bytes:
            raise verification_error(
                f"{self.source.host} announced {total} bytes, but {tally.bytes} arrived.", job_id=self.job_id
            )
        problem = tally.problem(self.expected_rows)
        if problem and self.policy.on_mismatch == "fail":
            raise verification_error(f"The downloaded result does not fit: {problem}.", job_id=self.job_id)
        if problem:
            self.log.warning("The downloaded result does not fit, and is published all the same: %s", problem)

    def _publish(self, sink: Sink) -> None:
        uri = self.target.uri
        try:
            sink.commit()
        except FileExistsError as error:
            raise download_error(
                f"{uri} has come into being during the download, and overwrite is off.", job_id=self.job_id
            ) from error
        except Exception as error:
            if self.target.is_local:
                raise self._not_written(error) from error
            # The store may have done it and the answer been lost; then it is the whole, verified object.
            raise DownloadError(
                f"The store did not confirm {uri}: {type(error).__name__}: {error}. It is either "
                "not published or there as a whole. The remote job itself is done: a retry only downloads "
                "its result again and submits nothing.",
                job_id=self.job_id,
            ) from error

    def _storing(self, step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a step of the sink; what goes wrong there is about the destination, and its text is kept."""
        try:
            return step(*args, **kwargs)
        except Exception as error:
            raise self._not_written(error) from error

    def _not_written(self, error: Exception) -> DownloadError:
        text = f"Could not write {self.target.uri}: {type(error).__name__}: {error}."
        return download_error(text, job_id=self.job_id)


def store_text(folder: str, name: str, text: str) -> str:
    """
    Publish a small text file whole, and return its URI.

    :param folder: ends with ``/``.
    """
    target = resolve_target(folder, clean_file_name(name), overwrite=True)
    with open_sink(target) as sink:
        sink.write(text.encode())
        sink.commit()
    return target.uri
