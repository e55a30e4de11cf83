"""Several downloads at a time, and names that keep them apart."""

from __future__ import annotations

import logging
import re
import threading
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import count
from math import inf
from typing import Generic, TypeVar

from stoq_provider.download.destination import add_job_id, clean_file_name
from stoq_provider.download.options import download_error
from stoq_provider.download.resume import Source

_TICK_SECONDS = 0.5
_PATIENCE_SECONDS = 90.0
# A download may add one of them or put it in place of another, such as .parquet for .csv.
_SUFFIXES = re.compile(r"(\.(csv|gz|parquet))+\Z")
_log = logging.getLogger(__name__)
T = TypeVar("T")


class DownloadPool(Generic[T]):
    """
    Runs downloads in a few threads; the first that fails stops the others.

    A single one as well: the calling thread has to stay free for what ends a download that waits for bytes.

    :param should_stop: asked about twice a second; ``True`` stops all.
    """

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop
        self._stop = threading.Event()
        self._sources: list[Source] = []
        self._errors: list[BaseException] = []
        self._results: dict[int, T] = {}

    def stopped(self) -> bool:
        """Return whether the downloads should stop; each of them asks."""
        return self._stop.is_set() or self._should_stop()

    def watch(self, source: Source) -> None:
        """Take note of a source, whose reads end at a stop or at its deadline."""
        self._sources.append(source)

    def run(self, downloads: Sequence[Callable[[], T]], at_once: int) -> list[T]:
        """
        Run all downloads and return their results in the order of ``downloads``.

        :raises BaseException: what the first one that failed raised, once the others have ended.
        """
        futures: list[Future[None]] = []
        executor = ThreadPoolExecutor(at_once, "stoq-download")
        try:
            for number, download in enumerate(downloads):
                futures.append(executor.submit(self._run, number, download))
            self._wait(futures)
        except BaseException:  # of this thread, such as the one of Airflow's task timeout
            self._stop.set()
            self._wait(futures)
            raise
        finally:
            executor.shutdown(wait=all(future.done() for future in futures), cancel_futures=True)
        if self._errors:
            for other in self._errors[1:]:
                _log.warning("Another download ended as well: %s", other)
            raise self._errors[0]
        if len(self._results) < len(downloads):
            raise download_error("The task was stopped before all files were downloaded.")
        return [self._results[number] for number in range(len(downloads))]

    def _wait(self, futures: Sequence[Future[None]]) -> None:
        """Wait for all; after a stop, which each of them hears, for so long as ends what hears nothing."""
        give_up_at = inf
        while wait(futures, _TICK_SECONDS).not_done:
            stopped = self.stopped()
            if stopped:
                give_up_at = min(give_up_at, time.monotonic() + _PATIENCE_SECONDS)
            if time.monotonic() >= give_up_at:
                _log.warning("A download is stuck in a call; it ends as soon as that returns.")
                return
            for source in tuple(self._sources):
                # Again and again: one may have connected only now.
                if stopped or source.overdue():
                    source.wake()

    def _run(self, number: int, download: Callable[[], T]) -> None:
        if self.stopped():
            return
        try:
            self._results[number] = download()
        except BaseException as error:
            self._errors.append(error)
            self._stop.set()


def distinct_names(given: Sequence[tuple[str | None, str | None]]) -> list[str]:
    """
    Return cleaned file names of which no two are the same, nor those of files made of them.

    Names that several files share get the id of their job before the extension, all of them, so that they
    do not depend on the order; a number follows where that is not enough.

    :param given: the server's name and the job id of each file.
    """
    named = [
        (clean_file_name(name, fallback=f"{job_id}.csv" if job_id else ""), job_id or "")
        for name, job_id in given
    ]
    seen = Counter(_collision_key(name) for name, _ in named)
    taken = {text for text, times in seen.items() if times == 1}
    names = [name for name, _ in named]
    # Sorted, so that it is not the order of the jobs that says which of them get a number.
    for n in sorted(range(len(named)), key=named.__getitem__):
        name, job_id = named[n]
        if seen[_collision_key(name)] > 1:
            candidates = (add_job_id(name, job_id, number) for number in count())
            names[n] = next(text for text in candidates if _collision_key(text) not in taken)
            taken.add(_collision_key(names[n]))
    return names


def _collision_key(name: str) -> str:
    # Some file systems take names that differ in case, or in how accents are composed, for the same.
    return _SUFFIXES.sub("", unicodedata.normalize("NFD", name.casefold()))
