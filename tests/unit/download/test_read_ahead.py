"""One thread reads, another takes the chunks: in order, a few ahead, and both end together."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from stoq_provider.download import pipeline
from stoq_provider.download.pipeline import DEPTH, read_ahead
from tests.harness import wait_until
from tests.unit.transport.silence import HANG_SECONDS

CHUNKS = [b"%d" % n for n in range(10 * DEPTH)]


class Source:
    """Hands out chunks, then raises; ``given`` counts them. Before the one at ``held`` it waits."""

    def __init__(self, end=None, held=None):
        self.end, self.held = end, held
        self.free = threading.Event()
        self.given = 0
        self.closed = False
        self.thread = None
        self.stopped = False

    def chunks(self):
        self.thread = threading.current_thread()
        for number, chunk in enumerate(CHUNKS):
            if number == self.held:
                assert self.free.wait(HANG_SECONDS)
            self.check()
            self.given += 1
            yield chunk
        if self.end is not None:
            raise self.end

    def check(self):
        if self.stopped or self.closed:
            raise RuntimeError("was stopped")

    def close(self):
        self.closed = True
        self.free.set()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(pipeline, "_TICK_SECONDS", 0.02)
    monkeypatch.setattr(pipeline, "_PATIENCE_SECONDS", HANG_SECONDS)


def test_chunks_come_in_order_from_a_thread_of_their_own():
    source = Source()
    assert list(read_ahead(source)) == CHUNKS
    assert source.thread is not threading.current_thread()
    assert not source.closed, "it may be read once more"


@pytest.mark.parametrize("error", [OSError("broke"), MemoryError(), KeyboardInterrupt()])
def test_error_comes_after_the_chunks_before_it(error):
    taken = []
    with pytest.raises(type(error)) as caught:
        taken.extend(read_ahead(Source(error)))
    assert caught.value is error
    assert taken == CHUNKS


def test_so_many_are_read_ahead_and_no_more():
    source = Source()
    with closing(read_ahead(source)) as chunks:
        next(chunks)
        wait_until(lambda: source.given == DEPTH + 2)  # one was taken, and one waits for room
        source.thread.join(0.1)
        assert source.given == DEPTH + 2
        assert list(chunks) == CHUNKS[1:]


def test_stop_is_heard_while_nothing_comes():
    source = Source(held=1)
    chunks = read_ahead(source)
    next(chunks)
    source.stopped = True
    with pytest.raises(RuntimeError, match="was stopped"):
        next(chunks)
    assert source.closed
    assert not source.thread.is_alive()


@pytest.mark.parametrize("held", [None, 2], ids=["waits for room", "waits for bytes"])
def test_leaving_ends_the_reader(held):
    source = Source(held=held)
    with closing(read_ahead(source)) as chunks:
        next(chunks)
    assert source.closed
    assert not source.thread.is_alive()


def test_reader_that_is_stuck_is_left_behind(monkeypatch):
    monkeypatch.setattr(pipeline, "_PATIENCE_SECONDS", 0.0)
    source = Source(held=1)
    source.close = lambda: None
    with closing(read_ahead(source)) as chunks:
        next(chunks)
    assert source.thread.is_alive()
    source.stopped = True
    source.free.set()
    source.thread.join(HANG_SECONDS)
