"""Downloads that fail: nothing is visible, what stood there still does, and no upload is left open."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from stoq_provider.exceptions import DownloadError, VerificationError
from tests.stores.bodies import STANDING, Body, check_nothing_happened, check_whole, fetch, large, small
from tests.stores.choice import on, on_disk
from tests.stores.origin import Break, Origin, Served
from tests.stores.stores import Store

Arrange = Callable[[Served, Body], dict[str, Any]]
"""Lets a download fail: bends what is served, and returns arguments of the download."""

FAR = 7
"""By how much the job's row count is wrong: more than a header line."""


class TimedOut(BaseException):
    """What Airflow raises in a task that runs too long is not an ``Exception`` either."""


class ApiGone(Exception):
    """The status endpoint does not answer."""


def truncated(file: Served, body: Body) -> dict[str, Any]:
    file.breaks = [Break(body.late, "close", times=None)]
    return {"max_resumes": 1}


def reset_for_good(file: Served, body: Body) -> dict[str, Any]:
    file.breaks = [Break(body.late, times=None)]
    return {"max_resumes": 1}


def stalled_for_good(file: Served, body: Body) -> dict[str, Any]:
    file.breaks = [Break(body.late, "stall", times=None)]
    return {"max_resumes": 0}


def too_slow(file: Served, body: Body) -> dict[str, Any]:
    file.breaks = [Break(body.late, "hold", times=None)]
    return {"deadline": 1.0}


def wrong_row_count(file: Served, body: Body) -> dict[str, Any]:
    return {"rows": body.rows + FAR}


def cut_without_a_length(file: Served, body: Body) -> dict[str, Any]:
    file.framing = "close"
    file.breaks = [Break(body.late, "close", times=None)]
    return {"rows": body.rows}


def url_refused_for_good(file: Served, body: Body) -> dict[str, Any]:
    stale = file.url()
    file.breaks = [Break(body.late, then=file.expire)]
    return {"get_url": lambda: stale}


def no_fresh_url(file: Served, body: Body) -> dict[str, Any]:
    urls = iter([file.url()])
    file.breaks = [Break(body.late, then=file.expire)]

    def get_url() -> str:
        for url in urls:
            return url
        raise ApiGone

    return {"get_url": get_url}


def stopping(file: Served, body: Body) -> dict[str, Any]:
    stop = threading.Event()
    file.breaks = [Break(body.late, "hold", then=stop.set)]
    return {"should_stop": stop.is_set}


def killed_by_an_exception(file: Served, body: Body) -> dict[str, Any]:
    file.breaks = [Break(body.late, "hold", then=lambda: os.kill(os.getpid(), signal.SIGALRM))]
    return {}


FAILURES: list[tuple[Arrange, type[BaseException], str | None]] = [
    (truncated, DownloadError, "gave up"),
    (reset_for_good, DownloadError, "gave up"),
    (stalled_for_good, DownloadError, "timed out"),
    (too_slow, DownloadError, "deadline"),
    (wrong_row_count, VerificationError, "announced"),
    (cut_without_a_length, VerificationError, None),
    (url_refused_for_good, DownloadError, "403"),
    (no_fresh_url, ApiGone, None),
    (stopping, DownloadError, "was stopped"),
    (killed_by_an_exception, TimedOut, None),
]


@contextmanager
def _alarm_raises() -> Iterator[None]:
    def raise_it(number: int, frame: object) -> None:
        raise TimedOut

    before = signal.signal(signal.SIGALRM, raise_it)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


def check_failure(
    store: Store,
    origin: Origin,
    standing: bytes | None,
    body: Body,
    arrange: Arrange,
    error: type[BaseException],
    text: str | None,
) -> None:
    file = origin.serve(body.content)
    arguments = arrange(file, body)
    with _alarm_raises(), pytest.raises(error, match=text) as caught:
        fetch(store, file, **arguments)
    check_nothing_happened(store, standing)
    if isinstance(caught.value, DownloadError):
        assert "Nothing was published" in str(caught.value)
        assert "signature" not in str(caught.value)


@on_disk
@pytest.mark.usefixtures("silence")
@pytest.mark.parametrize(
    ("make", "standing"),
    [(small, None), (large, STANDING)],
    ids=["small", "large-over-an-old-one"],
    indirect=["standing"],
)
@pytest.mark.parametrize(
    ("arrange", "error", "text"), [pytest.param(*each, id=each[0].__name__) for each in FAILURES]
)
def test_a_failed_download_publishes_nothing(
    store: Store,
    origin: Origin,
    standing: bytes | None,
    arrange: Arrange,
    error: type[BaseException],
    text: str | None,
    make: Callable[[], Body],
) -> None:
    check_failure(store, origin, standing, make(), arrange, error, text)


# What a writer notices of a failure is when it comes, amid an upload or after all was written, and whether
# code that looks for an ``Exception`` sees it.
@on("s3", "s3-fsspec", "gs", "abfs")
@pytest.mark.parametrize(
    ("arrange", "make", "standing"),
    [
        (wrong_row_count, small, None),
        (reset_for_good, large, None),
        (wrong_row_count, large, STANDING),
        (killed_by_an_exception, large, STANDING),
    ],
    ids=["small-at-the-end", "amid-an-upload", "at-the-end-over-an-old-one", "exception-over-an-old-one"],
    indirect=["standing"],
)
def test_no_writer_publishes_a_failed_download(
    store: Store, origin: Origin, standing: bytes | None, arrange: Arrange, make: Callable[[], Body]
) -> None:
    error, text = next((error, text) for each, error, text in FAILURES if each is arrange)
    check_failure(store, origin, standing, make(), arrange, error, text)


def test_the_next_try_succeeds_where_one_failed(store: Store, origin: Origin) -> None:
    body = large()
    file = origin.serve(body.content)
    with pytest.raises(VerificationError):
        fetch(store, file, rows=body.rows + FAR)
    check_whole(store, fetch(store, file, rows=body.rows), body)
