"""Where a download goes: placeholders, and the one object that a destination names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat import sdk  # whole: its names are loaded when they are asked for

from stoq_provider.core.manifest import parquet_name
from stoq_provider.download.names import clean_file_name
from stoq_provider.download.options import Overwrite, destination_error, not_looked_at
from stoq_provider.download.store_errors import says_no

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

PLACEHOLDERS = ("file_name", "job_id", "kind", "report", "system")
"""What may stand in braces."""

DATES = ("from", "to")
"""May stand in braces where a report is exported; no other task knows its dates."""

_TOKEN = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]")


def report_of(kind: str | None) -> str | None:
    """Return the report of a kind like ``export:revenue``; other kinds have none."""
    return (kind or "").partition(":")[2] or None


NOT_KNOWN = "not-known-yet"
"""Stands in for what is not known before a submission."""


def values_of(system: str | None, kind: str | None, job_id: str | None = NOT_KNOWN) -> dict[str, str | None]:
    """Return the values of the placeholders for a job's file, but for its name."""
    return {"system": system, "kind": kind, "report": report_of(kind), "job_id": job_id}


def fill_in_dates(destination: Any, filters: Mapping[str, Any]) -> Any:
    """
    Return the destination with ``{from}`` and ``{to}`` replaced; the rest is left to :func:`fill_in`.

    :param filters: of the report: ISO dates, and times of which the date counts.
    :return: the destination itself where it holds neither.
    :raises ValidationRejected: the report has no such date.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in DATES:
            return match[0]
        if not filters.get(name):
            raise destination_error(
                f"The destination has {{{name}}}, but the report has no {name!r}: give it in filters, or set "
                "window."
            )
        return clean_file_name(str(filters[name])[:10])

    text = str(destination)
    filled = _TOKEN.sub(value, text)
    return destination if filled == text else filled


def fill_in(destination: str, values: Mapping[str, str | None]) -> str:
    """
    Return the destination with every placeholder replaced.

    A value becomes one part of a path: it is cleaned as a file name is, because a server made it.

    :raises ValidationRejected: a name that nobody knows, one that has no value here, or any other brace, as
        templates have that were not rendered.
    """

    def value(match: re.Match[str]) -> str:
        name = _name(match)
        text = values.get(name)
        if not text:
            raise destination_error(f"The destination has {{{name}}}, which this job has no value for.")
        return clean_file_name(text, fallback=name)

    return _TOKEN.sub(value, destination)


def _name(match: re.Match[str]) -> str:
    name, known = match[1], ", ".join(f"{{{name}}}" for name in (*PLACEHOLDERS, *DATES))
    if name in DATES:
        raise destination_error(
            f"The destination has {{{name}}}: only the task that exports a report knows its dates."
        )
    if name is None:
        raise destination_error(
            f"The destination has a {match[0]!r} that is part of no placeholder. There are {known}; Jinja "
            "templates are rendered in template fields only."
        )
    if name not in PLACEHOLDERS:
        raise destination_error(
            f"The destination has {{{name}}}, which is no placeholder: there are {known}."
        )
    return name


LOCAL = ("", "file", "local")
S3 = ("s3", "s3a")
GCS = ("gs", "gcs")
AZURE = ("abfs", "abfss")
SUPPORTED = (
    "absolute local paths, file:///, s3://, gs:// and abfs:// (with a connection: s3://conn_id@bucket/key)"
)

_EXTRAS = {**dict.fromkeys(S3, "s3"), **dict.fromkeys(GCS, "gcs"), **dict.fromkeys(AZURE, "azure")}

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

# A scheme inside a path: what pathlib and os.path make of a URL, and drives of Windows.
_LOST_SCHEME = re.compile(
    r"(?:^|/)((?:s3a?|gcs?|gs|abfss?|file)(?=:)|[A-Za-z][A-Za-z0-9+.-]*(?=:(?:/|$))):/*(.*)", re.IGNORECASE
)

_ACCIDENTS = (
    (re.compile(r"\A\s*\Z"), "is empty"),
    (re.compile(r"\A\s|\s\Z"), "begins or ends with white space"),
    (re.compile(r"://(?!arn:)[^/@]*:"), "has a ':' before its key: a password stands in the connection only"),
    (re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]"), "has a character that no path can have"),
    (re.compile(r"\\"), "has a backslash: parts of a path are separated by /"),
    (re.compile(r"(?:\A|/)None(?:/|\Z)"), "has a part 'None', which is what a template makes of no value"),
)


@dataclass(frozen=True, slots=True)
class Target:
    """
    One object or local file to be written.

    :param uri: as the manifest names it: the connection id stays in, so that the URI can be opened as it is.
    :param protocol: scheme without ``://``; ``""`` for a local path.
    :param path: what the file system calls it: an absolute path, or ``bucket/key``.
    :param fs: the fsspec file system; ``None`` for a local path.
    :param conn_id: the Airflow connection that ``fs`` was made from; ``None``: the worker's own credentials.
    :param tuned: whether ``fs`` has options beside the connection.
    """

    uri: str
    protocol: str
    path: str
    fs: Any = None
    conn_id: str | None = None
    tuned: bool = False

    @property
    def is_local(self) -> bool:
        """Whether it is a file of the worker."""
        return self.protocol in LOCAL

    def renamed(self, *, suffix: str, drop: str = "") -> Target:
        """Return the same place under a name that ends with ``suffix``, instead of ``drop``."""
        uri, path = (f"{text.removesuffix(drop)}{suffix}" for text in (self.uri, self.path))
        return replace(self, uri=uri, path=path)

    def parquet(self) -> Target:
        """Return where the Parquet of this CSV goes: beside it, unless it is named so already."""
        return replace(self, uri=parquet_name(self.uri), path=parquet_name(self.path))

    def exists(self) -> bool:
        """
        Ask whether something is there now.

        Some stores refuse to tell a role that may only write; then the conditional put at the end tells.

        :raises DownloadError: the store did not answer.
        """
        if self.is_local:
            return os.path.lexists(self.path)
        try:
            return bool(self.fs.exists(self.path))
        except Exception as error:
            if says_no(error):
                return False
            problem = f"Could not look whether {self.uri} exists: {type(error).__name__}: {error}"
            raise not_looked_at(problem) from error


def resolve_target(
    destination: str | os.PathLike[str] | ObjectStoragePath,
    file_name: str,
    *,
    overwrite: Overwrite = True,
    values: Mapping[str, str | None] | None = None,
) -> Target:
    """
    Return the object that ``destination`` names, checked as far as that goes without asking its store.

    What is returned is written under exactly that key; what a store or its file system would write elsewhere
    is refused.

    :param destination: a string that ends with ``/`` is a folder, and ``file_name`` is appended. A path
        object has no trailing slash: it names the object itself.
    :param file_name: cleaned already.
    :param overwrite: ``False``: refuse what exists.
    :param values: of the placeholders (:func:`fill_in`).
    :raises ValidationRejected: a store that is not supported or whose packages are missing, a connection
        that does not exist, no key, a folder in the way, or a file in the way.
    """
    if not isinstance(destination, (str, os.PathLike)) and not hasattr(destination, "protocol"):
        raise destination_error(f"A destination is a text or a path, not {type(destination).__name__}.")
    text = str(destination)
    for pattern, problem in _ACCIDENTS:
        if pattern.search(text):
            raise destination_error(f"The destination {problem}.")
    text = fill_in(text, {**(values or {}), "file_name": file_name})
    uri = text + file_name if text.endswith("/") else text
    url = _URL.match(uri)
    scheme, rest = (url[1].lower(), uri[url.end() :]) if url else ("", uri)
    if scheme in LOCAL:
        target = _local(uri, scheme, rest)
    elif scheme in _EXTRAS:
        target = _remote(uri, scheme, rest, destination)
    else:
        raise destination_error(f"Cannot write to {scheme}://: supported are {SUPPORTED}.")
    if not overwrite:
        refuse_existing(target)
    return target


def refuse_existing(target: Target) -> None:
    """
    Check that nothing is there yet.

    :raises ValidationRejected: there is.
    """
    if target.exists():
        raise destination_error(f"{target.uri} exists already, and overwrite is off.")


def _local(uri: str, scheme: str, path: str) -> Target:
    if scheme:
        host, slash, rest = path.partition("/")
        path = slash + rest
        if host.rpartition("@")[2] not in ("", "localhost") or not slash:
            raise destination_error(f"{uri} is not the URI of a local file: those begin with {scheme}:///.")
    if path.startswith("~/"):  # not ~user, which a job id might be
        path = os.path.expanduser(path)  # noqa: PTH111
    _check_local(uri, path)
    path = os.path.abspath(path)  # noqa: PTH100
    if os.path.isdir(path):  # noqa: PTH112
        raise destination_error(f"{path} is a folder: end the destination with / to put a file into it.")
    return Target(uri=f"file://{path}", protocol=scheme, path=path)


def _check_local(uri: str, path: str) -> None:
    """Refuse what is no absolute path: it would be stored on the worker's disk, where nobody looks."""
    lost = _LOST_SCHEME.search(path)
    if lost is not None:
        known = {"file": "file:///", **{scheme: f"{scheme}://" for scheme in _EXTRAS}}
        right = known.get(lost[1].lower())
        hint = f"give it as the text {f'{right}{lost[2]}'!r}" if right else f"supported are {SUPPORTED}"
        raise destination_error(f"{uri} looks like a URL that has lost a slash or its beginning: {hint}.")
    if not path.startswith("/") or path.startswith("//"):
        raise destination_error(f"{uri} is neither an absolute path nor a URL: supported are {SUPPORTED}.")


