"""
Writers that publish the whole file or nothing.

Leaving ``with path.open("wb")`` by an exception publishes what was written so far, on every store: closing
such a file completes it, and so does its garbage collection. A :class:`Sink` becomes visible by
:meth:`Sink.commit` only, and leaving its block without that drops everything.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from types import TracebackType
from typing import Any, BinaryIO

from stoq_provider.storage.target import AZURE, GCS, S3, Target

BLOCK_BYTES = 16 * 1024 * 1024
"""Part size of uploads. The 50 MiB of s3fs cost three times the memory, the 5 MiB of gcsfs a request each."""


class Sink:
    """A file in the making. Use it in a ``with`` block: whatever leaves the block before commit drops it."""

    def write(self, chunk: bytes) -> None:
        """Append bytes."""
        raise NotImplementedError

    def commit(self) -> None:
        """Publish what was written, all at once."""
        raise NotImplementedError

    def abort(self) -> None:
        """Drop what was written. Harmless after a commit, and when called twice."""
        raise NotImplementedError

    def __enter__(self) -> Sink:
        """Return the sink itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop what was not committed, whatever the reason."""
        self.abort()


class LocalSink(Sink):
    """
    Writes to a temporary name in the same folder and renames it, which no reader sees half done.

    The data is on disk before the name is: a crash leaves the old file or the new one.
    """

    def __init__(self, path: str, *, overwrite: bool = True) -> None:
        self._path = path
        self._overwrite = overwrite
        folder = os.path.dirname(path)  # noqa: PTH120
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103
        self._part: str | None = os.path.join(folder, f".stoq-{secrets.token_hex(8)}.part")  # noqa: PTH118
        self._file: BinaryIO = open(self._part, "xb")  # noqa: PTH123, SIM115

    def write(self, chunk: bytes) -> None:
        """Append bytes to the temporary file."""
        self._file.write(chunk)

    def commit(self) -> None:
        """
        Flush to disk and rename.

        :raises FileExistsError: without ``overwrite``, if the name was taken in the meantime.
        """
        assert self._part is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if self._overwrite:
            os.replace(self._part, self._path)  # noqa: PTH105
        else:
            _move_unless_taken(self._part, self._path)
        self._part = None
        _sync_folder(os.path.dirname(self._path))  # noqa: PTH120

    def abort(self) -> None:
        """Remove the temporary file."""
        part, self._part = self._part, None
        with suppress(OSError):
            self._file.close()
        if part is not None:
            with suppress(FileNotFoundError):
                os.unlink(part)  # noqa: PTH108


class ObjectSink(Sink):
    """
    Uploads to an object store through its raw fsspec file.

    The first block stays in memory: most files end within it and go out in one request, which is atomic by
    itself. Above that, parts are uploaded as they fill up and put together by the commit. The file must
    be the raw one of ``fs.open``: Airflow's wrapper swallows the assignment of ``closed``, and that is
    what keeps its destructor from completing the upload.
    """

    def __init__(self, target: Target, *, overwrite: bool = True) -> None:
        self._target = target
        self._overwrite = overwrite
        self._two_step = target.protocol not in AZURE
        self._buffer = bytearray()
        self._file: Any = None

    def write(self, chunk: bytes) -> None:
        """Append bytes; uploads a part when a block is full."""
        if self._file is not None:
            self._file.write(chunk)
            return
        self._buffer += chunk
        if len(self._buffer) > BLOCK_BYTES:
            self._file = self._open()
            self._file.write(bytes(self._buffer))
            self._buffer = bytearray()

    def commit(self) -> None:
        """
        Put the object into place.

        :raises FileExistsError: without ``overwrite``, if the object came into being in the meantime.
        """
        if not self._overwrite and self._target.exists():
            # Asked again after the transfer. Stores that know a conditional put are told to use it as well.
            raise FileExistsError(f"{self._target.uri} has come into being during the download")
        if self._file is None:
            self._target.fs.pipe_file(self._target.path, bytes(self._buffer), **self._put_options())
            return
        self._file.close()
        if self._two_step:
            self._file.commit()
        self._forget()

    def abort(self) -> None:
        """Discard the upload, and make sure that no destructor completes it."""
        file = self._file
        self._buffer = bytearray()
        if file is None:
            return
        try:
            discard = getattr(file, "discard", None)
            if discard is not None and self._two_step:
                discard()
        finally:
            file.closed = True
            self._forget()

    def _open(self) -> Any:
        mode = "wb" if self._overwrite or not self._two_step else "xb"
        options = {"autocommit": False} if self._two_step else {}
        return self._target.fs.open(self._target.path, mode, block_size=BLOCK_BYTES, **options)

    def _put_options(self) -> dict[str, str]:
        return {} if self._overwrite or not self._two_step else {"mode": "create"}

    def _forget(self) -> None:
        # fsspec keeps every file opened without autocommit in a list of the (cached) file system.
        file, self._file = self._file, None
        with suppress(AttributeError, ValueError):
            self._target.fs.transaction.files.remove(file)


def open_sink(target: Target, *, overwrite: bool = True) -> Sink:
    """Return the writer for the store of ``target``."""
    if target.is_local:
        return LocalSink(target.path, overwrite=overwrite)
    assert target.protocol in S3 + GCS + AZURE
    return ObjectSink(target, overwrite=overwrite)


def _move_unless_taken(part: str, path: str) -> None:
    try:
        os.link(part, path)  # unlike a rename, it fails if the name is taken
    except FileExistsError:
        raise
    except OSError:
        # No hard links here (some network and FAT file systems): the best that is left is to look first.
        if os.path.lexists(path):
            raise FileExistsError(f"{path} has come into being during the download") from None
        os.replace(part, path)  # noqa: PTH105
        return
    os.unlink(part)  # noqa: PTH108


def _sync_folder(folder: str) -> None:
    # Makes the new name durable. Some file systems refuse it; the file itself is safe by then.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
