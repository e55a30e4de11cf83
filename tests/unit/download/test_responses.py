from __future__ import annotations

import pytest
from requests.structures import CaseInsensitiveDict

from stoq_provider.download.responses import (
    Verdict,
    Wanted,
    body_length,
    is_gzipped,
    judge,
    retry_after,
    strong_etag,
)

START = Wanted()
REST = Wanted(offset=100, total=1000, etag='"v1"')
GZIP_REST = Wanted(offset=100, total=1000, etag='"v1"', gzipped=True)
PART = {"etag": '"v1"', "content-range": "bytes 100-999/1000"}


@pytest.mark.parametrize(
    ("status", "headers", "wanted", "verdict"),
    [
        (200, {}, START, Verdict.TAKE),
        (200, {"content-encoding": "identity"}, START, Verdict.TAKE),
        (200, {"content-encoding": "GZip"}, START, Verdict.TAKE),
        (200, {"transfer-encoding": "Chunked"}, START, Verdict.TAKE),
        (200, {"transfer-encoding": "gzip, chunked"}, START, Verdict.FAIL),
        (206, PART | {"transfer-encoding": "gzip"}, REST, Verdict.FAIL),
        (200, {"content-encoding": "br"}, START, Verdict.FAIL),
        (200, {"content-encoding": "gzip, gzip"}, START, Verdict.FAIL),
        (200, {"content-encoding": "deflate"}, START, Verdict.FAIL),
        (200, {"content-encoding": "aws-chunked, zstd"}, START, Verdict.FAIL),
        (206, PART | {"content-encoding": "utf-8"}, REST, Verdict.TAKE),
        (206, PART | {"content-encoding": "aws-chunked,gzip"}, REST, Verdict.ANEW),
        (206, PART | {"content-encoding": "aws-chunked,gzip"}, GZIP_REST, Verdict.TAKE),
        (200, {"content-range": "bytes 0-9/10"}, START, Verdict.FAIL),
        (206, {"content-range": "bytes 0-9/10"}, START, Verdict.FAIL),
        (206, {"content-range": "bytes 0-99/*"}, START, Verdict.FAIL),
        (206, {"content-range": "bytes 0-99/*", "content-length": "100"}, START, Verdict.FAIL),
        (206, {"content-range": "bytes */100"}, START, Verdict.FAIL),
        (206, {}, START, Verdict.FAIL),
        (200, {"content-range": "bytes */100"}, START, Verdict.FAIL),
        (200, {"content-range": ""}, START, Verdict.FAIL),
        (204, {}, START, Verdict.FAIL),
        (400, {}, START, Verdict.FRESH_URL),
        (401, {}, START, Verdict.FAIL),
        (403, {}, START, Verdict.FRESH_URL),
        (404, {}, START, Verdict.FAIL),
        (408, {}, START, Verdict.RETRY),
        (416, {}, START, Verdict.FAIL),
        (429, {}, START, Verdict.RETRY),
        (500, {}, START, Verdict.RETRY),
        (503, {}, START, Verdict.RETRY),
        (206, PART, REST, Verdict.TAKE),
        (200, PART, REST, Verdict.TAKE),  # a store that answers a part with 200
        (206, PART | {"content-range": "bytes 100-999/*"}, REST, Verdict.TAKE),
        (206, PART | {"content-range": "bytes 100-999/*"}, Wanted(100, None, '"v1"'), Verdict.ANEW),
        (206, PART | {"content-range": "bytes 100-999/1000"}, Wanted(100, None, '"v1"'), Verdict.TAKE),
        (206, PART | {"content-range": "bytes 100-499/1000"}, REST, Verdict.TAKE),
        (206, PART | {"content-range": "bytes 0-999/1000"}, REST, Verdict.ANEW),
        (206, PART | {"content-range": "bytes 101-999/1000"}, REST, Verdict.ANEW),
        (206, PART | {"content-range": "bytes 100-99/1000"}, REST, Verdict.ANEW),
        (206, PART | {"content-range": "bytes 100-1000/1001"}, REST, Verdict.ANEW),
        (206, PART | {"content-range": "bytes 100-999/999"}, REST, Verdict.ANEW),
        (206, PART | {"content-range": "bytes 100-499/500"}, REST, Verdict.ANEW),
        (206, PART | {"content-range": "bytes 100-199/50"}, Wanted(100, None, '"v1"'), Verdict.ANEW),
        (206, PART | {"content-range": "bytes 100-199/150"}, Wanted(100, None, '"v1"'), Verdict.ANEW),
        (206, PART | {"content-range": "bytes */1000"}, REST, Verdict.ANEW),
        (206, PART | {"content-range": "bytes 100-999"}, REST, Verdict.ANEW),
        (206, PART | {"content-range": "items 100-999/1000"}, REST, Verdict.ANEW),
        (206, PART | {"content-range": "nonsense"}, REST, Verdict.ANEW),
        (206, PART | {"content-length": "900"}, REST, Verdict.TAKE),
        (206, PART | {"content-length": "900, 900"}, REST, Verdict.TAKE),
        (206, PART | {"content-length": "899"}, REST, Verdict.ANEW),
        (206, PART | {"content-length": "1000"}, REST, Verdict.ANEW),
        (206, PART | {"content-length": "1000", "transfer-encoding": "chunked"}, REST, Verdict.TAKE),
        (206, {"etag": '"v1"'}, REST, Verdict.ANEW),
        (206, PART | {"etag": '"v2"'}, REST, Verdict.ANEW),
        (206, PART | {"etag": 'W/"v1"'}, REST, Verdict.ANEW),
        (206, {"content-range": "bytes 100-999/1000"}, REST, Verdict.ANEW),
        (206, PART, Wanted(100, 1000, None), Verdict.ANEW),
        (200, {"content-range": "bytes 100-999/1000"}, Wanted(100, 1000, None), Verdict.ANEW),
        (200, {}, Wanted(100, 1000, None), Verdict.ANEW),
        (206, PART | {"content-encoding": "gzip"}, REST, Verdict.ANEW),
        (206, PART | {"content-encoding": "gzip"}, GZIP_REST, Verdict.TAKE),
        (206, PART, GZIP_REST, Verdict.ANEW),
        (200, {"content-encoding": "gzip"}, REST, Verdict.ANEW),
        (200, {"etag": '"v2"'}, REST, Verdict.ANEW),
        (200, {"content-encoding": "br"}, REST, Verdict.FAIL),
        (412, {}, REST, Verdict.ANEW),
        (416, {}, REST, Verdict.ANEW),
        (400, {}, REST, Verdict.FRESH_URL),
        (403, {}, REST, Verdict.FRESH_URL),
        (404, {}, REST, Verdict.FRESH_URL),
        (410, {}, REST, Verdict.FAIL),
        (502, {}, REST, Verdict.RETRY),
    ],
)
def test_verdict(status, headers, wanted, verdict):
    assert judge(status, CaseInsensitiveDict(headers), wanted)[0] is verdict


