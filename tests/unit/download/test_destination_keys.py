from __future__ import annotations

from pathlib import Path

import pytest

from stoq_provider.download import download
from stoq_provider.download.destination import PLACEHOLDERS, fill_in, fill_in_dates, report_of
from stoq_provider.download.download import check_download, download_files
from stoq_provider.download.options import DownloadOptions
from stoq_provider.exceptions import ValidationRejected

from .conftest import BODY

VALUES = {
    "file_name": "a.csv",
    "job_id": "j-1",
    "kind": "export:revenue",
    "report": "revenue",
    "system": "stoq",
}


@pytest.mark.parametrize(
    ("destination", "filled"),
    [
        ("s3://lake/plain.csv", "s3://lake/plain.csv"),
        ("s3://lake/{report}/{job_id}.csv", "s3://lake/revenue/j-1.csv"),
        ("s3://lake/{system}/{kind}/{file_name}", "s3://lake/stoq/export_revenue/a.csv"),
        ("{job_id}{job_id}/", "j-1j-1/"),
    ],
)
def test_placeholders_are_filled_in(destination, filled):
    assert fill_in(destination, VALUES) == filled


@pytest.mark.parametrize(
    ("destination", "says"),
    [
        ("/lake/{Report}.csv", r"\{Report\}, which is no placeholder: there are \{file_name\}, \{job_id\}"),
        ("/lake/{date}/", r"\{date\}, which is no placeholder"),
        ("/lake/{}/", "'{' that is part of no placeholder"),
        ("/lake/{job id}/", "'{' that is part of no placeholder"),
        ("/lake/x}y", "'}' that is part of no placeholder"),
        ("/lake/{{ ds }}/x.csv", "'{' that is part of no placeholder.* rendered in template fields only"),
        ("/lake/{{job_id}}/x.csv", "'{' that is part of no placeholder"),
        ("/lake/{% if x %}y{% endif %}/x.csv", "'{' that is part of no placeholder"),
    ],
)
def test_what_is_no_placeholder_is_refused_before_anything_is_sent(destination, says):
    with pytest.raises(ValidationRejected, match=says):
        fill_in(destination, VALUES)
    with pytest.raises(ValidationRejected, match=says):
        check_download(DownloadOptions(), destination, system="stoq", kind="export:revenue")


def test_name_that_this_job_has_no_value_for():
    with pytest.raises(ValidationRejected, match="which this job has no value for"):
        fill_in("/lake/{report}", {**VALUES, "report": report_of("bulk_release")})


DATES = {"from": "2026-05-01T00:00:00+02:00", "to": "2026-05-31"}


@pytest.mark.parametrize(
    ("destination", "filled"),
    [
        ("s3://lake/{from}/{to}.csv", "s3://lake/2026-05-01/2026-05-31.csv"),
        ("s3://lake/{from}{from}/{job_id}", "s3://lake/2026-05-012026-05-01/{job_id}"),
        ("s3://lake/{From}/{x", "s3://lake/{From}/{x"),
        (Path("/lake/{to}.csv"), "/lake/2026-05-31.csv"),
    ],
)
def test_dates_are_filled_in_and_the_rest_is_left(destination, filled):
    assert fill_in_dates(destination, DATES) == filled


@pytest.mark.parametrize("destination", ["s3://lake/x.csv", Path("/lake/{job_id}.csv")])
def test_destination_without_dates_stays_what_it_is(destination):
    assert fill_in_dates(destination, {}) is destination


@pytest.mark.parametrize("filters", [{}, {"from": None}, {"from": ""}, {"to": "2026-05-31"}])
def test_date_that_the_report_does_not_have(filters):
    with pytest.raises(ValidationRejected, match=r"\{from\}, but the report has no 'from'"):
        fill_in_dates("/lake/{from}", filters)


@pytest.mark.parametrize("name", ["from", "to"])
def test_date_of_a_task_that_exports_no_report(name):
    with pytest.raises(ValidationRejected, match="only the task that exports a report"):
        check_download(DownloadOptions(), f"/lake/{{{name}}}/")


@pytest.mark.parametrize("evil", ["../../etc/passwd", "/etc/passwd", "..", "a\0b", "x/../../y", "{job_id}"])
def test_value_of_a_server_stays_one_part_of_the_path(evil):
    filled = fill_in("/lake/{job_id}/x", {**VALUES, "job_id": evil})
    assert filled.startswith("/lake/")
    assert filled.count("/") == 3
    assert ".." not in filled.split("/")


def test_report_of_a_kind():
    assert report_of("export:revenue") == "revenue"
    assert report_of("export") is None
    assert report_of(None) is None


@pytest.mark.parametrize(
    ("name", "kind", "refused"),
    [
        *((name, "export:revenue", False) for name in PLACEHOLDERS),
        ("report", "product-export", True),
        ("report", "bulk_release", True),
        ("report", "", True),
        ("kind", "product-export", False),
        ("kind", "", False),
        ("job_id", "product-export", False),
        # The lists of a task that downloads nothing.
        *((name, None, True) for name in PLACEHOLDERS if name != "file_name"),
    ],
)
def test_placeholder_that_can_not_be_filled_is_refused_before_the_submission(tmp_path, name, kind, refused):
    def check():
        check_download(DownloadOptions(), f"{tmp_path}/{{{name}}}/", system="medusa", kind=kind)

    if refused:
        with pytest.raises(ValidationRejected, match=rf"{{{name}}}, which this job has no value for"):
            check()
    else:
        check()
    assert list(tmp_path.iterdir()) == []


def test_what_is_known_before_the_submission_is_filled_in(tmp_path):
    (tmp_path / "revenue").write_text("x")
    check_download(DownloadOptions(overwrite=False), f"{tmp_path}/{{report}}", kind="export:revenue")
    with pytest.raises(ValidationRejected, match="NotADirectoryError"):
        check_download(DownloadOptions(), f"{tmp_path}/{{report}}/{{file_name}}", kind="export:revenue")
    check_download(DownloadOptions(), f"{tmp_path}/{{report}}/{{file_name}}", kind="export:customers")


@pytest.mark.parametrize("keep_csv", [True, False])
def test_place_that_is_tried_out_is_that_of_the_file_which_is_stored(tmp_path, monkeypatch, keep_csv):
    tried = []
    monkeypatch.setattr(download, "check_access", lambda target: tried.append(target.path))
    options = DownloadOptions(format="parquet", keep_csv=keep_csv)
    check_download(options, f"{tmp_path}/x.csv", kind="export:revenue")
    assert tried == [f"{tmp_path}/x.{'csv' if keep_csv else 'parquet'}"]


def test_download_to_a_key_made_from_the_job(server, options, tmp_path):
    stored = download_files(
        server.url,
        f"{tmp_path}/{{system}}/{{report}}/x-{{job_id}}.csv",
        file_name="a.csv",
        options=options,
        job_id="../j",
        system="stoq",
        kind="export:revenue",
    )[0]
    assert stored.uri == f"file://{tmp_path}/stoq/revenue/x-j.csv"
    assert (tmp_path / "stoq/revenue/x-j.csv").read_bytes() == BODY
