"""What a user or another task gives as jobs: handles, status URLs, ids, in any order and nesting."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from stoq_provider.core.http import MalformedResponse
from stoq_provider.core.models import JobHandle
from stoq_provider.core.validation import InvalidInput, listed, read_text
from stoq_provider.systems.payload import JobList

_log = logging.getLogger(__name__)

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
"""What may become part of a path."""


class JobReader:
    """The part of a :class:`~stoq_provider.systems.base.System` that makes handles of what it is given."""

    name: str
    """Stands in handles, manifests and errors."""
    label: str
    """Stands in messages."""
    base_path: str = ""
    job_list: JobList
    """Where the jobs are listed; one by itself is asked for with its id behind that path."""
    bare_id: re.Pattern[str] | None = None
    """Ids that a user may give alone, because a job's route is documented; see :meth:`job_path`."""

    def read_handles(self, job: Any) -> list[JobHandle]:
        """
        Read what a user gives as jobs: handles, status URLs, ids that tell their place, or JSON of these.

        Of an object that is no handle, such as the response of an action, the ``status_url`` counts.

        :raises InvalidInput: where it is none of them, or a job of another system.
        """
        handles: dict[str, JobHandle] = {}
        try:
            items = self.take_apart(_read_json(job))
        except RecursionError:
            raise InvalidInput("what to wait for holds lists in lists without an end") from None
        for item in items:
            handle = self._read_handle(item)
            known = handles.setdefault(handle.job_id, handle)
            if _path_of(known.status_url) != _path_of(handle.status_url):
                raise InvalidInput(f"two different jobs have the id {handle.job_id}; wait for each by itself")
        if not handles:
            raise InvalidInput("there is no job to wait for: the list of jobs is empty")
        return list(handles.values())

    def take_apart(self, job: Any) -> list[Any]:
        """Return the single jobs out of the lists of lists that mapped tasks return, or of JSON of these."""
        _check_handed_over(job)
        if isinstance(job, (str, Mapping)):
            return [job]
        items = listed(job, "what to wait for", "jobs")
        return [leaf for item in items for leaf in self.take_apart(_read_json(item))]

    def _read_handle(self, item: Any) -> JobHandle:
        if isinstance(item, str):
            return self.handle_of_url(item)
        place = item.get("status_url") or item.get("job_id")
        if "system" not in item and isinstance(place, str):
            return self.handle_of_url(place)
        try:
            handle = JobHandle.from_dict(item)
        except MalformedResponse as error:
            raise InvalidInput(str(error)) from None
        if handle.system != self.name:
            raise InvalidInput(f"job {handle.job_id} belongs to {handle.system!r}, not to {self.name!r}")
        return handle

    def handle(self, job_id: str, kind: str = "job", submitted_at: float | None = None) -> JobHandle:
        """
        Make a handle of a job's id, where the route is documented.

        :raises MalformedResponse: where it can't be one.
        """
        if not _JOB_ID.fullmatch(job_id):
            raise MalformedResponse(f"not the id of a job at {self.label}: {job_id[:80]!r}")
        url = f"{self.base_path}{self.job_path(job_id)}"
        return JobHandle(self.name, kind, job_id, url, submitted_at=submitted_at)

    def job_path(self, job_id: str) -> str:
        """Return where a job is asked for of which only the id is known, relative to the API's base path."""
        return f"{self.job_list.path}/{job_id}"

    def handle_of_url(self, url: str) -> JobHandle:
        """
        Make a handle of a status URL, or of a :attr:`bare_id`.

        :raises InvalidInput: where it is neither; no URL is built from an id whose route is not documented.
        """
        url = url.strip()
        if self.bare_id is not None and self.bare_id.fullmatch(url):
            handle = self.handle(url)
            known = f"{handle.status_url} is asked for, where {self.label} documents such jobs"
            _log.info("Of job %s only the id is given; %s.", url, known)
            return handle
        path = _path_of(url).rstrip("/")
        is_url = url.startswith(("/", "https://", "http://")) and url.isprintable() and " " not in url
        if not is_url or "/" not in path:
            what = f"{url!r:.80} is neither a status URL nor an id whose place {self.label} documents"
            raise InvalidInput(f"{what}; give the operator's handle, or the status_url from the API")
        return JobHandle(self.name, "job", path.rpartition("/")[2], url)


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _read_json(job: Any) -> Any:
    if isinstance(job, str) and job.strip()[:1] in ("{", "["):
        return read_text(job, f"the text given as job is neither JSON nor a handle: {job[:80]!r}")
    return job


def _check_handed_over(job: Any) -> None:
    """
    Check that what a task hands to another one is not nothing, nor the result of jobs that have ended.

    :raises InvalidInput: where it is.
    """
    if job is None or (isinstance(job, str) and job.strip() in ("", "None")):
        raise InvalidInput("there is no job to wait for: the task that was to hand it over pushed nothing")
    if isinstance(job, Mapping) and "schema_version" in job:
        raise InvalidInput(
            "this is the manifest of a task that has waited for its jobs already; one with "
            "wait_for_completion=False returns handles, which can be waited for"
        )