@pytest.mark.parametrize(
    ("encoding", "gzipped"),
    [
        *((text, False) for text in ("", ",", "identity", "none", "None", "binary", "8bit", "aws-chunked")),
        *((text, False) for text in ("utf-8", "UTF8", "UTF-16LE", "US-ASCII", "ISO-8859-1", "windows-1252")),
        *((text, False) for text in ("aws-chunked, UTF-8", "identity,identity")),
        *((text, True) for text in ("gzip", "x-gzip", "GZIP", " gzip ", "gzip,aws-chunked")),
        *((text, True) for text in ("aws-chunked, gzip", "gzip, identity", "gzip,", "utf-8,gzip")),
    ],
)
def test_what_encodes_nothing_is_ignored(encoding, gzipped):
    headers = CaseInsensitiveDict({"content-encoding": encoding})
    assert judge(200, headers, START)[0] is Verdict.TAKE
    assert is_gzipped(headers) is gzipped


def test_request_headers():
    assert START.headers() == {"Accept": "*/*", "Accept-Encoding": "identity"}
    assert REST.headers()["Range"] == "bytes=100-"
    assert REST.headers()["If-Range"] == REST.headers()["If-Match"] == '"v1"'


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({"Content-Length": "12"}, 12),
        ({"Content-Length": "0"}, 0),
        ({"Content-Length": "12, 12"}, 12),
        ({"Content-Length": "12, 13"}, None),
        ({"Content-Length": "-1"}, None),
        ({"Content-Length": "²"}, None),
        ({"Content-Length": "9" * 5000}, None),
        ({"Content-Length": "12", "Transfer-Encoding": "chunked"}, None),
        ({}, None),
    ],
)
def test_announced_length(headers, length):
    assert body_length(headers) == length


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3), ("9999", 60), ("", 0), ("-1", 0), ("tomorrow", 0), ("9" * 5000, 0)],
    ids=lambda value: str(value)[:9],
)
def test_wait_the_server_asks_for_is_bounded(text, seconds):
    assert retry_after({"Retry-After": text}) == seconds


@pytest.mark.parametrize(("text", "etag"), [('"a"', '"a"'), ('W/"a"', None), ("a", None), ("", None)])
def test_only_a_strong_etag_counts(text, etag):
    assert strong_etag({"ETag": text}) == etag
