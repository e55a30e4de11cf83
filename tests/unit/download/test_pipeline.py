"""A CSV and its Parquet in one download: published together, by one options."""

from __future__ import annotations

import dataclasses
import gzip
import os

import pytest

from stoq_provider.download import resume
from stoq_provider.download.download import download_files
from stoq_provider.download.parquet import ParquetFile
from stoq_provider.download.verification import EmptyResult
from stoq_provider.download.writers import LocalWriter
from stoq_provider.exceptions import DownloadError, ValidationRejected, VerificationError

from .conftest import BODY, ROWS, files, serve

pq = pytest.importorskip("pyarrow.parquet")
parquet = pytest.importorskip("stoq_provider.download.parquet")

CSV = b"id,note\r\n1,a\r\n2,b\r\n"


@pytest.fixture
def fetch_both(server, options, tmp_path):
    server.body = CSV

    def run(*, store=True, expected_rows=None, destination="out/", file_name="x.csv", job_id=None, **changes):
        return download_files(
            server.url,
            f"{tmp_path}/{destination}",
            file_name=file_name,
            expected_rows=expected_rows,
            job_id=job_id,
            options=dataclasses.replace(options, format="parquet", keep_csv=store, **changes),
        )

    return run


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


# --- rows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", [True, False])
def test_parquet_with_other_rows_than_the_csv_is_not_published(fetch_both, tmp_path, monkeypatch, store):
    convert = ParquetFile._convert

    def lose(self, block):
        convert(self, block.replace(b"\r\n2,b", b""))

    monkeypatch.setattr(ParquetFile, "_convert", lose)
    with pytest.raises(VerificationError, match=r"holds 2 rows.* holds 1: .*Nothing was published"):
        fetch_both(store=store, expected_rows=2, on_mismatch="warn")
    assert files(tmp_path) == []


def test_blank_lines_of_one_column_are_rows_of_both(fetch_both, server, out):
    server.body = b"note\na\n\nb\n\n"
    assert [one.rows for one in fetch_both(expected_rows=3, header_counted=False)] == [3, 3]
    assert pq.read_table(out / "x.parquet").column("note").to_pylist() == ["a", None, "b"]


def test_bare_carriage_returns_end_rows_of_both(fetch_both, server, out):
    server.body = b"note\na\rb\n"
    assert [one.rows for one in fetch_both(expected_rows=2, header_counted=False)] == [2, 2]
    assert pq.read_table(out / "x.parquet").column("note").to_pylist() == ["a", "b"]


def test_mismatch_is_reported_before_what_parquet_makes_of_it(fetch_both, server, tmp_path):
    server.body = b"id,note\n1,a\n2"
    with pytest.raises(VerificationError, match="announced 5 rows"):
        fetch_both(expected_rows=5)
    assert files(tmp_path) == []


def test_a_blank_line_among_several_columns_is_refused(fetch_both, server, tmp_path):
    server.body = b"id,note\n1,a\n\n2,b\n"
    with pytest.raises(VerificationError, match=r"holds 3 rows.* holds 2: .*has blank lines"):
        fetch_both()
    assert files(tmp_path) == []


# --- text in another encoding --------------------------------------------------------------------------

NOTES = ["Größe", "Łódź €", "“two\nlines”", "ਊ in UTF-16 is twice a line feed"]
CHARSETS = ["windows-1252", "iso-8859-2", "UTF-16", "utf-16-be", "utf-8-sig", "utf8"]


