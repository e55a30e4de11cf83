"""
Writers that publish the whole file or nothing.

Leaving ``with path.open("wb")`` by an exception publishes what was written so far, on every store: closing
such a file completes it, and so does its garbage collection. A :class:`AtomicWriter` becomes visible by
:meth:`AtomicWriter.commit` only, and leaving its block without that drops everything.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import suppress
from itertools import count
from typing import Any, BinaryIO

from stoq_provider.download.destination import AZURE, Target

FIRST_BYTES = 8 * 1024 * 1024
"""Up to this size a file goes out in one request through a file system; at S3, up to the size of a part."""

BLOCK_BYTES = 16 * 1024 * 1024
"""Part size of fsspec's uploads. The 50 MiB of s3fs cost three times the memory, the 5 MiB of gcsfs a request
each."""


class AtomicWriter:
    """A file in the making. Use it in a ``with`` block: whatever leaves the block before commit drops it."""

    def begin(self) -> None:
        """Have the store begin what :meth:`abort` drops, to see whether it may be written to."""

    def write(self, chunk: bytes) -> None:
        """Append bytes."""
        raise NotImplementedError

    def commit(self) -> None:
        """
        Publish what was written, all at once.

        :raises Exception: without ``overwrite``, one that
            :func:`~stoq_provider.download.store_errors.says_exists` if the name was taken in the
            meantime, as far as the store knows a conditional put.
        """
        raise NotImplementedError

    def abort(self) -> None:
        """Drop what was written. Harmless after a commit, and when called twice."""
        raise NotImplementedError

    def __enter__(self) -> AtomicWriter:
        """Return the writer itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Drop what was not committed, whatever the reason."""
        self.abort()


class NoWriter(AtomicWriter):
    """Stands in for a writer where the object is there already, and what comes is only compared with it."""

    def write(self, chunk: bytes) -> None:
        """Drop it."""

    def commit(self) -> None:
        """Fail: there is nothing any more to be compared with."""
        raise FileNotFoundError("it was there, and has gone during the download")

    def abort(self) -> None:
        """Do nothing."""


_AT_ONCE = 4
"""Parts of one file that the next writer looks for; there is a second only if two write it at a time."""


def open_part(path: str) -> BinaryIO:
    """
    Open a new file beside ``path``, to take its place, and remove what killed processes left of theirs.

    It is locked as long as it is open, which tells it from those. Their names are known, so that a folder
    of many thousand records need not be listed. Where a file system knows no locks, what is left stays, and
    nothing is ever mixed.
    """
    folder, name = os.path.split(path)
    own = os.path.join(folder, f".stoq-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}")  # noqa: PTH118
    for number in range(_AT_ONCE):
        with suppress(OSError), open(left := f"{own}-{number}.part", "r+b") as file:  # noqa: PTH123
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_named(file, left):
                os.unlink(left)  # noqa: PTH108
    for number in count():
        with suppress(FileExistsError):
            part = open(f"{own}-{number}.part", "xb")  # noqa: PTH123, SIM115
            with suppress(OSError):
                fcntl.flock(part, fcntl.LOCK_EX)
            if _is_named(part, part.name):
                return part
            part.close()  # another took it for one that was left, before it was locked
    raise AssertionError


def _is_named(file: BinaryIO, path: str) -> bool:
    """Return whether an open file still has that name; it may have been renamed, and the name taken again."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))  # noqa: PTH116
    return False


class LocalWriter(AtomicWriter):
    """
    Writes to a temporary name in the same folder and renames it, which no reader sees half done.

    The data is on disk before the name is: a crash leaves the old file or the new one.
    """

    def __init__(self, path: str, *, overwrite: bool = True) -> None:
        self._path = path
        self._overwrite = overwrite
        _make_folder(os.path.dirname(path))  # noqa: PTH120
        self._file = open_part(path)
        self._part: str | None = self._file.name

    def write(self, chunk: bytes) -> None:
        """Append bytes to the temporary file."""
        self._file.write(chunk)

    def commit(self) -> None:
        """Flush to disk and rename."""
        assert self._part is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        if self._overwrite:
            os.replace(self._part, self._path)  # noqa: PTH105
        else:
            _move_unless_taken(self._part, self._path)
        self._part = None
        self._file.close()
        _sync_folder(os.path.dirname(self._path))  # noqa: PTH120

    def abort(self) -> None:
        """Remove the temporary file."""
        part, self._part = self._part, None
        if part is not None:
            with suppress(FileNotFoundError):
                os.unlink(part)  # noqa: PTH108
        with suppress(OSError):
            self._file.close()


def _move_unless_taken(part: str, path: str) -> None:
    try:
        os.link(part, path)  # unlike a rename, it fails if the name is taken
    except FileExistsError:
        raise
    except OSError:
        # Buckets that are mounted, and some network shares, have no hard links: an empty file takes the name.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            os.replace(part, path)  # noqa: PTH105
        except OSError:
            os.unlink(path)  # noqa: PTH108
            raise
        return
    os.unlink(part)  # noqa: PTH108


def _make_folder(folder: str) -> None:
    """Make a folder and those above it; their names are as durable as that of the file is to be."""
    if not folder or os.path.isdir(folder):  # noqa: PTH112
        return
    parent = os.path.dirname(folder)  # noqa: PTH120
    _make_folder(parent)
    with suppress(FileExistsError):  # by another worker; where it is a file, the next step says so
        os.mkdir(folder)  # noqa: PTH102
    _sync_folder(parent)


def _sync_folder(folder: str) -> None:
    # Makes the new name durable. Some file systems refuse it; the file itself is safe by then.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class FsspecWriter(AtomicWriter):
    """
    Uploads through the raw file of an fsspec file system.

    The first bytes stay in memory: most files end within them and go out in one request, which is atomic by
    itself. Above that, parts are uploaded as they fill up and put together by the commit.

    It must be the raw file of ``fs.open``: Airflow's wrapper swallows the assignment of ``closed``, and that
    is what keeps the file's destructor from completing the upload.
    """

    def __init__(self, target: Target, *, overwrite: bool = True) -> None:
        self._fs = target.fs
        self._path = target.path
        self._overwrite = overwrite
        # adlfs knows no commit: closing is what puts the blocks together.
        self._two_step = target.protocol not in AZURE
        self._first = bytearray()
        self._file: Any = None

    def begin(self) -> None:
        """Begin an upload; of Azure, which has no such thing, look for the container."""
        if self._two_step:
            self._file = self._open()
            self._file._initiate_upload()
        else:
            try:
                self._fs.info(self._path.partition("/")[0], refresh=True)
            except Exception as error:
                # To look at a container is a permission of its own, which writing does not need.
                if not (getattr(error, "error_code", None) or "").startswith("Authorization"):
                    raise

    def write(self, chunk: bytes) -> None:
        """Append bytes; uploads a part when a block is full."""
        if self._file is not None:
            self._file.write(chunk)
            return
        self._first += chunk
        if len(self._first) > FIRST_BYTES:
            self._file = self._open()
            first, self._first = self._first, bytearray()
            self._file.write(first)

    def _open(self) -> Any:
        mode = "wb" if self._overwrite else "xb"
        options = {"autocommit": False} if self._two_step else {}
        return self._fs.open(self._path, mode, block_size=BLOCK_BYTES, **options)

    def commit(self) -> None:
        """Put the object into place."""
        if self._file is None:
            mode = {} if self._overwrite else {"mode": "create"}
            self._fs.pipe_file(self._path, bytes(self._first), **mode)
            return
        self._file.close()
        if self._two_step:
            self._file.commit()
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
