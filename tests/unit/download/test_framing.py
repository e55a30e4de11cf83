"""What a response says of its length, and what comes: published is the whole file, or nothing."""

from __future__ import annotations

import gzip
import os
import socket

import pytest

from stoq_provider.exceptions import DownloadError, VerificationError

from .conftest import BODY, ROWS, answer, chunked, files, ignore_range, serve, unframed

END = len(BODY)
MIDDLE = END // 2
PACKED = gzip.compress(BODY, mtime=0)


def part(content_range, body, *, length=True, status=206):
    """Send these bytes as a part, with their length or in chunks."""

    def behave(h):
        headers = {"ETag": h.owner.etag, "Content-Range": content_range}
        if length:
            h.start(status, headers | {"Content-Length": len(body)})
            h.wfile.write(body)
        else:
            h.start(status, headers | {"Transfer-Encoding": "chunked"})
            h.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    return behave


def chunks_that_break(h):
    h.start(200, {"Transfer-Encoding": "chunked", "ETag": h.owner.etag})
    h.wfile.write(b"%x\r\n%s\r\n" % (MIDDLE, BODY[:MIDDLE]))


def assert_whole(tmp_path):
    assert files(tmp_path) == ["out/result.csv"]
    assert (tmp_path / "out/result.csv").read_bytes() == BODY


@pytest.mark.parametrize(
    "rest",
    [
        part(f"bytes {MIDDLE}-{END - 1}/{END}", BODY[MIDDLE:]),
        part(f"bytes {MIDDLE}-{END - 1}/{END}", BODY[MIDDLE:], length=False),
        part(f"bytes {MIDDLE}-{END - 1}/{END}", BODY[MIDDLE:], status=200),
        part(f"bytes {MIDDLE}-{END - 1}/*", BODY[MIDDLE:]),
        part(f"bytes {MIDDLE}-{MIDDLE + 99}/*", BODY[MIDDLE : MIDDLE + 100]),
        part("bytes 0-99/*", BODY[:100]),
        part(f"bytes */{MIDDLE}", b""),
        part("nonsense", BODY[MIDDLE:]),
        part(f"bytes 0-{END - 1}/{END}", BODY),
        part(f"bytes {MIDDLE + 1}-{END - 1}/{END}", BODY[MIDDLE + 1 :]),
        part(f"bytes {MIDDLE}-{END - 1}/{END}", BODY, length=False),
        part(f"bytes {MIDDLE}-{MIDDLE + 99}/{END}", BODY[:100] + BODY[MIDDLE + 100 :], length=False),
        part(f"bytes {MIDDLE}-{MIDDLE + 99}/{END}", BODY[:150], length=False),
        part(f"bytes {MIDDLE}-{END - 1}/{END}", BODY[MIDDLE : MIDDLE + 100], length=False),
        serve(Content_Range=None),
        serve(Content_Length=99),
        answer(416, Content_Range=f"bytes */{MIDDLE}"),
        answer(416),
        ignore_range,
        chunked(),
        chunked(last=False),
        unframed(),
        unframed(MIDDLE),
    ],
    ids=[
        "the rest",
        "the rest, chunked",
        "the rest with 200",
        "the rest of an unknown total",
        "a piece of an unknown total",
        "the beginning of an unknown total",
        "unsatisfied with 206",
        "nonsense",
        "the whole with 206",
        "from a later byte",
        "more bytes than the range",
        "another piece than the range",
        "another piece, after which there is more",
        "fewer bytes than the range",
        "206 without a range",
        "206 with too small a length",
        "416 with the length so far",
        "416",
        "the whole again",
        "the whole again, chunked",
        "the whole again, its last chunk missing",
        "the whole again, without a length",
        "half of it again, without a length",
    ],
)
@pytest.mark.parametrize("begin", ["length", "chunks"])
def test_second_response_to_a_body_that_broke(fetch, server, tmp_path, begin, rest):
    """Whatever it is: joined where it is the rest, else the file comes anew."""
    server.plan = [serve(stop_after=MIDDLE) if begin == "length" else chunks_that_break, rest]
    fetch()
    assert_whole(tmp_path)


