"""Every kind of fault, as a client sees it."""

from __future__ import annotations

import json
import logging
import select
import socket
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import requests

from stoq_provider.testing.faults import KINDS

from .conftest import PATIENCE, address, connects, wait_until

OFFERS = "/preorders/offers"
EXPORT = "/preorders/reports/revenue/export"


def raw_exchange(url: str, request: str) -> tuple[bytes, Exception | None]:
    """Send bytes, and return what came back and how the connection ended."""
    received = b""
    with socket.create_connection(address(url), timeout=PATIENCE) as connection:
        connection.sendall(request.encode())
        try:
            while piece := connection.recv(65536):
                received += piece
        except OSError as error:
            return received, error
    return received, None


def export_request(client) -> str:
    return (
        f"POST /api/v2/external{EXPORT} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {client.sandbox.key}\r\n"
        "Content-Length: 2\r\n\r\n{}"
    )


def post_export(client) -> tuple[bytes, Exception | None]:
    return raw_exchange(client.sandbox.origin, export_request(client))


def fired(sandbox) -> int:
    return sum(fault["fired"] for fault in sandbox.state["faults"])


@contextmanager
def asked(url: str, request: str):
    """A connection whose request was sent, and whose answer nobody has read."""
    with socket.create_connection(address(url), timeout=PATIENCE) as connection:
        connection.sendall(request.encode())
        yield connection


def is_silent(connection: socket.socket) -> bool:
    """Whether nothing is there to be read, not even an end."""
    return select.select([connection], [], [], 0) == ([], [], [])


def test_refuse_really_closes_the_port(client, sandbox):
    assert client.get(OFFERS).status_code == 200
    files = client.export()["download_url"]
    sandbox.arm("refuse", seconds=None)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address(sandbox.origin), timeout=PATIENCE)
    with pytest.raises(requests.ConnectionError):
        client.get(OFFERS)
    assert client.file(files).status_code == 200
    sandbox.disarm()
    assert client.get(OFFERS).status_code == 200


def test_refuse_ends_by_itself(client, sandbox):
    started = time.monotonic()
    sandbox.arm("refuse", seconds=0.1)
    wait_until(lambda: connects(sandbox.origin))
    assert time.monotonic() - started >= 0.1
    assert client.get(OFFERS).status_code == 200


def test_refuse_can_close_the_file_origin(client, sandbox):
    url = client.export()["download_url"]
    sandbox.arm("refuse", origin="files", seconds=None)
    with pytest.raises(requests.ConnectionError):
        client.file(url)
    assert client.get(OFFERS).status_code == 200
    sandbox.disarm()
    assert client.file(url).status_code == 200


def test_refuse_through_the_control_endpoint_answers_first(client, sandbox):
    answer = client.control("POST", "faults", json={"fault": "refuse", "seconds": None})
    assert answer.status_code == 200
    with pytest.raises(requests.ConnectionError):
        client.get(OFFERS)
    sandbox.disarm()
    assert client.get(OFFERS).status_code == 200


@pytest.mark.parametrize(("method", "path"), [("DELETE", "faults"), ("POST", "reset")])
def test_the_control_endpoint_opens_the_ports_of_other_origins_again(client, sandbox, method, path):
    sandbox.arm("refuse", origin="files", seconds=None)
    assert not connects(sandbox.files_origin)
    assert client.control(method, path).status_code == 200
    assert connects(sandbox.files_origin)


def test_reset_before_submits_nothing(client, sandbox):
    sandbox.arm("reset_before", method="POST", path=r"/export$")
    received, error = post_export(client)
    assert received == b""
    assert isinstance(error, ConnectionResetError)
    assert sandbox.submissions == []
    assert sandbox.state["points_spent"] == 0


