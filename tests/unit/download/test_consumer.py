# The blocks below are the contexts that are tested.
# ruff: noqa: PT012
from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from stoq_provider.download import consumer as module
from stoq_provider.download.consumer import DEPTH, ConsumerThread
from tests.unit.transport.silence import HANG_SECONDS, PROCESS_SECONDS


class Consumer:
    """Notes every call; ``free`` holds them up until it is set, ``fails`` names the call that raises."""

    def __init__(self, fails=None, error=None):
        self.calls: list[object] = []
        self.threads = set()
        self.free = threading.Event()
        self.free.set()
        self.begun = threading.Event()
        self.fails, self.error = fails, error or OSError("no room")

    def _note(self, call, name):
        self.begun.set()
        assert self.free.wait(HANG_SECONDS)
        self.calls.append(call)
        self.threads.add(threading.current_thread())
        if self.fails == name:
            raise self.error

    def write(self, chunk):
        self._note(chunk, "write")

    def finish(self):
        self._note("finish", "finish")

    def commit(self):
        self._note("commit", "commit")
        return "done"

    def abort(self):
        self._note("abort", "abort")


def nothing():
    pass


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "_TICK_SECONDS", 0.02)


@pytest.fixture
def held(monkeypatch):
    """Return a consumer that is held up in its first call, until it was dropped and is waited for."""
    consumer = Consumer()
    consumer.free.clear()
    join = ConsumerThread.join

    def open_and_join(thread, patience):
        consumer.free.set()
        join(thread, patience)

    monkeypatch.setattr(ConsumerThread, "join", open_and_join)
    return consumer


def test_consumer_gets_everything_in_order_in_a_thread_of_its_own():
    consumer = Consumer()
    with ConsumerThread(lambda: consumer, nothing) as thread:
        chunks = [b"%d" % n for n in range(50)]
        for chunk in chunks:
            thread.write(chunk)
        thread.finish()
        assert thread.commit() == "done"
    assert consumer.calls == [*chunks, "finish", "commit", "abort"]
    assert len(consumer.threads) == 1
    assert threading.current_thread() not in consumer.threads


def test_consumer_is_not_made_before_the_first_bytes():
    with ConsumerThread(lambda: pytest.fail("made"), nothing):
        pass


def test_queue_is_bounded_and_a_waiting_owner_hears_a_stop(held):
    def check():
        raise RuntimeError("was stopped")

    with pytest.raises(RuntimeError, match="was stopped"), ConsumerThread(lambda: held, check) as thread:
        for n in range(DEPTH):  # the one in the thread counts until it is taken
            thread.write(b"%d" % n)
        thread.write(b"one too many")
    assert held.calls == [b"0", "abort"]


@pytest.mark.parametrize(
    ("fails", "error"),
    [
        ("write", OSError("no room")),
        ("write", MemoryError()),
        ("finish", OSError("no room")),
        ("commit", OSError("no room")),
        ("commit", KeyboardInterrupt()),
    ],
)
def test_what_the_consumer_raises_comes_out_and_it_is_aborted(fails, error):
    consumer = Consumer(fails, error)
    with pytest.raises(type(error)) as caught, ConsumerThread(lambda: consumer, nothing) as thread:
        for _ in range(10 * DEPTH):
            thread.write(b"x")
        thread.finish()
        thread.commit()
    assert caught.value is error
    assert consumer.calls[-1] == "abort"
    assert consumer.calls.count("abort") == 1


def test_consumer_that_cannot_be_made():
    def make():
        raise OSError("no folder")

    with pytest.raises(OSError, match="no folder"), ConsumerThread(make, nothing) as thread:
        thread.write(b"x")
        thread.finish()


def test_interruption_waits_for_the_call_that_is_under_way_and_drops_the_rest(held):
    """A call into a store is never cut in two: that is what leaves uploads behind."""
    with pytest.raises(KeyboardInterrupt), ConsumerThread(lambda: held, nothing) as thread:
        for n in range(DEPTH):
            thread.write(b"%d" % n)
        assert held.begun.wait(HANG_SECONDS)
        raise KeyboardInterrupt
    assert held.calls == [b"0", "abort"]


def test_commit_that_is_under_way_is_not_cut_either():
    consumer = Consumer()
    with ConsumerThread(lambda: consumer, nothing) as thread:
        thread.write(b"x")
        thread.finish()
        consumer.free.clear()
        consumer.begun.clear()
        thread._put("commit")  # as if the wait for the answer had been interrupted
        assert consumer.begun.wait(HANG_SECONDS)
        consumer.free.set()
    assert consumer.calls == [b"x", "finish", "commit", "abort"]


def test_commit_that_is_answered_after_a_stop_is_good():
    consumer = Consumer()
    asked = []

    def check():
        asked.append(1)
        consumer.free.set()
        raise RuntimeError("was stopped")

    with ConsumerThread(lambda: consumer, check) as thread:
        thread.write(b"x")
        while not consumer.calls:
            consumer.begun.wait(HANG_SECONDS)
        consumer.free.clear()
        thread._put("finish")
        assert thread.commit() == "done"
    assert asked


