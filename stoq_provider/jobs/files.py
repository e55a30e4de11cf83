"""The files of finished jobs: fetched, several at a time, and named so that they don't collide."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stoq_provider.core.models import JobHandle, JobStatus
from stoq_provider.download.destination import fill_in, values_of
from stoq_provider.download.download import download_files
from stoq_provider.download.many import DownloadPool
from stoq_provider.download.names import collision_key, distinct_names
from stoq_provider.download.options import DOWNLOADS_AGAIN, DownloadOptions, destination_error
from stoq_provider.download.verification import EmptyResult, StoredFile
from stoq_provider.exceptions import DownloadError
from stoq_provider.jobs.assets import note_lineage

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from stoq_provider.jobs.client import JobClient

FRESH_SECONDS = 60.0
"""How long after it came the URL of a status may be used; some stores sign one for minutes."""


def store_result(
    client: JobClient,
    handle: JobHandle,
    destination: str | ObjectStoragePath,
    options: DownloadOptions | None = None,
) -> StoredFile:
    """
    Store the file of a finished job; the pre-signed URL is asked for here and kept nowhere.

    :raises DownloadError: where the job has no file, or it could not be fetched or stored.
    """
    fresh, options = FreshUrl(client, handle), options or DownloadOptions()
    pool: DownloadPool[list[StoredFile]] = DownloadPool(lambda: client.stopped, deadline=options.deadline)
    stored = pool.run([lambda: store_files(client, fresh, destination, options, pool)], 1)[0]
    note_lineage(client, stored)
    return stored[0]


def store_files(
    client: JobClient,
    fresh: FreshUrl,
    destination: str | ObjectStoragePath,
    options: DownloadOptions,
    pool: DownloadPool[Any],
    *,
    file_name: str | None = None,
) -> list[StoredFile]:
    """
    Store the file of a finished job, and other forms of it.

    :param pool: the downloads it runs among.
    :param file_name: instead of the server's.
    """
    settings, first = client.settings, fresh.first
    return download_files(
        fresh,
        destination,
        file_name=file_name or first.file_name,
        expected_rows=first.row_count,
        expected_bytes=(first.details or {}).get("file_size"),
        options=replace(
            options,
            allow_http=settings.allow_http,
            allow_loopback=settings.on_loopback,
            allow_private=client.allows_private,
            verify=settings.verify,
            proxy=settings.proxy,
            user_agent=settings.user_agent,
        ),
        job_id=fresh.handle.job_id,
        system=client.system.name,
        kind=fresh.handle.kind,
        should_stop=pool.stopped,
    )


def store_all(
    client: JobClient, handles: Sequence[JobHandle], destination: str, options: DownloadOptions
) -> list[StoredFile]:
    """
    Store the files of all jobs, and note them as output for lineage.

    Files are in the order of the jobs. Those of one name get their job ids into it. The first download that
    fails stops the others; what was published before stays, whole, and a retry downloads it again.

    :raises ValidationRejected: where several files would go to one place.
    :raises EmptyResult: where ``on_empty="skip"`` and no file has rows; if some have, only those are stored.
    """
    # All before the first byte, because only the names together tell which of them collide. A URL that has
    # become old when its turn comes is asked for again.
    lock = threading.Lock()
    fresh = [FreshUrl(client, handle, lock) for handle in handles]
    names = distinct_names([(one.first.file_name, one.first.job_id) for one in fresh])
    check_places(client.system.name, handles, destination, names)
    pool: DownloadPool[list[StoredFile]] = DownloadPool(lambda: client.stopped, deadline=options.deadline)

    def storing(one: FreshUrl, name: str) -> Callable[[], list[StoredFile]]:
        def store() -> list[StoredFile]:
            try:
                return store_files(client, one, destination, options, pool, file_name=name)
            except EmptyResult:
                return []

        return store

    stored = pool.run([storing(one, name) for one, name in zip(fresh, names, strict=True)], options.at_once)
    files = [file for each in stored for file in each]
    if handles and not files:
        raise EmptyResult(
            "No result has rows, and on_empty='skip': nothing was published. The remote jobs are done."
        )
    note_lineage(client, files)
    return files


class FreshUrl:
    """
    Gives the URL of the status that was asked for first, while it is fresh; then asks for another each time.

    ``first``: that status. Several may be used at a time: their ``lock`` has the client send one request
    after the other.
    """

    def __init__(self, client: JobClient, handle: JobHandle, lock: threading.Lock | None = None) -> None:
        self._client = client
        self.handle = handle
        self._lock = lock or threading.Lock()
        self.first: JobStatus = client.get_job(handle)
        self._fresh_until = time.monotonic() + FRESH_SECONDS

    def __call__(self) -> str:
        """
        Return a URL.

        :raises DownloadError: the job has no file.
        """
        with self._lock:
            fresh = time.monotonic() < self._fresh_until
            status = self.first if fresh else self._client.get_job(self.handle)
            self._fresh_until = 0.0
            url = self._client.file_url(status)
        if url is None:
            raise DownloadError(
                f"Job {status.job_id} is {status.word!r} and has no file to download. The remote job is not "
                f"touched; {DOWNLOADS_AGAIN}.",
                system=self._client.system.name,
                job_id=status.job_id,
            )
        return url


def check_places(
    system: str, handles: Sequence[JobHandle], destination: str, names: Sequence[str] | None = None
) -> None:
    """
    Check that every job has a value for each placeholder, and its file a place of its own.

    :param names: of the files, no two alike; ``None``: not known yet.
    :raises ValidationRejected: naming what is wrong.
    """
    places = set()
    for handle, name in zip(handles, names or map(str, range(len(handles))), strict=True):
        text = fill_in(destination, {**values_of(system, handle.kind, handle.job_id), "file_name": name})
        places.add(collision_key(f"{text}{name}" if text.endswith("/") else text))
    if len(places) < len(handles):
        raise destination_error(
            f"{len(handles)} files can't all be stored as {destination!r}; let the destination end with '/', "
            "or put {job_id} or {file_name} into it."
        )