def test_total_that_shrank(fetch, server, tmp_path):
    shorter = part(f"bytes {MIDDLE}-{MIDDLE + 99}/{MIDDLE + 100}", BODY[MIDDLE : MIDDLE + 100])
    server.plan = [serve(stop_after=MIDDLE), shorter]
    fetch()
    assert_whole(tmp_path)
    (tmp_path / "out/result.csv").unlink()
    # Of the first response nobody knows the total: only the rows can tell.
    server.plan = [*[None] * len(server.requests), chunks_that_break, shorter]
    with pytest.raises(VerificationError):
        fetch()
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "first",
    [
        part("bytes 0-99/*", BODY[:100]),
        part("bytes 0-99/*", BODY[:100], length=False),
        part("bytes 0-99/*", BODY[:100], status=200),
        part(f"bytes 0-99/{END}", BODY[:100]),
        part("bytes */100", b""),
        part(None, BODY[:100]),
        answer(416, Content_Range="bytes */100"),
        answer(204),
    ],
    ids=["*", "* chunked", "* with 200", "a total", "unsatisfied", "no range", "416", "204"],
)
def test_part_that_nobody_asked_for(fetch, server, tmp_path, first):
    server.plan = [first] * 3
    with pytest.raises(DownloadError, match=r"a part came|HTTP 416|HTTP 204"):
        fetch(expected_rows=None)
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (serve(Content_Length=MIDDLE), VerificationError),
        (serve(Content_Length=END + 1), DownloadError),
        (chunked(last=False), DownloadError),
        (serve(Content_Length="12, 13"), DownloadError),
        (serve(Content_Encoding="gzip"), VerificationError),
    ],
    ids=["too small", "too big", "the last chunk missing", "two lengths", "no gzip"],
)
def test_length_that_is_wrong_each_time(fetch, server, tmp_path, wrong, error):
    server.plan = [wrong] * 9
    with pytest.raises(error):
        fetch(max_resumes=2)
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("length", "error"),
    [(len(PACKED) - 1, VerificationError), (len(PACKED) + 1, DownloadError), (END, DownloadError)],
    ids=["too small", "too big", "of the text"],
)
@pytest.mark.parametrize("on_mismatch", ["fail", "warn"])
def test_length_that_is_wrong_for_gzip(fetch, server, tmp_path, length, error, on_mismatch):
    server.body = PACKED
    server.plan = [serve(Content_Encoding="gzip", Content_Length=length)] * 9
    with pytest.raises(error):
        fetch(max_resumes=2, expected_rows=None, on_mismatch=on_mismatch)
    assert files(tmp_path) == []


# --- where only the rows can tell ---------------------------------------------------------------------


def cut(length):
    """Send so much of the body, with neither length nor chunks, and cut the connection below TLS."""

    def behave(h):
        unframed(length)(h)
        h.wfile.flush()
        with socket.socket(fileno=os.dup(h.connection.fileno())) as below:
            below.shutdown(socket.SHUT_RDWR)

    return behave


def closed(length):
    """As :func:`cut`, with the ``close_notify`` of TLS."""

    def behave(h):
        unframed(length)(h)
        h.wfile.flush()
        h.connection.unwrap()

    return behave


@pytest.fixture(params=["http", "tls cut", "tls"])
def without_length(request, server, certificate, fetch):
    """Fetches a body without a length, of which so many bytes come."""
    if request.param != "http":
        request.getfixturevalue("tls")
    behaviour = {"http": unframed, "tls cut": cut, "tls": closed}[request.param]
    scheme = request.param.partition(" ")[0].replace("tls", "https")

    def run(length, **options):
        server.plan = [behaviour(length)]
        url = server.url(scheme=scheme).replace("127.0.0.1", "localhost")
        return fetch(lambda: url, verify=certificate, **options)

    return run


@pytest.mark.parametrize("on_mismatch", ["fail", "warn"])
@pytest.mark.parametrize("length", [0, 9, MIDDLE, BODY.rindex(b"\n", 0, -1) + 1])
def test_cut_that_the_row_count_tells(without_length, tmp_path, length, on_mismatch):
    """Whether there is a ``close_notify`` says nothing: servers leave it out, or send it in the midst."""
    with pytest.raises(VerificationError, match=r"announced 30000 rows|inside a quoted field"):
        without_length(length, on_mismatch=on_mismatch, header_counted=False)
    assert files(tmp_path) == []


def test_rows_that_fit_make_it_whole(without_length, tmp_path, caplog):
    assert without_length(None).rows == ROWS
    assert "announced no length" in caplog.text
    assert_whole(tmp_path)


def test_mismatch_may_be_published_where_the_length_is_known(fetch, server, tmp_path):
    server.plan = [serve(stop_after=100), chunked()]
    fetch(expected_rows=7, on_mismatch="warn")
    assert_whole(tmp_path)
