"""The file origin."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from .conftest import PATIENCE

WEEK = 7 * 24 * 3600


@pytest.fixture
def url(client):
    return client.export()["download_url"]


@pytest.fixture
def whole(client, url):
    return client.file(url)


def test_a_signed_link_needs_no_key(whole):
    assert whole.status_code == 200
    assert whole.headers["Content-Type"].startswith("text/csv")
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert int(whole.headers["Content-Length"]) == len(whole.content)
    assert whole.headers["ETag"].startswith('"')
    assert "Content-Range" not in whole.headers


@pytest.mark.parametrize("header", ["X_Auth_Token", "Authorization"])
def test_any_key_header_is_refused_and_counted(client, sandbox, url, header):
    answer = client.file(url, **{header: "anything"})
    assert answer.status_code == 400
    assert "<Code>InvalidArgument</Code>" in answer.text
    assert sandbox.state["keyed_file_requests"] == 1
    assert client.file(sandbox.files_origin + "/nothing", **{header: "x"}).status_code == 400


def test_head_has_the_headers_only(client, url, whole):
    head = client.file(url, "HEAD")
    assert head.status_code == 200
    assert head.content == b""
    for name in ("ETag", "Content-Length", "Accept-Ranges"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=100-299", 100, 300), ("bytes=100-", 100, None), ("bytes=-10", -10, None)],
)
def test_ranges(client, url, whole, asked, start, stop):
    part = client.file(url, Range=asked)
    assert part.status_code == 206
    assert part.content == whole.content[start:stop]
    size = len(whole.content)
    first = start if start >= 0 else size + start
    last = (stop or size) - 1
    assert part.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
    assert part.headers["Content-Length"] == str(len(part.content))
    assert part.headers["ETag"] == whole.headers["ETag"]


def test_range_beyond_the_end_is_416(client, url, whole):
    size = len(whole.content)
    answer = client.file(url, Range=f"bytes={size}-")
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{size}"


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "lines=0-1", "bytes=-"])
def test_ranges_it_does_not_understand_are_ignored(client, url, whole, asked):
    answer = client.file(url, Range=asked)
    assert (answer.status_code, answer.content) == (200, whole.content)


def test_if_range_sends_the_whole_of_another_file(client, url, whole):
    etag = whole.headers["ETag"]
    assert client.file(url, Range="bytes=5-", If_Range=etag).status_code == 206
    other = client.file(url, Range="bytes=5-", If_Range='"other"')
    assert (other.status_code, other.content) == (200, whole.content)


def test_if_match_refuses_another_file(client, url, whole):
    assert client.file(url, Range="bytes=5-", If_Match=whole.headers["ETag"]).status_code == 206
    assert client.file(url, If_Match='"other"').status_code == 412


def test_link_expires_after_a_week_but_not_the_file(client, sandbox):
    sandbox.jobs("export", duration=0)
    submitted = client.post("/preorders/reports/revenue/export")
    old = client.poll(submitted).json()["download_url"]
    sandbox.advance(24 * 3600 - 60)
    fresh = client.poll(submitted).json()["download_url"]
    sandbox.advance(WEEK - 24 * 3600 + 70)
    refused = client.file(old)
    assert refused.status_code == 403
    assert "Request has expired" in refused.text
    assert client.file(fresh).status_code == 200


def test_life_of_a_link_can_be_set(client, sandbox):
    sandbox.jobs("export", url_expires=10)
    url = client.export()["download_url"]
    assert "X-Amz-Expires=10&" in url
    assert client.file(url).status_code == 200
    sandbox.advance(11)
    assert client.file(url).status_code == 403


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("X-Amz-Expires=604800", "X-Amz-Expires=704800"),
        ("X-Amz-Signature=", "X-Amz-Signature=0"),
        ("exp_", "exp_0"),
    ],
)
def test_changed_links_are_refused(client, url, old, new):
    assert old in url
    answer = client.file(url.replace(old, new))
    assert answer.status_code == 403
    assert "SignatureDoesNotMatch" in answer.text


def test_unsigned_link_is_refused(client, url):
    assert client.file(url.partition("?")[0]).status_code == 403


def test_link_of_before_a_reset_is_dead(client, sandbox, url):
    sandbox.reset()
    assert client.file(url).status_code == 403


def test_downloads_are_recorded(client, sandbox, url, whole):
    client.file(url, Range="bytes=7-")
    size = len(whole.content)
    path = urlsplit(url).path
    assert sandbox.state["downloads"] == [
        {"method": "GET", "path": path, "status": 200, "bytes": size, "start": 0},
        {"method": "GET", "path": path, "status": 206, "bytes": size - 7, "start": 7},
    ]


def test_link_names_the_host_that_was_asked(client, sandbox):
    sandbox.jobs("export", duration=0)
    submitted = client.post("/preorders/reports/revenue/export")
    origin = sandbox.origin.replace("127.0.0.1", "localhost")
    status = client.session.get(
        origin + submitted.json()["status_url"], headers=client.headers, timeout=PATIENCE
    )
    assert urlsplit(status.json()["download_url"]).hostname == "localhost"
