"""A file as the body of a form: streamed where its length is known, copied first where it is not."""

from __future__ import annotations

import io
import tracemalloc
from types import SimpleNamespace

import pytest
import requests
import requests_mock

from stoq_provider.transport.session import make_session
from stoq_provider.transport.upload import FileBody, upload

from .conftest import ORIGIN, STOQ, settings

SIZE = 20_000_000


class Stored:
    """A file in a store."""

    name = "x.csv"

    def __init__(self, content, size):
        self.content, self.size = content, size

    def stat(self):
        return SimpleNamespace(st_size=self.size)

    def open(self, mode):
        return io.BytesIO(self.content)


def sent(stored):
    """Return the answer, and the length and body of what was sent."""
    bodies = []

    def take(request, context):
        bodies.append((int(request.headers["Content-Length"]), request.body.read()))
        return {}

    with requests_mock.Mocker() as mocker:
        mocker.post(f"{ORIGIN}/up", json=take)
        answer = upload(make_session(settings(), STOQ), settings(), f"{ORIGIN}/up", stored, field="files")
    return answer, *bodies[0]


@pytest.mark.parametrize("size", [3, None, -1, 0], ids=str)
def test_a_file_is_sent_whole_also_where_its_store_knows_no_length(size):
    answer, length, body = sent(Stored(b"abc", size))
    assert answer.problem is None
    assert length == len(body)
    assert body.count(b"\r\n\r\nabc\r\n--") == 1


def test_an_empty_file_is_sent():
    _, length, body = sent(Stored(b"", 0))
    assert length == len(body)
    assert b"\r\n\r\n\r\n--" in body


@pytest.mark.parametrize("says", [2, 5])
def test_a_file_that_is_not_as_long_as_its_store_says_is_not_sent_whole(says):
    body = FileBody(io.BytesIO(b"abc"), says)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        [body.read(4) for _ in range(2)]


class Zeros(io.RawIOBase):
    """A large file that nobody holds."""

    left = SIZE

    def readable(self):
        return True

    def readinto(self, buffer):
        count = min(len(buffer), self.left)
        self.left -= count
        return count


@pytest.mark.parametrize("size", [SIZE, None], ids=["known", "unknown"])
def test_memory_does_not_grow_with_the_file(monkeypatch, size):
    stored, session, sent = Stored(b"", size), make_session(settings(), STOQ), []
    monkeypatch.setattr(stored, "open", lambda mode: Zeros())

    def drain(*_, data, **__):
        while chunk := data.read(16_384):
            sent.append(len(chunk))
        raise requests.exceptions.ReadTimeout

    monkeypatch.setattr(session, "request", drain)
    tracemalloc.start()
    try:
        upload(session, settings(), f"{ORIGIN}/up", stored, field="files")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(sent) > SIZE
    assert peak < 2_000_000
