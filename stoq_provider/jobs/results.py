"""What becomes of a wait that has ended: a typed error, or the manifest."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from stoq_provider.core.error_text import sentences
from stoq_provider.core.events import JobEnd, WaitEvent
from stoq_provider.core.lifecycle import Outcome
from stoq_provider.core.manifest import manifest
from stoq_provider.download.options import DOWNLOADS_AGAIN, DownloadOptions
from stoq_provider.exceptions import DownloadError, StoqProviderError
from stoq_provider.jobs.errors import SUBMITS_ANEW, of_end

if TYPE_CHECKING:
    from stoq_provider.download.verification import StoredFile
    from stoq_provider.jobs.client import JobClient

LONG_LIST = 1000
"""Items that a manifest names itself; some 16 kB of the 48 kB that an XCom row should not exceed."""


def first_error(
    client: JobClient, event: WaitEvent, *, own_jobs: bool, recorded: bool, unhealthy_after: float
) -> StoqProviderError | None:
    """
    Return the typed error of the worst job that did not end well, or ``None``.

    :param own_jobs: whether the task itself submitted the jobs.
    :param recorded: whether the next try can find them.
    """
    errors = [
        of_end(
            end,
            client.system,
            own_jobs=own_jobs,
            recorded=recorded,
            unhealthy_after=unhealthy_after,
            limit=event.state.limit,
            points_left=event.points_left,
        )
        for end in event.ends
        if not end.outcome.good
    ]
    # What must not be retried comes first: a retry of the others would take it along.
    errors.sort(key=lambda error: not isinstance(error, AirflowFailException))
    return errors[0].among(len(errors), len(event.ends), recorded=recorded) if errors else None


def sum_up(
    client: JobClient, event: WaitEvent, files: Iterable[StoredFile], unchanged_items: Iterable[Any] = ()
) -> dict[str, Any]:
    """Return the manifest."""
    for end in event.ends:
        _tell_doubts(client, end)
    state = event.state
    return manifest(
        system=client.system.name,
        kind=state.kind or next((end.handle.kind for end in event.ends), ""),
        ends=event.ends,
        files=[file.to_dict() for file in files],
        unchanged_items=unchanged_items,
        request=state.request,
        points_spent=state.points_spent + event.points_spent + client.points_spent,
        started_at=state.started_at,
        finished_at=time.time(),
    )


def fetch(
    client: JobClient,
    options: DownloadOptions,
    event: WaitEvent,
    destination: str | None,
    *,
    recorded: bool,
) -> list[StoredFile]:
    """
    Store the files of the jobs that ended well, if a place is named.

    :param recorded: whether the next try can find the jobs.
    :raises StoqProviderError: the error of a download, which says what a retry does.
    """
    done = [end.handle for end in event.ends if end.outcome in (Outcome.SUCCEEDED, Outcome.PARTIAL)]
    if destination is None or not done:
        return []
    from stoq_provider.jobs.files import store_all  # parsing a DAG needs no download

    try:
        return store_all(client, done, destination, options)
    except StoqProviderError as error:
        if recorded:
            raise
        # A download does not know who wants it, so its errors say what is usual.
        message = error.message.replace(DOWNLOADS_AGAIN, f"a {SUBMITS_ANEW}")
        problem = type(error)(message, **error.details())
    raise problem


def _tell_doubts(client: JobClient, end: JobEnd) -> None:
    """Warn where a job ended well and yet its status says that something was left undone."""
    status = end.status
    if status is None or end.outcome is not Outcome.SUCCEEDED:
        return
    undone = None not in (status.total, status.processed) and (status.processed or 0) < (status.total or 0)
    if status.error or undone:
        client.log.warning(
            "%s says that job %s is %s, with %s of %s items processed%s.",
            client.system.label,
            status.job_id,
            status.word,
            status.processed,
            status.total,
            f" and the error: {status.error}" if status.error else "",
        )


def keep_long(
    client: JobClient,
    manifest: dict[str, Any],
    name: str,
    items: Sequence[Any],
    folder: str | None,
    *,
    recorded: bool,
    most: int = LONG_LIST,
) -> dict[str, Any]:
    """
    Put a list into the manifest; of one that is too long for XCom only the first.

    Of such a list all items (or their ids) go to ``folder``, one a line, and ``<name>_uri`` names the file.
    Without a folder there is a warning.

    :param recorded: whether the next try can find the jobs. If not, a list that can't be stored is no more
        than an error in the log, because a retry would do all the work again.
    :raises DownloadError: it can't be stored.
    """
    manifest = {**manifest, name: list(items[:most])}
    if len(items) <= most:
        return manifest
    first = f"The manifest names the first {most} of {len(items)} {name}"
    if folder is None:
        client.log.warning("%s. With a destination, the whole list would be stored there.", first)
        return manifest
    ids = [item["id"] if isinstance(item, Mapping) else item for item in items]
    fate = "The remote jobs are done; a retry submits nothing, and stores the list" if recorded else ""
    try:
        return {**manifest, f"{name}_uri": store_items(client, folder, name, ids, fate)}
    except StoqProviderError as error:
        if recorded:
            raise
        client.log.error("%s %s.", error, first)
    return manifest


def store_items(client: JobClient, folder: str, name: str, items: Sequence[Any], fate: str) -> str:
    """
    Store a list, one item a line, under a name made from its own and its content; return the URI.

    :raises DownloadError: it can't be stored; ``fate`` ends the message.
    """
    from stoq_provider.download.download import store_text  # parsing a DAG needs no download

    text = "".join(f"{item}\n" for item in items)
    file_name = f"{name}-{sha256(text.encode()).hexdigest()[:16]}.txt"
    try:
        return store_text(folder.rstrip("/") + "/", file_name, text)
    except StoqProviderError:
        raise
    except Exception as error:
        problem = f"The list of {name} could not be stored in {folder}: {type(error).__name__}: {error}"
        raise DownloadError(sentences(problem, fate), system=client.system.name) from error
