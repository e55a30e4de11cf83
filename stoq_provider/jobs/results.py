"""What becomes of a wait that has ended: a typed error, or files and the manifest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from stoq_provider.core.events import JobEnd, WaitEvent
from stoq_provider.core.lifecycle import Outcome
from stoq_provider.core.manifest import manifest
from stoq_provider.core.models import JobHandle, JobStatus
from stoq_provider.exceptions import DownloadError, StoqProviderError, ValidationRejected
from stoq_provider.jobs.errors import forgotten, of_end

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from stoq_provider.download.download import Consumer, StoredFile, Target
    from stoq_provider.download.many import DownloadPool
    from stoq_provider.hooks.base import JobHook
    from stoq_provider.jobs.fetching import Fetching

__all__ = ["first_error", "keep_long", "store_all", "store_items", "store_result", "sum_up"]

LONG_LIST = 1000
"""Items that a manifest names itself; some 16 kB of the 48 kB that an XCom row should not exceed."""


def first_error(
    hook: JobHook, event: WaitEvent, *, owner: bool, recorded: bool, unhealthy_after: float
) -> StoqProviderError | None:
    """
    Return the typed error of the worst job that did not end well, or ``None``.

    :param owner: whether the task itself submitted the jobs.
    :param recorded: whether the next try can find them.
    """
    errors = [
        of_end(
            end,
            label=hook.system.label,
            owner=owner,
            recorded=recorded,
            repeat=hook.system.repeat_safety(end.handle.kind),
            repeat_expired=hook.system.repeat_expired(end.handle.kind),
            unhealthy_after=unhealthy_after,
            record_life=hook.system.rules.record_life,
            points_left=event.points_left,
        )
        for end in event.ends
        if not end.outcome.good
    ]
    # What must not be retried comes first: a retry of the others would take it along.
    errors.sort(key=lambda error: not isinstance(error, AirflowFailException))
    return errors[0].among(len(errors), len(event.ends), recorded=recorded) if errors else None


def fetch(
    hook: JobHook, fetching: Fetching, event: WaitEvent, destination: str | None, *, recorded: bool
) -> list[dict[str, Any]]:
    """
    Store the files of the jobs that ended well, if a place is named; the entries of the manifest.

    :param recorded: whether the next try can find the jobs.
    :raises StoqProviderError: the error of a download, which tells what a retry does.
    """
    done = tuple(end for end in event.ends if end.outcome in (Outcome.SUCCEEDED, Outcome.PARTIAL))
    if destination is None or not done:
        return []
    try:
        return fetching.store(hook, replace(event, ends=done), destination)
    except StoqProviderError as error:
        if recorded:
            raise
        problem = forgotten(error)
    raise problem


def keep_long(hook: JobHook, manifest: dict[str, Any], folder: str | None) -> dict[str, Any]:
    """
    Take a list of unchanged items that is too long for XCom out of the manifest.

    The whole list goes to ``folder``, one item a line, and ``unchanged_items_uri`` names it; the manifest
    keeps the first. Without a folder the rest is only counted, with a warning.
    """
    items = manifest["unchanged_items"]
    manifest["totals"]["unchanged"] = len(items)
    if len(items) <= LONG_LIST:
        return manifest
    manifest["unchanged_items"] = items[:LONG_LIST]
    if folder is None:
        hook.log.warning(
            "%s items are unchanged; the manifest names the first %s. With a destination, the whole list "
            "would be stored there.",
            len(items),
            LONG_LIST,
        )
        return manifest
    return {**manifest, "unchanged_items_uri": store_items(folder, items, prefix="unchanged")}


def store_items(folder: str, items: Sequence[int], *, prefix: str = "items") -> str:
    """Store a list, one item a line, under a name made from its content; return the URI."""
    from stoq_provider.download.download import store_text

    text = "".join(f"{item}\n" for item in items)
    name = f"{prefix}-{sha256(text.encode()).hexdigest()[:16]}.txt"
    return store_text(folder.rstrip("/") + "/", name, text)


def _tell_doubts(hook: JobHook, end: JobEnd) -> None:
    """Warn where a job ended well and yet its status says that something was left undone."""
    status = end.status
    if status is None or end.outcome is not Outcome.SUCCEEDED:
        return
    undone = None not in (status.total, status.processed) and (status.processed or 0) < (status.total or 0)
    if status.error or undone:
        hook.log.warning(
            "%s says that job %s is %s, with %s of %s items processed%s.",
            hook.system.label,
            status.job_id,
            status.word,
            status.processed,
            status.total,
            f" and the error: {status.error}" if status.error else "",
        )


def sum_up(
    hook: JobHook,
    event: WaitEvent,
    *,
    kind: str,
    files: Iterable[Mapping[str, Any]],
    unchanged_items: Iterable[Any] = (),
    started_at: float,
    points_before: int = 0,
) -> dict[str, Any]:
    """
    Return the manifest of a task whose jobs ended well.

    :param points_before: what was spent on the worker before it deferred.
    """
    for end in event.ends:
        _tell_doubts(hook, end)
    spent = hook.transport.points_spent if "transport" in hook.__dict__ else 0
    return manifest(
        system=hook.system.name,
        kind=kind,
        ends=event.ends,
        files=files,
        unchanged_items=unchanged_items,
        points_spent=points_before + event.points_spent + spent,
        started_at=started_at,
        finished_at=time.time(),
    )


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
