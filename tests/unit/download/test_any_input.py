"""Whatever a store sends: what to do with it, without the URL in words, or that it can't be read."""

from __future__ import annotations

import math
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from stoq_provider.download.header import column_names, read_header
from stoq_provider.download.responses import (
    Trouble,
    Verdict,
    Wanted,
    body_length,
    content_part,
    judge,
    retry_after,
)
from stoq_provider.download.ssrf import SignedUrl, parse_url, redirect_target
from stoq_provider.exceptions import VerificationError
from tests.fuzz.counting import check_counts
from tests.fuzz.strategies import header_texts, headers, statuses

wanted = st.builds(
    Wanted, st.sampled_from([0, 3]), st.none() | st.just(10), st.none() | st.just('"e"'), st.booleans()
)


@given(statuses, headers, wanted)
def test_any_headers_of_a_download(status, given_headers, wanted):
    found = CaseInsensitiveDict(given_headers)
    verdict, reason = judge(status, found, wanted)
    if verdict is Verdict.TAKE:
        assert status in (200, 206)
        part = content_part(found)
        assert (part.first if part else 0) == wanted.offset, (
            "bytes are never joined that do not belong together"
        )
        assert not wanted.offset or found["ETag"] == wanted.etag
    else:
        assert reason
    assert 0 <= retry_after(found) <= 60
    length = body_length(found)
    assert length is None or 0 <= length < math.inf


url_parts = st.sampled_from(
    [
        *(
            "https://",
            "http://",
            "//",
            "/",
            "@",
            ":",
            "[",
            "]",
            "?",
            "#",
            "..",
            "%2e",
            "\\",
            " ",
            "\t",
            "\0",
            "é",
        ),
        *(
            "bucket.example",
            "10.0.0.1",
            "0x7f.1",
            "::1",
            "443",
            "65536",
            "-1",
            "9" * 5000,
            "user",
            "X-Sig=5ecre7",
        ),
        *("\ud800", "\u2028", "ｅ", "xn--", "FTP:", "?a=b", ";", "*"),
    ]
)
urls = st.lists(url_parts, max_size=8).map("".join) | st.text(st.characters(), max_size=20)
HOME = SignedUrl("https://bucket.example", "/x.csv?X-Sig=5ecre7", "https", "bucket.example", 443)


@given(urls.map("https://bucket.example/".__add__) | urls.map("https://".__add__) | urls, urls | header_texts)
def test_any_url_and_any_location(url, location):
    for target in (parse_url(url), redirect_target(HOME, location)):
        if isinstance(target, Trouble):
            assert target.final
            assert "5ecre7" not in target.reason
        else:
            assert parse_url(target.text) == target
            assert target.target.isascii()
            assert target.target.startswith("/")
            assert "@" not in target.origin
    moved = redirect_target(HOME, location)
    assert isinstance(moved, Trouble) or (moved.scheme, moved.host, moved.port) == ("https", HOME.host, 443)


heads = st.binary(max_size=60) | st.lists(
    st.sampled_from(
        [b"a", b'"', b",", b";", b"\t", b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xc3\xa9"]
    ),
    max_size=20,
).map(b"".join)


@given(heads)
def test_any_header_line(head):
    assert all(isinstance(name, str) for name in column_names(head))
    with suppress(VerificationError):
        names, delimiter = read_header(head)
        assert delimiter in (",", ";", "\t")
        assert all(isinstance(name, str) for name in names)


pieces = st.sampled_from(
    [b"a", b'"', b"\n", b"\r", b'""', b"\r\n", b"\xef\xbb\xbf", b"b" * 61, b"\n" * 64, b'"' * 65, b"c" * 200]
)
files = st.lists(pieces, max_size=60).map(b"".join) | st.binary(max_size=300)


@given(files, st.lists(st.integers(0, 3000), max_size=8))
def test_any_bytes_are_counted_alike_however_they_are_cut(data, cuts):
    check_counts(data, cuts)
