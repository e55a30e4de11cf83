"""The whole way from a real (and faulty) local server to a local file."""

from __future__ import annotations

import hashlib
import logging
import socket
from contextlib import suppress

import pytest

from stoq_provider.download import download as module
from stoq_provider.download import resume
from stoq_provider.download.download import check_download, download_files
from stoq_provider.download.options import DownloadOptions
from stoq_provider.download.resume import CHUNK_BYTES
from stoq_provider.download.verification import CsvRecordCounter, StoredFile
from stoq_provider.exceptions import DownloadError, ValidationRejected, VerificationError

from .conftest import (
    BODY,
    ROWS,
    answer,
    chunked,
    drip,
    files,
    ignore_range,
    serve,
    unframed,
)

SHA256 = hashlib.sha256(BODY).hexdigest()
MIDDLE = len(BODY) // 2


def assert_whole(stored, tmp_path):
    assert (stored.bytes, stored.rows, stored.sha256) == (len(BODY), ROWS, SHA256)
    assert files(tmp_path) == ["out/result.csv"]
    assert (tmp_path / "out/result.csv").read_bytes() == BODY


def test_whole_file(fetch, server, tmp_path):
    stored = fetch()
    assert_whole(stored, tmp_path)
    assert stored.to_dict() == {
        "uri": f"file://{tmp_path}/out/result.csv",
        "file_name": "result.csv",
        "bytes": len(BODY),
        "rows": ROWS,
        "sha256": SHA256,
    }
    assert isinstance(stored, StoredFile)
    assert len(server.requests) == 1


def test_empty_file_and_header_only_are_explicit(fetch, server):
    server.body = b""
    assert fetch(expected_rows=0).rows == 0
    server.body = b"id,note\n"
    assert fetch(expected_rows=0).rows == 0
    with pytest.raises(VerificationError):
        fetch(expected_rows=5)


# --- broken connections -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "offset"),
    [*(("fin", offset) for offset in (0, 1, MIDDLE, len(BODY) - 1)), ("rst", 0), ("rst", MIDDLE)],
)
def test_resumes_where_it_broke(fetch, server, tmp_path, how, offset):
    server.plan = [serve(stop_after=offset, how=how)]
    assert_whole(fetch(), tmp_path)
    assert len(server.requests) == 2
    if how == "fin" and offset:  # a reset may drop what was on its way
        assert server.ranges == [None, f"bytes={offset}-"]
        assert server.requests[1][1]["if-range"] == '"v1"'


def test_resumes_after_a_stall(fetch, server, tmp_path):
    server.plan = [serve(stop_after=MIDDLE, how="stall")]
    assert_whole(fetch(), tmp_path)
    assert server.ranges == [None, f"bytes={MIDDLE}-"]


def test_stall_is_a_matter_of_the_time_that_was_given(fetch, server, tmp_path):
    server.plan = [serve(stop_after=MIDDLE, how="hold")]
    with pytest.raises(DownloadError, match="timed out; gave up"):
        fetch(stall_timeout=0.1, max_resumes=0)


def test_resumes_many_times(fetch, server, tmp_path):
    server.plan = [serve(stop_after=100_000)] * 6
    assert_whole(fetch(), tmp_path)
    assert len(server.requests) == 7


def test_waits_grow_until_bytes_come_again(fetch, server, monkeypatch):
    seen = []
    monkeypatch.setattr(resume, "_backoff", lambda failures: seen.append(failures) or 0.0)
    server.plan = [answer(503), answer(503), serve(stop_after=1000), answer(503)]
    fetch()
    assert seen == [1, 2, 1, 2]


def test_wait_is_bounded_and_spread():
    waits = [resume._backoff(failures) for failures in (1, 1, 1, 4, 1000)]
    assert all(0.5 <= wait <= 1.0 for wait in waits[:3])
    assert len(set(waits[:3])) > 1
    assert 4.0 <= waits[3] <= 4.5
    assert waits[4] == 30


def test_gives_up_after_max_resumes(fetch, server, tmp_path):
    server.plan = [serve(stop_after=1000)] * 9
    with pytest.raises(DownloadError, match=r"gave up after 4 tries") as caught:
        fetch(max_resumes=3)
    assert len(server.requests) == 4
    assert "4000 of" in str(caught.value)
    assert caught.value.job_id == "job-1"
    assert files(tmp_path) == []


def test_chunked_body_that_is_cut_goes_on(fetch, server, tmp_path):
    server.plan = [chunked(last=False)]
    assert_whole(fetch(), tmp_path)


def test_chunked_body(fetch, server, tmp_path, caplog):
    server.plan = [chunked()]
    assert_whole(fetch(), tmp_path)
    assert "announced no length" not in caplog.text


