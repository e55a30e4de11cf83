"""A connection that fails on purpose: it stands in front of a server, and works for both servers alike."""

from __future__ import annotations

import re
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

INTERVAL = 0.1
PIECE = 64 * 1024
_HEAD = re.compile(rb"(?:\A|(?<=\n))([A-Z]+) (\S+) HTTP/1\.1\r\n")
_TOKEN = re.compile(rb"(?im)^((?:authorization: bearer|x-medusa-access-token:) \S+)\S{4}\r$")


@dataclass(frozen=True)
class Seen:
    """A request that came by."""

    line: str
    """Such as ``POST /admin/batch-jobs``, with the query."""

    head: str


@dataclass
class _Fault:
    kind: str
    line: re.Pattern[str]
    skip: int
    times: float


class Proxy:
    """
    Passes connections on to a server, and notes the requests.

    :param target: origin of the server.
    :param swap: a text in answers and what stands in its place, of the same length.
    """

    def __init__(self, target: str, swap: tuple[str, str] | None = None) -> None:
        parts = urlsplit(target)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self._swap = (b"", b"") if swap is None else (swap[0].encode(), swap[1].encode())
        assert len(self._swap[0]) == len(self._swap[1]), "Content-Length is left as it is"
        self._faults: list[_Fault] = []
        self._lock = threading.Lock()
        self._closing = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self.seen: list[Seen] = []
        self.fired = 0
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self, line: str, *, nth: int = 1) -> None:
        """Let the server answer the n-th such request, and reset the connection instead of telling."""
        self._faults.append(_Fault("cut", re.compile(line), nth - 1, 1))

    def spoil(self, line: str, *, times: float = 1) -> None:
        """Change the token of such requests, so that the server refuses it."""
        self._faults.append(_Fault("spoil", re.compile(line), 0, times))

    def mend(self) -> None:
        """Pass everything on as it is."""
        self._faults.clear()

    def count(self, line: str) -> int:
        """How many such requests came by."""
        return sum(re.search(line, seen.line) is not None for seen in self.seen)

    # -- threads ------------------------------------------------------------------------------------

    def __enter__(self) -> Proxy:
        self._threads[0].start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing = True
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _listen(self) -> None:
        while not self._closing:
            if select.select([self._listener], [], [], INTERVAL)[0]:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            try:
                server = socket.create_connection(self._target, 60)
            except OSError:
                _reset(client)
                return
            with server:
                self._pass_on(client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        # One thread for both ways: a socket that another thread reads from could not be reset.
        cut = False
        while not self._closing:
            for end in select.select([client, server], [], [], INTERVAL)[0]:
                piece = end.recv(PIECE)
                if not piece:
                    return
                if end is client:
                    fault, piece = self._noted(piece)
                    cut = cut or fault == "cut"
                    server.sendall(piece)
                elif cut:
                    _reset(client)
                    return
                else:
                    client.sendall(piece.replace(*self._swap) if self._swap[0] else piece)

    def _noted(self, piece: bytes) -> tuple[str, bytes]:
        """
        Note the requests of a piece.

        A client sends none before it has the answer to the one before; but that may come before its body is
        all sent, so the end of a body can stand before a head.
        """
        fault, parts, end = "", [], 0
        for head in [*_HEAD.finditer(piece), None]:
            start = len(piece) if head is None else head.start()
            parts.append(self._spoiled(piece[end:start]) if fault == "spoil" else piece[end:start])
            end = start
            if head is not None:
                fault = self._noted_head(head, piece)
        return fault, b"".join(parts)

    def _noted_head(self, head: re.Match[bytes], piece: bytes) -> str:
        line = b" ".join(head.groups()).decode()
        with self._lock:
            self.seen.append(Seen(line, piece[head.start() :].partition(b"\r\n\r\n")[0].decode("latin-1")))
            return self._fault(line)

    def _spoiled(self, request: bytes) -> bytes:
        request, changed = _TOKEN.subn(rb"\g<1>0000\r", request)
        assert changed == 1
        return request

    def _fault(self, line: str) -> str:
        for fault in self._faults:
            if fault.times > 0 and fault.line.search(line):
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                self.fired += 1
                return fault.kind
        return ""


def _reset(client: socket.socket) -> None:
    """Close with RST, as a connection ends whose other side is gone."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@contextmanager
def store_elsewhere(target: str) -> Iterator[tuple[Proxy, Proxy]]:
    """A server whose download URLs lead to a file store at an origin of its own: the API and the store."""
    with Proxy(target) as store, Proxy(target, swap=(target, store.origin)) as api:
        yield api, store
