"""Where a download goes: placeholders, and the one object that a destination names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat import sdk  # whole: its names are loaded when they are asked for

from stoq_provider.core.manifest import parquet_name
from stoq_provider.download.names import clean_file_name
from stoq_provider.download.options import Overwrite, destination_error

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

PLACEHOLDERS = ("file_name", "job_id", "kind", "report", "system")
"""What may stand in braces."""

_TOKEN = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]")


def report_of(kind: str | None) -> str | None:
    """Return the report of a kind like ``export:revenue``; other kinds have none."""
    return (kind or "").partition(":")[2] or None


def fill_in(destination: str, values: Mapping[str, str | None]) -> str:
    """
    Return the destination with every placeholder replaced. ``{{`` and ``}}`` become single braces.

    A value becomes one part of a path: it is cleaned as a file name is, because a server made it.

    :raises ValidationRejected: a name that nobody knows, one that has no value here, or a single brace.
    """

    def value(match: re.Match[str]) -> str:
        name = _name(match)
        if not name:
            return match[0][0]
        text = values.get(name)
        if not text:
            raise destination_error(f"The destination has {{{name}}}, which this job has no value for.")
        return clean_file_name(text, fallback=name)

    return _TOKEN.sub(value, destination)


def _name(match: re.Match[str]) -> str:
    """Return the name in braces, or nothing for a doubled brace."""
    name = match[1] or ""
    known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    if name and name not in PLACEHOLDERS:
        raise destination_error(
            f"The destination has {{{name}}}, which is no placeholder: there are {known}."
        )
    if match[0] in ("{", "}"):
        raise destination_error(
            f"The destination has a single {match[0]!r}: write it twice for a brace, or one of {known}."
        )
    return name


LOCAL = ("", "file", "local")
S3 = ("s3", "s3a")
GCS = ("gs", "gcs")
AZURE = ("abfs", "abfss")
SUPPORTED = "local paths, file://, s3://, gs:// and abfs:// (with a connection: s3://conn_id@bucket/key)"


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

        S3 refuses to tell a role that may only write; then the conditional put at the end tells.
        """
        if self.is_local:
            return os.path.lexists(self.path)
        try:
            return bool(self.fs.exists(self.path))
        except PermissionError:
            return False


def resolve_target(
    destination: str | os.PathLike[str] | ObjectStoragePath,
    file_name: str,
    *,
    overwrite: Overwrite = True,
    values: Mapping[str, str | None] | None = None,
) -> Target:
    """
    Return the object that ``destination`` names, checked as far as that goes without writing.

    :param destination: a string that ends with ``/`` is a folder, and ``file_name`` is appended. A path
        object has no trailing slash: it names the object itself.
    :param file_name: cleaned already.
    :param overwrite: ``False``: refuse what exists.
    :param values: of the placeholders (:func:`fill_in`); ``None``: braces are just braces.
    :raises ValidationRejected: a store that is not supported or whose packages are missing, a connection
        that does not exist, no key, a folder in the way, or a file in the way.
    """
    if not isinstance(destination, (str, os.PathLike)) and not hasattr(destination, "protocol"):
        raise destination_error(f"A destination is a text or a path, not {type(destination).__name__}.")
    text = str(destination)
    if not text.strip():
        raise destination_error("The destination is empty.")
    if values is not None:
        text = fill_in(text, {**values, "file_name": file_name})
    uri = text + file_name if text.endswith("/") else text
    scheme = urlsplit(uri).scheme.lower() if "://" in uri else ""
    if scheme in LOCAL:
        target = _local(uri, scheme)
    elif scheme in S3 + GCS + AZURE:
        target = _remote(uri, scheme, destination)
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


def _local(uri: str, scheme: str) -> Target:
    path = os.path.expanduser(uri)  # noqa: PTH111
    if scheme:
        host, slash, rest = uri.partition("://")[2].partition("/")
        path = slash + rest
        if host.rpartition("@")[2] not in ("", "localhost") or not slash:
            raise destination_error(f"{uri} is not the URI of a local file: those begin with {scheme}:///.")
    path = os.path.abspath(path)  # noqa: PTH100
    if os.path.isdir(path):  # noqa: PTH112
        raise destination_error(f"{path} is a folder: end the destination with / to put a file into it.")
    return Target(uri=f"file://{path}", protocol=scheme, path=path)


def _remote(uri: str, scheme: str, given: Any) -> Target:
    if scheme not in GCS and "?versionid=" in uri.lower():
        # The file systems take it for the version of an object: it would be written to the key before it.
        raise destination_error(f"{uri} names a version of an object, and only an object can be written.")
    conn_id = _conn_id(uri, given)
    if conn_id:
        _check_connection(conn_id, uri)
    path = sdk.ObjectStoragePath(uri, conn_id=conn_id) if conn_id else sdk.ObjectStoragePath(uri)
    if not path.key:
        raise destination_error(f"{uri} names no object, only a bucket.")
    try:
        fs = path.fs
    except Exception as error:
        raise destination_error(
            f"No file system for {scheme}:// ({type(error).__name__}: {error}): install the extra of this "
            "package for it (s3, gcs or azure) and check the connection."
        ) from error
    options = dict(getattr(given, "storage_options", None) or {})
    options.pop("conn_id", None)
    return Target(str(path), scheme, path.path, fs, conn_id, bool(options))


def _conn_id(uri: str, given: Any) -> str | None:
    named = urlsplit(uri).netloc.rpartition("@")[0]
    if named:
        return named
    options = getattr(given, "storage_options", None) or {}
    return getattr(given, "conn_id", None) or options.get("conn_id")


def _check_connection(conn_id: str, uri: str) -> None:
    """Make sure that the connection exists: Airflow goes on as an anonymous user where it does not."""
    try:
        sdk.BaseHook.get_connection(conn_id)
    except sdk.AirflowNotFoundException as error:
        raise destination_error(f"The connection {conn_id!r} of {uri} does not exist.") from error
