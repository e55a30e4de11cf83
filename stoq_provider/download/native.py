"""Uploads by obstore: several parts at a time, at the speed of curl. An optional extra."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

from stoq_provider.download.destination import Target

PART_BYTES = 8 * 1024 * 1024
"""Size of a part; a part is in memory until it is sent."""

AT_ONCE = 3
"""Parts on their way at the same time."""

_MAX_PARTS = 9_000  # S3 takes 10,000
_WAITING = 2
# What a store still does with a part while it forgets the upload may come back as a part of nothing. obstore
# cuts the parts on their way; so those that are nearly there get time to arrive.
_SETTLE_SECONDS = 0.3
_log = logging.getLogger(__name__)


class Dropped(Exception):
    """Ends an upload that is not wanted any more; obstore then has the store forget the parts."""


class UploadFailed(Exception):
    """What obstore said, in one line."""


class ObstoreUpload:
    """
    One ``obstore.put`` in a thread of its own, which draws the bytes from here.

    obstore completes the upload when the bytes end, and aborts it when drawing them raises (measured, with
    requests logged). So the end is told by the commit only.
    """

    def __init__(self, store: Any, key: str, size: int | None = None) -> None:
        self._store = store
        self._key = key
        self._part = max(PART_BYTES, -(-(size or 0) // _MAX_PARTS))
        self._items: SimpleQueue[bytes | None] = SimpleQueue()
        self._slots = threading.Semaphore(_WAITING)
        self._dropped = False
        self._error: BaseException | None = None
        self._over = False
        # A daemon, so that a store that does not answer cannot keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="stoq-upload", daemon=True)
        self._thread.start()

    def write(self, chunk: bytes) -> None:
        """Append bytes; waits while parts are on their way."""
        self._slots.acquire()
        if self._over:
            raise self._error or UploadFailed("the upload ended early")
        self._items.put(chunk)

    def commit(self) -> None:
        """Have the parts put together."""
        self._items.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def abort(self) -> None:
        """
        Abort the upload; harmless once it is over.

        :raises UploadFailed: the store did not confirm that it forgot the parts.
        """
        if self._over:
            return
        self._dropped = True
        self._items.put(None)
        self._thread.join()
        if self._error is not None and not isinstance(self._error, Dropped):
            raise self._error

    def _run(self) -> None:
        import obstore

        try:
            obstore.put(
                self._store,
                self._key,
                self._chunks(),
                use_multipart=True,
                chunk_size=self._part,
                max_concurrency=AT_ONCE,
            )
        except Dropped as error:
            self._error = error
        except BaseException as error:
            self._error = _in_one_line(error)
        finally:
            self._over = True
            self._slots.release()

    def _chunks(self) -> Iterator[bytes]:
        given = 0
        while True:
            chunk = self._items.get()
            if self._dropped:
                if given >= self._part:
                    time.sleep(_SETTLE_SECONDS)
                raise Dropped
            if chunk is None:
                return
            given += len(chunk)
            yield chunk
            del chunk
            self._slots.release()


def begin_upload(target: Target, size: int | None) -> ObstoreUpload | None:
    """Begin an upload, or return ``None`` where obstore is missing or does not fit the connection."""
    try:
        import obstore  # noqa: F401
    except ImportError:
        return None
    from stoq_provider.download.s3config import s3_store

    store, why_not = s3_store(target)
    key = target.path.partition("/")[2]
    if store is not None and {"", ".", ".."} & set(key.split("/")):
        store, why_not = None, "obstore would take its key for another one"
    if store is None:
        _log.info("%s is written by fsspec, which is slower than obstore: %s", target.uri, why_not)
        return None
    return ObstoreUpload(store, key, size)


def _in_one_line(error: BaseException) -> BaseException:
    """Shorten obstore's errors, whose text goes on with the internals of its libraries."""
    if not type(error).__module__.startswith("obstore"):
        return error
    name = type(error).__name__
    return UploadFailed(f"{name}: {str(error).strip().partition(chr(10))[0][:300]}")
