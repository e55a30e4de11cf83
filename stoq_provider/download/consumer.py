"""
Threads that take the bytes of a download further, each behind a bounded queue.

The thread that downloads only reads; hashing, counting and writing happen in a :class:`Lane` each, so the
slowest of them sets the pace and memory stays constant. A lane owns its consumer: it makes it, feeds it,
and drops it. An exception that a signal raises in the main thread therefore never interrupts a call into a
store half-way, which is what leaves uploads behind that nobody can find again.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 - see the end of this module
import logging
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, NoReturn, Protocol

DEPTH = 4
"""Chunks that may wait in front of one consumer."""

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
        """Take the next bytes. They are shared with other consumers: never change them."""

    def finish(self) -> None:
        """Take note that all bytes have come. What can fail should fail here: nothing is published yet."""

    def commit(self) -> Any:
        """Publish, all at once. What it returns is handed to the caller of the download."""

    def abort(self) -> None:
        """Drop everything that was not committed. Comes last in any case; harmless after a commit."""


class Worker(threading.Thread):
    """A daemon that works for the thread that makes it, its ``patron``: that one waits for it."""

    def __init__(self, target: Callable[[], None], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)
        self.patron = _patron()

    def start(self) -> None:
        """Start it undisturbed: a signal that raises in the middle of it would end the new thread unseen."""
        mask = getattr(signal, "pthread_sigmask", None)
        if mask is None:
            super().start()
            return
        before = mask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            super().start()
        finally:
            mask(signal.SIG_SETMASK, before)


def _patron() -> threading.Thread:
    current = threading.current_thread()
    return current.patron if isinstance(current, Worker) else current


class Lane:
    """
    One consumer in a thread of its own.

    :param make: makes the consumer, within the thread.
    :param name: for messages.
    :param check: called about twice a second while the owner waits; what it raises ends the wait.
    :param idle: called about twice a second, in the lane's thread, while no bytes come. It never raises.
    """

    def __init__(
        self,
        make: Callable[[], Consumer],
        name: str,
        check: Callable[[], None],
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.error: BaseException | None = None
        self._make = make
        self._check = check
        self._idle = idle
        self._items: SimpleQueue[bytes | str] = SimpleQueue()
        self._answers: SimpleQueue[Any] = SimpleQueue()
        self._slots = threading.Semaphore(DEPTH)
        self._dropped = False
        self._over = False
        # A daemon: a call into a store that never returns must not keep the process from ending.
        self._thread = Worker(self._run, f"stoq-{name}")

    def start(self) -> None:
        """Start the thread."""
        with _live_lock:
            _live.add(self)
        self._thread.start()

    def put(self, chunk: bytes) -> None:
        """
        Hand over bytes; waits while the queue is full.

        :raises BaseException: what the consumer raised.
        """
        while not self._slots.acquire(timeout=_TICK_SECONDS):
            self._check()
        if self._over:
            self._raise()
        self._items.put(chunk)

    def finish(self) -> None:
        """Wait until all bytes are taken and the consumer has finished."""
        self._ask("finish", self._check)

    def commit(self) -> Any:
        """Let the consumer publish, and return what it returns. Waits to the end, told to stop or not."""
        return self._ask("commit", lambda: None)

    def drop(self) -> None:
        """Tell the thread to end, and to abort what is not committed. Returns at once."""
        self._dropped = True
        self._items.put("drop")

    def join(self, patience: float) -> None:
        """Wait for the thread's end, at most ``patience`` seconds."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, patience))
        if self._thread.is_alive():
            _log.warning("The %s is stuck in a call; it is dropped as soon as that returns", self.name)

    def is_alive(self) -> bool:
        """Return whether its thread runs."""
        return self._thread.is_alive()

    def is_waited_for(self) -> bool:
        """Return whether the interpreter, when it exits, waits for the download to be done."""
        patron = self._thread.patron
        return patron.is_alive() and not patron.daemon and patron is not threading.main_thread()

    def _ask(self, step: str, check: Callable[[], None]) -> Any:
        self._items.put(step)
        while True:
            try:
                answer = self._answers.get(timeout=_TICK_SECONDS)
            except Empty:
                check()
                continue
            if answer is _ENDED:
                self._raise()
            return answer

    def _raise(self) -> NoReturn:
        raise self.error or RuntimeError(f"The {self.name} was dropped: the process is about to end")

    # --- in the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        consumer: Consumer | None = None
        try:
            consumer = self._make()
            self._serve(consumer)
        except BaseException as error:
            self.error = error
        finally:
            if consumer is not None:
                self._abort(consumer)
            # Wakes an owner that waits for a slot or an answer.
            self._over = True
            self._answers.put(_ENDED)
            self._slots.release()

    def _serve(self, consumer: Consumer) -> None:
        while True:
            item = self._next()
            if self._dropped:
                return
            if isinstance(item, bytes):
                consumer.write(item)
                self._slots.release()
            else:
                step: Callable[[], Any] = consumer.finish if item == "finish" else consumer.commit
                self._answers.put(step())
            del item

    def _next(self) -> bytes | str:
        while True:
            try:
                return self._items.get(timeout=_TICK_SECONDS)
            except Empty:
                self._idle()

    def _abort(self, consumer: Consumer) -> None:
        try:
            consumer.abort()
        except Exception as error:
            _log.warning("What the %s had begun could not be cleaned up: %s", self.name, error)


class Lanes:
    """The lanes of one pass. Leaving its block ends them all; what is not committed is dropped."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._lanes: list[Lane] = []

    def add(self, make: Callable[[], Consumer], name: str, idle: Callable[[], None] = lambda: None) -> Lane:
        """Start a lane."""
        lane = Lane(make, name, self._check, idle)
        self._lanes.append(lane)
        lane.start()
        return lane

    def __iter__(self) -> Iterator[Lane]:
        """Return the lanes in the order in which they were added."""
        return iter(tuple(self._lanes))

    def __enter__(self) -> Lanes:
        """Return the lanes themselves."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all lanes; they clean up at the same time."""
        end(self._lanes, PATIENCE_SECONDS)


def end(lanes: list[Lane], patience: float) -> None:
    """Drop ``lanes`` and wait for their threads, at most ``patience`` seconds in all."""
    for lane in lanes:
        lane.drop()
    until = time.monotonic() + patience
    for lane in lanes:
        lane.join(until - time.monotonic())


# The interpreter may exit while a download runs in a thread that it does not wait for.
_live: weakref.WeakSet[Lane] = weakref.WeakSet()
_live_lock = threading.Lock()


def _end_unattended() -> None:
    with _live_lock:
        lanes = [lane for lane in _live if lane.is_alive() and not lane.is_waited_for()]
    end(lanes, _EXIT_PATIENCE_SECONDS)


# Exit handlers run last in, first out; all finalizers run in one handler, registered by the first of them.
# Sessions of stores are closed by finalizers: with one made here, that comes after the lanes have ended.
weakref.finalize(Lane, int)
atexit.register(_end_unattended)
# Earlier still, if possible: a store whose connection has gone looks up its name in a pool of threads, and
# those are shut before exit handlers run. What is registered after the end of concurrent.futures runs first.
getattr(threading, "_register_atexit", atexit.register)(_end_unattended)
