"""What a task says about its download reaches the download: each option, through operator and sensor."""

from __future__ import annotations

import gzip
import hashlib
import os

import pytest
from starlette.responses import Response

from stoq_provider.download.options import GIVEN
from stoq_provider.download.verification import EmptyResult
from stoq_provider.exceptions import DownloadError, ValidationRejected, VerificationError
from stoq_provider.testing.content import chunks
from stoq_provider.testing.files import Files

from .conftest import fails

ROWS = 5
TESTED = {
    "on_mismatch",
    "on_empty",
    "min_rows",
    "header_counted",
    "encoding",
    "charset",
    "stall_timeout",
    "max_resumes",
    "deadline",
}


@pytest.fixture(params=["export-worker", "sensor-deferred"])
def task(request, bench):
    """Makes a task of either kind, with the options of its download."""
    kind, _, mode = request.param.partition("-")

    def make(overwrite=True, **options):
        given = {"overwrite": overwrite, "download_options": options or None}
        if kind == "export":
            return bench.export(mode, **given)
        return bench.sensor(mode, bench.submitted(), **given)

    return make


@pytest.fixture(autouse=True)
def small(sandbox):
    """All exports are small, of the same content, and ready at once."""
    sandbox.jobs("export", times=None, duration=0, rows=ROWS)


@pytest.fixture
def gzipped(monkeypatch):
    """The file's origin holds it compressed."""
    held(monkeypatch, gzip.compress, {"Content-Encoding": "gzip"})


def held(monkeypatch, form, headers):
    """Have the file's origin hold it in another form."""

    def send(files, request, content, span):
        body = form(b"".join(chunks(content, 0, content.size)))
        return Response(body, 200, {"ETag": content.etag, **headers}, "text/csv")

    monkeypatch.setattr(Files, "_send", send)


