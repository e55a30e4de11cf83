"""What a download may do, and the words its errors share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stoq_provider.exceptions import DownloadError, ValidationRejected, VerificationError

FATE = (
    "Nothing was published. The remote job itself is done: a retry only downloads its result again "
    "and submits nothing."
)
"""Ends every error of a download: what becomes of the job, and what a retry does."""


@dataclass(frozen=True, slots=True)
class DownloadPolicy:
    """
    Limits and permissions of one download. The defaults fit a pre-signed URL of a public object store.

    :param allow_http: plain ``http`` to other hosts than loopback.
    :param allow_private: private, link-local and otherwise not globally routed addresses.
    :param allow_loopback: addresses of the worker itself, over ``http`` as well. For an API that itself
        is on loopback (the sandbox); otherwise a remote server could point us to services of the worker.
    :param verify: check TLS certificates; a path names a bundle of authorities. With ``True`` the
        environment's ``REQUESTS_CA_BUNDLE`` or ``CURL_CA_BUNDLE`` is used where it is set.
    :param proxy: URL of a proxy; ``None``: what ``HTTPS_PROXY`` and ``NO_PROXY`` of the environment say.
        Behind a proxy only the name of the host can be checked, because the proxy resolves it.
    :param connect_timeout: seconds to wait for a connection.
    :param stall_timeout: seconds without a single byte after which the connection counts as broken.
    :param max_resumes: how often a broken transfer is taken up again, in all.
    :param deadline: seconds for the whole download, waits included; ``None``: no limit.
    :param on_mismatch: what to do with a complete file whose records do not fit the job's row count, or
        which ends inside a quoted field: ``"fail"``, or ``"warn"`` and publish it all the same. A
        transfer shorter or longer than announced always fails.
    :param overwrite: ``False`` refuses, before any download, a destination that exists.
    """

    allow_http: bool = False
    allow_private: bool = False
    allow_loopback: bool = False
    verify: bool | str = True
    proxy: str | None = None
    connect_timeout: float = 10.0
    stall_timeout: float = 60.0
    max_resumes: int = 8
    deadline: float | None = None
    on_mismatch: Literal["fail", "warn"] = "fail"
    overwrite: bool = True


def download_error(text: str, *, job_id: str | None, http_status: int | None = None) -> DownloadError:
    """Return the error for a result that could not be fetched or stored."""
    return DownloadError(f"{text} {FATE}", job_id=job_id, http_status=http_status)


def verification_error(text: str, *, job_id: str | None) -> VerificationError:
    """Return the error for a result that arrived, but is not what was announced."""
    return VerificationError(f"{text} {FATE}", job_id=job_id)


def destination_error(text: str, *, job_id: str | None = None) -> ValidationRejected:
    """Return the error for a destination that cannot be written to as it stands; a retry cannot help."""
    return ValidationRejected(
        f"{text} Nothing was downloaded or published, no remote job is affected, and the task is not "
        "retried: correct the destination first.",
        job_id=job_id,
    )
