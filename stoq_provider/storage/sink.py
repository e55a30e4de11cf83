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
from typing import BinaryIO

from stoq_provider.storage.policy import Overwrite
from stoq_provider.storage.target import AZURE, GCS, S3, Target


class Sink:
    """A file in the making. Use it in a ``with`` block: whatever leaves the block before commit drops it."""

    def write(self, chunk: bytes) -> None:
        """Append bytes."""
        raise NotImplementedError

    def finish(self) -> None:
        """Take note that everything was written. Nothing is published yet."""

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


def open_sink(target: Target, *, overwrite: Overwrite = True, size: int | None = None) -> Sink:
    """
    Return the writer for the store of ``target``.

    :param overwrite: ``False``: commit only what does not exist. Whether an object that exists differs is
        the caller's question (:mod:`stoq_provider.storage.existing`).
    :param size: bytes that will be written, if known; parts of very large objects are larger.
    """
    if target.is_local:
        return LocalSink(target.path, overwrite=bool(overwrite))
    from stoq_provider.storage.objects import ObjectSink

    assert target.protocol in S3 + GCS + AZURE
    return ObjectSink(target, overwrite=bool(overwrite), size=size)


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
