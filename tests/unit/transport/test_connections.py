"""A limit on a whole call, and connections that end at once, whatever the server lets them wait for."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest
import requests
import urllib3.util.connection

from stoq_provider.core.http import Request
from stoq_provider.transport import connections
from stoq_provider.transport.adapter import ShopAdapter
from stoq_provider.transport.connections import ClosableAdapter, TimeLimit
from stoq_provider.transport.session import ShopSession, exchange

from .conftest import STOQ, settings
from .hostile import DRIPS, OK, HostileServer
from .silence import HANG_SECONDS, PATIENCE


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False
        made.mount("https://", ClosableAdapter())
        made.mount("http://", ClosableAdapter())
        yield made


@pytest.fixture
def hostile(request, monkeypatch) -> Iterator[HostileServer]:
    """A server, and a limit that passes as soon as it drips, however slow the machine is."""
    with closing(HostileServer(*DRIPS[request.param])) as server:
        monkeypatch.setattr(connections, "_TICK_SECONDS", 0.01)
        monkeypatch.setattr(connections, "monotonic", lambda: 1000.0 if server.drips.is_set() else 0.0)
        yield server


def ask(server: HostileServer, session: requests.Session, drip: str) -> requests.Response:
    proxied = {"https": f"http://{server.origin}"} if "proxy" in drip else {}
    scheme = "https" if drip in ("in a handshake", "in the answer of a proxy") else "http"
    return session.get(f"{scheme}://{server.origin}/", timeout=PATIENCE, proxies=proxied)


@pytest.mark.parametrize(
    ("hostile", "drip"), [(drip, drip) for drip in DRIPS], indirect=["hostile"], ids=DRIPS
)
def test_limit_ends_a_call(hostile, session, drip):
    with pytest.raises(TimeoutError, match="not done within 999 s"), TimeLimit(999.0, session.close):
        ask(hostile, session, drip)
    assert hostile.ended.wait(HANG_SECONDS)


@pytest.mark.parametrize("hostile", ["in a header"], indirect=True)
def test_limit_ends_a_connection_that_comes_about_after_it(hostile, session, monkeypatch):
    connect, ended = urllib3.util.connection.create_connection, threading.Event()

    def end() -> None:
        session.close()
        ended.set()

    def connect_late(*args, **given):
        hostile.drips.set()  # the limit passes
        assert ended.wait(HANG_SECONDS)
        return connect(*args, **given)

    monkeypatch.setattr(urllib3.util.connection, "create_connection", connect_late)
    with pytest.raises(TimeoutError), TimeLimit(999.0, end):
        ask(hostile, session, "")
    assert hostile.ended.wait(HANG_SECONDS)


WHOLE = OK + b"Content-Length: 2\r\n\r\n{}"


@pytest.fixture
def good(monkeypatch) -> Iterator[HostileServer]:
    with closing(HostileServer(WHOLE, b"")) as server:
        monkeypatch.setattr(connections, "_TICK_SECONDS", 0.01)
        yield server


@pytest.mark.parametrize("error", [None, ValueError("of the block"), KeyboardInterrupt()])
def test_nothing_ends_after_the_block(good, session, monkeypatch, error):
    called: list[int] = []
    limit = TimeLimit(999.0, lambda: called.append(1))
    with suppress(ValueError, KeyboardInterrupt), limit:
        assert ask(good, session, "").json() == {}
        if error is not None:
            raise error
    monkeypatch.setattr(connections, "monotonic", lambda: float("inf"))
    limit.enforce()
    assert called == []


@pytest.mark.parametrize(
    ("error", "comes"),
    [(None, TimeoutError), (OSError("broke"), TimeoutError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_what_comes_after_the_limit(monkeypatch, error, comes):
    """It is not believed, unless it is the end of the process."""
    monkeypatch.setattr(connections, "_TICK_SECONDS", 0.01)

    def block() -> None:
        with TimeLimit(999.0, ended.set):
            monkeypatch.setattr(connections, "monotonic", lambda: float("inf"))
            assert ended.wait(HANG_SECONDS)
            if error is not None:
                raise error

    ended = threading.Event()
    with pytest.raises(comes) as caught:
        block()
    assert comes is KeyboardInterrupt or caught.value.__cause__ is error


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_ends_nothing_of_its_parent():
    """The calls of the parent's other threads go on there, on the same connections."""
    with TimeLimit(999.0, lambda: None):
        child = os.fork()
        if child == 0:
            os._exit(len(connections._running))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_session_that_is_closed_holds_no_connection(good, session):
    ask(good, session, "")
    session.close()
    assert good.ended.wait(HANG_SECONDS)


def test_request_that_fails_leaves_no_connection(session):
    with closing(HostileServer(b"no HTTP\r\n\r\n", b"")) as server:
        with pytest.raises(requests.ConnectionError):
            session.get(f"http://{server.origin}/", timeout=PATIENCE)
        assert server.ended.wait(HANG_SECONDS)


def test_response_that_is_not_read_to_its_end_leaves_no_connection():
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: 999999\r\n\r\n"
    with closing(HostileServer(head + b"x" * 65_536, b"")) as server:
        given = settings(f"http://{server.origin}")
        shop = ShopSession(given, STOQ)
        assert exchange(shop, Request("GET", f"{given.origin}/x")).flaw.startswith(
            "the body is no whole gzip"
        )
        assert server.ended.wait(HANG_SECONDS)


@pytest.mark.parametrize("adapter", [ClosableAdapter, ShopAdapter])
def test_session_that_nobody_closes_holds_no_connection(good, adapter):
    def use() -> None:
        session = requests.Session()
        session.mount("http://", adapter())
        ask(good, session, "")

    use()
    gc.collect()
    assert good.ended.wait(HANG_SECONDS)


@pytest.mark.parametrize("hostile", ["in a header"], indirect=True)
def test_adapter_shows_a_connection_before_anything_is_sent(hostile):
    shown: list[Callable[[], object]] = []

    def refuse(sock):
        shown.append(sock.getpeername)
        raise LookupError("not this one")

    with requests.Session() as session:
        session.mount("http://", ClosableAdapter(connected=refuse))
        with pytest.raises(LookupError):
            ask(hostile, session, "")
    assert len(shown) == 1
    assert hostile.ended.wait(HANG_SECONDS)
