"""Bodies that come as gzip: decoded or kept, counted right, resumed or begun again."""

from __future__ import annotations

import gzip
import hashlib

import pytest

from stoq_provider.core import gunzip
from stoq_provider.exceptions import ValidationRejected, VerificationError

from .conftest import BODY, ROWS, files, serve

PACKED = gzip.compress(BODY, mtime=0)
GZIP = {"Content_Encoding": "gzip"}
MIDDLE = len(PACKED) // 2


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def gzipped(server):
    """Everything is sent as gzip."""
    server.body = PACKED
    server.plan = [serve(**GZIP)] * 9
    return server


def assert_decoded(stored, tmp_path):
    assert (stored.bytes, stored.rows, stored.sha256) == (len(BODY), ROWS, sha256(BODY))
    assert files(tmp_path) == ["out/result.csv"]
    assert (tmp_path / "out/result.csv").read_bytes() == BODY


def assert_kept(stored, tmp_path):
    assert (stored.bytes, stored.rows, stored.sha256) == (len(PACKED), ROWS, sha256(PACKED))
    assert stored.file_name == "result.csv.gz"
    assert files(tmp_path) == ["out/result.csv.gz"]
    assert (tmp_path / "out/result.csv.gz").read_bytes() == PACKED


def test_gzip_is_decoded(fetch, gzipped, tmp_path):
    assert_decoded(fetch(), tmp_path)
    assert gzipped.requests[0][1]["accept-encoding"] == "identity"


@pytest.mark.parametrize("encoding", ["gzip,aws-chunked", "x-gzip", "gzip, identity"])
def test_gzip_beside_what_encodes_nothing(fetch, gzipped, tmp_path, encoding):
    gzipped.plan = [serve(stop_after=MIDDLE, Content_Encoding=encoding), serve(Content_Encoding=encoding)]
    assert_decoded(fetch(), tmp_path)
    assert gzipped.ranges == [None, f"bytes={MIDDLE}-"]


@pytest.mark.parametrize("encoding", ["utf-8", "aws-chunked", "none", "binary"])
def test_body_that_nothing_encodes(fetch, server, tmp_path, encoding):
    server.plan = [serve(Content_Encoding=encoding)]
    assert_decoded(fetch(), tmp_path)


@pytest.mark.parametrize("encoding", ["decode", "keep"])
def test_gzip_that_would_fill_the_disk(fetch, gzipped, tmp_path, monkeypatch, encoding):
    monkeypatch.setattr(gunzip, "FREE_BYTES", 10**6)
    gzipped.body = gzip.compress(bytes(2 * 10**6))
    with pytest.raises(VerificationError, match=r"damaged gzip.*more than 200 times as long"):
        fetch(expected_rows=None, on_mismatch="warn", encoding=encoding)
    assert files(tmp_path) == []


def test_gzip_is_kept_under_a_name_that_says_so(fetch, gzipped, tmp_path):
    assert_kept(fetch(encoding="keep"), tmp_path)


@pytest.mark.parametrize("encoding", ["decode", "keep"])
def test_plain_body_is_the_same_either_way(fetch, tmp_path, encoding):
    assert_decoded(fetch(encoding=encoding), tmp_path)


def test_name_that_says_gzip_already_stays(fetch, gzipped, tmp_path):
    assert fetch(encoding="keep", file_name="a.csv.gz").file_name == "a.csv.gz"
    assert files(tmp_path) == ["out/a.csv.gz"]


@pytest.mark.parametrize("destination", ["{tmp}/out/", "{tmp}/out/{{file_name}}"])
def test_decoded_text_loses_the_ending_that_the_server_gave(fetch, gzipped, tmp_path, destination):
    stored = fetch(file_name="result.csv.gz", destination=destination.format(tmp=tmp_path))
    assert stored.file_name == "result.csv"
    assert_decoded(stored, tmp_path)


