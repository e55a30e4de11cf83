"""
The trusted download: stream, resume, verify, and only then publish.

Runs on the worker, never in a trigger. Memory stays constant: a few chunks of a mebibyte, and for object
stores a few parts. What is published is the whole file; everything else leaves nothing behind.

Reading overlaps with checking and writing: one thread reads, and the calling thread does the rest
(:mod:`stoq_provider.download.pipeline`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from stoq_provider.download.access import check_access
from stoq_provider.download.destination import (
    NOT_KNOWN,
    Target,
    refuse_existing,
    resolve_target,
    values_of,
)
from stoq_provider.download.names import clean_file_name
from stoq_provider.download.options import DownloadOptions, destination_error
from stoq_provider.download.output import Output, open_writer
from stoq_provider.download.pipeline import Transfer
from stoq_provider.download.resume import Source
from stoq_provider.download.verification import StoredFile
from stoq_provider.exceptions import StoqProviderError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from stoq_provider.download.parquet import ParquetFile


def check_download(
    options: DownloadOptions, destination: Any, *, system: str | None = None, kind: str | None = None
) -> None:
    """
    Check before a job is submitted whether its files can be stored, so that none will be stranded.

    Not all names are known yet, so an object that exists is refused only where the destination has no
    placeholder.

    :param destination: ``None``: nothing is stored.
    :param system: name of the remote system.
    :param kind: of the jobs; empty: not known. ``None``: the files are none of a job, which leaves the
        placeholders without values.
    :raises ValidationRejected: naming what is wrong.
    :raises DownloadError: nothing could be found out; a retry looks again.
    """
    parquet_of(options)
    if destination is None:
        return
    text = str(destination)
    if text.endswith("/") or "{" in text:
        options = replace(options, overwrite=True)
    values = {} if kind is None else values_of(system, kind or NOT_KNOWN)
    target = _place(destination, f"{NOT_KNOWN}.csv", options, values)
    check_access(target if options.stores_csv else target.parquet())


def _place(destination: Any, name: str, options: DownloadOptions, values: Mapping[str, str | None]) -> Target:
    """Return where the CSV goes, once it is known that all that is wanted can go to its place."""
    overwrite = not (options.refuses_existing and options.stores_csv)
    target = resolve_target(destination, name, overwrite=overwrite, values=values)
    if options.format == "parquet":
        parquet = target.parquet()
        if options.stores_csv and parquet.path == target.path:
            raise destination_error(f"{target.uri} can't be both the CSV and its Parquet.")
        if parquet.is_local and os.path.isdir(parquet.path):  # noqa: PTH112
            raise destination_error(f"{parquet.path} is a folder, and the Parquet goes there.")
        if options.refuses_existing:
            refuse_existing(parquet)
    return target


def parquet_of(options: DownloadOptions) -> Callable[[Output], ParquetFile] | None:
    """
    Return what makes Parquet files, where they are wanted.

    :raises ValidationRejected: where pyarrow is missing, or Arrow has no such type.
    """
    if options.format != "parquet":
        return None
    try:
        # They load pyarrow, which is an extra.
        from stoq_provider.download.columns import Columns
        from stoq_provider.download.parquet import ParquetFile
    except ImportError as error:
        raise destination_error(
            f"Parquet needs {error.name}: install airflow-provider-stoq[parquet]."
        ) from error
    return partial(ParquetFile, Columns(options.column_types), options.on_empty)


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
    should_stop: Callable[[], bool] = lambda: False,
    log: logging.Logger | None = None,
) -> list[StoredFile]:
    """
    Fetch the result of a job and publish it at ``destination``, whole and verified, or not at all.

    Returns all files: the CSV where it is stored, then its Parquet where that is wanted.

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
        terminated.
    :param log: a task's logger.
    :raises ValidationRejected: the destination cannot be used; nothing was downloaded.
    :raises DownloadError: the file could not be fetched or stored; nothing was published.
    :raises VerificationError: the file is not what was announced; nothing was published.
    :raises EmptyResult: no rows, and ``on_empty="skip"``; nothing was published. Airflow skips the task.
    """
    options = options or DownloadOptions()
    log = log or logging.getLogger(__name__)
    name = clean_file_name(file_name, fallback=f"{job_id}.csv" if job_id else "")
    target = _place(destination, name, options, values_of(system, kind, job_id))
    with closing(Source(get_url, options, should_stop=should_stop, log=log)) as source:
        try:
            files = Transfer(
                source,
                target,
                options,
                log,
                named_by_server=str(destination).endswith(("/", "{file_name}")),
                parquet=parquet_of(options),
                expected_rows=expected_rows,
                expected_bytes=expected_bytes,
            ).run()
        except StoqProviderError as error:
            error.job_id = error.job_id or job_id
            raise
    for file in files:
        log.info(
            "%s %s: %s bytes, %s rows, sha256 %s, %s broken connections on the way",
            "Stored" if file.written else "Left as it was, because its content is the same:",
            file.uri,
            file.bytes,
            file.rows,
            file.sha256,
            source.resumes,
        )
    return [replace(file, kind=kind) for file in files]


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
