# The blocks below are the contexts that are tested.
# ruff: noqa: PT012
from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from stoq_provider.storage import lanes
from stoq_provider.storage.lanes import DEPTH, Lanes


class Consumer:
    """Notes every call; ``gate`` holds writes up until it is set, ``fails`` names the call that raises."""

    def __init__(self, fails=None, error=None):
        self.calls: list[object] = []
        self.threads = set()
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.fails, self.error = fails, error or OSError("no room")

    def _note(self, call, name):
        self.calls.append(call)
        self.threads.add(threading.current_thread())
        if self.fails == name:
            raise self.error

    def write(self, chunk):
        self.begun.set()
        self.gate.wait(5)
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
    monkeypatch.setattr(lanes, "_TICK_SECONDS", 0.02)


def test_consumer_gets_everything_in_order_in_a_thread_of_its_own():
    consumer = Consumer()
    with Lanes(nothing) as all_of_them:
        lane = all_of_them.add(lambda: consumer, "writer")
        chunks = [b"%d" % n for n in range(50)]
        for chunk in chunks:
            lane.put(chunk)
        lane.finish()
        assert lane.commit() == "done"
    assert consumer.calls == [*chunks, "finish", "commit", "abort"]
    assert len(consumer.threads) == 1
    assert threading.current_thread() not in consumer.threads


def test_queue_is_bounded_and_a_waiting_owner_hears_a_stop():
    consumer = Consumer()
    consumer.gate.clear()
    stop = []

    def check():
        if stop:
            raise RuntimeError("told to stop")

    with pytest.raises(RuntimeError, match="told to stop"), Lanes(check) as all_of_them:
        lane = all_of_them.add(lambda: consumer, "writer")
        for n in range(DEPTH):  # the one in the thread counts until it is taken
            lane.put(b"%d" % n)
        threading.Timer(0.1, stop.append, [1]).start()
        threading.Timer(0.3, consumer.gate.set).start()
        lane.put(b"one too many")
    assert b"one too many" not in consumer.calls
    assert consumer.calls[-1] == "abort"


