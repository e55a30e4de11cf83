"""What a server may do to a caller: so much memory, and so much time."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
import tracemalloc
import zlib
from contextlib import suppress
from io import BytesIO
from math import inf

import pytest
import requests_mock

from stoq_provider.core.http import ProblemKind, Request
from stoq_provider.transport import connections, limits
from stoq_provider.transport.aio import AsyncTransport, Client
from stoq_provider.transport.auth import Login
from stoq_provider.transport.client_pool import make_client
from stoq_provider.transport.connections import TimeLimit
from stoq_provider.transport.poll_scheduler import PollScheduler
from stoq_provider.transport.rate_limiter import TRIGGERER, RateLimiter
from stoq_provider.transport.retry import NO_RETRY
from stoq_provider.transport.session import ShopSession
from stoq_provider.transport.sync import SyncTransport
from stoq_provider.transport.upload import Upload

from .conftest import ORIGIN, STOQ, settings
from .silence import HANG_SECONDS, PATIENCE

MIB = 1024 * 1024


class Server:
    """Sends each connection what ``pieces`` gives, whatever it asks for."""

    def __init__(self, pieces, *, pause=0.0):
        self.heard: list[bytes] = []
        self._pieces, self._pause = pieces, pause
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._latest = self._listener
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        with suppress(OSError):
            while True:
                with suppress(ConnectionError), self._listener.accept()[0] as connection:
                    self._latest = connection
                    self.heard.append(connection.recv(65_536))
                    for piece in self._pieces():
                        connection.sendall(piece)
                        time.sleep(self._pause)

    def close(self):
        # A handshake that is cancelled leaves its connection open for a while, in asyncio.
        for one in (self._listener, self._latest):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._thread.join(HANG_SECONDS)
        self._listener.close()


@pytest.fixture
def serve():
    servers = []

    def start(pieces, **more):
        servers.append(Server(pieces, **more))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def blocking(request, **more):
    given = settings(request.url.rpartition("/")[0], **more)
    with ShopSession(given, STOQ) as session:
        return SyncTransport(session, given, STOQ).send(request, NO_RETRY)


def in_a_loop(request, **more):
    async def run():
        given = settings(request.url.rpartition("/")[0], **more)
        async with make_client(given) as http:
            client = Client(http, Login(given, STOQ))
            scheduler = PollScheduler(STOQ, RateLimiter(STOQ, 0.8, TRIGGERER))
            return await AsyncTransport(given, client=client, scheduler=scheduler).send(request, NO_RETRY)

    return asyncio.run(run())


@pytest.fixture(params=[blocking, in_a_loop], ids=["worker", "triggerer"])
def send(request):
    return request.param


def head(*lines, status="200 OK"):
    return "\r\n".join((f"HTTP/1.1 {status}", *lines, "", "")).encode()


# -- memory -----------------------------------------------------------------------------------------

ZIPPED = head("Content-Encoding: gzip")
BOMB = gzip.compress(bytes(200 * MIB), 9)
NESTED = gzip.compress(bytes(2 * MIB)) * 100


def forever(piece):
    return lambda: iter(lambda: piece, b"")


def then(first, rest):
    def pieces():
        yield first
        yield from rest() if callable(rest) else (rest,)

    return pieces


TOO_LARGE = {
    "a bomb": then(ZIPPED, BOMB),
    "a bomb of many members": then(ZIPPED, NESTED),
    "a bomb, named twice": then(head("Content-Encoding: identity, GZIP"), BOMB),
    "a body without end": then(head(), forever(b"x" * 65_536)),
    "a body without end that stays empty": then(ZIPPED, then(gzip.compress(b""), forever(bytes(65_536)))),
    "a body announced as large": then(head(f"Content-Length: {4 * MIB}"), bytes(4 * MIB)),
    "chunks without end": then(head("Transfer-Encoding: chunked"), forever(b"1000\r\n%b\r\n" % bytes(4096))),
}


def measured(send, server):
    """Return the response to a write, and the bytes of memory that it took at the most."""
    tracemalloc.start()
    try:
        answer = send(Request("POST", f"http://127.0.0.1:{server.port}/x"))
        return answer, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pieces", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_body_that_is_too_large_is_no_good_response_and_takes_no_memory(serve, send, monkeypatch, pieces):
    monkeypatch.setattr(limits, "MAX_BODY_BYTES", MIB)
    server = serve(pieces)
    answer, peak = measured(send, server)
    assert (answer.problem.kind, answer.problem.text) == (
        ProblemKind.PROTOCOL,
        "HTTP 200: the body is larger than 1 MiB",
    )
    assert answer.problem.maybe_processed
    assert peak < 12 * MIB
    assert len(server.heard) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("302 Found", ProblemKind.PROTOCOL),
        ("401 Unauthorized", ProblemKind.AUTHENTICATION),
        ("422 Unprocessable", ProblemKind.VALIDATION),
        ("429 Too Many", ProblemKind.RATE_LIMITED),
        ("503 Unavailable", ProblemKind.UNAVAILABLE),
    ],
)
def test_the_status_counts_whatever_body_it_has(serve, send, monkeypatch, status, kind):
    monkeypatch.setattr(limits, "MAX_BODY_BYTES", MIB)
    first = head("Content-Encoding: gzip", "Location: /elsewhere", "Retry-After: 7", status=status)
    server = serve(then(first, BOMB))
    answer = send(Request("GET", f"http://127.0.0.1:{server.port}/x"))
    assert answer.problem.kind is kind
    assert answer.problem.text == f"HTTP {status[:3]}: the body is larger than 1 MiB"
    assert answer.rate_limit.retry_after == 7
    assert len(server.heard) == 1


HEADS = {
    "headers without end": then(b"HTTP/1.1 200 OK\r\n", forever(b"X-More: and more\r\n" * 100)),
    "a header without end": then(b"HTTP/1.1 200 OK\r\nX-Long: ", forever(b"x" * 65_536)),
    "a status without end": forever(b"x" * 65_536),
    "a chunk's head without end": then(
        head("Transfer-Encoding: chunked"), then(b"2;", forever(b"x" * 65_536))
    ),
    "a trailer without end": then(
        head("Transfer-Encoding: chunked"), then(b"2\r\n{}\r\n0\r\nX-Long: ", forever(b"x" * 65_536))
    ),
}


@pytest.mark.parametrize("pieces", HEADS.values(), ids=HEADS)
def test_what_stands_around_a_body_is_bounded_too(serve, send, pieces):
    server = serve(pieces)
    answer, peak = measured(send, server)
    assert answer.problem.kind is ProblemKind.LOST_CONNECTION
    assert peak < 4 * MIB


@pytest.mark.parametrize(
    ("coding", "body", "text"),
    [
        pytest.param("gzip", gzip.compress(b'{"a": 1}')[:-9], "no whole gzip (cut short)", id="cut"),
        pytest.param("gzip", b'{"a": 1}', "no whole gzip (Error -3", id="not gzip"),
        pytest.param("deflate", zlib.compress(b'{"a": 1}'), "the body is not JSON", id="not asked for"),
        pytest.param("gzip", b"", "the body is empty", id="empty"),
    ],
)
def test_a_body_that_cannot_be_decoded(serve, send, coding, body, text):
    first = head(f"Content-Encoding: {coding}", f"Content-Length: {len(body)}")
    server = serve(lambda: [first + body])
    answer = send(Request("GET", f"http://127.0.0.1:{server.port}/x"))
    assert answer.problem.kind is ProblemKind.PROTOCOL
    assert text in answer.problem.text
    assert b"accept-encoding: gzip\r\n" in server.heard[0].lower()


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP", "identity", "utf-8", ""])
def test_a_body_of_just_the_size_comes_whole(serve, send, monkeypatch, coding):
    monkeypatch.setattr(limits, "MAX_BODY_BYTES", MIB)
    body = b'"' + b"x" * (MIB - 2) + b'"'
    packed = gzip.compress(body) if "gzip" in coding.lower() else body
    first = head(f"Content-Encoding: {coding}", f"Content-Length: {len(packed)}")
    server = serve(then(first, packed))
    assert send(Request("GET", f"http://127.0.0.1:{server.port}/x")).payload == "x" * (MIB - 2)


# -- time -------------------------------------------------------------------------------------------


@pytest.fixture
def late(serve, monkeypatch):
    """Start a server; the limit on a call passes when that has heard it, however slow the machine is."""
    wait = asyncio.wait

    def start(pieces):
        server = serve(pieces, pause=0.02)

        async def wait_for_server(calls, timeout=None):
            if timeout != limits.whole_call(PATIENCE):
                return await wait(calls, timeout=timeout)
            while not server.heard:  # noqa: ASYNC110 - of another thread
                await asyncio.sleep(0.01)
            return set(), calls

        monkeypatch.setattr(asyncio, "wait", wait_for_server)
        monkeypatch.setattr(connections, "_TICK_SECONDS", 0.01)
        monkeypatch.setattr(connections, "monotonic", lambda: inf if server.heard else 0.0)
        return server

    return start


def dripping(first, drop):
    return then(first, forever(drop))


DRIPPING = {
    "a body without a length": dripping(head(), b" "),
    "a body with a length": dripping(head("Content-Length: 100000"), b" "),
    "chunks": dripping(head("Transfer-Encoding: chunked"), b"1\r\n \r\n"),
    "gzip": dripping(ZIPPED, gzip.compress(b" ")),
    "a header": dripping(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
    "100 Continue": dripping(b"", head(status="100 Continue")),
    "an error's body": dripping(head(status="422 No"), b" "),
}


@pytest.mark.parametrize("pieces", DRIPPING.values(), ids=DRIPPING)
def test_a_response_that_drips_counts_as_none(late, send, pieces):
    server = late(pieces)
    answer = send(Request("POST", f"http://127.0.0.1:{server.port}/x"), timeout=PATIENCE)
    assert answer.problem.kind is ProblemKind.LOST_CONNECTION
    assert answer.problem.text == f"the call was not done within {limits.whole_call(PATIENCE):g} s"
    assert answer.problem.maybe_processed
    assert len(server.heard) == 1


@pytest.mark.parametrize("way", ["handshake", "proxy"])
def test_a_connection_that_drips_comes_to_nothing(late, send, way):
    record = b"\x16\x03\x03\x40\x00"
    first = record if way == "handshake" else b"HTTP/1.1 200 OK\r\nX-Long: "
    server = late(dripping(first, b"x"))
    here = f"127.0.0.1:{server.port}"
    if way == "handshake":
        answer = send(Request("POST", f"https://{here}/x"), timeout=PATIENCE, verify=False)
    else:
        answer = send(Request("POST", f"{ORIGIN}/x"), timeout=PATIENCE, proxy=f"http://{here}")
    assert answer.problem.kind is ProblemKind.NOT_SENT


def test_an_upload_has_time_of_its_own():
    """Each of its blocks is waited for as long as a piece of a response."""
    assert limits.whole_call(2.0) == 6.0
    assert limits.whole_call(2.0, 10 * limits.SLOWEST_UPLOAD) == 16.0
    given = {}

    def note(seconds, end):
        given["seconds"] = seconds
        return TimeLimit(seconds, end)

    file = BytesIO(bytes(MIB))
    with pytest.MonkeyPatch.context() as patch, requests_mock.Mocker() as api:
        patch.setattr("stoq_provider.transport.session.TimeLimit", note)
        api.post(f"{ORIGIN}/x", json={})
        assert blocking(Upload("POST", f"{ORIGIN}/x", file=file), timeout=2.0).payload == {}
    assert 22 < given["seconds"] < 23


def test_a_connection_is_kept_after_a_response(serve):
    """The limits must not cost a handshake for each poll."""
    answer = head("Content-Length: 2") + b"{}"

    class Keeping(Server):
        def _serve(self):
            with suppress(OSError), self._listener.accept()[0] as connection:
                while heard := connection.recv(65_536):
                    self.heard.append(heard)
                    connection.sendall(answer)

    server = Keeping(None)
    given = settings(f"http://127.0.0.1:{server.port}")
    with ShopSession(given, STOQ) as session:
        transport = SyncTransport(session, given, STOQ)
        for _ in range(3):
            assert transport.send(Request("GET", f"{given.origin}/x"), NO_RETRY).payload == {}
    assert len(server.heard) == 3
    server.close()
