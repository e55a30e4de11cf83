"""What a download may do, and the words its errors share."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stoq_provider import __version__
from stoq_provider.core.error_text import sentences
from stoq_provider.core.validation import near_misses
from stoq_provider.exceptions import DownloadError, ValidationRejected, VerificationError

DOWNLOADS_AGAIN = "a retry only downloads its result again and submits nothing"
"""What is usual; an error of a task whose next try will not find its jobs says something else."""

JOB_IS_DONE = f"The remote job itself is done: {DOWNLOADS_AGAIN}."
"""Ends every error of a download: what becomes of the job, and what a retry does."""

Overwrite = bool | Literal["if_different"]
"""What to do with an object that is there: replace it, refuse, or replace it if its content differs."""

FORMATS = ("csv", "parquet")

_ALLOWED: dict[str, tuple[Any, ...]] = {
    "format": FORMATS,
    "on_mismatch": ("fail", "warn"),
    "overwrite": (True, False, "if_different"),
    "encoding": ("decode", "keep"),
    "on_empty": ("keep", "header", "empty", "skip", "fail"),
    "header_counted": (None, True, False),
    "keep_csv": (True, False),
}


@dataclass(frozen=True, slots=True)
class DownloadOptions:
    """
    What a task wants of the files of its jobs, and what the connection allows. Checked when it is made.

    The defaults fit a pre-signed URL of a public object store. The operators' ``download_options`` take the
    names of :data:`GIVEN`.

    :param format: ``"csv"`` as the server made it, or ``"parquet"`` (extra ``parquet``).
    :param overwrite: ``False`` refuses, before any download, a destination that exists. For a ``retry``, one
        that holds something else, after it: what holds the same may be of an earlier try, and is left alone.
        ``"if_different"`` leaves an object alone whose content is the same already (its time of
        modification stays, no event fires): the size is compared first, then the object is read back,
        streamed, and its SHA-256 compared. A digest in the object's metadata would save the reading, but
        it is known only at the end of an upload, where stores take no metadata any more, and ETags are
        no digests of large or encrypted objects.
    :param retry: whether an earlier try of the task may have published what is there.
    :param at_once: downloads at the same time.
    :param keep_csv: whether the CSV is stored beside its Parquet.
    :param column_types: types of Parquet columns, by name or pattern; the others are text.
    :param on_mismatch: what to do with a complete file whose records do not fit the job's row count, or
        which ends inside a quoted field: ``"fail"``, or ``"warn"`` and publish it all the same. A
        transfer shorter or longer than announced always fails, and so does damaged gzip; and where no length
        was announced, so do rows that do not fit.
    :param on_empty: what to do with a file without data rows: ``"keep"`` it as it came; ``"header"``:
        as it came too, but a file that lacks even the header line fails; ``"empty"``: publish a file of
        no bytes (of no text, if gzip is kept); ``"skip"``: publish nothing, and Airflow skips the
        task where no file has rows; ``"fail"``: an error. It is asked after the row count was checked.
    :param min_rows: fewer data rows fail, whatever ``on_mismatch`` says. A file without any is left to
        ``on_empty``, unless that is ``"keep"``.
    :param header_counted: whether the job's row count includes the header line; ``None``: either is accepted.
    :param encoding: what to do with a body sent with ``Content-Encoding: gzip``: ``"decode"`` it, or
        ``"keep"`` it, under a name that ends with ``.gz``. Either way rows are counted in the decoded text;
        bytes and SHA-256 are those of what is published. Compression is never asked for: it comes from
        stores that hold the file compressed. Gzip of some length that becomes 200 times as long is refused,
        and so are other encodings, ``deflate`` too, of which there are two; what encodes nothing, such as
        ``utf-8`` or ``aws-chunked``, is ignored.
    :param charset: encoding of the text, by Python's name for it (``"windows-1252"``): rows are counted and
        Parquet is made of what it decodes to. A CSV is stored as it came.
    :param connect_timeout: seconds to wait for a connection.
    :param stall_timeout: seconds without a byte of the body, whatever else the server sends, after which the
        connection counts as broken.
    :param max_resumes: how often a broken transfer is taken up again, in all.
    :param deadline: seconds for the whole download, waits included; ``None``: no limit. The default of six
        hours ends what nobody waits for any more: a line that lets a byte through every now and then.
    :param allow_http: plain ``http`` to other hosts than loopback.
    :param allow_private: private, link-local and otherwise not globally routed addresses.
    :param allow_loopback: addresses of the worker itself, over ``http`` as well. For an API that itself
        is on loopback (the sandbox); otherwise a remote server could point us to services of the worker.
    :param verify: check TLS certificates; a path names a bundle of authorities. With ``True`` the
        environment's bundle is used (:data:`stoq_provider.transport.route.BUNDLES`).
    :param proxy: URL of a proxy; ``None``: what ``HTTPS_PROXY`` and ``NO_PROXY`` of the environment say.
        The host is checked all the same; see :func:`stoq_provider.download.ssrf.check_host`.
    :param user_agent: who asks, for readers of the store's logs.
    :raises ValidationRejected: naming what is wrong; a spelling mistake must not turn a check off.
    """

    format: Literal["csv", "parquet"] = "csv"
    overwrite: Overwrite = True
    retry: bool = False
    at_once: int = 4
    keep_csv: bool = False
    column_types: Mapping[str, str] = field(default_factory=dict, hash=False)
    on_mismatch: Literal["fail", "warn"] = "fail"
    on_empty: Literal["keep", "header", "empty", "skip", "fail"] = "keep"
    min_rows: int | None = None
    header_counted: bool | None = None
    encoding: Literal["decode", "keep"] = "decode"
    charset: str = "utf-8"
    connect_timeout: float = 10.0
    stall_timeout: float = 60.0
    max_resumes: int = 8
    deadline: float | None = 6 * 3600.0
    allow_http: bool = False
    allow_private: bool = False
    allow_loopback: bool = False
    verify: bool | str = True
    proxy: str | None = field(default=None, repr=False)
    user_agent: str = f"airflow-provider-stoq/{__version__}"

    @classmethod
    def of(cls, *, format: Any, overwrite: Any, given: Any) -> DownloadOptions:  # noqa: A002 - the operators' name
        """
        Read what a task is given: ``format``, ``overwrite`` and ``download_options``.

        :raises ValidationRejected: naming what is wrong.
        """
        if given is not None and not isinstance(given, Mapping):
            raise options_error(f"download_options is a mapping, not {type(given).__name__}")
        # These have no value that means "none": left out and None are the same.
        given = {
            name: value
            for name, value in (given or {}).items()
            if value is not None or name not in ("at_once", "keep_csv", "column_types", "charset")
        }
        for name in given:
            if name not in GIVEN:
                raise options_error(f"download_options has no {name!r}{near_misses(str(name), GIVEN)}")
        if format != "parquet" and {"keep_csv", "column_types"} & set(given):
            raise options_error("keep_csv and column_types go with format='parquet'")
        return cls(format=format, overwrite=overwrite, **given)

    @property
    def refuses_existing(self) -> bool:
        """Whether an object that is there is refused whatever it holds."""
        return self.overwrite is False and not self.retry

    @property
    def stores_csv(self) -> bool:
        """Whether the CSV itself is stored."""
        return self.format == "csv" or self.keep_csv

    def __post_init__(self) -> None:
        """Refuse values that nobody knows."""
        for name, allowed in _ALLOWED.items():
            value = getattr(self, name)
            if not any(value is one or (isinstance(one, str) and value == one) for one in allowed):
                raise options_error(f"{name} is one of {', '.join(map(repr, allowed))}, not {value!r}")
        for name in ("connect_timeout", "stall_timeout", "deadline"):
            value = getattr(self, name)
            if not (_is_number(value, float) and value) and not (name == "deadline" and value is None):
                raise options_error(f"{name} is a number of seconds above 0, not {value!r}")
        if not _is_number(self.max_resumes, int):
            raise options_error(f"max_resumes is a number of tries, not {self.max_resumes!r}")
        if self.min_rows is not None and not _is_number(self.min_rows, int):
            raise options_error(f"min_rows is a number of rows, not {self.min_rows!r}")
        if not _is_number(self.at_once, int) or self.at_once < 1:
            raise options_error(
                f"at_once, the number of downloads at a time, is at least 1, not {self.at_once!r}"
            )
        if not _is_charset(self.charset):
            raise options_error(f"charset names an encoding of text that Python knows, not {self.charset!r}")
        if not isinstance(self.column_types, Mapping):
            raise options_error(f"column_types is a mapping, not {type(self.column_types).__name__}")


GIVEN = (
    "at_once",
    "keep_csv",
    "column_types",
    "on_mismatch",
    "on_empty",
    "min_rows",
    "header_counted",
    "encoding",
    "charset",
    "stall_timeout",
    "max_resumes",
    "deadline",
)
"""Options that a task may be given as ``download_options``; the others come from the connection."""


def _is_charset(value: Any) -> bool:
    try:
        codecs.getincrementaldecoder(value)
        "a".encode(value)
    except (LookupError, TypeError, ValueError):
        return False
    return True


def _is_number(value: Any, kind: type[float]) -> bool:
    """Return whether it is one from 0 on; ``float`` takes whole ones as well."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return (kind is float or isinstance(value, int)) and 0 <= value < float("inf")