def _remote(uri: str, scheme: str, rest: str, given: Any) -> Target:
    authority, _, key = rest.partition("/")
    options = dict(getattr(given, "storage_options", None) or {})
    named, _, bucket = authority.rpartition("@")
    conn_id = named or getattr(given, "conn_id", None) or options.get("conn_id")
    options.pop("conn_id", None)
    if not bucket or not key:
        raise destination_error(f"{uri} names no object: the form is {scheme}://conn_id@bucket/key.")
    if {"", ".", ".."} & set(key.split("/")):
        # HTTP clients shorten them on the way, some calls and not others.
        raise destination_error(f"{uri} has a part between slashes that is empty, '.' or '..'.")
    if conn_id:
        _check_connection(conn_id, uri)
    fs = _file_system(scheme, conn_id)
    path = f"{bucket}/{key}"
    if "/".join(fs.split_path(path)[:2]) != path:
        raise destination_error(
            f"{uri} names something else than an object to be written, such as a version."
        )
    at = f"{conn_id}@" if conn_id else ""
    return Target(f"{scheme}://{at}{path}", scheme, path, fs, conn_id, bool(options))


def _file_system(scheme: str, conn_id: str | None) -> Any:
    extra = f"airflow-provider-stoq[{_EXTRAS[scheme]}]"
    try:
        # Of no bucket in particular: some versions take one with a colon for a host with a port.
        return sdk.ObjectStoragePath(f"{scheme}://bucket/", conn_id=conn_id).fs
    except ImportError as error:
        raise destination_error(
            f"{scheme}:// needs packages that are missing ({error}): install {extra}."
        ) from error
    except Exception as error:
        raise destination_error(
            f"No file system for {scheme}:// ({type(error).__name__}: {error}): install {extra}, or correct "
            "the connection."
        ) from error


def _check_connection(conn_id: str, uri: str) -> None:
    """Make sure that the connection exists: Airflow goes on as an anonymous user where it does not."""
    try:
        sdk.BaseHook.get_connection(conn_id)
    except sdk.AirflowNotFoundException as error:
        raise destination_error(f"The connection {conn_id!r} of {uri} does not exist.") from error
    except Exception as error:
        problem = f"Could not look up the connection {conn_id!r}: {type(error).__name__}: {error}"
        raise not_looked_at(problem) from error