def test_reset_after_submits_and_says_nothing(client, sandbox):
    sandbox.arm("reset_after", method="POST", path=r"/export$")
    received, error = post_export(client)
    assert received == b""
    assert isinstance(error, ConnectionResetError)
    assert len(sandbox.submissions) == 1
    assert sandbox.state["points_spent"] == 2
    received, error = raw_exchange(sandbox.origin, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 404")
    assert error is None


@pytest.mark.parametrize("processed", [False, True])
def test_a_delay_without_end_is_before_the_processing_or_after_it(client, sandbox, processed):
    sandbox.arm("delay", method="POST", seconds=None, processed=processed)
    with asked(sandbox.origin, export_request(client)) as connection:
        wait_until(lambda: sandbox.held == 1)
        assert is_silent(connection)
        assert len(sandbox.submissions) == processed
        sandbox.disarm()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert len(sandbox.submissions) == processed
    assert client.post(EXPORT).status_code == 202


def test_a_request_that_is_held_does_not_mind_a_client_that_left(client, sandbox, caplog):
    sandbox.arm("delay", method="POST", seconds=None)
    with pytest.raises(requests.ReadTimeout):
        client.post(EXPORT, timeout=(PATIENCE, 0.05))
    wait_until(lambda: sandbox.held == 1)
    sandbox.reset()
    assert sandbox.held == 0
    assert client.post(EXPORT).status_code == 202
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("processed", [False, True])
def test_a_delayed_answer_comes(client, sandbox, processed):
    sandbox.arm("delay", seconds=0.1, processed=processed)
    started = time.monotonic()
    assert client.get(OFFERS).json()["meta"]["total_count"] == 30
    assert time.monotonic() - started >= 0.1


def test_a_delayed_request_is_processed_although_its_client_left(client, sandbox):
    sandbox.arm("delay", method="POST", seconds=0.1)
    with asked(sandbox.origin, export_request(client)):
        wait_until(lambda: fired(sandbox) == 1)
    wait_until(lambda: sandbox.submissions)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_status(client, sandbox, status):
    sandbox.arm("status", status=status, headers={"Retry-After": "3"})
    answer = client.post(EXPORT)
    assert answer.status_code == status
    assert answer.headers["Retry-After"] == "3"
    assert sandbox.submissions == []
    assert client.post(EXPORT).status_code == 202


def test_status_with_a_body_of_ones_own(client, sandbox):
    sandbox.arm("status", status=422, body={"errors": ["no"]})
    assert client.get(OFFERS).json() == {"errors": ["no"]}
    sandbox.arm("status", status=502)
    page = client.get(OFFERS)
    assert page.status_code == 502
    assert page.headers["Content-Type"].startswith("text/html")
    assert "<html>" in page.text


def test_status_after_processing_keeps_the_rate_limit_headers(client, sandbox):
    sandbox.arm("status", status=500, processed=True)
    answer = client.post(EXPORT)
    assert answer.status_code == 500
    assert answer.headers["X-RateLimit-Remaining"] == "358"
    assert len(sandbox.submissions) == 1


def test_garbage_is_no_json(client, sandbox):
    sandbox.arm("garbage", path=r"/export$")
    answer = client.post(EXPORT)
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.text)
    assert len(sandbox.submissions) == 1


def test_html_looks_like_success(client, sandbox):
    sandbox.arm("html")
    answer = client.get(OFFERS)
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (200, "text/html")


def test_empty_body(client, sandbox):
    sandbox.arm("empty", status=202, processed=False)
    answer = client.post(EXPORT)
    assert (answer.status_code, answer.content) == (202, b"")
    assert sandbox.submissions == []


def test_json_of_ones_own(client, sandbox):
    submitted = client.post(EXPORT)
    sandbox.arm("json", path="/exports/", body={"status": "paused"}, times=2)
    assert client.poll(submitted).json() == {"status": "paused"}
    assert client.poll(submitted).headers["X-RateLimit-Remaining"] == "356"
    assert client.poll(submitted).json()["status"] == "running"


def test_truncated_answer_of_the_api(client, sandbox):
    sandbox.arm("truncated", after=20)
    received, error = raw_exchange(
        sandbox.origin,
        f"GET /api/v2/external{OFFERS} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {sandbox.key}\r\n\r\n",
    )
    head, _, body = received.partition(b"\r\n\r\n")
    assert error is None
    assert b"content-length: " in head.lower()
    assert len(body) == 20


