"""The seam for another form of the same file."""

from __future__ import annotations

import dataclasses
import gzip

import pytest

from stoq_provider.download.download import StoredFile, download_files
from stoq_provider.download.writers import open_writer
from stoq_provider.exceptions import DownloadError, ValidationRejected, VerificationError

from .conftest import BODY, ROWS, files, serve


class Upper:
    """Writes the text in capitals beside the CSV."""

    made: list[Upper] = []

    def __init__(self, target, fails=None):
        self.target = target.renamed(suffix=".upper", drop=".csv")
        self.writer = open_writer(self.target)
        self.calls, self.fails, self.size = [], fails, 0
        Upper.made.append(self)

    def _may_fail(self, step):
        self.calls.append(step)
        if self.fails and step == self.fails[0]:
            raise self.fails[1]

    def write(self, chunk):
        self._may_fail("write")
        self.size += len(chunk)
        self.writer.write(chunk.upper())

    def finish(self):
        self._may_fail("finish")

    def commit(self):
        self._may_fail("commit")
        self.writer.commit()
        return StoredFile(self.target.uri, "result.upper", self.size, 7, "digest")

    def abort(self):
        self._may_fail("abort")
        self.writer.abort()


@pytest.fixture
def fetch_both(server, options, tmp_path):
    Upper.made.clear()

    def run(*, fails=None, store=True, expected_rows=ROWS, **changes):
        return download_files(
            server.url,
            f"{tmp_path}/out/",
            file_name="result.csv",
            expected_rows=expected_rows,
            options=dataclasses.replace(options, **changes),
            also=[lambda target: Upper(target, fails)],
            store=store,
        )

    return run


def test_both_forms_are_published(fetch_both, tmp_path):
    csv, upper = fetch_both()
    assert (csv.file_name, upper.file_name) == ("result.csv", "result.upper")
    assert (tmp_path / "out/result.csv").read_bytes() == BODY
    assert (tmp_path / "out/result.upper").read_bytes() == BODY.upper()
    assert files(tmp_path) == ["out/result.csv", "out/result.upper"]
    assert Upper.made[0].calls[-3:] == ["finish", "commit", "abort"]


def test_only_the_other_form_is_published(fetch_both, tmp_path):
    (upper,) = fetch_both(store=False)
    assert upper.file_name == "result.upper"
    assert files(tmp_path) == ["out/result.upper"]


def test_other_form_gets_the_decoded_text_where_gzip_is_kept(fetch_both, server, tmp_path):
    server.body = gzip.compress(BODY)
    server.plan = [serve(Content_Encoding="gzip")]
    fetch_both(encoding="keep")
    assert (tmp_path / "out/result.csv.gz").read_bytes() == server.body
    assert (tmp_path / "out/result.upper").read_bytes() == BODY.upper()


def test_download_that_starts_over_makes_a_new_consumer(fetch_both, server, tmp_path):
    server.etag = None
    server.plan = [serve(stop_after=100_000)]
    fetch_both()
    assert [one.calls[-1] for one in Upper.made] == ["abort", "abort"]
    assert (tmp_path / "out/result.upper").read_bytes() == BODY.upper()
    assert files(tmp_path) == ["out/result.csv", "out/result.upper"]


@pytest.mark.parametrize("step", ["write", "finish"])
def test_consumer_that_fails_lets_nothing_be_published(fetch_both, tmp_path, step):
    with pytest.raises(DownloadError, match=r"ValueError: column 3.*Nothing was published"):
        fetch_both(fails=(step, ValueError("column 3 changes its type")))
    assert files(tmp_path) == []


def test_error_of_this_package_passes_as_it_is(fetch_both, tmp_path):
    error = VerificationError("column 3 changes its type in row 7")
    with pytest.raises(VerificationError) as caught:
        fetch_both(fails=("write", error))
    assert caught.value is error
    assert files(tmp_path) == []


def test_mismatch_lets_neither_be_published(fetch_both, tmp_path):
    with pytest.raises(VerificationError):
        fetch_both(expected_rows=5)
    assert Upper.made[0].calls[-1] == "abort"
    assert not {"finish", "commit"} & set(Upper.made[0].calls), "rows are checked before another form is"
    assert files(tmp_path) == []


def test_commit_of_the_other_form_that_fails_says_what_is_there(fetch_both, tmp_path):
    with pytest.raises(DownloadError, match=r"result\.csv is published, but another form of it could not be"):
        fetch_both(fails=("commit", OSError("full")))
    assert files(tmp_path) == ["out/result.csv"]


def test_nothing_to_store_is_refused(server, options, tmp_path):
    with pytest.raises(ValidationRejected, match="Nothing is to be stored"):
        download_files(server.url, f"{tmp_path}/", file_name="x", options=options, store=False)
    assert server.requests == []


def test_error_of_another_consumer_names_its_own_place(server, options, tmp_path):
    def make(target):
        return Upper(target, fails=("write", OSError(28, "No space left on device")))

    make.place = lambda csv: csv.renamed(suffix=".upper", drop=".csv")
    with pytest.raises(DownloadError, match=r"Could not write .*/result\.upper: OSError") as caught:
        download_files(
            server.url,
            f"{tmp_path}/",
            file_name="result.csv",
            options=options,
            also=[make],
            expected_rows=ROWS,
        )
    assert "No space left" in str(caught.value)
    assert files(tmp_path) == []
