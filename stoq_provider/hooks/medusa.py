"""The hook of Medusa v1's admin API."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO

from stoq_provider.core.error_text import sentences
from stoq_provider.core.http import Decoded, MalformedResponse, ProblemKind
from stoq_provider.core.models import JobHandle
from stoq_provider.core.submission import Submission
from stoq_provider.exceptions import ServiceUnavailable, StoqProviderError, ValidationRejected
from stoq_provider.hooks.base import JobHook
from stoq_provider.jobs.calls import payload_of
from stoq_provider.jobs.errors import NOTHING_SENT, of_problem, typed
from stoq_provider.systems.medusa.submission import PATH, submission, with_file
from stoq_provider.systems.medusa.system import PAGE_SIZE, Medusa
from stoq_provider.systems.payload import optional_int, require, rows
from stoq_provider.transport.probe import Probe
from stoq_provider.transport.retry import NO_RETRY

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from stoq_provider.transport.upload import Upload

UPLOAD_ATTEMPTS = 3
"""How often an upload is made: one too many leaves a file behind that nobody reads."""


def _count(payload: Any) -> int | None:
    rows(payload, "batch_jobs", "the response")
    return optional_int(payload, "count")


class MedusaHook(JobHook):
    """
    Talks to a shop on Medusa v1 through its admin API.

    The connection (type ``medusa``) holds the shop's origin as ``host``, and either an API token as
    password, or an e-mail as login and its password. Its extra takes ``timeout``, ``verify``, ``proxy``,
    ``allow_http`` and ``allow_private``. Medusa shows a user only the jobs that it created itself (M), so
    waiting for a job needs the user that submitted it.

    :param medusa_conn_id: the Airflow connection.
    """

    system = Medusa()
    probe = Probe(PATH, {"limit": 1}, lambda payload: f"this user has made {_count(payload)} batch jobs")
    """Its response holds no secret."""

    def __init__(self, medusa_conn_id: str = "medusa_default") -> None:
        super().__init__(medusa_conn_id)

    @property
    def allows_private(self) -> bool:
        """Whether files may lie at a private address: Medusa is self-hosted, and so is its file store."""
        return self.settings.allow_http or self.settings.allow_private

    # -- jobs ---------------------------------------------------------------------------------------

    def submit_batch_job(
        self, job_type: str, context: Mapping[str, Any] | None = None, dry_run: bool = False
    ) -> JobHandle:
        """
        Start a batch job.

        :param job_type: such as ``product-export``; a plugin's own type as well.
        :param context: for an export ``filterable_fields``, ``order``, ``expand`` and the like; for an
            import ``fileKey``, the key of an :meth:`upload`.
        :param dry_run: whether the job waits for :meth:`confirm` or :meth:`cancel` before it does anything.
        :raises SubmissionUncertain: it may run, and repeating it is not safe.
        """
        return self.submit(self.plan_batch_job(job_type, context, dry_run=dry_run))

    def plan_batch_job(
        self,
        job_type: str,
        context: Mapping[str, Any] | None = None,
        *,
        dry_run: bool = False,
        source: str | None = None,
    ) -> Submission:
        """
        Check a batch job and return what would be sent; sends nothing.

        :param source: a file, as ``ObjectStoragePath`` or its URL, that is uploaded first.
        :raises ValidationRejected: with the reason.
        """
        with typed(self.system.name, NOTHING_SENT):
            return submission(
                job_type,
                context,
                dry_run=dry_run,
                source=source,
                preparation=None if source is None else _Upload(self, source),
            )

    def confirm(self, handle: JobHandle | Mapping[str, Any]) -> JobHandle:
        """
        Let a job go on that waits for a decision; return the handle to wait for it by.

        :raises StoqProviderError: it does not wait, or the response was lost: ask for its status.
        """
        known, _ = self._ask(handle, self.system.confirm_request)
        return self.system.confirmed(known)

    def cancel(self, handle: JobHandle | Mapping[str, Any]) -> None:
        """
        Cancel a job.

        :raises StoqProviderError: it has ended, or the response was lost: ask for its status.
        """
        self._ask(handle, self.system.cancel_request)

    def iter_jobs(self, job_type: str | None = None, **filters: Any) -> Iterator[dict[str, Any]]:
        """
        Yield the batch jobs of the connection's user, newest first.

        :param filters: more of the query, such as ``**{"created_at[gte]": "2026-05-01"}``. There is no
            filter for the status, and ``dry_run`` is always false in a list (M).
        """
        query = {"limit": PAGE_SIZE, **({"type": [job_type]} if job_type else {}), **filters}
        offset = 0
        while True:
            payload = self.request("GET", PATH, params={**query, "offset": offset})
            with typed(self.system.name, "Reading stopped; nothing was changed."):
                jobs = rows(payload, "batch_jobs", f"GET {PATH}")
            yield from jobs
            offset += len(jobs)
            if not jobs or offset >= (payload.get("count") or 0):
                return

    # -- files --------------------------------------------------------------------------------------

    def upload(self, source: str | ObjectStoragePath, *, protected: bool = True) -> str:
        """
        Upload a file and return its key, for ``fileKey`` of an import.

        It is copied to this machine's disk first, then sent; memory does not grow with its size.

        :param source: an ``ObjectStoragePath`` or its URL.
        :param protected: whether it is kept from the public, where the file service tells these apart.
        :raises ValidationRejected: there is no such file, or it may not be read.
        :raises ServiceUnavailable: the store of the file is in trouble.
        """
        from stoq_provider.transport.upload import Upload  # parsing a DAG needs no requests

        with TemporaryFile() as file:
            name = self._copied(source, file)
            # The field is called "files" even for one (M); with another name the server responds with 500.
            route = "/admin/uploads/protected" if protected else "/admin/uploads"
            url = self.system.url(self.settings.origin, route)
            return self._upload(Upload("POST", url, file=file, name=name, part="files"))

    def _upload(self, upload: Upload) -> str:
        for attempt in range(1, UPLOAD_ATTEMPTS + 1):
            response = self.transport.send(upload, NO_RETRY)
            if response.problem is None:
                return self._file_key(response.payload)
            if not response.problem.maybe_processed or attempt == UPLOAD_ATTEMPTS:
                break
            self.log.warning("The upload of %s broke (%s); once more.", upload.name, response.problem.text)
            self.sleep(random.uniform(0.5, 1.5) * attempt)  # noqa: S311 - jitter
        raise self._not_uploaded(response, upload.name)

    def _copied(self, source: Any, file: BinaryIO) -> str:
        """Copy a file of any store and return its name."""
        from airflow.providers.common.compat.sdk import ObjectStoragePath  # parsing a DAG needs no storage

        from stoq_provider.download.store_errors import says_no

        try:
            path = ObjectStoragePath(str(source))
            with path.open("rb") as original:
                shutil.copyfileobj(original, file)
            return str(path.name)
        except Exception as error:
            text = f"source {str(source)!r} can't be read: {type(error).__name__}: {error}"
            final = says_no(error) or isinstance(error, (ImportError, IsADirectoryError, ValueError))
        then = "Clear the task once it can" if final else "A retry reads it again"
        error_class = ValidationRejected if final else ServiceUnavailable
        raise error_class(sentences(text, NOTHING_SENT, then), system=self.system.name, job_started=False)

    def _not_uploaded(self, response: Decoded, name: str) -> StoqProviderError:
        assert response.problem is not None
        final = response.problem.kind in (ProblemKind.AUTHENTICATION, ProblemKind.VALIDATION)
        then = "The task is not retried, since it would be refused again" if final else "A retry uploads it"
        return of_problem(
            response.problem,
            system=self.system.name,
            doing=f"{name} could not be uploaded to {self.system.label}",
            fate=f"No remote job was started. {then}.",
            job_started=False,
        )

    def _file_key(self, payload: Any) -> str:
        with typed(self.system.name, "No remote job was started. A retry uploads the file again."):
            uploads = rows(payload, "uploads", "the response to the upload")
            if len(uploads) != 1:
                raise MalformedResponse("the response to the upload does not name one file")
            return require(uploads[0], "key", "the response to the upload")

    def download_url(self, file_key: str) -> str:
        """
        Return the URL of a file in the shop's file store; a secret, where the store signs it.

        With the store on the server's own disk it begins with the ``backend_url`` that the server is
        configured with, and is made for a file that does not exist as well (M).
        """
        request = self.system.url_request(self.settings.origin, file_key)
        return payload_of(
            self, request, None, self.system.read_file_url, "Nothing was changed; a retry asks again."
        )


class _Upload:
    """What comes before an import: its file goes to the server, which reads it by key."""

    def __init__(self, hook: MedusaHook, source: str) -> None:
        self._hook = hook
        self._source = source

    def run(self) -> dict[str, Any]:
        return {"file_key": self._hook.upload(self._source)}

    def complete(self, submission: Submission, made: Mapping[str, Any]) -> Submission:
        return replace(submission, body=with_file(submission, str(made["file_key"])))
