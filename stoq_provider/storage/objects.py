"""The writer for object stores."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any, Protocol

from stoq_provider.storage.existing import says_exists
from stoq_provider.storage.sink import Sink
from stoq_provider.storage.target import AZURE, S3, Target

FIRST_BYTES = 8 * 1024 * 1024
"""Up to this size a file goes out in one request."""

BLOCK_BYTES = 16 * 1024 * 1024
"""Part size of fsspec's uploads. The 50 MiB of s3fs cost three times the memory, the 5 MiB of gcsfs a request
each."""

_log = logging.getLogger(__name__)


class Upload(Protocol):
    """An upload in several parts, which nobody sees before its commit."""

    def write(self, chunk: bytes) -> None:
        """Append bytes; uploads parts as they fill up."""

    def commit(self) -> None:
        """Put the parts together."""

    def abort(self) -> None:
        """Have the store forget the parts."""


class ObjectSink(Sink):
    """
    Uploads to an object store.

    The first bytes stay in memory: most files end within them and go out in one request, which is atomic by
    itself. Above that, parts are uploaded as they fill up and put together by the commit: by obstore where
    it is installed and the Airflow connection can be translated for it, else by fsspec. Without
    ``overwrite`` it is always fsspec, which can make the last step of an upload conditional.
    """

    def __init__(self, target: Target, *, overwrite: bool = True, size: int | None = None) -> None:
        self._target = target
        self._overwrite = overwrite
        self._total = size
        self._first: list[bytes] = []
        self._size = 0
        self._upload: Upload | None = None

    def write(self, chunk: bytes) -> None:
        """Append bytes."""
        if self._upload is not None:
            self._upload.write(chunk)
            return
        self._first.append(chunk)
        self._size += len(chunk)
        if self._size > FIRST_BYTES:
            self._upload = self._begin()
            while self._first:
                self._upload.write(self._first.pop(0))

    def commit(self) -> None:
        """
        Put the object into place.

        :raises FileExistsError: without ``overwrite``, if the object came into being in the meantime.
        """
        if not self._overwrite and self._target.exists():
            # Asked again after the transfer. Stores that know a conditional put are told to use it as well.
            raise FileExistsError(f"{self._target.uri} has come into being during the download")
        try:
            if self._upload is None:
                self._target.fs.pipe_file(self._target.path, b"".join(self._first), **self._put_options())
            else:
                self._upload.commit()
        except Exception as error:
            if self._overwrite or not says_exists(error):
                raise
            raise FileExistsError(f"{self._target.uri} has come into being during the download") from error
        self._first, self._upload = [], None

    def abort(self) -> None:
        """Drop what was written."""
        upload, self._upload = self._upload, None
        self._first = []
        if upload is not None:
            upload.abort()

    def _begin(self) -> Upload:
        if self._overwrite and self._target.protocol in S3:
            from stoq_provider.storage.native import begin_upload

            upload = begin_upload(self._target, self._total)
            if upload is not None:
                return upload
        return FsspecUpload(self._target, overwrite=self._overwrite)

    def _put_options(self) -> dict[str, str]:
        return {} if self._overwrite else {"mode": "create"}


class FsspecUpload:
    """
    Uploads through the raw file of an fsspec file system.

    It must be the raw one of ``fs.open``: Airflow's wrapper swallows the assignment of ``closed``, and that
    is what keeps the file's destructor from completing the upload.
    """

    def __init__(self, target: Target, *, overwrite: bool = True) -> None:
        self._fs = target.fs
        # adlfs knows no commit: closing is what puts the blocks together.
        self._two_step = target.protocol not in AZURE
        options = {"autocommit": False} if self._two_step else {}
        self._file: Any = self._fs.open(
            target.path, "wb" if overwrite else "xb", block_size=BLOCK_BYTES, **options
        )

    def write(self, chunk: bytes) -> None:
        """Append bytes; uploads a part when a block is full."""
        self._file.write(chunk)

    def commit(self) -> None:
        """Put the object into place."""
        try:
            self._file.close()
            if self._two_step:
                self._file.commit()
        except BaseException:
            self.abort()
            raise
        self._forget()

    def abort(self) -> None:
        """Discard the upload, and make sure that no destructor completes it."""
        file = self._file
        if file is None:
            return
        try:
            discard = getattr(file, "discard", None)
            if discard is not None and self._two_step:
                discard()
        finally:
            file.closed = True
            self._forget()

    def _forget(self) -> None:
        # fsspec keeps every file opened without autocommit in a list of the (cached) file system.
        file, self._file = self._file, None
        with suppress(AttributeError, ValueError):
            self._fs.transaction.files.remove(file)