def test_commit_that_is_never_answered_does_not_outlive_a_stop_for_long(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    consumer = Consumer()
    stopped = []

    def check():
        if stopped:
            raise RuntimeError("was stopped")

    with pytest.raises(TimeoutError), ConsumerThread(lambda: consumer, check) as thread:
        thread.write(b"x")
        thread.finish()
        consumer.free.clear()
        stopped.append(1)
        thread.commit()
    consumer.free.set()
    thread.join(HANG_SECONDS)


def test_consumer_that_is_stuck_is_left_behind(monkeypatch, caplog):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    consumer = Consumer()
    consumer.free.clear()
    with ConsumerThread(lambda: consumer, nothing) as thread:
        thread.write(b"x")
        assert consumer.begun.wait(HANG_SECONDS)
    assert "stuck in a call" in caplog.text
    consumer.free.set()
    thread.join(HANG_SECONDS)
    assert consumer.calls == [b"x", "abort"]


def test_abort_that_fails_hides_nothing(caplog):
    def run():
        with ConsumerThread(lambda: Consumer("abort"), nothing) as thread:
            thread.write(b"x")
            thread.finish()
            raise ValueError("the reason")

    with pytest.raises(ValueError, match="the reason"):
        run()
    assert "could not be cleaned up: no room" in caplog.text


def test_consumer_that_was_dropped_never_looks_as_if_it_had_published():
    thread = ConsumerThread(Consumer, nothing)
    thread.write(b"x")
    thread.drop()
    thread.join(HANG_SECONDS)
    thread._answers.get()  # the first bytes may have been taken
    thread._answers.put(module._ENDED)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="dropped"):
            thread.commit()


# --- the end of the interpreter ----------------------------------------------------------------------


def run(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_SECONDS)


EXIT = """
import sys, threading
from stoq_provider.download import consumer as module
from stoq_provider.download.consumer import ConsumerThread
module._EXIT_PATIENCE_SECONDS = 300  # what ends sooner is no matter of the machine's speed
begun = threading.Event()
SETUP
class Consumer:
    def write(self, chunk):
        print("write", flush=True)
        begun.set()
        STUCK
    def finish(self): pass
    def commit(self): print("commit", flush=True)
    def abort(self): print("abort", flush=True)
def work():
    with ConsumerThread(Consumer, lambda: None) as consumer:
        consumer.write(b"x")
        threading.Event().wait()
thread = threading.Thread(target=work, daemon=True)
thread.start()
begun.wait()
sys.exit(3)
"""


def at_exit(setup="", stuck="", **changes):
    code = EXIT.replace("SETUP", setup).replace("STUCK", stuck)
    for before, after in changes.items():
        code = code.replace(before, after)
    return run(code)


def test_interpreter_that_exits_meanwhile_cleans_up():
    """The call that is under way returns only once its thread was dropped."""
    setup = "dropped, drop = threading.Event(), ConsumerThread.drop\n"
    setup += "ConsumerThread.drop = lambda thread: (drop(thread), dropped.set())"
    result = at_exit(setup, stuck="dropped.wait()")
    assert result.returncode == 3
    assert result.stdout.split() == ["write", "abort"]


def test_interpreter_that_exits_meanwhile_does_not_hang_where_a_call_never_returns():
    result = at_exit("module._EXIT_PATIENCE_SECONDS = 0.1", stuck="threading.Event().wait()")
    assert result.returncode == 3
    assert result.stdout.split() == ["write"]


WAITED_FOR = """
import concurrent.futures.thread, threading
from concurrent.futures import ThreadPoolExecutor
exiting = threading.Event()
# Handlers run last in, first out: this one after that of the consumers, before that of the executors.
threading._register_atexit(exiting.set)
from stoq_provider.download.consumer import ConsumerThread
class Consumer:
    def write(self, chunk): pass
    def finish(self): pass
    def commit(self): print("commit", flush=True)
    def abort(self): print("abort", flush=True)
begun = threading.Event()
def work():
    with ConsumerThread(Consumer, lambda: None) as consumer:
        consumer.write(b"x")
        begun.set()
        exiting.wait()
        consumer.write(b"x")
        consumer.finish()
        consumer.commit()
def pool():
    from stoq_provider.download.many import DownloadPool
    DownloadPool(lambda: False).run([work], 1)
START
begun.wait()
"""


@pytest.mark.parametrize(
    "start", ["threading.Thread(target=work).start()", "ThreadPoolExecutor(1).submit(pool)"]
)
def test_download_that_the_interpreter_waits_for_is_done_to_its_end(start):
    result = run(WAITED_FOR.replace("START", start))
    assert result.stdout.split() == ["commit", "abort"], result.stderr


def test_at_the_exit_stores_can_still_look_up_names():
    """Their event loops use threads of a pool for that; pools are shut before exit handlers run."""
    lookup = 'print(ThreadPoolExecutor(1).submit(lambda: "abort").result(), flush=True)'
    result = at_exit(
        "from concurrent.futures import ThreadPoolExecutor", **{'print("abort", flush=True)': lookup}
    )
    assert result.stdout.split() == ["write", "abort"], result.stderr


def test_at_the_exit_consumers_end_before_the_sessions_of_their_stores():
    """Clients of stores close their sessions by finalizers; what aborts an upload needs one."""
    session = "import weakref\nclass Session: pass\nsession = Session()\n"
    session += "weakref.finalize(session, lambda: print('closed', flush=True))\n"
    result = at_exit(session)
    assert result.stdout.split() == ["write", "abort", "closed"]
