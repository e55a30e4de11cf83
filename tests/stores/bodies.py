"""The files that are downloaded, and the download itself as all tests call it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from stoq_provider.download.download import download_files
from stoq_provider.download.many import DownloadPool
from stoq_provider.download.options import DownloadOptions
from stoq_provider.download.verification import StoredFile
from tests.stores.origin import Served
from tests.stores.stores import LATE, Store

MIB = 1024 * 1024
KEY = "reports/day=2026-05-28/export.csv"
STANDING = b"id\nthe file of yesterday\n"
"""What lies under the key already, where something does."""


@dataclass(frozen=True)
class Body:
    """
    A CSV file.

    :param late: :data:`LATE`, or the middle of a file that is not as long.
    """

    content: bytes
    rows: int
    late: int

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@cache
def small(version: int = 1) -> Body:
    """A file that goes out in one request."""
    return _body(50, version)


@cache
def large(version: int = 1) -> Body:
    """A file of nearly 18 MiB, which goes out in several parts: the largest of any writer has 16 MiB."""
    return _body(350_000, version)


def _body(rows: int, version: int) -> Body:
    # No two rows are alike, so that bytes in the wrong place show. Every row holds a quoted newline.
    lines = (
        f'{i:07d},"note {version}\r\nof {i}",{i * 7919 % 100_003:06d}.{i % 97:02d},held for stock\r\n'
        for i in range(rows)
    )
    content = ("id,note,amount,state\r\n" + "".join(lines)).encode()
    return Body(content, rows, late=LATE if len(content) > LATE else len(content) // 2)


def fetch(
    store: Store,
    file: Served,
    *,
    key: str = KEY,
    rows: int | None = None,
    get_url: Callable[[], str] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    **options: Any,
) -> StoredFile:
    """Download ``file``."""
    pool: DownloadPool[list[StoredFile]] = DownloadPool(should_stop)
    call = partial(
        download_files,
        get_url or file.url,
        store.uri(key),
        file_name=None,
        expected_rows=rows,
        options=DownloadOptions(allow_loopback=True, **options),
        job_id="8f14e45f",
        should_stop=pool.stopped,
    )
    return pool.run([call], 1)[0][0]


def check_whole(store: Store, stored: StoredFile, body: Body) -> None:
    """The object is the file, whole, and what was returned describes it."""
    assert store.get(KEY) == body.content
    assert (stored.bytes, stored.rows, stored.sha256) == (len(body.content), body.rows, body.sha256)
    assert store.visible() == [KEY]
    assert store.leftovers() == []


def check_nothing_happened(store: Store, standing: bytes | None) -> None:
    """No object came into being, the one that stood there still does, and no upload is open."""
    assert store.get(KEY) == standing
    assert store.visible() == ([] if standing is None else [KEY])
    assert store.leftovers() == []
