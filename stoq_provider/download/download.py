"""
The trusted download: stream, resume, verify, and only then publish.

Runs on the worker, never in a trigger. Memory stays constant: a few chunks of a mebibyte, and for object
stores a few parts. What is published is the whole file; everything else leaves nothing behind.

Reading overlaps with checking and writing: the calling thread reads, and one consumer thread behind a bounded
queue does the rest (:mod:`stoq_provider.download.consumer`, :mod:`stoq_provider.download.pipeline`).

**Another form of the same file** (Parquet, say) is made by a further consumer::

    also: Sequence[Callable[[Target], Consumer]]

Each factory is called once a pass, in the consumer thread, with the target of the CSV (never with
``.gz``); ``target.renamed(suffix=".parquet", drop=".csv")`` is a neighbour of it, which
``open_writer(target, overwrite=True)`` writes to. The consumer
(:class:`~stoq_provider.download.consumer.Consumer`) has four methods, all called in that thread:

``write(chunk: bytes)``
    The next bytes of the CSV text, decoded, at most about a mebibyte, cut anywhere. Slow is fine: the queue
    in front holds four chunks, then the download waits. It must not change them.
``finish()``
    All bytes came, and their rows are as announced. Convert what is left, flush, close footers: whatever can
    fail should fail here. Nothing is published yet, so it must not commit.
``commit() -> StoredFile``
    All is verified and the CSV itself is published: publish. What it returns goes into the result.
``abort()``
    Drop what is not committed. It is always called last: after a commit (harmless), after an error of the
    consumer's own, after a failed verification, after an interruption, and when the download
    starts over at byte zero (then the factory makes a new consumer).

What a consumer raises ends the download, and nothing is published: errors of this package as they are,
others as a :class:`DownloadError` that quotes them. :func:`download_files` returns the entries of all files;
with ``store=False`` the CSV itself is not stored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from stoq_provider.download.consumer import Consumer
from stoq_provider.download.destination import (
    PLACEHOLDERS,
    Target,
    clean_file_name,
    refuse_existing,
    report_of,
    resolve_target,
)
from stoq_provider.download.options import DownloadOptions, Overwrite, destination_error
from stoq_provider.download.pipeline import Done, Transfer
from stoq_provider.download.resume import Source
from stoq_provider.download.writers import open_writer

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath


@dataclass(frozen=True, slots=True)
class StoredFile:
    """
    One published file, as the manifest lists it.

    :param uri: where it is, with the connection id if one was given.
    :param file_name: last part of the URI.
    :param bytes: length.
    :param rows: CSV records without the header line.
    :param sha256: digest of the content, in hex.
    :param written: ``False``: the object had this content already and was left alone. Not in the manifest.
    """

    uri: str
    file_name: str
    bytes: int
    rows: int
    sha256: str
    written: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of a manifest: ``{"uri", "file_name", "bytes", "rows", "sha256"}``."""
        entry = asdict(self)
        del entry["written"]
        return entry


def _never() -> bool:
    return False


def check_destination(destination: str | ObjectStoragePath, *, overwrite: Overwrite = True) -> None:
    """
    Check a destination before a job is submitted, so that its result will not be stranded.

    What stands in for names that are not known yet is a guess, so an object that exists is refused only where
    the destination has no placeholder.

    :raises ValidationRejected: as :func:`~stoq_provider.download.destination.resolve_target`.
    """
    text = str(destination)
    guessed = text.endswith("/") or "{" in text
    samples: Mapping[str, str] = dict.fromkeys(PLACEHOLDERS, "name")
    resolve_target(destination, clean_file_name(None), overwrite=overwrite or guessed, values=samples)


