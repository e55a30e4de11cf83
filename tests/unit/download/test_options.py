"""What a task may want of its files, and what is refused before a job is started."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from stoq_provider.download.download import check_download
from stoq_provider.download.options import GIVEN, DownloadOptions
from stoq_provider.exceptions import ValidationRejected


def wanted(form="csv", overwrite=True, **given):
    return DownloadOptions.of(format=form, overwrite=overwrite, given=given)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"format": "xlsx"}, "format is one of 'csv', 'parquet', not 'xlsx'"),
        ({"given": ["min_rows"]}, "is a mapping, not list"),
        ({"given": {"min_row": 1}}, "no 'min_row'.*min_rows"),
        ({"given": {"min_rows": -1}}, "min_rows is a number of rows, not -1"),
        ({"given": {"min_rows": True}}, "min_rows is a number of rows, not True"),
        ({"given": {"stall_timeout": -1}}, "stall_timeout is a number of seconds above 0, not -1"),
        ({"given": {"stall_timeout": None}}, "stall_timeout is a number of seconds above 0, not None"),
        ({"given": {"deadline": "soon"}}, "deadline is a number of seconds above 0, not 'soon'"),
        ({"given": {"deadline": float("nan")}}, "deadline is a number of seconds above 0, not nan"),
        ({"given": {"max_resumes": 1.5}}, "max_resumes is a number of tries, not 1.5"),
        ({"given": {"at_once": 0}}, "at_once, the number of downloads at a time, is at least 1, not 0"),
        ({"given": {"at_once": "4"}}, "at least 1, not '4'"),
        ({"given": {"on_empty": "ignore"}}, "on_empty is one of"),
        ({"given": {"on_mismatch": "ignore"}}, "on_mismatch is one of"),
        ({"given": {"charset": "latin-99"}}, "charset names an encoding .*, not 'latin-99'"),
        ({"given": {"charset": "hex"}}, "charset names an encoding of text that Python knows, not 'hex'"),
        ({"given": {"charset": ""}}, "charset names an encoding of text that Python knows, not ''"),
        ({"given": {"charset": True}}, "charset names an encoding of text that Python knows, not True"),
        ({"overwrite": "if_newer"}, "overwrite is one of"),
        ({"given": {"keep_csv": True}}, "go with format='parquet'"),
        ({"given": {"verify": False}}, "download_options has no 'verify'"),
    ],
)
def test_what_is_refused_when_the_operator_is_made(wrong, words):
    with pytest.raises(ValidationRejected, match=words) as caught:
        DownloadOptions.of(**{"format": "csv", "overwrite": True, "given": {}, **wrong})
    assert "Nothing was sent" in str(caught.value)
    assert str(caught.value).endswith("not retried.")
    assert "?." not in str(caught.value)


@pytest.mark.parametrize("name", ["at_once", "keep_csv", "column_types", "charset"])
def test_none_means_left_out_where_it_means_nothing_else(name):
    assert wanted("parquet", **{name: None}) == wanted("parquet")


def test_a_type_that_arrow_does_not_know_is_refused_before_a_job_is_started():
    with pytest.raises(ValidationRejected, match="'money', given for column"):
        check_download(wanted("parquet", column_types={"price": "money"}), None)


def test_a_destination_that_exists(tmp_path):
    (tmp_path / "a.csv").touch()
    check_download(DownloadOptions(), str(tmp_path / "a.csv"))
    with pytest.raises(ValidationRejected, match="exists already"):
        check_download(DownloadOptions(overwrite=False), str(tmp_path / "a.csv"))


@pytest.mark.parametrize("kind", [str, ObjectStoragePath])
@pytest.mark.parametrize(
    ("destination", "there", "keep_csv", "refused"),
    [
        ("a.csv", "a.csv", False, ""),
        ("a.csv", "a.parquet", False, r"a\.parquet exists already"),
        ("a.csv", "a.csv", True, r"a\.csv exists already"),
        ("a.csv", "a.parquet", True, r"a\.parquet exists already"),
        ("a", "a.parquet", False, r"a\.parquet exists already"),
        ("a.parquet", "a.parquet", False, r"a\.parquet exists already"),
        ("a.parquet", "b.parquet", True, r"a\.parquet.*both"),
    ],
)
def test_a_destination_of_parquet_that_exists(tmp_path, kind, destination, there, keep_csv, refused):
    (tmp_path / there).touch()
    place = f"{tmp_path}/{destination}" if kind is str else kind(f"file://{tmp_path}/{destination}")
    options = wanted("parquet", False, keep_csv=keep_csv)
    if refused:
        with pytest.raises(ValidationRejected, match=refused):
            check_download(options, place)
    else:
        check_download(options, place)
    check_download(wanted("parquet"), place)


def test_a_folder_of_parquet_is_checked_once_names_are_known(tmp_path):
    check_download(wanted("parquet", False), f"{tmp_path}/")
    check_download(wanted("parquet", False, keep_csv=True), f"{tmp_path}/{{job_id}}.csv", kind="export")


def test_what_a_task_may_be_given_is_no_permission_of_the_connection():
    fields = set(DownloadOptions.__dataclass_fields__)
    assert set(GIVEN) < fields
    assert fields - set(GIVEN) == {
        "format",
        "overwrite",
        "retry",
        "connect_timeout",
        "allow_http",
        "allow_private",
        "allow_loopback",
        "verify",
        "proxy",
        "user_agent",
    }


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch):
    modules = __import__("sys").modules
    for name in ("parquet", "columns"):
        monkeypatch.delitem(modules, f"stoq_provider.download.{name}", raising=False)
    monkeypatch.setitem(modules, "pyarrow", None)
    with pytest.raises(ValidationRejected, match=r"airflow-provider-stoq\[parquet\]"):
        check_download(wanted("parquet"), None)
