"""A local HTTP server that fails on demand, and a CSV to fetch from it."""

from __future__ import annotations

import dataclasses
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stoq_provider.download import pipeline, resume
from stoq_provider.download.download import download_files
from stoq_provider.download.options import DownloadOptions
from stoq_provider.download.verification import StoredFile
from tests.certificates import self_signed, serving
from tests.harness import wait_until
from tests.unit.transport.silence import HANG_SECONDS, PATIENCE, declare, silence

__all__ = ["silence"]

SECRET = "X-Amz-Signature=5ecre7s1gnature"
ROWS = 30_000
BODY = b"id,note\r\n" + b"".join(
    b'%d,"two\nlines, ""quoted"""\r\n' % i if i % 7 == 0 else b"%d,plain text of a row\r\n" % i
    for i in range(ROWS)
)

Behaviour = Callable[["Handler"], None]


class FaultServer:
    """
    Answers request number n by ``plan[n]``, and all later ones by ``serve()``.

    ``holding``: how many answers it has left off, without an end. ``waited_out``: how many of them it had to
    break off itself, after ``patience`` seconds, because the client would not.
    """

    def __init__(self) -> None:
        self.body = BODY
        self.etag: str | None = '"v1"'
        self.plan: list[Behaviour] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.holding = self.waited_out = 0
        self.patience = HANG_SECONDS
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.owner = self  # type: ignore[attr-defined]
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def url(self, signature: str = SECRET, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}/exports/result.csv?{signature}"

    def behaviour(self, path: str, headers: dict[str, str]) -> Behaviour:
        """Take note of a request, and say how it is answered."""
        with self._changed:
            number = len(self.requests)
            self.requests.append((path, headers))
        return self.plan[number] if number < len(self.plan) else serve()

    def hold(self, go_on: Callable[[], object] | None = None) -> None:
        """
        Leave an answer off until the test is over.

        :param go_on: called all the time meanwhile; raises once the client has left.
        """
        with self._changed:
            self.holding += 1
            self._changed.notify_all()
        pause = self.patience if go_on is None else 0.01
        for _ in range(int(self.patience / pause)):
            if self._stopped.wait(pause):
                return
            if go_on is not None:
                go_on()
        self.waited_out += 1

    def wait_until_it_holds(self) -> None:
        with self._changed:
            assert self._changed.wait_for(self.holds, HANG_SECONDS), "nobody asked"

    def holds(self) -> bool:
        """Whether an answer was left off: a moment to stop at."""
        return self.holding > 0

    def stop(self) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def ranges(self) -> list[str | None]:
        return [headers.get("range") for _, headers in self.requests]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def owner(self) -> FaultServer:
        return self.server.owner  # type: ignore[attr-defined,no-any-return]

    def do_GET(self) -> None:
        behave = self.owner.behaviour(self.path, {k.lower(): v for k, v in self.headers.items()})
        self.close_connection = True
        with suppress(BrokenPipeError, ConnectionResetError):  # the client has left
            behave(self)

    def start(self, status: int, headers: dict[str, Any]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, str(value))
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


def break_off(h: Handler, how: str) -> None:
    h.wfile.flush()
    if how == "rst":
        h.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        h.connection.close()
    elif how == "stall":
        declare(h.connection)
        h.owner.hold()
    elif how == "hold":
        h.owner.hold()