def test_server_error_is_asked_again(fetch, server, tmp_path):
    server.plan = [answer(503, Retry_After="0"), answer(500)]
    assert_whole(fetch(), tmp_path)


def test_refused_connection_is_tried_again_and_then_reported(fetch, server, tmp_path):
    # The port is taken, so that no server of others gets it, but nobody listens.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/x.csv"
        with pytest.raises(DownloadError, match="connection refused; gave up after 2 tries"):
            fetch(lambda: url, max_resumes=1)
    assert files(tmp_path) == []


# --- what cannot be continued is begun again -------------------------------------------------------


def test_server_that_ignores_range(fetch, server, tmp_path, caplog):
    server.plan = [serve(stop_after=MIDDLE), ignore_range]
    assert_whole(fetch(), tmp_path)
    assert server.ranges == [None, f"bytes={MIDDLE}-", None]
    assert "starts again at byte 0" in caplog.text


@pytest.mark.parametrize("known_by", ["412", "etag of the part", "if-range"])
def test_file_changed_in_between(fetch, server, tmp_path, known_by):
    new = BODY[:-10] + b"9999999\r\n\n"
    assert len(new) == len(BODY)

    def change(h):
        server.body, server.etag = new, '"v2"'
        if known_by == "412":
            serve()(h)
        elif known_by == "if-range":
            ignore_range(h)
        else:
            h.headers["If-Match"] = h.headers["If-Range"] = '"v2"'
            del h.headers["If-Match"], h.headers["If-Range"]
            serve()(h)

    server.plan = [serve(stop_after=MIDDLE), change]
    stored = fetch(expected_rows=None)
    assert stored.sha256 == hashlib.sha256(new).hexdigest()
    assert (tmp_path / "out/result.csv").read_bytes() == new


@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
def test_without_a_strong_etag_nothing_is_joined(fetch, server, tmp_path, etag):
    server.etag = etag
    server.plan = [serve(stop_after=MIDDLE)]
    assert_whole(fetch(), tmp_path)
    assert server.ranges == [None, None]


@pytest.mark.parametrize(
    "wrong", ["bytes 0-5/6", f"bytes {MIDDLE + 1}-{len(BODY) - 1}/{len(BODY)}", "bytes */5", "nonsense"]
)
def test_wrong_content_range_is_not_joined(fetch, server, tmp_path, wrong):
    server.plan = [serve(stop_after=MIDDLE), serve(Content_Range=wrong)]
    assert_whole(fetch(), tmp_path)
    assert server.ranges == [None, f"bytes={MIDDLE}-", None]


def test_part_that_is_smaller_than_asked_for(fetch, server, tmp_path):
    def small_part(h):
        part = BODY[MIDDLE : MIDDLE + 1000]
        headers = {"ETag": '"v1"', "Content-Range": f"bytes {MIDDLE}-{MIDDLE + 999}/{len(BODY)}"}
        h.start(206, headers | {"Content-Length": 1000})
        h.wfile.write(part)

    server.plan = [serve(stop_after=MIDDLE), small_part]
    assert_whole(fetch(), tmp_path)
    assert server.ranges == [None, f"bytes={MIDDLE}-", f"bytes={MIDDLE + 1000}-"]


def test_part_that_is_longer_than_the_file(fetch, server, tmp_path):
    def long_part(h):
        headers = {"ETag": '"v1"', "Content-Range": f"bytes {MIDDLE}-{len(BODY) - 1}/{len(BODY)}"}
        h.start(206, headers | {"Content-Length": len(BODY)})
        h.wfile.write(BODY)

    server.plan = [serve(stop_after=MIDDLE), long_part]
    assert_whole(fetch(), tmp_path)
    assert server.ranges == [None, f"bytes={MIDDLE}-", None]


def test_bytes_lost_on_our_own_side_are_noticed(fetch, monkeypatch, tmp_path):
    class Lossy(module.Source):
        def chunks(self):
            for chunk in super().chunks():
                yield chunk[:-1]

    monkeypatch.setattr(module, "Source", Lossy)
    with pytest.raises(VerificationError, match=f"announced {len(BODY)} bytes, but"):
        fetch(expected_rows=None, on_mismatch="warn")
    assert files(tmp_path) == []


def test_part_with_status_200(fetch, server, tmp_path):
    server.plan = [serve(stop_after=MIDDLE), serve(status=200)]
    assert_whole(fetch(), tmp_path)
    assert len(server.requests) == 2


def test_range_not_satisfiable(fetch, server, tmp_path):
    server.plan = [serve(stop_after=MIDDLE), answer(416)]
    assert_whole(fetch(), tmp_path)


