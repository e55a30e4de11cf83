"""
The thread that takes the bytes of a download further, behind a bounded queue.

The thread that downloads only reads; hashing, counting and writing happen in a :class:`ConsumerThread`, so
the slower of the two sets the pace and memory stays constant. That thread owns its consumer: it makes it,
feeds it, and drops it. An exception that a signal raises in the main thread therefore never interrupts a
call into a store half-way, which is what leaves uploads behind that nobody can find again.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 - see the end of this module
import logging
import threading
import time
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Protocol

DEPTH = 4
"""Chunks that may wait in front of the consumer."""

PATIENCE_SECONDS = 60.0
"""How long the end of a download waits for a consumer that is stuck in a call."""

_EXIT_PATIENCE_SECONDS = 10.0
_TICK_SECONDS = 0.5
_ENDED = object()
_log = logging.getLogger(__name__)


class Consumer(Protocol):
    """
    Takes a stream of bytes. All methods are called in one thread, which is not the main thread.

    ``write`` any number of times, then ``finish``, then ``commit``; or ``abort`` at any point instead.
    """

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""

    def finish(self) -> None:
        """Take note that all bytes have come. What can fail should fail here: nothing is published yet."""

    def commit(self) -> Any:
        """Publish, all at once. What it returns is handed to the caller of the download."""

    def abort(self) -> None:
        """Drop everything that was not committed. Comes last in any case; harmless after a commit."""


class ConsumerThread:
    """
    One consumer in a thread of its own. Leaving its block ends it; what is not committed is dropped.

    The thread answers every item that it takes, and the owner waits for answers where too many are due. Both
    queues are of the kind that an exception of a signal leaves whole.

    :param make: makes the consumer, within the thread.
    :param check: called about twice a second while the owner waits; what it raises ends the wait.
    """

    def __init__(self, make: Callable[[], Consumer], check: Callable[[], None]) -> None:
        self.error: BaseException | None = None
        self._make = make
        self._check = check
        self._items: SimpleQueue[bytes | str] = SimpleQueue()
        self._answers: SimpleQueue[Any] = SimpleQueue()
        self._due = 0
        self._dropped = False
        self._owner = threading.current_thread()
        # A daemon: a call into a store that never returns must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="stoq-consumer", daemon=True)

    def write(self, chunk: bytes) -> None:
        """
        Hand over bytes; waits while the queue is full.

        :raises BaseException: what the consumer raised.
        """
        if self._thread.ident is None:
            # Not before its owner is in the block, which ends it.
            self._thread.start()
        while self._due >= DEPTH:
            self._wait(self._check)
        self._put(chunk)

    def finish(self) -> None:
        """Wait until all bytes are taken and the consumer has finished."""
        self._ask("finish", self._check)

    def commit(self) -> Any:
        """
        Let the consumer publish, and return what it returns. A stop does not end the wait at once.

        :raises TimeoutError: it was to stop, and has not answered for :data:`PATIENCE_SECONDS` since.
        """
        left = PATIENCE_SECONDS

        def check() -> None:
            nonlocal left
            try:
                self._check()
            except Exception as error:
                left -= _TICK_SECONDS
                if left <= 0:
                    raise TimeoutError("no answer, long after the stop") from error

        return self._ask("commit", check)

    def drop(self) -> None:
        """Have the thread end, and abort what is not committed. Returns at once."""
        self._dropped = True
        self._items.put("drop")

    def join(self, patience: float) -> None:
        """Wait for the thread's end, at most ``patience`` seconds."""
        if self._thread.is_alive():
            self._thread.join(max(0.0, patience))
        if self._thread.is_alive():
            _log.warning(
                "The destination is stuck in a call; what it does not publish is dropped once that returns."
            )

    def is_unattended(self) -> bool:
        """Return whether the interpreter, when it exits, does not wait for the owner."""
        owner = self._owner
        return not owner.is_alive() or owner.daemon or owner is threading.main_thread()

    def __enter__(self) -> ConsumerThread:
        """Return it; the first bytes start the thread."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the thread."""
        self.drop()
        self.join(PATIENCE_SECONDS)

    def _put(self, item: bytes | str) -> None:
        self._due += 1
        self._items.put(item)

    def _ask(self, step: str, check: Callable[[], None]) -> Any:
        self._put(step)
        answer = None
        while self._due:
            answer = self._wait(check)
        return answer

    def _wait(self, check: Callable[[], None]) -> Any:
        """Return the next answer."""
        while True:
            try:
                answer = self._answers.get(timeout=_TICK_SECONDS)
            except Empty:
                check()
                continue
            if answer is _ENDED:
                self._answers.put(_ENDED)
                raise self.error or RuntimeError("The download was dropped: the process is about to end.")
            self._due -= 1
            return answer

    # --- in the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        consumer: Consumer | None = None
        _live.add(self)
        try:
            if not self._dropped:
                consumer = self._make()
                self._serve(consumer)
        except BaseException as error:
            self.error = error
        finally:
            if consumer is not None:
                self._abort(consumer)
            _live.discard(self)
            self._answers.put(_ENDED)

    def _serve(self, consumer: Consumer) -> None:
        while True:
            item = self._items.get()
            if self._dropped:
                return
            answer = None
            if isinstance(item, bytes):
                consumer.write(item)
            elif item == "finish":
                consumer.finish()
            else:
                answer = consumer.commit()
            self._answers.put(answer)
            del item  # or its memory would be held while the next one is waited for

    def _abort(self, consumer: Consumer) -> None:
        try:
            consumer.abort()
        except Exception as error:
            _log.warning("What was begun at the destination could not be cleaned up: %s", error)


# The interpreter may exit while a download runs in a thread that it does not wait for.
_live: set[ConsumerThread] = set()


def _end_unattended() -> None:
    threads = [thread for thread in list(_live) if thread.is_unattended()]
    for thread in threads:
        thread.drop()
    until = time.monotonic() + _EXIT_PATIENCE_SECONDS
    for thread in threads:
        thread.join(until - time.monotonic())


# Exit handlers run last in, first out; all finalizers run in one handler, registered by the first of them.
# Sessions of stores are closed by finalizers: with one made here, that comes after the consumers have ended.
weakref.finalize(ConsumerThread, int)
atexit.register(_end_unattended)
# Earlier still, if possible: a store whose connection has gone looks up its name in a pool of threads, and
# those are shut before exit handlers run. What is registered after the end of concurrent.futures runs first.
getattr(threading, "_register_atexit", atexit.register)(_end_unattended)
