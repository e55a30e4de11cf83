from __future__ import annotations

import mmap
import platform
import subprocess
import sys

import pytest
from urllib3.exceptions import ProtocolError

from stoq_provider.download import body as module
from stoq_provider.download.body import CHUNK_BYTES, Body


class Clock:
    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


class Raw:
    """A response that notes how it was read; each piece takes ``seconds``."""

    def __init__(self, clock, size, seconds):
        self.clock, self.left, self.seconds = clock, size, seconds
        self.calls: list[str] = []
        self.breaks_after = None

    def read(self, size, *, decode_content):
        assert decode_content is False
        self.calls.append("read")
        return self.give(size)

    def read1(self, size, *, decode_content):
        assert decode_content is False
        self.calls.append("read1")
        return self.give(size)

    def give(self, size):
        if len(self.calls) == self.breaks_after:
            raise ProtocolError("https://host/?secret")
        self.clock.now += self.seconds
        given = min(size, self.left)
        self.left -= given
        return b"x" * given


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_fast_connection_is_read_in_whole_chunks(clock):
    raw = Raw(clock, 3 * CHUNK_BYTES, seconds=0.01)
    body = Body(raw)
    assert [len(body.next_chunk()[0]) for _ in range(3)] == [CHUNK_BYTES] * 3
    assert raw.calls == ["read1"] * 4 + ["read"] * 2
    assert body.next_chunk() == (b"", "", True)


def test_slow_connection_returns_every_second(clock):
    raw = Raw(clock, 10 * CHUNK_BYTES, seconds=0.6)
    body = Body(raw)
    body.next_chunk()
    assert clock.now == pytest.approx(1.2)
    body.next_chunk()
    assert set(raw.calls) == {"read1"}


def test_connection_that_turns_slow_is_read_as_it_comes(clock):
    raw = Raw(clock, 10 * CHUNK_BYTES, seconds=0.01)
    body = Body(raw)
    body.next_chunk()
    raw.seconds = 5
    body.next_chunk()
    body.next_chunk()
    assert raw.calls == ["read1"] * 4 + ["read", "read1"]


def test_what_came_before_the_break_is_kept(clock):
    raw = Raw(clock, CHUNK_BYTES, seconds=0.01)
    raw.breaks_after = 3
    chunk, trouble, ended = Body(raw).next_chunk()
    assert len(chunk) == CHUNK_BYTES // 2
    assert trouble == "the connection broke (ProtocolError)"
    assert not ended


def test_old_urllib3_without_read1(clock):
    class OldRaw(Raw):
        read1 = None  # type: ignore[assignment]

    raw = OldRaw(clock, 40_000, seconds=0.01)
    assert Body(raw).next_chunk() == (b"x" * 40_000, "", True)


_PROGRAM = """
import resource
from pathlib import Path
from stoq_provider.download.body import CHUNK_BYTES, Body

def used():
    return int(Path("/proc/self/statm").read_text().split()[1])

begun = used()
for _ in range(6):
    Body(None)
print(used() - begun)

for turn in range(20):
    if turn == 10:
        begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    waiting = [b"x" * CHUNK_BYTES for _ in range(5)]
    waiting.clear()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun) / 50)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other habits")
def test_memory_of_chunks_is_used_again_and_bodies_take_none():
    command = [sys.executable, "-c", _PROGRAM]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    taken, got_again = map(float, said.split())
    assert taken * mmap.PAGESIZE < 8 * 1024 * 1024
    assert got_again < CHUNK_BYTES / mmap.PAGESIZE / 10
