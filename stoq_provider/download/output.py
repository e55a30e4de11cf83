"""One file of a download: its writer, its length and digest, and whether it is there already."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from stoq_provider.core.error_text import sentences
from stoq_provider.download.destination import Target
from stoq_provider.download.options import JOB_IS_DONE, DownloadOptions, download_error, taken_error
from stoq_provider.download.s3 import S3Writer, s3_client
from stoq_provider.download.store_errors import says_exists
from stoq_provider.download.verification import StoredFile
from stoq_provider.download.writers import AtomicWriter, FsspecWriter, LocalWriter, NoWriter
from stoq_provider.exceptions import DownloadError, StoqProviderError

_READ_BYTES = 8 * 1024 * 1024


def open_writer(target: Target, *, overwrite: bool = True, size: int | None = None) -> AtomicWriter:
    """
    Return the writer for the store of ``target``.

    :param overwrite: ``False``: commit only what does not exist.
    :param size: bytes that will be written, if known; parts of very large objects are larger.
    """
    if target.is_local:
        return LocalWriter(target.path, overwrite=overwrite)
    client = s3_client(target)
    if client is None:
        return FsspecWriter(target, overwrite=overwrite)
    return S3Writer(client, target, overwrite=overwrite, size=size)


class Output:
    """
    A file in the making. Its errors name the destination, and keep the store's text.

    :param options: say what becomes of an object that is there.
    :param size: bytes that will be written, if known.

    ``bytes``: how many were written so far.
    """

    def __init__(self, target: Target, options: DownloadOptions, *, size: int | None = None) -> None:
        self.target = target
        self.bytes = 0
        self._overwrite = options.overwrite
        self._hash = hashlib.sha256()
        self._same = False
        with writing(target):
            published = options.overwrite is False and options.retry and target.exists()
            self._writer = (
                NoWriter() if published else open_writer(target, overwrite=bool(options.overwrite), size=size)
            )

    def write(self, chunk: bytes) -> None:
        """Append bytes."""
        self.bytes += len(chunk)
        self._hash.update(chunk)
        with writing(self.target):
            self._writer.write(chunk)

    def finish(self, check: Callable[[], None]) -> None:
        """
        Look at what is there, before anything is published: one file without the other is half a result.

        :param check: called now and then; what it raises ends the reading.
        :raises ValidationRejected: without ``overwrite``, something else is there.
        """
        with writing(self.target):
            if self._overwrite is True or (not self._overwrite and not self.target.exists()):
                return
            self._same = same_content(self.target, self.bytes, self._hash.hexdigest(), check)
            if not self._overwrite and not self._same:
                raise taken_error(self.target.uri)

    def commit(
        self, rows: int, columns: Iterable[tuple[str, str]] = (), *, beside: StoredFile | None = None
    ) -> StoredFile:
        """
        Publish the file, unless the same is there already.

        :param rows: of its content.
        :param columns: name and type of each.
        :param beside: what is published already, and whose Parquet this is.
        :raises DownloadError: it could not be published, or the store does not say whether it was.
        """
        uri = self.target.uri
        try:
            if not self._same:
                self._writer.commit()
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            if beside is not None:
                text = f"{beside.uri} is published; whether its Parquet is, was not confirmed: {problem}"
                raise DownloadError(sentences(text, JOB_IS_DONE)) from error
            if not self._overwrite and says_exists(error):
                # Perhaps by ourselves: a client sends a put again whose response was lost.
                text = f"{uri} has come into being at the same moment, and overwrite is off."
                raise download_error(text) from error
            if self.target.is_local:
                raise _not_written(self.target, error) from error
            raise not_confirmed(uri, problem) from error
        name = uri.rpartition("/")[2]
        return StoredFile(
            uri,
            name,
            self.bytes,
            rows,
            self._hash.hexdigest(),
            written=not self._same,
            columns=tuple(columns),
            account=self._account,
        )

    @property
    def _account(self) -> str | None:
        # Of Azure; the file system itself does not know it where it comes from a connection string.
        name: str | None = getattr(getattr(self.target.fs, "service_client", None), "account_name", None)
        return name

    def abort(self) -> None:
        """Drop what was not committed."""
        self._writer.abort()


@contextmanager
def writing(target: Target) -> Iterator[None]:
    """Turn what a store raises into an error that names the destination."""
    try:
        yield
    except StoqProviderError:
        raise
    except Exception as error:
        raise _not_written(target, error) from error


def _not_written(target: Target, error: Exception) -> DownloadError:
    return download_error(f"Could not write {target.uri}: {type(error).__name__}: {error}")


def not_confirmed(what: str, problem: str) -> DownloadError:
    """Return the error for a commit whose end is unknown: the store may have done it."""
    text = f"The store did not confirm {what}: {problem}"
    return DownloadError(sentences(text, "It is either not published or there as a whole.", JOB_IS_DONE))


def same_content(target: Target, size: int, sha256: str, check: Callable[[], None]) -> bool:
    """
    Return whether ``target`` holds exactly the content with that length and digest.

    The size decides first; only where it is equal, the object is read back and hashed as it comes. It says
    what was there while it was read. What can't be looked at does not count as the same.

    :param check: called now and then; what it raises ends the reading.
    """
    try:
        if _size(target) != size:
            return False
        digest = hashlib.sha256()
        with closing(_open(target)) as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
                check()
        return digest.hexdigest() == sha256
    except (FileNotFoundError, PermissionError):
        return False


def _size(target: Target) -> int | None:
    if target.is_local:
        return os.stat(target.path).st_size  # noqa: PTH116
    # What the file system remembers of a listing may be old.
    target.fs.invalidate_cache()
    return target.fs.info(target.path).get("size")  # type: ignore[no-any-return]


def _open(target: Target) -> Any:
    if target.is_local:
        return open(target.path, "rb")  # noqa: PTH123
    return target.fs.open(target.path, "rb", block_size=_READ_BYTES, cache_type="none")