@pytest.mark.parametrize("charset", CHARSETS)
@pytest.mark.parametrize("chunk_bytes", [3, 1000])
def test_text_in_another_encoding(fetch_both, server, out, monkeypatch, charset, chunk_bytes):
    monkeypatch.setattr(resume, "CHUNK_BYTES", chunk_bytes)
    notes = [note for note in NOTES if note.encode(charset, "ignore").decode(charset) == note]
    rows = [f'{n},"{note}"' for n, note in enumerate(notes)]
    server.body = "\n".join(["id,Maß", *rows, "", ""]).encode(charset)
    stored = fetch_both(charset=charset, expected_rows=len(notes), header_counted=False)
    assert [one.rows for one in stored] == [len(notes)] * 2
    assert (out / "x.csv").read_bytes() == server.body
    assert pq.read_table(out / "x.parquet").column("Maß").to_pylist() == notes


@pytest.mark.parametrize("body", ["größe\n1\n", "n\nGröße\n"], ids=["header", "row"])
def test_text_that_is_not_utf_8_names_the_option(fetch_both, server, out, body):
    server.body = body.encode("windows-1252")
    with pytest.raises(VerificationError, match=r"is not UTF-8\. Name its encoding as charset") as caught:
        fetch_both()
    assert "Größe" not in str(caught.value)
    assert files(out) == []
    fetch_both(charset="windows-1252")


@pytest.mark.parametrize(
    ("charset", "body"),
    [
        ("utf-16", b"a,b\n"),
        ("utf-16-le", "a,b\n".encode("utf-16-le")[:-1]),
        ("ascii", "größe\n".encode()),
        ("utf-8-sig", b"gr\xf6\xdfe\n"),
    ],
)
def test_text_that_is_not_in_the_given_encoding(fetch_both, server, tmp_path, charset, body):
    server.body = body
    with pytest.raises(VerificationError, match=rf"not text in {charset} \(charset\)"):
        fetch_both(charset=charset)
    assert files(tmp_path) == []


@pytest.mark.parametrize("length", [1, 131_072, 131_073, 5 * 2**20])
def test_header_of_any_length_is_taken_or_refused(fetch_both, server, out, length):
    server.body = b"id," + b"x" * length + b"\n1,a\n"
    if length <= 131_072:
        assert [one.rows for one in fetch_both()] == [1, 1]
        return
    with pytest.raises(VerificationError, match="its header line can't be read: field larger than"):
        fetch_both()
    assert files(out) == []


# --- one published with the other -------------------------------------------------------------------


def failing(monkeypatch, step, error):
    """Let a step of the Parquet's writer fail, and return the names of those that were taken."""
    steps = []

    def replaced(name):
        real = getattr(LocalWriter, name)

        def run(self, *given):
            if self._path.endswith(".parquet"):
                steps.append(name)
                if name == step:
                    raise error
            return real(self, *given)

        return run

    for name in ("write", "commit", "abort"):
        monkeypatch.setattr(LocalWriter, name, replaced(name))
    return steps


@pytest.mark.parametrize("block_bytes", [8, 1000], ids=["on the way", "at the end"])
def test_parquet_that_fails_lets_nothing_be_published(fetch_both, tmp_path, monkeypatch, block_bytes):
    monkeypatch.setattr(parquet, "BLOCK_BYTES", block_bytes)
    failing(monkeypatch, "write", OSError(28, "No space left on device"))
    words = r"Could not write .*/x\.parquet: OSError: .*No space left.*Nothing was published"
    with pytest.raises(DownloadError, match=words):
        fetch_both()
    assert files(tmp_path) == []


def test_error_of_the_parquet_names_the_job(fetch_both, server, tmp_path):
    server.body = b"id,id\n1,2\n"
    with pytest.raises(VerificationError, match="more than one column 'id'") as caught:
        fetch_both(job_id="job-1")
    assert caught.value.job_id == "job-1"
    assert files(tmp_path) == []


def test_mismatch_lets_neither_be_published(fetch_both, tmp_path, monkeypatch):
    steps = failing(monkeypatch, None, None)
    with pytest.raises(VerificationError):
        fetch_both(expected_rows=5)
    assert steps == ["abort"]
    assert files(tmp_path) == []