@pytest.mark.parametrize("error", [OSError("no room"), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("fails", ["write", "finish", "commit"])
def test_what_the_consumer_raises_comes_out_and_it_is_aborted(fails, error):
    consumer = Consumer(fails, error)
    with pytest.raises(type(error)), Lanes(nothing) as all_of_them:
        lane = all_of_them.add(lambda: consumer, "writer")
        for _ in range(10 * DEPTH):
            lane.put(b"x")
        lane.finish()
        lane.commit()
    assert lane.error is error
    assert consumer.calls[-1] == "abort"
    assert consumer.calls.count("abort") == 1


def test_consumer_that_cannot_be_made():
    def make():
        raise OSError("no folder")

    with pytest.raises(OSError, match="no folder"), Lanes(nothing) as all_of_them:
        all_of_them.add(make, "writer").finish()


def test_what_waits_is_dropped_when_the_block_is_left():
    consumer = Consumer()
    consumer.gate.clear()
    with pytest.raises(KeyboardInterrupt), Lanes(nothing) as all_of_them:
        lane = all_of_them.add(lambda: consumer, "writer")
        for n in range(DEPTH):
            lane.put(b"%d" % n)
        assert consumer.begun.wait(5)
        threading.Timer(0.1, consumer.gate.set).start()
        raise KeyboardInterrupt
    assert consumer.calls == [b"0", "abort"]


def test_interruption_waits_for_the_call_that_is_under_way():
    """A call into a store is never cut in two: that is what leaves uploads behind."""
    consumer = Consumer()
    consumer.gate.clear()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Lanes(nothing) as all_of_them:
        all_of_them.add(lambda: consumer, "writer").put(b"x")
        time.sleep(0.05)
        threading.Timer(0.2, consumer.gate.set).start()
        raise KeyboardInterrupt
    assert time.monotonic() - began >= 0.2
    assert consumer.calls == [b"x", "abort"]


def test_commit_that_is_under_way_is_not_cut_either():
    class Slow(Consumer):
        def commit(self):
            time.sleep(0.2)
            return super().commit()

    consumer = Slow()
    with Lanes(nothing) as all_of_them:
        lane = all_of_them.add(lambda: consumer, "writer")
        lane._items.put("commit")  # as if the wait for the answer had been interrupted
        time.sleep(0.05)
    assert consumer.calls == ["commit", "abort"]


def test_consumer_that_is_stuck_is_left_behind(monkeypatch, caplog):
    monkeypatch.setattr(lanes, "PATIENCE_SECONDS", 0.1)
    consumer = Consumer()
    consumer.gate.clear()
    with Lanes(nothing) as all_of_them:
        lane = all_of_them.add(lambda: consumer, "writer")
        lane.put(b"x")
        time.sleep(0.05)
    assert "stuck in a call" in caplog.text
    consumer.gate.set()
    lane.join(5)
    assert consumer.calls == [b"x", "abort"]


def test_abort_that_fails_hides_nothing(caplog):
    with pytest.raises(ValueError, match="the reason"), Lanes(nothing) as all_of_them:
        all_of_them.add(lambda: Consumer("abort"), "writer").put(b"x")
        raise ValueError("the reason")
    assert "could not be cleaned up: no room" in caplog.text


def test_lane_that_was_dropped_never_looks_as_if_it_had_published():
    lane = lanes.Lane(Consumer, "writer", nothing)
    lane.start()
    lane.drop()
    lane.join(5)
    with pytest.raises(RuntimeError, match="dropped"):
        lane.commit()
    with pytest.raises(RuntimeError, match="dropped"):
        lane.put(b"x")


EXIT = """
import sys, threading, time
from stoq_provider.storage.lanes import Lanes
class Consumer:
    def write(self, chunk): print("write", flush=True); time.sleep(STUCK)
    def finish(self): pass
    def commit(self): print("commit", flush=True)
    def abort(self): print("abort", flush=True)
def work():
    with Lanes(lambda: None) as lanes:
        lanes.add(Consumer, "writer").put(b"x")
        time.sleep(60)
thread = threading.Thread(target=work, daemon=True)
thread.start()
time.sleep(0.5)
sys.exit(3)
"""


@pytest.mark.parametrize("stuck", [0, 1])
def test_interpreter_that_exits_meanwhile_cleans_up_and_does_not_hang(stuck):
    code = EXIT.replace("STUCK", str(stuck))
    began = time.monotonic()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert result.returncode == 3
    assert result.stdout.split() == ["write", "abort"]
    assert time.monotonic() - began < 10


WAITED_FOR = """
import threading, time
from concurrent.futures import ThreadPoolExecutor
from stoq_provider.storage.lanes import Lanes
from stoq_provider.storage.many import DownloadPool
class Consumer:
    def write(self, chunk): pass
    def finish(self): pass
    def commit(self): print("commit", flush=True)
    def abort(self): print("abort", flush=True)
begun = threading.Event()
def work():
    with Lanes(lambda: None) as lanes:
        lane = lanes.add(Consumer, "writer")
        begun.set()
        time.sleep(0.5)
        lane.put(b"x")
        lane.finish()
        lane.commit()
def pool():
    DownloadPool(lambda: False).run([work], 1)
START
begun.wait()
"""


@pytest.mark.parametrize(
    "start",
    [
        "threading.Thread(target=work).start()",
        "ThreadPoolExecutor(1).submit(work)",
        "threading.Thread(target=pool).start()",
        "ThreadPoolExecutor(1).submit(pool)",
    ],
)
def test_download_that_the_interpreter_waits_for_is_done_to_its_end(start):
    code = WAITED_FOR.replace("START", start)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert result.stdout.split() == ["commit", "abort"], result.stderr


def test_at_the_exit_stores_can_still_look_up_names():
    """Their event loops use threads of a pool for that; pools are shut before exit handlers run."""
    code = EXIT.replace("STUCK", "0").replace(
        'def abort(self): print("abort", flush=True)',
        'def abort(self): print(ThreadPoolExecutor(1).submit(lambda: "abort").result(), flush=True)',
    )
    code = f"from concurrent.futures import ThreadPoolExecutor\n{code}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert result.stdout.split() == ["write", "abort"], result.stderr


def test_at_the_exit_lanes_end_before_the_sessions_of_their_stores():
    """Clients of stores close their sessions by finalizers; what aborts an upload needs one."""
    session = "import weakref\nclass Session: pass\nsession = Session()\n"
    session += "weakref.finalize(session, lambda: print('closed', flush=True))\n"
    code = EXIT.replace("STUCK", "0").replace("class Consumer:", f"{session}class Consumer:")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert result.stdout.split() == ["write", "abort", "closed"]