def serve(stop_after: int | None = None, how: str = "fin", **overrides: Any) -> Behaviour:
    """
    Serve the body as a good store does; with ``stop_after``, that many bytes of it and then break off.

    :param how: ``fin`` closes, ``rst`` resets, ``stall`` stays silent, so that the client times out, ``hold``
        too, but the client goes on waiting.
    :param overrides: ``status`` and headers by name with ``_`` for ``-``; ``None`` leaves a header out.
    """

    def behave(h: Handler) -> None:
        body, etag = h.owner.body, h.owner.etag
        wanted = re.fullmatch(r"bytes=(\d+)-", h.headers.get("Range", ""))
        if h.headers.get("If-Match", etag) != etag:
            h.start(412, {"Content-Length": 0})
            return
        status, first, headers = 200, 0, {"ETag": etag}
        if wanted and h.headers.get("If-Range", etag) == etag:
            status, first = 206, int(wanted[1])
            headers["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
        headers["Content-Length"] = str(len(body) - first)
        changes = {name.replace("_", "-"): value for name, value in overrides.items() if name != "status"}
        h.start(overrides.get("status", status), headers | changes)
        part = body[first:]
        h.wfile.write(part if stop_after is None else part[:stop_after])
        if stop_after is not None:
            break_off(h, how)

    return behave


def serve_when(condition: Callable[[], object]) -> Behaviour:
    """Serve the body, but not before another thread has come so far."""

    def behave(h: Handler) -> None:
        wait_until(condition)
        serve()(h)

    return behave


def ignore_range(h: Handler) -> None:
    """Send the whole body whatever was asked for."""
    h.start(200, {"Content-Length": len(h.owner.body), "ETag": h.owner.etag})
    h.wfile.write(h.owner.body)


def answer(status: int, body: bytes = b"", **headers: Any) -> Behaviour:
    def behave(h: Handler) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        h.start(status, {"Content-Length": len(body)} | named)
        h.wfile.write(body)

    return behave


def chunked(last: bool = True) -> Behaviour:
    """Send the body in HTTP chunks; without the ``last`` one it is cut short."""

    def behave(h: Handler) -> None:
        h.start(200, {"Transfer-Encoding": "chunked", "ETag": h.owner.etag})
        for i in range(0, len(h.owner.body), 100_000):
            piece = h.owner.body[i : i + 100_000]
            h.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if last:
            h.wfile.write(b"0\r\n\r\n")

    return behave


def unframed(length: int | None = None) -> Behaviour:
    """Send the body, or its beginning, with neither length nor chunks."""

    def behave(h: Handler) -> None:
        h.start(200, {"Connection": "close", "ETag": h.owner.etag})
        h.wfile.write(h.owner.body[:length])

    return behave


def drip(fast: int) -> Behaviour:
    """Send so many bytes at once, then one every now and then, and never come to the end."""

    def behave(h: Handler) -> None:
        h.start(200, {"Content-Length": fast + 10**6, "ETag": h.owner.etag})
        h.wfile.write(b"x" * fast)
        h.owner.hold(partial(h.wfile.write, b"x"))

    return behave


class Clock:
    """Stands for the module ``time``: it goes on only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, silence: None) -> Iterator[FaultServer]:
    monkeypatch.setattr(resume, "_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(pipeline, "_TICK_SECONDS", 0.05)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    fault_server = FaultServer()
    yield fault_server
    fault_server.stop()
    assert not fault_server.waited_out, "nobody ended what waited for bytes"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time by which downloads wait and know their deadline."""
    made = Clock()
    monkeypatch.setattr(resume, "time", made)
    return made


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A self-signed certificate for ``localhost`` only, and its key, in one file."""
    return self_signed(tmp_path_factory.mktemp("tls") / "localhost.pem", "localhost")


@pytest.fixture
def tls(server: FaultServer, certificate: str, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    """The server, over TLS."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    server._server.socket = serving(certificate).wrap_socket(server._server.socket, server_side=True)
    return server


@pytest.fixture
def options() -> DownloadOptions:
    """As the hook sets it for a sandbox on loopback."""
    return DownloadOptions(allow_loopback=True, connect_timeout=PATIENCE, stall_timeout=PATIENCE)


def files(folder: Path) -> list[str]:
    """All files below a folder, temporary ones too."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def fetch(server: FaultServer, options: DownloadOptions, tmp_path: Path) -> Callable[..., StoredFile]:
    """Download to ``tmp_path/out/result.csv``; extra arguments go to the options or to ``download_files``."""

    def run(get_url: Callable[[], str] = server.url, **given: Any) -> StoredFile:
        fields = {f.name for f in dataclasses.fields(options)}
        changed = dataclasses.replace(options, **{k: v for k, v in given.items() if k in fields})
        rest = {k: v for k, v in given.items() if k not in fields}
        arguments = {"file_name": "result.csv", "expected_rows": ROWS, "job_id": "job-1"} | rest
        destination = arguments.pop("destination", f"{tmp_path}/out/")
        return download_files(get_url, destination, options=changed, **arguments)[0]

    return run
