"""The files of finished jobs: fetched, several at a time, and named so that they don't collide."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from stoq_provider.core.events import WaitEvent
from stoq_provider.core.models import JobHandle, JobStatus
from stoq_provider.exceptions import DownloadError, ValidationRejected

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from stoq_provider.download.download import Consumer, StoredFile, Target
    from stoq_provider.download.many import DownloadPool
    from stoq_provider.hooks.base import JobHook

_NOTHING_YET = "The remote jobs are done; nothing was downloaded, and nothing will be submitted again."


def store_result(
    hook: JobHook, handle: JobHandle, destination: str | ObjectStoragePath, **options: Any
) -> StoredFile:
    """
    Store the file of a finished job; the pre-signed URL is asked for here and kept nowhere.

    :param options: as :func:`store_files`.
    :raises DownloadError: where the job has no file, or it could not be fetched or stored.
    """
    from stoq_provider.download.many import DownloadPool

    pool: DownloadPool[list[StoredFile]] = DownloadPool(lambda: hook.stopped)
    return pool.run([lambda: store_files(hook, handle, destination, pool=pool, **options)], 1)[0][0]


def store_files(
    hook: JobHook,
    handle: JobHandle,
    destination: str | ObjectStoragePath,
    *,
    fresh: FreshUrl | None = None,
    file_name: str | None = None,
    pool: DownloadPool[Any] | None = None,
    also: Sequence[Callable[[Target], Consumer]] = (),
    store: bool = True,
    **policy: Any,
) -> list[StoredFile]:
    """
    Store the file of a finished job, and other forms of it.

    :param fresh: the job's status, where it was asked for already.
    :param file_name: instead of the server's.
    :param pool: the downloads it runs among.
    :param also: consumers of the verified text, see :mod:`stoq_provider.download.download`.
    :param store: whether the file itself is stored.
    :param policy: fields of :class:`~stoq_provider.download.download.DownloadPolicy`, such as ``overwrite``.
    """
    from stoq_provider.download.download import DownloadPolicy, download_files

    fresh = fresh or FreshUrl(hook, handle)
    settings = hook.settings
    return download_files(
        fresh,
        destination,
        file_name=file_name or fresh.first.file_name,
        expected_rows=fresh.first.row_count,
        expected_bytes=(fresh.first.details or {}).get("file_size"),
        policy=DownloadPolicy(
            allow_http=settings.allow_http,
            allow_loopback=settings.on_loopback,
            allow_private=hook.allows_private,
            verify=settings.verify,
            proxy=settings.proxy,
            **policy,
        ),
        job_id=handle.job_id,
        system=hook.system.name,
        kind=handle.kind,
        should_stop=pool.stopped if pool else lambda: hook.stopped,
        on_source=pool.watch if pool else None,
        also=also,
        store=store,
    )


_IN_THE_WAY = (
    "Files of the other jobs that were published before stay, and overwrite=False refuses them on a retry: "
    "move them away first."
)


def store_all(
    hook: JobHook, event: WaitEvent, destination: str, *, at_once: int | None = None, **options: Any
) -> list[dict[str, Any]]:
    """
    Store the files of all jobs, and note them as output for lineage.

    Files are in the order of the jobs. Those of one name get their job ids into it. The first download that
    fails stops the others; what was published before stays, whole, and a retry downloads it again.

    :param at_once: downloads at the same time, 4 if left out; each needs some 50 MB at most.
    :param options: ``also``, ``store`` and the policy as in :func:`store_files`.
    :raises ValidationRejected: where several files would go to one place.
    :raises EmptyResult: where ``on_empty="skip"`` and no file has rows; if some have, only those are stored.
    """
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

    from stoq_provider.download.download import EmptyResult
    from stoq_provider.download.many import AT_ONCE, DownloadPool, distinct_names

    problem = at_once_problem(at_once)
    if problem:
        raise ValidationRejected(f"{problem}. {_NOTHING_YET}", system=hook.system.name)
    handles = [end.handle for end in event.ends]
    _check_room(hook, handles, destination)
    # All at once before the first byte: only the names together tell which of them collide.
    lock = threading.Lock()
    fresh = [FreshUrl(hook, handle, lock) for handle in handles]
    names = distinct_names([(one.first.file_name, one.first.job_id) for one in fresh])
    pool: DownloadPool[list[StoredFile]] = DownloadPool(lambda: hook.stopped)

    def storing(number: int) -> Callable[[], list[StoredFile]]:
        more = {"fresh": fresh[number], "file_name": names[number], "pool": pool, **options}
        return lambda: _unless_skipped(lambda: store_files(hook, handles[number], destination, **more))

    downloads = [storing(number) for number in range(len(handles))]
    try:
        files = [stored for each in pool.run(downloads, at_once or AT_ONCE) for stored in each]
    except DownloadError as error:
        if options.get("overwrite") is not False or len(handles) == 1:
            raise
        raise type(error)(f"{error.message} {_IN_THE_WAY}", **error.details()) from error
    if handles and not files:
        raise EmptyResult(
            "No result has rows, and on_empty='skip': nothing was published. The remote jobs are done."
        )
    for stored in files:
        get_hook_lineage_collector().add_output_asset(context=hook, uri=_without_conn_id(stored.uri))
    return [stored.to_dict() for stored in files]


def at_once_problem(at_once: Any) -> str:
    """Say what is wrong with a number of downloads at a time, or nothing; ``None``: it was left out."""
    fits = isinstance(at_once, int) and not isinstance(at_once, bool) and at_once >= 1
    if at_once is None or fits:
        return ""
    return f"at_once, the number of downloads at a time, is at least 1, not {at_once!r}"


def _unless_skipped(download: Callable[[], list[StoredFile]]) -> list[StoredFile]:
    from stoq_provider.download.download import EmptyResult

    try:
        return download()
    except EmptyResult:
        return []


class FreshUrl:
    """
    Gives the URL of the status that was asked for first, then asks for the status again each time.

    ``first``: that status. Several may be used at a time; a hook sends one request after the other.
    """

    def __init__(self, hook: JobHook, handle: JobHandle, lock: threading.Lock | None = None) -> None:
        self._hook = hook
        self._handle = handle
        self._lock = lock or threading.Lock()
        self.first: JobStatus = hook.get_job(handle)
        self._unused: JobStatus | None = self.first

    def __call__(self) -> str:
        """
        Return a URL.

        :raises DownloadError: the job has no file.
        """
        with self._lock:
            status, self._unused = self._unused or self._hook.get_job(self._handle), None
            url = self._hook.file_url(status)
        if url is None:
            raise DownloadError(
                f"Job {status.job_id} is {status.word!r} and has no file to download. The remote job is not "
                "touched; a retry asks again and submits nothing.",
                system=self._hook.system.name,
                job_id=status.job_id,
            )
        return url


def _check_room(hook: JobHook, handles: Sequence[JobHandle], destination: str) -> None:
    """Check that every job's file has a place of its own, taking their names to differ."""
    from stoq_provider.download.destination import fill_in, report_of

    places = set()
    for handle in handles:
        values = {"system": hook.system.name, "kind": handle.kind, "report": report_of(handle.kind)}
        text = fill_in(destination, {**values, "job_id": handle.job_id, "file_name": handle.job_id})
        places.add(f"{text}{handle.job_id}" if text.endswith("/") else text)
    if len(places) < len(handles):
        raise ValidationRejected(
            f"{len(handles)} files can't all be stored as {destination!r}; let the destination end with '/', "
            f"or put {{job_id}} or {{file_name}} into it. {_NOTHING_YET}",
            system=hook.system.name,
        )


def _without_conn_id(uri: str) -> str:
    """Name an object as the rest of the world does: the connection id in the URI is Airflow's own."""
    scheme, separator, rest = uri.partition("://")
    host, slash, key = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{key}" if separator else uri
