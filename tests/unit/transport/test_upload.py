"""A file as the body of a form: sent whole, whatever its store says of its length."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import pytest
import requests
import requests_mock

from stoq_provider.core.http import ProblemKind
from stoq_provider.transport.retry import NO_RETRY
from stoq_provider.transport.session import ShopSession
from stoq_provider.transport.sync import SyncTransport
from stoq_provider.transport.upload import Upload

from .conftest import ORIGIN, STOQ, settings

SIZE = 20_000_000


class Stored:
    """A file in a store."""

    name = "x.csv"

    def __init__(self, content):
        self.content = content

    def open(self, mode):
        return io.BytesIO(self.content)


def upload(stored, session=None):
    transport = SyncTransport(session or ShopSession(settings(), STOQ), settings(), STOQ)
    return transport.send(Upload("POST", f"{ORIGIN}/up", path=stored, field="files"), NO_RETRY)


def sent(stored):
    """Return the answer, and the length and body of what was sent."""
    bodies = []

    def take(request, context):
        bodies.append((int(request.headers["Content-Length"]), request.body.read()))
        return {}

    with requests_mock.Mocker() as mocker:
        mocker.post(f"{ORIGIN}/up", json=take)
        answer = upload(stored)
    return answer, *bodies[0]


@pytest.mark.parametrize("content", [b"abc", b""], ids=["full", "empty"])
def test_a_file_is_sent_whole(content):
    answer, length, body = sent(Stored(content))
    assert answer.problem is None
    assert length == len(body)
    assert body.count(b"\r\n\r\n" + content + b"\r\n--") == 1


def test_a_file_that_can_not_be_read_is_not_sent(monkeypatch):
    stored = Stored(b"")
    monkeypatch.setattr(stored, "open", Path("/no/such/file").open)
    with requests_mock.Mocker() as mocker, pytest.raises(OSError, match="/no/such/file"):
        upload(stored)
    assert not mocker.called


class Zeros(io.RawIOBase):
    """A large file that nobody holds."""

    left = SIZE

    def readable(self):
        return True

    def readinto(self, buffer):
        count = min(len(buffer), self.left)
        self.left -= count
        return count


def test_memory_does_not_grow_with_the_file(monkeypatch):
    stored, session, sent = Stored(b""), ShopSession(settings(), STOQ), []
    monkeypatch.setattr(stored, "open", lambda mode: Zeros())

    def drain(*_, data, **__):
        while chunk := data.read(16_384):
            sent.append(len(chunk))
        raise requests.exceptions.ReadTimeout

    monkeypatch.setattr(session, "request", drain)
    tracemalloc.start()
    try:
        answer = upload(stored, session)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.problem.kind is ProblemKind.LOST_CONNECTION
    assert sum(sent) > SIZE
    assert peak < 2_000_000