def test_decoded_text_under_the_shorter_name_overwrites_nothing_either(fetch, gzipped, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/result.csv").write_bytes(b"mine")
    with pytest.raises(ValidationRejected, match="exists already"):
        fetch(file_name="result.csv.gz", overwrite=False)
    assert (tmp_path / "out/result.csv").read_bytes() == b"mine"


def test_name_of_a_file_that_is_not_sent_as_gzip_stays(fetch, server, tmp_path):
    server.body = PACKED
    assert fetch(file_name="a.csv.gz", expected_rows=None).file_name == "a.csv.gz"
    assert (tmp_path / "out/a.csv.gz").read_bytes() == PACKED


def test_name_that_the_user_gave_stays(fetch, gzipped, tmp_path):
    assert fetch(destination=f"{tmp_path}/mine.csv.gz").file_name == "mine.csv.gz"


def test_object_named_by_the_user_gets_the_ending_too(fetch, gzipped, tmp_path):
    stored = fetch(encoding="keep", destination=f"{tmp_path}/mine.csv")
    assert stored.uri == f"file://{tmp_path}/mine.csv.gz"


@pytest.mark.parametrize(
    ("encoding", "offset"),
    [
        ("decode", 1),
        ("decode", MIDDLE),
        ("decode", len(PACKED) - 1),
        ("keep", 11),
        ("keep", MIDDLE),
        ("keep", len(PACKED) - 1),
    ],
)
def test_gzip_is_resumed_by_its_own_bytes(fetch, gzipped, tmp_path, encoding, offset):
    gzipped.plan = [serve(stop_after=offset, **GZIP), serve(**GZIP)]
    stored = fetch(encoding=encoding)
    (assert_kept if encoding == "keep" else assert_decoded)(stored, tmp_path)
    assert gzipped.ranges == [None, f"bytes={offset}-"]


@pytest.mark.parametrize("encoding", ["decode", "keep"])
def test_rest_in_another_encoding_is_not_joined(fetch, gzipped, tmp_path, encoding):
    gzipped.plan = [serve(stop_after=MIDDLE, **GZIP), serve(), serve(**GZIP)]
    stored = fetch(encoding=encoding)
    (assert_kept if encoding == "keep" else assert_decoded)(stored, tmp_path)
    assert gzipped.ranges == [None, f"bytes={MIDDLE}-", None]


def test_compression_on_the_fly_starts_over(fetch, gzipped, tmp_path):
    """Such an answer has a weak ETag at most."""
    gzipped.etag = 'W/"v1"'
    gzipped.plan = [serve(stop_after=MIDDLE, **GZIP), serve(**GZIP)]
    assert_decoded(fetch(), tmp_path)
    assert gzipped.ranges == [None, None]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (PACKED[:MIDDLE], "cut short"),
        (PACKED[:-1], "cut short"),
        (BODY, "damaged gzip"),
        (PACKED[:-8] + b"\1\2\3\4" + PACKED[-4:], "damaged gzip"),
        (PACKED + b"more", "damaged gzip"),
    ],
)
@pytest.mark.parametrize(
    ("encoding", "on_mismatch"), [("decode", "warn"), ("keep", "warn"), ("keep", "fail")]
)
def test_damaged_gzip_is_not_published(fetch, gzipped, tmp_path, encoding, body, says, on_mismatch):
    gzipped.body = body
    with pytest.raises(VerificationError, match=f"{says}.*Nothing was published"):
        fetch(encoding=encoding, expected_rows=None, on_mismatch=on_mismatch)
    assert files(tmp_path) == []


def test_empty_body_that_claims_to_be_gzip(fetch, gzipped, tmp_path):
    gzipped.body = b""
    assert fetch(expected_rows=0).bytes == 0


@pytest.mark.parametrize("encoding", ["decode", "keep"])
def test_row_count_is_held_against_the_text(fetch, gzipped, tmp_path, encoding):
    with pytest.raises(VerificationError, match=f"announced 7 rows, but the file holds {ROWS}"):
        fetch(encoding=encoding, expected_rows=7)
    assert files(tmp_path) == []


def test_no_overwrite_counts_for_the_name_with_the_ending(fetch, gzipped, tmp_path):
    fetch(encoding="keep", overwrite=False)
    with pytest.raises(ValidationRejected, match=r"result\.csv\.gz exists already"):
        fetch(encoding="keep", overwrite=False)


def test_policy_that_nobody_knows_is_refused(fetch, server):
    with pytest.raises(ValidationRejected, match="encoding is one of 'decode', 'keep', not 'gunzip'"):
        fetch(encoding="gunzip")
    assert server.requests == []