def options_error(text: str) -> ValidationRejected:
    """Return the error for options that can't be followed."""
    return ValidationRejected(
        sentences(text, "Nothing was sent, downloaded or published, and the task is not retried."),
        job_started=False,
    )


def download_error(text: str, *, http_status: int | None = None) -> DownloadError:
    """Return the error for a result that could not be fetched or stored."""
    return DownloadError(sentences(text, "Nothing was published.", JOB_IS_DONE), http_status=http_status)


def verification_error(text: str) -> VerificationError:
    """Return the error for a result that arrived, but is not what was announced."""
    return VerificationError(sentences(text, "Nothing was published.", JOB_IS_DONE))


def not_looked_at(text: str) -> DownloadError:
    """Return the error for a destination of which nothing could be found out now."""
    return DownloadError(
        sentences(
            text, "Nothing was downloaded or published, no remote job is affected, and a retry looks again."
        )
    )


def taken_error(uri: str) -> ValidationRejected:
    """Return the error for a destination that holds something else, and is not to be replaced."""
    return ValidationRejected(
        f"{uri} exists, holds something else than the result (or can't be read), and overwrite is off. "
        "Nothing was published, the remote job is done, and the task is not retried: move the object away, "
        "then clear the task."
    )


def destination_error(text: str) -> ValidationRejected:
    """Return the error for a destination that cannot be written to as it stands; a retry cannot help."""
    return ValidationRejected(
        f"{text} Nothing was downloaded or published, no remote job is affected, and the task is not "
        "retried: correct the destination first."
    )
