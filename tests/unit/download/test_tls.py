"""The client's end of a connection, against Python's own TLS as the server."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from urllib3.util.ssl_ import create_urllib3_context

from stoq_provider.download import tls as module
from stoq_provider.download.tls import BulkTls, bulk_context

from .conftest import HANG_SECONDS, Clock, serving

RECORD = 16 * 1024
ROOM = 512 * 1024


def trusting(certificate):
    """Our side of TLS."""
    context = bulk_context("CERT_REQUIRED")
    context.load_verify_locations(certificate)
    return context


class Line:
    """A connection: ``client`` is ours, ``server`` Python's; ``between`` is the client's socket."""

    def __init__(self, certificate):
        self.between, far = socket.socketpair()
        self.between.settimeout(HANG_SECONDS)
        far.settimeout(HANG_SECONDS)
        for end in (self.between, far):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * ROOM)
        with ThreadPoolExecutor(1) as pool:
            wrapped = pool.submit(serving(certificate).wrap_socket, far, server_side=True)
            self.client = trusting(certificate).wrap_socket(self.between, server_hostname="localhost")
            self.server = wrapped.result()

    def take(self, count=ROOM):
        room = bytearray(count)
        return bytes(room[: self.client.recv_into(room)])


@pytest.fixture
def line(certificate):
    made = Line(certificate)
    yield made
    made.client.close()
    made.server.close()


def test_one_call_takes_all_records_that_have_come(line):
    sent = bytes(range(256)) * (8 * RECORD // 256)
    line.server.sendall(sent)
    assert line.take() == sent


def test_what_has_come_is_handed_out_without_waiting_for_more(line):
    line.server.sendall(b"a")
    assert line.take() == b"a"  # or it would wait until it times out


def test_half_a_record_is_waited_for(line):
    line.server.sendall(b"x" * 10)
    first = line.between.recv(20)
    line.client.incoming.write(first)
    assert line.take() == b"x" * 10


def test_a_record_may_be_taken_in_pieces(line):
    line.server.sendall(b"0123456789")
    assert [line.take(4), line.take(4), line.take(4)] == [b"0123", b"4567", b"89"]


def test_buffer_is_filled_no_further_than_asked(line):
    line.server.sendall(b"0123456789")
    room = bytearray(b"----------")
    assert line.client.recv_into(room, 3) == 3
    assert room == b"012-------"


@pytest.mark.parametrize("farewell", [True, False])
def test_end(line, farewell):
    line.server.sendall(b"the last")
    if farewell:
        line.server.settimeout(0)
        with pytest.raises(ssl.SSLWantReadError):
            line.server.unwrap()  # says goodbye, and would wait for ours
    else:
        line.server.close()
    assert [line.take(), line.take(), line.take()] == [b"the last", b"", b""]


def test_silence(line):
    line.client.settimeout(0.05)
    with pytest.raises(TimeoutError):
        line.take()
    line.client.settimeout(HANG_SECONDS)
    line.server.sendall(b"late")
    assert line.take() == b"late"


def test_handshake_that_drips_in(monkeypatch):
    """The time is for the whole: each byte for itself comes soon enough."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    given = []

    class Dripping:
        def gettimeout(self):
            return 30.0

        def settimeout(self, seconds):
            given.append(seconds)

        def sendall(self, data):
            pass

        def recv(self, size):
            clock.sleep(1)
            return (b"\x16\x03\x03\x40\x00" + bytes(100))[int(clock.now) - 1 :][:1]

    with pytest.raises(TimeoutError):
        bulk_context("CERT_NONE").wrap_socket(Dripping())
    assert given == [float(left) for left in range(30, 0, -1)]


def test_time_of_the_handshake_is_not_that_of_reading(line):
    assert line.client.gettimeout() == line.client.socket.gettimeout() == HANG_SECONDS


def test_reset(certificate):
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname(), timeout=HANG_SECONDS)
    server, _ = listener.accept()
    with ThreadPoolExecutor(1) as pool, listener:
        wrapped = pool.submit(serving(certificate).wrap_socket, server, server_side=True)
        ours = bulk_context("CERT_NONE").wrap_socket(client)
        theirs = wrapped.result()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    with pytest.raises(ConnectionResetError):
        ours.recv_into(bytearray(10))
    ours.close()


def test_bytes_that_were_tampered_with(line):
    line.server.sendall(b"amount: 10")
    record = bytearray(line.between.recv(RECORD))
    record[-1] ^= 1
    line.client.incoming.write(record)
    with pytest.raises(ssl.SSLError, match=r"(?i)bad record mac|decryption failed"):
        line.take()


def test_read_that_waits_is_ended_from_another_thread(line, monkeypatch):
    reads = threading.Event()
    receive = line.client._receive
    monkeypatch.setattr(line.client, "_receive", lambda: (reads.set(), receive()))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: reads.wait(HANG_SECONDS) and line.client.shutdown(socket.SHUT_RD))
        assert line.take() == b""


def test_what_is_written(line):
    line.client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert line.server.recv(100) == b"GET / HTTP/1.1\r\n\r\n"


def test_flags_are_refused(line):
    with pytest.raises(ValueError, match="flags"):
        line.client.recv_into(bytearray(1), 1, socket.MSG_PEEK)


def test_file_of_the_connection(line):
    sent = b"head\r\n" + bytes(range(256)) * (4 * ROOM // 256)
    with ThreadPoolExecutor(1) as pool, line.client.makefile("rb") as file:
        pool.submit(lambda: (line.server.sendall(sent), line.server.close()))
        assert file.readline() == b"head\r\n"
        assert file.read(len(sent)) == sent[6:]
        assert file.read(1) == b""


@pytest.mark.parametrize("cert_reqs", ["CERT_REQUIRED", "CERT_NONE", None])
def test_context_is_urllib3s_own(cert_reqs):
    checked = cert_reqs != "CERT_NONE"
    ours = bulk_context(cert_reqs)
    theirs = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if checked else ssl.CERT_NONE)
    for what in ("verify_mode", "check_hostname", "verify_flags", "options", "minimum_version"):
        assert getattr(ours, what) == getattr(theirs, what), what
    assert ours.verify_mode == (ssl.CERT_REQUIRED if checked else ssl.CERT_NONE)


def test_name_of_the_certificate_is_checked(certificate):
    ours, theirs = socket.socketpair()
    with ThreadPoolExecutor(1) as pool, ours, theirs:
        pool.submit(serving(certificate).wrap_socket, theirs, server_side=True)
        with pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)hostname"):
            BulkTls(ours, trusting(certificate), "shop.example")
        ours.close()