# --- URLs that expire -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 403, 404])
def test_fresh_url_after_expiry(fetch, server, tmp_path, status):
    signatures = iter(["one", "two"])
    server.plan = [serve(stop_after=MIDDLE), answer(status)]
    assert_whole(fetch(lambda: server.url(next(signatures))), tmp_path)
    assert [path.rpartition("?")[2] for path, _ in server.requests] == ["one", "one", "two"]
    assert server.ranges == [None, f"bytes={MIDDLE}-", f"bytes={MIDDLE}-"]


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "ExpiredToken"), (400, "ExpiredRequest"), (400, ""), (403, "AccessDenied"), (403, "")],
)
def test_fresh_url_where_the_first_has_expired_before_it_was_used(fetch, server, tmp_path, status, code):
    signatures = iter(["one", "two"])
    server.plan = [answer(status, f"<Error><Code>{code}</Code></Error>".encode())]
    assert_whole(fetch(lambda: server.url(next(signatures))), tmp_path)
    assert [path.rpartition("?")[2] for path, _ in server.requests] == ["one", "two"]


def test_refused_with_a_fresh_url_too(fetch, server, tmp_path):
    body = b"<Error><Code>AccessDenied</Code><SignatureProvided>5ecre7s1gnature</SignatureProvided></Error>"
    server.plan = [answer(403, body)] * 9
    with pytest.raises(DownloadError, match="HTTP 403 AccessDenied, with a fresh URL as well") as caught:
        fetch()
    assert len(server.requests) == 2
    assert caught.value.http_status == 403
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("status", [401, 404, 410])
def test_refused_at_once(fetch, server, tmp_path, status):
    server.plan = [answer(status)] * 9
    with pytest.raises(DownloadError, match=f"HTTP {status}"):
        fetch()
    assert len(server.requests) == 1
    assert not (tmp_path / "out").exists()


def test_error_of_get_url_passes_through(fetch, tmp_path):
    def get_url():
        raise DownloadError("the API says no")

    with pytest.raises(DownloadError, match="the API says no"):
        fetch(get_url)
    assert files(tmp_path) == []


# --- what is not published --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "offset"),
    [*(("fin", offset) for offset in (0, 1, 9, 131_072, len(BODY) - 1)), ("rst", 0), ("rst", MIDDLE)],
)
def test_nothing_is_visible_after_a_failure_at(fetch, server, tmp_path, how, offset):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/result.csv").write_bytes(b"yesterday")
    server.plan = [serve(stop_after=offset, how=how)]
    with pytest.raises(DownloadError, match="Nothing was published"):
        fetch(max_resumes=0)
    assert files(tmp_path) == ["out/result.csv"]
    assert (tmp_path / "out/result.csv").read_bytes() == b"yesterday"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
def test_nothing_is_visible_after_an_interruption(fetch, monkeypatch, tmp_path, error):
    seen = []

    def interrupt(self, chunk):
        seen.extend(files(tmp_path))
        raise error

    monkeypatch.setattr(CsvRecordCounter, "feed", interrupt)
    with pytest.raises(error):
        fetch()
    assert len(seen) == 1  # the temporary file, in the same folder and under no name of a result
    assert seen[0].startswith("out/.stoq-")
    assert files(tmp_path) == []


def test_row_count_differs(fetch, tmp_path):
    with pytest.raises(VerificationError, match=f"announced {ROWS + 5} rows.*holds {ROWS} ") as caught:
        fetch(expected_rows=ROWS + 5)
    assert "submits nothing" in str(caught.value)
    assert caught.value.job_id == "job-1"
    assert files(tmp_path) == []


@pytest.mark.parametrize("wrong", [-1, 1])
def test_the_length_that_the_job_announced_differs(fetch, server, tmp_path, wrong):
    with pytest.raises(VerificationError, match="the file of another job") as caught:
        fetch(expected_bytes=len(server.body) + wrong)
    assert "submits nothing" in str(caught.value)
    assert files(tmp_path) == []


def test_the_length_that_the_job_announced(fetch, server, tmp_path):
    assert_whole(fetch(expected_bytes=len(server.body)), tmp_path)


def test_row_count_with_the_header_line(fetch, tmp_path):
    assert_whole(fetch(expected_rows=ROWS + 1), tmp_path)


def test_row_count_differs_but_only_a_warning_is_wanted(fetch, tmp_path, caplog):
    assert_whole(fetch(expected_rows=5, on_mismatch="warn"), tmp_path)
    assert "announced 5 rows" in caplog.text


def test_file_that_ends_inside_quotes(fetch, server, tmp_path):
    server.body = b'id,note\n1,"cut'
    with pytest.raises(VerificationError, match="quoted field"):
        fetch(expected_rows=None)
    assert files(tmp_path) == []


