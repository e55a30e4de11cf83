"""Whether what arrived is published: rows, empty files, and what is there already."""

from __future__ import annotations

import gzip
import hashlib
import os

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from stoq_provider.download.verification import EmptyResult
from stoq_provider.exceptions import ValidationRejected, VerificationError

from .conftest import BODY, ROWS, files, serve

HEADER = b"id,note\r\n"
EMPTY = hashlib.sha256(b"").hexdigest()


def content(tmp_path):
    return (tmp_path / "out/result.csv").read_bytes()


# --- files without rows -----------------------------------------------------------------------------


@pytest.mark.parametrize("body", [HEADER, b"id,note", HEADER + b"\r\n\r\n", b"id,note\r", b"", b"\n\n"])
@pytest.mark.parametrize("on_empty", ["keep", "header", "empty", "skip", "fail"])
def test_no_rows(fetch, server, tmp_path, body, on_empty):
    server.body = body
    run = lambda: fetch(expected_rows=0, on_empty=on_empty)  # noqa: E731
    if on_empty == "skip":
        with pytest.raises(EmptyResult, match="nothing was published") as caught:
            run()
        assert isinstance(caught.value, AirflowSkipException)
    elif on_empty == "fail" or (on_empty == "header" and not body.strip()):
        with pytest.raises(VerificationError, match="on_empty"):
            run()
    else:
        stored = run()
        published = b"" if on_empty == "empty" else body
        assert content(tmp_path) == published
        assert (stored.bytes, stored.rows) == (len(published), 0)
        assert stored.sha256 == hashlib.sha256(published).hexdigest()
        assert files(tmp_path) == ["out/result.csv"]
        return
    assert files(tmp_path) == []


@pytest.mark.parametrize("on_empty", ["header", "empty", "skip", "fail"])
def test_on_empty_leaves_files_with_rows_alone(fetch, tmp_path, on_empty):
    assert fetch(on_empty=on_empty).rows == ROWS
    assert content(tmp_path) == BODY


@pytest.mark.parametrize("on_empty", ["header", "empty", "skip", "fail"])
def test_on_empty_leaves_rows_that_end_with_a_carriage_return_alone(fetch, server, tmp_path, on_empty):
    server.body = b"id,note\r1,a\r2,b\r"
    assert fetch(on_empty=on_empty, expected_rows=2, min_rows=2, header_counted=False).rows == 2
    assert content(tmp_path) == server.body


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n\r\n", b"\r\r\r"])
def test_blank_lines_at_the_end_are_no_rows(fetch, server, end):
    server.body = b"id,note\n1,a\n2,b" + end
    assert fetch(expected_rows=2, header_counted=False).rows == 2
    with pytest.raises(VerificationError, match="holds 2 rows, and at least 3 are wanted"):
        fetch(expected_rows=2, min_rows=3)


@pytest.mark.parametrize("on_empty", ["empty", "skip"])
def test_row_count_is_checked_before_a_file_counts_as_empty(fetch, server, tmp_path, on_empty):
    server.body = HEADER
    with pytest.raises(VerificationError, match="announced 5 rows"):
        fetch(expected_rows=5, on_empty=on_empty)
    assert files(tmp_path) == []


def test_empty_file_of_kept_gzip_is_gzip(fetch, server, tmp_path):
    server.body = gzip.compress(HEADER)
    server.plan = [serve(Content_Encoding="gzip")]
    stored = fetch(expected_rows=0, on_empty="empty", encoding="keep")
    data = (tmp_path / "out/result.csv.gz").read_bytes()
    assert gzip.decompress(data) == b""
    assert (stored.bytes, stored.sha256) == (len(data), hashlib.sha256(data).hexdigest())


# --- enough rows ------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_mismatch", ["fail", "warn"])
def test_fewer_rows_than_wanted_fail(fetch, tmp_path, on_mismatch):
    assert fetch(min_rows=ROWS).rows == ROWS
    (tmp_path / "out/result.csv").unlink()
    with pytest.raises(VerificationError, match=f"holds {ROWS} rows, and at least {ROWS + 1} are wanted"):
        fetch(min_rows=ROWS + 1, on_mismatch=on_mismatch)
    assert files(tmp_path) == []


def test_no_rows_at_all_are_left_to_on_empty(fetch, server):
    server.body = HEADER
    with pytest.raises(VerificationError, match="min_rows"):
        fetch(expected_rows=0, min_rows=1)
    with pytest.raises(EmptyResult):
        fetch(expected_rows=0, min_rows=1, on_empty="skip")
    assert fetch(expected_rows=0, min_rows=1, on_empty="header").rows == 0


@pytest.mark.parametrize("value", [-1, 1.5, True, "3"])
def test_least_rows_must_be_a_number(fetch, value):
    with pytest.raises(ValidationRejected, match="min_rows is a number of rows"):
        fetch(min_rows=value)


# --- with or without the header line ----------------------------------------------------------------


@pytest.mark.parametrize("header", [0, 1])
def test_either_count_is_accepted_where_nobody_knows(fetch, header):
    for system in ("stoq", "stoq", None):
        assert fetch(expected_rows=ROWS + header, system=system).rows == ROWS


@pytest.mark.parametrize("counted", [False, True])
def test_policy_can_say_whether_the_header_is_counted(fetch, counted):
    fetch(expected_rows=ROWS + counted, header_counted=counted)
    with pytest.raises(VerificationError, match=("without", "with")[counted] + " the header line"):
        fetch(expected_rows=ROWS + 1 - counted, header_counted=counted)


def test_mismatch_with_what_the_policy_says_may_be_a_warning(fetch, caplog):
    fetch(expected_rows=ROWS, header_counted=True, on_mismatch="warn")
    assert "published all the same" in caplog.text


# --- what is there already --------------------------------------------------------------------------


def test_same_content_is_left_alone(fetch, tmp_path, caplog):
    assert fetch(overwrite="if_different").written
    path = tmp_path / "out/result.csv"
    os.utime(path, (1, 1))
    inode = path.stat().st_ino
    with caplog.at_level("INFO"):
        stored = fetch(overwrite="if_different")
    assert not stored.written
    assert "content is the same" in caplog.text
    assert (path.stat().st_mtime, path.stat().st_ino) == (1, inode)
    assert files(tmp_path) == ["out/result.csv"]
    assert "written" not in stored.to_dict()
    assert stored.to_dict() == fetch(overwrite=True).to_dict()


@pytest.mark.parametrize("old", [b"", b"shorter", BODY[:-1] + b"x", BODY + b"x"])
def test_other_content_is_replaced(fetch, tmp_path, old):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/result.csv").write_bytes(old)
    assert fetch(overwrite="if_different").written
    assert content(tmp_path) == BODY
    assert files(tmp_path) == ["out/result.csv"]


def test_other_content_stays_if_the_new_one_is_not_whole(fetch, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/result.csv").write_bytes(b"old")
    with pytest.raises(VerificationError):
        fetch(overwrite="if_different", expected_rows=5)
    assert content(tmp_path) == b"old"


def test_empty_file_that_is_there_already(fetch, server):
    server.body = HEADER
    assert fetch(overwrite="if_different", on_empty="empty", expected_rows=0).written
    stored = fetch(overwrite="if_different", on_empty="empty", expected_rows=0)
    assert not stored.written
    assert stored.sha256 == EMPTY


def test_overwrite_that_nobody_knows(fetch, server):
    with pytest.raises(ValidationRejected, match="overwrite is one of True, False, 'if_different'"):
        fetch(overwrite="if-different")
    assert server.requests == []
