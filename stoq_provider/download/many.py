"""Several downloads at a time."""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 - its end is registered before ours, see below
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from math import inf
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from stoq_provider.core.error_text import sentences
from stoq_provider.download.options import JOB_IS_DONE
from stoq_provider.download.output import not_confirmed
from stoq_provider.exceptions import DownloadError

_TICK_SECONDS = 0.5
_PATIENCE_SECONDS = 90.0
_EXIT_PATIENCE_SECONDS = 10.0
_log = logging.getLogger(__name__)
T = TypeVar("T")


class DownloadPool(Generic[T]):
    """
    Runs downloads in a few threads; the first that fails stops the others.

    A single one as well: what a signal raises in the main thread must never interrupt a call into a store
    half-way, which leaves uploads behind that nobody can find again.

    :param should_stop: asked about twice a second; ``True`` stops all.
    :param deadline: seconds for each download. It hears that by itself, unless it is stuck in a call.
    """

    def __init__(self, should_stop: Callable[[], bool], *, deadline: float | None = None) -> None:
        self.threads: list[threading.Thread] = []
        self._should_stop = should_stop
        self._deadline = inf if deadline is None else deadline
        self._stop = False
        self._begun: dict[int, float] = {}
        # Neither an event nor a join: an exception of a signal may leave those in a wrong state.
        self._ended: SimpleQueue[int] = SimpleQueue()
        self._errors: list[BaseException] = []
        self._results: dict[int, T] = {}

    def stop(self) -> None:
        """Have all downloads end."""
        self._stop = True

    def stopped(self) -> bool:
        """Return whether the downloads should stop; each of them asks."""
        if not self._stop and self._should_stop():
            self._stop = True
        return self._stop

    def run(self, downloads: Sequence[Callable[[], T]], at_once: int) -> list[T]:
        """
        Run all downloads and return their results in the order of ``downloads``.

        :raises BaseException: what the first one that failed raised, once the others have ended.
        """
        waiting = iter(list(enumerate(downloads)))  # of which each thread takes the next
        # Daemons: a call into a store that never returns must not keep the process from ending.
        self.threads = [
            threading.Thread(target=self._work, args=(waiting,), name="stoq-download", daemon=True)
            for _ in range(min(at_once, len(downloads)))
        ]
        (_unattended if threading.current_thread().daemon else _attended).add(self)
        try:
            for thread in self.threads:
                thread.start()
            self._wait(len(downloads))
        except BaseException:  # of this thread, such as the one of Airflow's task timeout
            self.stop()
            _unattended.add(self)  # another may end the wait
            self._wait(len(downloads))
            raise
        finally:
            _attended.discard(self)
        for other in self._errors[1:]:
            _log.warning("Another download ended as well: %s", other)
        if self._errors:
            raise self._errors[0]
        if self._begun:
            raise not_confirmed("the file", "a call has not returned, long after the stop or the deadline")
        if len(self._results) < len(downloads):
            text = "The task was stopped before all files were downloaded."
            raise DownloadError(sentences(text, "Files that were published before stay, whole.", JOB_IS_DONE))
        return [self._results[number] for number in range(len(downloads))]

    def _wait(self, total: int) -> None:
        """Wait for all. Each hears a stop and its deadline; what does not is given up a while later."""
        stopped_at = inf
        # In this order: what was not begun before the stop never will be.
        while not (self.stopped() or len(self._results) == total) or self._begun:
            with suppress(Empty):
                self._ended.get(timeout=_TICK_SECONDS)
            now = time.monotonic()
            if self.stopped():
                stopped_at = min(stopped_at, now)
            due = min(list(self._begun.values()), default=now) + self._deadline
            if self._begun and now >= min(stopped_at, due) + _PATIENCE_SECONDS:
                self.stop()
                _unattended.add(self)
                _log.warning("A download is stuck in a call; it ends as soon as that returns.")
                return
        _unattended.discard(self)

    def _work(self, waiting: Iterator[tuple[int, Callable[[], T]]]) -> None:
        for number, download in waiting:
            # Before it looks for a stop: after that, none may begin that is not waited for.
            self._begun[number] = time.monotonic()
            try:
                if not self.stopped():
                    self._results[number] = download()
            except BaseException as error:
                self._errors.append(error)
                self.stop()
            del self._begun[number]
            self._ended.put(number)


# When the interpreter exits, it does not wait for daemon threads: what they have begun would be left behind.
_unattended: set[DownloadPool[Any]] = set()
_attended: set[DownloadPool[Any]] = set()


def _end_all() -> None:
    pools = list(_unattended)
    for pool in pools:
        pool.stop()
    until = time.monotonic() + _EXIT_PATIENCE_SECONDS
    for thread in [thread for pool in pools for thread in pool.threads if thread.is_alive()]:
        thread.join(max(0.0, until - time.monotonic()))
    # The interpreter waits for the others anyway. While this does, stores can still look up names, see below.
    while _attended:
        time.sleep(_TICK_SECONDS)


# As early as possible: a store whose connection has gone looks up its name in a pool of threads, and those
# are shut before exit handlers run. What is registered after the end of concurrent.futures runs before that.
getattr(threading, "_register_atexit", atexit.register)(_end_all)
