"""A file as the body of a form: sent whole, whatever its store says of its length."""

from __future__ import annotations

import io
import tracemalloc
from tempfile import TemporaryFile

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


def upload(file, session=None):
    transport = SyncTransport(session or ShopSession(settings(), STOQ), settings(), STOQ)
    return transport.send(Upload("POST", f"{ORIGIN}/up", file=file, name="x.csv", part="files"), NO_RETRY)


def sent(file):
    """Return the answer, and the length and body of what was sent."""
    bodies = []

    def take(request, context):
        bodies.append((int(request.headers["Content-Length"]), request.body.read()))
        return {}

    with requests_mock.Mocker() as mocker:
        mocker.post(f"{ORIGIN}/up", json=take)
        answer = upload(file)
    return answer, *bodies[0]


@pytest.mark.parametrize("content", [b"abc", b""], ids=["full", "empty"])
def test_a_file_is_sent_whole(content):
    answer, length, body = sent(io.BytesIO(content))
    assert answer.problem is None
    assert length == len(body)
    assert body.count(b"\r\n\r\n" + content + b"\r\n--") == 1


def test_a_file_is_sent_from_its_beginning_each_time():
    file = io.BytesIO(b"a line")  # which no boundary between parts can hold
    assert sent(file)[2].count(b"a line") == sent(file)[2].count(b"a line") == 1


def test_memory_does_not_grow_with_the_file(monkeypatch):
    session, sent = ShopSession(settings(), STOQ), []

    def drain(*_, data, **__):
        while chunk := data.read(16_384):
            sent.append(len(chunk))
        raise requests.exceptions.ReadTimeout

    monkeypatch.setattr(session, "request", drain)
    with TemporaryFile() as file:
        file.truncate(SIZE)
        tracemalloc.start()
        try:
            answer = upload(file, session)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert answer.problem.kind is ProblemKind.LOST_CONNECTION
    assert sum(sent) > SIZE
    assert peak < 2_000_000
