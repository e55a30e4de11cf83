"""The chunks of a body: whole ones on a fast line, what has come on a slow one, what came before a break."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from urllib3.exceptions import ProtocolError

from stoq_provider.download import resume
from stoq_provider.download.resume import CHUNK_BYTES, _next_chunk

LINE_BYTES = CHUNK_BYTES // 4


class Clock:
    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


class OldRaw:
    """A response of urllib3 1.26; each read takes ``seconds`` and gives what the line has."""

    def __init__(self, clock, size, seconds, breaks_at=None):
        self.clock, self.left, self.seconds, self.breaks_at = clock, size, seconds, breaks_at
        self.calls = 0

    def read(self, size, *, decode_content):
        return self.give(size, decode_content)

    def give(self, size, decode_content):
        assert decode_content is False
        self.calls += 1
        if self.calls == self.breaks_at:
            raise ProtocolError("https://host/?secret")
        self.clock.now += self.seconds
        given = min(size, self.left, LINE_BYTES)
        self.left -= given
        return b"x" * given


class Raw(OldRaw):
    """A response of urllib3 2."""

    def read(self, size, *, decode_content):
        raise AssertionError("this waits for all of the size")

    def read1(self, size, *, decode_content):
        return self.give(size, decode_content)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(resume, "time", clock)
    return clock


def test_fast_connection_is_read_in_whole_chunks(clock):
    raw = Raw(clock, 3 * CHUNK_BYTES, seconds=0.01)
    assert [_next_chunk(raw, nullcontext()) for _ in range(4)] == [(b"x" * CHUNK_BYTES, "", False)] * 3 + [
        (b"", "", True)
    ]


def test_slow_connection_returns_twice_a_second(clock):
    raw = Raw(clock, 10 * CHUNK_BYTES, seconds=0.3)
    chunk, trouble, ended = _next_chunk(raw, nullcontext())
    assert (len(chunk), trouble, ended) == (2 * LINE_BYTES, "", False)
    assert clock.now == pytest.approx(0.6)


def test_what_came_before_the_break_is_kept(clock):
    raw = Raw(clock, CHUNK_BYTES, seconds=0.01, breaks_at=3)
    chunk, trouble, ended = _next_chunk(raw, nullcontext())
    assert (len(chunk), trouble, ended) == (2 * LINE_BYTES, "the connection broke (ProtocolError)", False)


def test_old_urllib3_without_read1(clock):
    raw = OldRaw(clock, 40_000, seconds=0.01)
    assert _next_chunk(raw, nullcontext()) == (b"x" * 40_000, "", True)
    assert raw.calls > 1
