"""Several downloads at a time, and names that keep them apart."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from stoq_provider.storage.names import clean_file_name
from stoq_provider.storage.policy import download_error
from stoq_provider.storage.source import Source

AT_ONCE = 4
"""Downloads at the same time, where nothing else is asked for."""

_TICK_SECONDS = 0.5
_PATIENCE_SECONDS = 90.0
_log = logging.getLogger(__name__)
T = TypeVar("T")


class DownloadPool(Generic[T]):
    """
    Runs downloads in a few threads; the first that fails stops the others.

    :param should_stop: asked about twice a second; ``True`` stops all.
    """

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop
        self._stop = threading.Event()
        self._sources: list[Source] = []
        self._waiting: SimpleQueue[tuple[int, Callable[[], T]]] = SimpleQueue()
        self._ended: SimpleQueue[int] = SimpleQueue()
        self._results: dict[int, T] = {}
        self._errors: list[BaseException] = []

    def stopped(self) -> bool:
        """Return whether the downloads should stop; each of them asks."""
        return self._stop.is_set() or self._should_stop()

    def watch(self, source: Source) -> None:
        """Take note of a source, whose reads a stop wakes up."""
        self._sources.append(source)

    def run(self, downloads: Sequence[Callable[[], T]], at_once: int) -> list[T]:
        """
        Run all downloads and return their results in the order of ``downloads``.

        A single one runs in the calling thread, where an exception that a signal raises ends it at once.

        :raises BaseException: what the first one that failed raised, once the others have ended.
        """
        if len(downloads) == 1:
            return [downloads[0]()]
        for item in enumerate(downloads):
            self._waiting.put(item)
        threads = [
            threading.Thread(target=self._work, name=f"stoq-download-{n}", daemon=True)
            for n in range(min(at_once, len(downloads)))
        ]
        try:
            for thread in threads:
                thread.start()
            self._wait(len(threads))
        finally:
            self._end(threads)
        if self._errors:
            for other in self._errors[1:]:
                _log.warning("Another download ended as well: %s", other)
            raise self._errors[0]
        if len(self._results) < len(downloads):
            raise download_error("The task was told to stop before all files were downloaded.", job_id=None)
        return [self._results[n] for n in range(len(downloads))]

    def _wait(self, threads: int) -> None:
        while threads:
            if self._should_stop():
                self._halt()
            try:
                self._ended.get(timeout=_TICK_SECONDS)
                threads -= 1
            except Empty:
                continue

    def _end(self, threads: Sequence[threading.Thread]) -> None:
        """Wait for all threads; also where an exception of the main thread ends the wait for results."""
        until = time.monotonic() + _PATIENCE_SECONDS
        for thread in threads:
            if thread.is_alive():
                self._halt()
                thread.join(max(0.0, until - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            _log.warning("A download is stuck in a call; it ends as soon as that returns")

    def _halt(self) -> None:
        self._stop.set()
        for source in tuple(self._sources):
            source.wake()

    def _work(self) -> None:
        try:
            while not self.stopped():
                number, download = self._waiting.get_nowait()
                self._results[number] = download()
        except Empty:
            pass
        except BaseException as error:
            self._errors.append(error)
            self._halt()
        finally:
            self._ended.put(1)


def distinct_names(given: Sequence[tuple[str | None, str]]) -> list[str]:
    """
    Return cleaned file names of which no two are the same.

    Names that several files share get the id of their job before the extension, all of them, so that they
    do not depend on the order.

    :param given: the server's name and the job id of each file.
    """
    names = [clean_file_name(name, fallback=f"{job_id}.csv") for name, job_id in given]
    seen = Counter(name.casefold() for name in names)
    return [
        name if seen[name.casefold()] == 1 else _with_id(name, job_id)
        for name, (_, job_id) in zip(names, given, strict=True)
    ]


def _with_id(name: str, job_id: str) -> str:
    stem, dot, extension = name.rpartition(".")
    if not dot:
        stem, extension = name, ""
    # The stem gives way where the whole is too long: it is the id that tells the files apart.
    tail = clean_file_name(job_id)
    return clean_file_name(f"{stem[:60]}-{tail}{dot}{extension}")
