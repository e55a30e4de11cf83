"""What a task may want of its files, and what is refused before a job is started."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from stoq_provider.download.options import DownloadPolicy
from stoq_provider.exceptions import ValidationRejected
from stoq_provider.jobs.fetching import OWN, POLICY, Fetching


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"format": "xlsx"}, "format is one of csv, parquet, not 'xlsx'"),
        ({"options": ["min_rows"]}, "is a mapping, not list"),
        ({"options": {"min_row": 1}}, "no 'min_row'.*min_rows"),
        ({"options": {"min_rows": -1}}, "min_rows is a number of rows, not -1"),
        ({"options": {"min_rows": True}}, "min_rows is a number of rows, not True"),
        ({"options": {"stall_timeout": -1}}, "stall_timeout is a number of seconds above 0, not -1"),
        ({"options": {"stall_timeout": None}}, "stall_timeout is a number of seconds above 0, not None"),
        ({"options": {"deadline": "soon"}}, "deadline is a number of seconds above 0, not 'soon'"),
        ({"options": {"deadline": float("nan")}}, "deadline is a number of seconds above 0, not nan"),
        ({"options": {"max_resumes": 1.5}}, "max_resumes is a number of tries, not 1.5"),
        ({"options": {"at_once": 0}}, "at_once, the number of downloads at a time, is at least 1, not 0"),
        ({"options": {"at_once": "4"}}, "at least 1, not '4'"),
        ({"options": {"on_empty": "ignore"}}, "on_empty is one of"),
        ({"options": {"on_mismatch": "ignore"}}, "on_mismatch is one of"),
        ({"overwrite": "if_newer"}, "overwrite is one of"),
        ({"options": {"keep_csv": True}}, "go with format='parquet'"),
        ({"format": "parquet", "options": {"column_types": {"price": "money"}}}, "'money', given for column"),
        ({"options": {"verify": False}}, "download_options has no 'verify'"),
    ],
)
def test_what_is_refused(wanted, words, tmp_path):
    with pytest.raises(ValidationRejected, match=words) as caught:
        Fetching(**wanted).check(f"{tmp_path}/")
    assert "Nothing was" in str(caught.value)


def test_a_destination_that_exists(tmp_path):
    (tmp_path / "a.csv").touch()
    Fetching().check(str(tmp_path / "a.csv"))
    with pytest.raises(ValidationRejected, match="exists already"):
        Fetching(overwrite=False).check(str(tmp_path / "a.csv"))


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
    wanted = Fetching("parquet", False, {"keep_csv": keep_csv})
    if refused:
        with pytest.raises(ValidationRejected, match=refused):
            wanted.check(place)
    else:
        wanted.check(place)
    Fetching("parquet", True, {}).check(place)


def test_a_folder_of_parquet_is_checked_once_names_are_known(tmp_path):
    Fetching("parquet", False, {}).check(f"{tmp_path}/")
    Fetching("parquet", False, {"keep_csv": True}).check(f"{tmp_path}/{{job_id}}.csv")


def test_every_option_is_one_of_the_policy_or_ours():
    Fetching("parquet", True, {"keep_csv": True, "column_types": {"a": "string"}, "at_once": 2}).check()
    assert set(POLICY) <= set(DownloadPolicy.__dataclass_fields__)
    assert not set(OWN) & set(POLICY)


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ValidationRejected, match=r"airflow-provider-stoq\[parquet\]"):
        Fetching("parquet").check()