def test_commit_of_the_parquet_that_fails_says_what_is_there(fetch_both, tmp_path, monkeypatch):
    failing(monkeypatch, "commit", OSError("full"))
    with pytest.raises(DownloadError, match=r"x\.csv is published; whether its Parquet is") as caught:
        fetch_both()
    assert str(caught.value).endswith("a retry only downloads its result again and submits nothing.")
    assert files(tmp_path) == ["out/x.csv"]


def test_commit_of_the_parquet_that_fails_stands_in_no_way(fetch_both, out, monkeypatch):
    with monkeypatch.context() as patch:
        failing(patch, "commit", OSError("full"))
        with pytest.raises(DownloadError, match=r"x\.csv is published"):
            fetch_both(overwrite=False)
    inode = (out / "x.csv").stat().st_ino
    assert [one.written for one in fetch_both(overwrite=False, retry=True)] == [False, True]
    assert (files(out), (out / "x.csv").stat().st_ino) == (["x.csv", "x.parquet"], inode)


def test_download_that_starts_over_begins_another_parquet(fetch_both, server, tmp_path, monkeypatch):
    steps = failing(monkeypatch, None, None)
    server.body, server.etag = BODY, None
    server.plan = [serve(stop_after=100_000)]
    assert [one.rows for one in fetch_both(expected_rows=ROWS)] == [ROWS, ROWS]
    assert steps.count("abort") == 2
    assert files(tmp_path) == ["out/x.csv", "out/x.parquet"]


def test_parquet_is_made_of_the_text_where_gzip_is_kept(fetch_both, server, tmp_path):
    server.body = gzip.compress(BODY)
    server.plan = [serve(Content_Encoding="gzip")]
    fetch_both(encoding="keep", expected_rows=ROWS)
    assert (tmp_path / "out/x.csv.gz").read_bytes() == server.body
    assert pq.read_table(tmp_path / "out/x.parquet").num_rows == ROWS


# --- files without rows -----------------------------------------------------------------------------


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("body", [b"", b"\n", b"id,note\n", b"id,note"])
def test_no_rows_are_skipped(fetch_both, server, tmp_path, body, store):
    server.body = body
    with pytest.raises(EmptyResult):
        fetch_both(store=store, expected_rows=0, on_empty="skip")
    assert files(tmp_path) == []


@pytest.mark.parametrize("on_empty", ["header", "fail"])
def test_no_header_fails_as_asked_for(fetch_both, server, tmp_path, on_empty):
    server.body = b""
    with pytest.raises(VerificationError, match=f"on_empty='{on_empty}'"):
        fetch_both(expected_rows=0, on_empty=on_empty)
    assert files(tmp_path) == []


def test_no_header_cannot_be_kept_as_parquet(fetch_both, server, tmp_path):
    server.body = b""
    with pytest.raises(VerificationError, match=r"no header line.*on_empty"):
        fetch_both(expected_rows=0)
    assert files(tmp_path) == []


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize(("body", "columns"), [(b"", []), (b"\n", []), (b"id,note\n", ["id", "note"])])
def test_empty_is_a_table_without_rows(fetch_both, server, out, body, columns, store):
    server.body = body
    stored = fetch_both(store=store, expected_rows=0, on_empty="empty")
    table = pq.read_table(out / "x.parquet")
    assert (table.num_rows, table.column_names) == (0, columns)
    assert [one.rows for one in stored] == [0, 0][not store :]
    assert files(out) == ["x.csv", "x.parquet"][not store :]
    if store:
        assert (out / "x.csv").read_bytes() == b""


# --- what is there already --------------------------------------------------------------------------


@pytest.mark.parametrize("there", ["x.csv", "x.parquet"])
def test_without_overwrite_either_file_is_in_the_way(fetch_both, server, out, there):
    (out / there).write_bytes(b"old")
    for _ in range(2):
        with pytest.raises(ValidationRejected, match=rf"{there} exists already"):
            fetch_both(overwrite=False)
        assert files(out) == [there]
    assert server.requests == []