def raw_download(url: str) -> tuple[int, bytes, Exception | None]:
    """Length that was announced, body that came, and how the connection ended."""
    parts = urlsplit(url)
    received, error = raw_exchange(url, f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = received.partition(b"\r\n\r\n")
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return int(lines[b"content-length"]), body, error


@pytest.mark.parametrize("after", [0, 1000, 300_000, None])
def test_truncated_download(client, sandbox, after):
    sandbox.jobs("export", rows=10_000)
    url = client.export()["download_url"]
    whole = client.file(url).content
    sandbox.arm("truncated", origin="files", **({} if after is None else {"after": after}))
    announced, body, error = raw_download(url)
    assert announced == len(whole)
    assert body == whole[: len(whole) // 2 if after is None else after]
    assert error is None
    assert client.file(url).content == whole


def test_truncated_by_a_reset(client, sandbox):
    url = client.export()["download_url"]
    sandbox.arm("truncated", origin="files", after=50, reset=True)
    parts = urlsplit(url)
    _, error = raw_exchange(url, f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\n\r\n")
    assert isinstance(error, ConnectionResetError)


def test_stall_sends_some_bytes_and_then_nothing_for_a_while(client, sandbox):
    url = client.export()["download_url"]
    whole = client.file(url).content
    sandbox.arm("stall", origin="files", after=100, seconds=0.1)
    started = time.monotonic()
    assert client.file(url).content == whole
    assert time.monotonic() - started >= 0.1


def test_a_stall_without_end(client, sandbox):
    url = client.export()["download_url"]
    whole = client.file(url).content
    sandbox.arm("stall", origin="files", after=100, seconds=None)
    parts = urlsplit(url)
    with asked(url, f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\n\r\n") as connection:
        answer = connection.makefile("rb")
        while answer.readline() != b"\r\n":
            pass
        assert answer.read(100) == whole[:100]
        wait_until(lambda: sandbox.stalled == 1)
        assert is_silent(connection)
        sandbox.disarm()
        with pytest.raises(ConnectionResetError):
            answer.read(1)


def test_stall_can_happen_anywhere_in_a_large_file(client, sandbox):
    sandbox.jobs("export", rows=10_000)
    url = client.export()["download_url"]
    whole = client.file(url).content
    sandbox.arm("stall", origin="files", seconds=0.01)
    assert client.file(url).content == whole


def test_expired_url(client, sandbox):
    url = client.export()["download_url"]
    sandbox.arm("expired_url")
    assert "Request has expired" in client.file(url).text
    assert client.file(url).status_code == 200


def test_changed_etag_is_another_file_of_the_same_size(client, sandbox):
    url = client.export()["download_url"]
    first = client.file(url)
    sandbox.arm("changed_etag", times=3)
    etag = first.headers["ETag"]
    resumed = client.file(url, Range="bytes=100-", If_Range=etag)
    assert resumed.status_code == 200
    assert resumed.headers["ETag"] != etag
    assert len(resumed.content) == len(first.content)
    assert resumed.content != first.content
    assert client.file(url, Range="bytes=100-", If_Match=etag).status_code == 412
    careless = client.file(url, Range="bytes=100-")
    assert careless.status_code == 206
    assert careless.content != first.content[100:]


def test_ignore_range(client, sandbox):
    url = client.export()["download_url"]
    sandbox.arm("ignore_range")
    answer = client.file(url, Range="bytes=100-")
    assert answer.status_code == 200
    assert answer.content == client.file(url).content


def test_faults_are_matched_by_method_path_and_origin(client, sandbox):
    sandbox.arm("status", status=500, method="post", path=r"^/api/v2/external/preorders/reports/.*/export$")
    assert client.get(OFFERS).status_code == 200
    assert client.post(OFFERS).status_code == 202
    assert client.post(EXPORT).status_code == 500
    assert client.post(EXPORT).status_code == 202


def test_skip_and_times(client, sandbox):
    sandbox.arm("status", status=500, skip=1, times=2)
    assert [client.get(OFFERS).status_code for _ in range(5)] == [200, 500, 500, 200, 200]
    sandbox.arm("status", status=503, times=None)
    assert [client.get(OFFERS).status_code for _ in range(3)] == [503, 503, 503]
    assert [fault["fired"] for fault in sandbox.state["faults"]] == [2, 3]
    sandbox.disarm()
    assert client.get(OFFERS).status_code == 200


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("nonsense", {}),
        ("status", {"code": 500}),
        ("status", {"origin": "moon"}),
        ("refuse", {"path": "/export"}),
        ("status", {"path": "("}),
    ],
)
def test_misspelt_faults_are_refused(sandbox, kind, options):
    with pytest.raises(Exception, match=r"must be one of|takes no|closes the listening|unterminated|missing"):
        sandbox.arm(kind, **options)
    assert sandbox.state["faults"] == []


def test_every_kind_is_tried_in_this_module():
    with open(__file__, encoding="utf-8") as source:  # noqa: PTH123
        text = source.read()
    missing = [kind for kind in KINDS if f'arm("{kind}"' not in text]
    assert missing == []
