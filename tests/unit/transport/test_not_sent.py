"""What surely never left counts as not sent, in every driver, and is told with host, connection and cause."""

from __future__ import annotations

import asyncio
import re
import socket
import struct

import pytest
from httpcore._trace import Trace

from stoq_provider.core.http import ProblemKind, Request
from stoq_provider.transport.aio import _Trace
from stoq_provider.transport.flow import Stage
from tests.certificates import self_signed, serving

from .conftest import RawServer, settings
from .drivers import Download, Triggerer, Worker
from .silence import PATIENCE, declare

WRITERS = pytest.mark.parametrize("driver", [Worker, Triggerer])
ALL = pytest.mark.parametrize("driver", [Worker, Triggerer, Download])
RESET = struct.pack("ii", 1, 0)


class Listener(RawServer):
    """
    Takes one connection after the other, in one way.

    ``requests``: the heads that arrived, those for a proxy too.
    """

    def __init__(self, way: str, certificate: str) -> None:
        self.requests: list[bytes] = []
        self._tls = serving(certificate)
        super().__init__(way)

    def _take(self, connection: socket.socket) -> None:
        self._kept.append(connection)
        getattr(self, f"_{self.plan[0]}")(connection)

    def _plain(self, connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        connection.close()

    def _reset_in_the_handshake(self, connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.close()

    def _closed_in_the_handshake(self, connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.close()

    def _silent_in_the_handshake(self, connection: socket.socket) -> None:
        connection.recv(65_536)
        declare(connection)

    def _tls_only(self, connection: socket.socket) -> None:
        with self._tls.wrap_socket(connection, server_side=True) as tls:
            self.requests.append(tls.recv(65_536))

    def _reset_after_the_request(self, connection: socket.socket) -> None:
        with self._tls.wrap_socket(connection, server_side=True) as tls:
            self.requests.append(tls.recv(65_536))
            tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def _asks_for_a_password(self, connection: socket.socket) -> None:
        assert connection.recv(65_536).startswith(b"CONNECT ")
        connection.sendall(b"HTTP/1.1 407 s3cret reason\r\nContent-Length: 0\r\n\r\n")
        connection.close()

    def _reset_by_the_proxy(self, connection: socket.socket) -> None:
        assert connection.recv(65_536).startswith(b"CONNECT ")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.close()

    def _tunnel(self, connection: socket.socket) -> None:
        assert connection.recv(65_536).startswith(b"CONNECT ")
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        self._reset_after_the_request(connection)

    def _tunnel_to_plain(self, connection: socket.socket) -> None:
        assert connection.recv(65_536).startswith(b"CONNECT ")
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        self._plain(connection)


@pytest.fixture
def certificate(tmp_path):
    return self_signed(tmp_path / "shop.pem", "localhost")


@pytest.fixture
def listen(certificate, silence):
    listeners = []

    def start(way: str, certificate: str = certificate) -> Listener:
        listeners.append(Listener(way.replace(" ", "_"), certificate))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.stop()


def ask(driver, origin, method="POST", **more):
    given = settings(origin, conn_id="my_shop", **{"timeout": PATIENCE, **more})
    (problem,) = driver(given).send(
        Request(method, f"{origin}/x?s3cret", json={"a": 1} if method == "POST" else None)
    )
    return problem


TLS_FAULTS = [
    ("plain", r"TLS failed: \w[\w ]+"),
    ("reset in the handshake", r"(connection reset by peer in the TLS handshake|TLS failed: [\w ]+)"),
    ("closed in the handshake", r"(TLS failed: unexpected eof[\w ]*|\w+ in the TLS handshake)"),
]


@WRITERS
@pytest.mark.parametrize(("way", "words"), TLS_FAULTS, ids=[fault[0] for fault in TLS_FAULTS])
def test_a_handshake_that_fails(listen, certificate, driver, way, words):
    origin = f"https://localhost:{listen(way).port}"
    is_not_sent(ask(driver, origin, verify=certificate), origin, words)


@WRITERS
def test_a_handshake_that_never_ends(listen, certificate, driver):
    # The one time-out that is waited out: no test can tell OpenSSL that nothing more will come.
    timeout = 0.5 if driver is Worker else PATIENCE
    origin = f"https://localhost:{listen('silent in the handshake').port}"
    problem = ask(driver, origin, verify=certificate, timeout=timeout)
    is_not_sent(problem, origin, "timed out in the TLS handshake")


CERTIFICATES = [
    ("self-signed", {}, "self-signed certificate"),
    ("expired", {"expired": True}, "certificate has expired"),
    ("of another host", {"name": "other.example"}, "(not valid for 'localhost'|doesn't match)"),
]


@ALL
@pytest.mark.parametrize(("case", "made", "words"), CERTIFICATES, ids=[c[0] for c in CERTIFICATES])
def test_a_certificate_that_is_not_accepted(listen, tmp_path, driver, case, made, words):
    name = made.get("name", "localhost")
    bad = self_signed(tmp_path / "bad.pem", name, expired=made.get("expired", False))
    shop = listen("tls only", bad)
    origin = f"https://localhost:{shop.port}"
    problem = ask(driver, origin, verify=bad if made else True)
    if driver is Download:
        assert problem.final
        assert "the TLS certificate was not accepted (" in problem.reason
        assert re.search(words, problem.reason)
    else:
        is_not_sent(problem, origin, rf"the TLS certificate was not accepted \(.*{words}.*\)")
    assert not any(shop.requests)


@WRITERS
def test_a_refused_connection(driver, free_port):
    origin = f"http://127.0.0.1:{free_port}"
    is_not_sent(ask(driver, origin), origin, "connection refused")


@WRITERS
def test_all_addresses_of_a_name_refuse(driver, free_port, monkeypatch):
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", free_port)) for n in (1, 1)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: addresses)
    origin = f"http://localhost:{free_port}"
    is_not_sent(ask(driver, origin), origin, "connection refused")


@WRITERS
@pytest.mark.parametrize("proxy", [None, "http://me:s3cret@proxy.test:1"])
def test_a_name_that_does_not_resolve(driver, monkeypatch, proxy):
    def fail(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    through = r" through the proxy http://proxy\.test:1" if proxy else ""
    problem = ask(driver, "https://shop.test", proxy=proxy)
    is_not_sent(problem, "https://shop.test", "the host name could not be resolved", through)


PROXY_FAULTS = [
    ("asks for a password", "the proxy responded with HTTP 407"),
    (
        "reset by the proxy",
        r"connection reset by peer.*or at the proxy|TLS failed.*|\w+ in the TLS handshake.*",
    ),
    ("tunnel to plain", r"TLS failed: [\w ]+"),
]


@WRITERS
@pytest.mark.parametrize(("way", "words"), PROXY_FAULTS, ids=[fault[0] for fault in PROXY_FAULTS])
def test_a_proxy_that_does_not_help(listen, driver, way, words):
    port = listen(way).port
    problem = ask(driver, "https://shop.test", proxy=f"http://me:s3cret@127.0.0.1:{port}")
    is_not_sent(problem, "https://shop.test", words, f" through the proxy http://127.0.0.1:{port}")


@pytest.mark.parametrize("content", [None, "no PEM"])
def test_a_bundle_that_is_lost_after_the_connection_was_read(listen, tmp_path, content):
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    origin = f"https://localhost:{listen('tls only').port}"
    is_not_sent(ask(Worker, origin, verify=str(bundle)), origin, ".+")


@WRITERS
@pytest.mark.parametrize("way", ["tls only", "reset after the request"])
def test_what_breaks_after_the_request_may_have_been_done(listen, certificate, driver, way):
    shop = listen(way)
    problem = ask(driver, f"https://localhost:{shop.port}", verify=certificate)
    assert problem.kind is ProblemKind.LOST_CONNECTION
    assert problem.maybe_processed
    assert [head[:6] for head in shop.requests] == [b"POST /"]


@WRITERS
def test_the_same_behind_a_proxy(listen, certificate, driver):
    proxy = listen("tunnel")
    problem = ask(
        driver, "https://localhost:1", verify=certificate, proxy=f"http://me:s3cret@127.0.0.1:{proxy.port}"
    )
    assert problem.kind is ProblemKind.LOST_CONNECTION
    assert [head[:6] for head in proxy.requests] == [b"POST /"]


def writes_by_a_call_of_its_own(monkeypatch):
    def request(connection, method, url, **more):
        connection.sock.sendall(f"{method} {url} HTTP/1.1\r\n\r\n".encode())
        connection.sock.recv(1)  # the server has it, and resets
        raise ConnectionResetError

    monkeypatch.setattr("urllib3.connection.HTTPConnection.request", request)


def writes_in_a_step_of_another_name(monkeypatch):
    trace = Trace.atrace

    async def renamed(self, name, info):
        await trace(self, name.replace("send_request", "write_request"), info)

    monkeypatch.setattr(Trace, "atrace", renamed)


@pytest.mark.parametrize(
    ("driver", "change"),
    [(Worker, writes_by_a_call_of_its_own), (Triggerer, writes_in_a_step_of_another_name)],
)
def test_what_a_later_library_does_in_an_unknown_way_may_have_been_done(
    listen, certificate, driver, change, monkeypatch
):
    change(monkeypatch)
    shop = listen("reset after the request")
    problem = ask(driver, f"https://localhost:{shop.port}", verify=certificate)
    assert [head[:6] for head in shop.requests] == [b"POST /"]
    assert problem.maybe_processed


@pytest.mark.parametrize(
    ("steps", "stage"),
    [
        (["socks.connect_tcp.complete", "socks.setup_socks5_connection.started"], Stage.HANDSHAKE),
        (["http11.send_request_headers.started", "connection.connect_tcp.started"], Stage.SENT),
    ],
    ids=["at a SOCKS proxy", "sent before a new connection"],
)
def test_steps_of_httpcore(steps, stage):
    trace = _Trace()
    for step in steps:
        asyncio.run(trace(step, {}))
    assert trace.stage is stage


@WRITERS
@pytest.mark.parametrize("url", ["https://[::1", "https://localhost:port/", "https://localhost\x00/"])
def test_an_address_of_no_use_is_refused_and_not_uncertain(driver, url):
    (problem,) = driver(settings("https://localhost:1", timeout=PATIENCE)).send(Request("POST", url))
    assert problem.kind in (ProblemKind.VALIDATION, ProblemKind.NOT_SENT)
    assert not problem.maybe_processed


def is_not_sent(problem, origin, words, through=""):
    assert problem.kind is ProblemKind.NOT_SENT, problem
    assert not problem.maybe_processed
    pattern = rf"no connection to {re.escape(origin)} \(connection 'my_shop'\){through} came about: ({words})"
    assert re.fullmatch(pattern, problem.text), problem.text
    assert "s3cret" not in problem.text