def stored(bench, manifest):
    """Return the content of the one file, which is as the manifest says."""
    (file,) = manifest["files"]
    data = (bench.folder / file["file_name"]).read_bytes()
    assert (file["bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert bench.files() == [file["file_name"]]
    return data


def test_no_option_of_the_policy_goes_untested():
    assert set(GIVEN) - {"at_once", "keep_csv", "column_types"} == TESTED


# -- what the file is held against ----------------------------------------------------------------------


def test_on_mismatch_warn_publishes_all_the_same(bench, sandbox, task, logs):
    sandbox.jobs("export", times=None, row_count_lie=7)
    manifest = task(on_mismatch="warn").execute()
    assert stored(bench, manifest).count(b"\n") == ROWS + 1
    assert manifest["files"][0]["rows"] == ROWS
    assert logs.warnings("announced 7 rows")


def test_min_rows_that_are_not_there_publish_nothing(bench, task):
    wanted = f"holds {ROWS} rows, and at least {ROWS + 1} are wanted"
    fails(task(min_rows=ROWS + 1).execute, VerificationError, wanted, "submits nothing")
    assert bench.files() == []


def test_min_rows_that_are_there_are_enough(bench, task):
    assert stored(bench, task(min_rows=ROWS).execute())


def test_header_counted_decides_what_the_row_count_means(bench, sandbox, task):
    sandbox.jobs("export", times=None, row_count_lie=ROWS + 1)
    fails(task(header_counted=False).execute, VerificationError, f"announced {ROWS + 1} rows")
    assert bench.files() == []
    assert stored(bench, task(header_counted=True).execute())


# -- files without rows ---------------------------------------------------------------------------------


@pytest.fixture
def empty(sandbox):
    sandbox.jobs("export", times=None, rows=0)


def test_on_empty_fail(bench, empty, task):
    fails(task(on_empty="fail").execute, VerificationError, "no rows", "on_empty='fail'")
    assert bench.files() == []


def test_on_empty_skip(bench, empty, task):
    with pytest.raises(EmptyResult, match="nothing was published"):
        task(on_empty="skip").execute()
    assert bench.files() == []


def test_on_empty_empty(bench, empty, task):
    assert stored(bench, task(on_empty="empty").execute()) == b""


def test_on_empty_left_out_keeps_the_header_line(bench, empty, task):
    assert stored(bench, task().execute()).count(b"\n") == 1


# -- gzip -----------------------------------------------------------------------------------------------


def test_encoding_keep_stores_gzip(bench, gzipped, task):
    manifest = task(encoding="keep").execute()
    data = stored(bench, manifest)
    assert manifest["files"][0]["file_name"].endswith(".csv.gz")
    assert gzip.decompress(data).count(b"\n") == ROWS + 1
    assert manifest["files"][0]["rows"] == ROWS


def test_encoding_left_out_stores_text(bench, gzipped, task):
    manifest = task().execute()
    assert stored(bench, manifest).count(b"\n") == ROWS + 1
    assert manifest["files"][0]["file_name"].endswith(".csv")


# -- text -----------------------------------------------------------------------------------------------


def test_charset_is_that_in_which_rows_are_counted(bench, task, monkeypatch):
    held(monkeypatch, lambda body: body.decode().encode("utf-16"), {})
    manifest = task(charset="utf-16").execute()
    assert stored(bench, manifest).decode("utf-16").count("\n") == ROWS + 1
    assert manifest["files"][0]["rows"] == ROWS


# -- patience -------------------------------------------------------------------------------------------


def test_max_resumes(bench, sandbox, task):
    sandbox.arm("truncated", origin="files", after=100, times=1)
    fails(task(max_resumes=0).execute, DownloadError, "gave up after 1 tries")
    assert bench.files() == []


def test_stall_timeout(bench, sandbox, clock, task, logs):
    clock.ends_stalls = True
    sandbox.arm("stall", origin="files", after=100, seconds=None, times=1)
    assert stored(bench, task(stall_timeout=7.5).execute())
    assert clock.time_outs == [7.5]
    assert len(logs.warnings("going on")) == 1


def test_deadline(bench, sandbox, clock, task):
    """A millisecond, which has passed long before anybody takes note of a stall."""
    clock.ends_stalls = True
    sandbox.arm("stall", origin="files", after=100, seconds=None, times=None)
    run = task(deadline=0.001)
    fails(run.execute, DownloadError, "not done within the deadline of 0.001 s")
    assert bench.files() == []


# -- what stands there already --------------------------------------------------------------------------


def identity(path):
    """Tell one version of a file from the next, be the content the same."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


@pytest.fixture
def standing(bench):
    """The path of a file that is there before, written long ago, under the name that the server gives."""
    (file,) = bench.export().execute()["files"]
    path = bench.folder / file["file_name"]
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return path


@pytest.mark.parametrize("same", [True, False])
def test_overwrite_true_replaces_the_file(bench, standing, task, same):
    whole = standing.read_bytes()
    if not same:
        standing.write_bytes(b"of yesterday")
    before = identity(standing)
    assert stored(bench, task(overwrite=True).execute()) == whole
    assert identity(standing) != before


@pytest.mark.parametrize("same", [True, False])
def test_overwrite_false_leaves_the_file_alone_and_downloads_nothing(bench, sandbox, standing, task, same):
    if not same:
        standing.write_bytes(b"of yesterday")
    before, content = identity(standing), standing.read_bytes()
    downloads = len(sandbox.state["downloads"])
    fails(task(overwrite=False).execute, ValidationRejected, "exists already", final=True)
    assert (identity(standing), standing.read_bytes()) == (before, content)
    assert len(sandbox.state["downloads"]) == downloads
    assert bench.files() == [standing.name]


def test_overwrite_if_different_leaves_the_same_content_alone(bench, standing, task):
    before = identity(standing)
    manifest = task(overwrite="if_different").execute()
    assert identity(standing) == before
    assert stored(bench, manifest) == standing.read_bytes()


@pytest.mark.parametrize("change", [lambda text: text[:-1], bytes.swapcase], ids=["size", "bytes"])
def test_overwrite_if_different_replaces_other_content(bench, standing, task, change):
    whole = standing.read_bytes()
    standing.write_bytes(change(whole))
    before = identity(standing)
    assert stored(bench, task(overwrite="if_different").execute()) == whole
    assert identity(standing) != before