def test_without_a_length_only_the_rows_can_tell(fetch, server, tmp_path, caplog):
    server.plan = [unframed()]
    assert_whole(fetch(), tmp_path)
    assert "announced no length" in caplog.text
    (tmp_path / "out/result.csv").unlink()
    server.plan = [None, unframed(MIDDLE)]
    with pytest.raises(VerificationError):
        fetch()
    assert files(tmp_path) == []


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd"])
def test_encoded_body_is_refused(fetch, server, tmp_path, encoding):
    server.plan = [serve(Content_Encoding=encoding)]
    with pytest.raises(DownloadError, match=f"encoded \\({encoding}\\)"):
        fetch()
    assert files(tmp_path) == []


def test_disk_trouble_is_a_download_error(fetch, tmp_path):
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match=r"Could not write .*Nothing was published"):
        fetch()


@pytest.mark.parametrize("status", [302, 403, 503])
def test_body_that_is_not_the_file_is_left_unread(fetch, server, tmp_path, status):
    sent = []

    def endless(h):
        h.start(status, {"Location": h.path, "Content-Length": 10**12})
        with suppress(OSError):
            while sum(sent) < 100 * CHUNK_BYTES:  # more than fits between the two
                sent.append(h.wfile.write(bytes(CHUNK_BYTES)))

    server.plan = [endless]
    assert_whole(fetch(), tmp_path)
    assert len(server.requests) == 2
    assert sum(sent) < 100 * CHUNK_BYTES


# --- stops ------------------------------------------------------------------------------------------


def test_stop_during_the_transfer(fetch, server, tmp_path):
    server.plan = [serve(stop_after=MIDDLE, how="hold")]
    with pytest.raises(DownloadError, match="was stopped"):
        fetch(should_stop=server.holds)
    assert files(tmp_path) == []


def test_stop_during_a_wait(fetch, server, clock):
    server.plan = [answer(503, Retry_After="30")]
    with pytest.raises(DownloadError, match="was stopped"):
        fetch(should_stop=lambda: clock.now >= 10)
    assert 10 <= clock.now < 11


def test_deadline(fetch, server, clock):
    server.plan = [answer(503, Retry_After="30")]
    with pytest.raises(DownloadError, match=r"deadline of 12\.5 s"):
        fetch(deadline=12.5)
    assert 12.5 <= clock.now < 13.5


def test_time_is_bounded_where_nothing_else_is_asked_for():
    assert DownloadOptions().deadline == 6 * 60 * 60


def test_slow_drip_after_it_was_fast_does_not_outlive_the_deadline(fetch, server, clock, monkeypatch):
    monkeypatch.setattr(clock, "monotonic", lambda: 1000.0 if server.holds() else 0.0)
    server.plan = [drip(2 * CHUNK_BYTES)]
    with pytest.raises(DownloadError, match="deadline"):
        fetch(deadline=999.0)


def test_slow_drip_after_it_was_fast_hears_a_stop(fetch, server):
    server.plan = [drip(2 * CHUNK_BYTES)]
    with pytest.raises(DownloadError, match="was stopped"):
        fetch(should_stop=server.holds)


# --- destinations -----------------------------------------------------------------------------------


def test_file_name_of_the_server_is_not_trusted(fetch, tmp_path):
    stored = fetch(file_name="../../../outside.csv")
    assert stored.file_name == "outside.csv"
    assert files(tmp_path) == ["out/outside.csv"]


def test_file_name_left_out(fetch, tmp_path):
    assert fetch(file_name=None).file_name == "job-1.csv"


def test_no_overwrite(fetch, server, tmp_path):
    fetch(overwrite=False)
    assert len(server.requests) == 1
    with pytest.raises(ValidationRejected, match="exists already"):
        fetch(overwrite=False)
    assert len(server.requests) == 1


def test_no_overwrite_when_somebody_is_quicker(fetch, server, tmp_path):
    def quicker(h):
        (tmp_path / "out").mkdir()
        (tmp_path / "out/result.csv").write_bytes(b"theirs")
        serve()(h)

    server.plan = [quicker]
    with pytest.raises(ValidationRejected, match=r"holds something else.*Nothing was published"):
        fetch(overwrite=False)
    assert (tmp_path / "out/result.csv").read_bytes() == b"theirs"
    assert files(tmp_path) == ["out/result.csv"]


def test_bad_destination_is_found_before_the_download(server, options, tmp_path):
    with pytest.raises(ValidationRejected, match="is a folder"):
        download_files(server.url, str(tmp_path), file_name="x.csv", options=options)
    with pytest.raises(ValidationRejected, match="is a folder"):
        check_download(DownloadOptions(), str(tmp_path))
    check_download(DownloadOptions(), f"{tmp_path}/")
    assert server.requests == []


def test_log_tells_what_was_stored(fetch, caplog):
    log = logging.getLogger("airflow.task")
    with caplog.at_level(logging.INFO, logger="airflow.task"):
        fetch(log=log)
    assert SHA256 in caplog.text
    assert f"{ROWS} rows" in caplog.text