def download_files(
    get_url: Callable[[], str],
    destination: str | ObjectStoragePath,
    *,
    file_name: str | None,
    expected_rows: int | None = None,
    expected_bytes: int | None = None,
    options: DownloadOptions | None = None,
    job_id: str | None = None,
    system: str | None = None,
    kind: str | None = None,
    should_stop: Callable[[], bool] = _never,
    log: logging.Logger | None = None,
    also: Sequence[Callable[[Target], Consumer]] = (),
    store: bool = True,
    on_source: Callable[[Source], None] | None = None,
) -> list[StoredFile]:
    """
    Fetch the result of a job and publish it at ``destination``, whole and verified, or not at all.

    Returns all files: the CSV, then what the other consumers returned.

    :param get_url: returns a pre-signed URL; called once at the start, and again when one is refused. Its
        own errors pass through.
    :param destination: ends with ``/``: the cleaned ``file_name`` is appended; else it is the object itself.
        Placeholders such as ``{job_id}`` are filled in (``download.destination``). If gzip is kept,
        ``.gz`` is appended, unless it ends so.
    :param file_name: as the server gave it; not trusted.
    :param expected_rows: the job's row count, if it gives one.
    :param expected_bytes: the file's length, if the job itself gives one; not held against gzip.
    :param options: limits and permissions; the defaults if left out.
    :param job_id: for messages, and for a file name if the server gives none.
    :param system: name of the remote system, for ``{system}``.
    :param kind: what was asked for, such as ``"export:revenue"``, for ``{kind}`` and ``{report}``.
    :param should_stop: asked between chunks and while waiting; ``True`` ends the download as an error.
        ``on_kill`` of an operator sets the flag behind it, because Airflow 3.3 raises nothing when a task is
        terminated. A read that waits for bytes hears it in a :class:`DownloadPool` only.
    :param log: a task's logger.
    :param also: make consumers of the verified text, see the module's description.
    :param store: ``False``: the CSV itself is not stored, only what the other consumers make of it.
    :param on_source: is given the source before it is read; its ``wake()`` ends a read from another thread.
    :raises ValidationRejected: the destination cannot be used; nothing was downloaded.
    :raises DownloadError: the file could not be fetched or stored; nothing was published.
    :raises VerificationError: the file is not what was announced; nothing was published.
    :raises EmptyResult: no rows, and ``on_empty="skip"``; nothing was published. Airflow skips the task.
    """
    options = options or DownloadOptions()
    log = log or logging.getLogger(__name__)
    name = clean_file_name(file_name, fallback=f"{job_id}.csv" if job_id else "")
    values = {"job_id": job_id, "kind": kind, "report": report_of(kind), "system": system}
    target = resolve_target(destination, name, overwrite=options.overwrite or not store, values=values)
    if not store and not also:
        raise destination_error("Nothing is to be stored: store=False, and no other consumer.")

    # A name of the server's for the file as it sends it: compressed, where it says that it is.
    servers_gz = str(destination).endswith(("/", "{file_name}")) and target.path.endswith(".gz")
    refuse = not options.overwrite and store

    with closing(Source(get_url, options, should_stop=should_stop, log=log, job_id=job_id)) as source:
        if on_source is not None:
            on_source(source)
        done = Transfer(
            source,
            lambda gzipped: _renamed(target, gzipped, servers_gz and source.gzipped, refuse),
            options,
            log,
            job_id,
            tuple(also),
            store,
            expected_rows,
            expected_bytes,
        ).run()
    files = [_stored(done, log, source.resumes)] if store else []
    return [*files, *(entry for entry in done.others if entry is not None)]


def _renamed(target: Target, gzipped: bool, servers_gz: bool, refuse: bool) -> Target:
    """
    Return the target of the file as gzip, or of its text.

    :param servers_gz: whether its name is the server's, for the gzip that it sends.
    :param refuse: what exists under another name.
    """
    if servers_gz and not gzipped:
        renamed = target.renamed(suffix="", drop=".gz")
    elif not gzipped or target.path.endswith(".gz"):
        return target
    else:
        renamed = target.renamed(suffix=".gz")
    if refuse:
        refuse_existing(renamed)
    return renamed


def _stored(done: Done, log: logging.Logger, resumes: int) -> StoredFile:
    tally, uri = done.tally, done.target.uri
    stored = StoredFile(
        uri, uri.rpartition("/")[2], tally.bytes, tally.rows, tally.sha256, written=done.written
    )
    log.info(
        "%s %s: %s bytes, %s rows, sha256 %s, %s broken connections on the way",
        "Stored" if done.written else "Left as it was, because its content is the same:",
        stored.uri,
        stored.bytes,
        stored.rows,
        stored.sha256,
        resumes,
    )
    return stored


def store_text(folder: str, name: str, text: str) -> str:
    """
    Publish a small text file whole, and return its URI.

    :param folder: ends with ``/``.
    """
    target = resolve_target(folder, clean_file_name(name), overwrite=True)
    with open_writer(target) as writer:
        writer.write(text.encode())
        writer.commit()
    return target.uri