def test_without_overwrite_a_csv_that_is_not_wanted_is_not_in_the_way(fetch_both, out):
    (out / "x.csv").write_bytes(b"old")
    fetch_both(overwrite=False, store=False)
    assert pq.read_table(out / "x.parquet").num_rows == 2


def test_parquet_that_comes_into_being_meanwhile_lets_nothing_be_published(fetch_both, server, out):
    def plan(h):
        (out / "x.parquet").write_bytes(b"old")
        h.start(200, {"Content-Length": len(CSV)})
        h.wfile.write(CSV)

    server.plan = [plan]
    with pytest.raises(ValidationRejected, match=r"x\.parquet exists, holds something else.*Nothing was"):
        fetch_both(overwrite=False)
    assert files(out) == ["x.parquet"]


@pytest.mark.parametrize("store", [True, False])
def test_same_parquet_is_left_alone(fetch_both, server, out, store):
    assert all(one.written for one in fetch_both(store=store, overwrite="if_different"))
    path = out / "x.parquet"
    os.utime(path, (1, 1))
    inode = path.stat().st_ino
    again = fetch_both(store=store, overwrite="if_different")
    assert not any(one.written for one in again)
    assert (path.stat().st_mtime, path.stat().st_ino) == (1, inode)
    assert [one.to_dict() for one in again] == [
        one.to_dict() for one in fetch_both(store=store, overwrite=True)
    ]
    server.body = CSV.replace(b"2,b", b"3,c")
    assert all(one.written for one in fetch_both(store=store, overwrite="if_different"))
    assert pq.read_table(path).column("id").to_pylist() == ["1", "3"]
    assert files(out) == ["x.csv", "x.parquet"][not store :]


# --- names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("destination", "name"),
    [
        ("r.parquet", "r.parquet"),
        ("r.PARQUET", "r.PARQUET"),
        ("r.csv", "r.parquet"),
        ("r.CSV", "r.parquet"),
        ("r.csv.gz", "r.parquet"),
        ("r.gz", "r.parquet"),
        ("r", "r.parquet"),
        ("r.txt", "r.txt.parquet"),
    ],
)
def test_suffix_of_the_parquet(fetch_both, tmp_path, destination, name):
    (stored,) = fetch_both(store=False, destination=destination)
    assert (stored.file_name, files(tmp_path)) == (name, [name])


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize(
    ("destination", "name"),
    [("out/", "x.csv"), ("out/", "x.csv.gz"), ("out/x.parquet", "y.csv"), ("out/x.csv.gz", "y.csv")],
)
def test_place_of_the_parquet_is_looked_at_first(fetch_both, server, out, destination, name, gzipped):
    if gzipped:
        server.body = gzip.compress(CSV)
        server.plan = [serve(Content_Encoding="gzip")] * 2
    given = {"store": False, "destination": destination, "file_name": name}
    assert [one.file_name for one in fetch_both(**given)] == ["x.parquet"]
    assert not fetch_both(**given, overwrite="if_different")[0].written
    with pytest.raises(ValidationRejected, match=r"x\.parquet exists already"):
        fetch_both(**given, overwrite=False)
    assert len(server.requests) == 2
    assert files(out) == ["x.parquet"]


def test_place_of_the_parquet_is_not_the_csv_s(fetch_both, server, tmp_path):
    with pytest.raises(ValidationRejected, match=r"r\.parquet.*both"):
        fetch_both(destination="r.parquet")
    assert (server.requests, files(tmp_path)) == ([], [])


def test_folder_at_the_place_of_the_parquet_lets_nothing_be_published(fetch_both, server, out):
    (out / "x.parquet").mkdir()
    with pytest.raises(ValidationRejected, match=r"x\.parquet is a folder"):
        fetch_both()
    assert (server.requests, files(out)) == ([], [])
