"""What a task may want of its files, and what is refused before a job is started."""

from __future__ import annotations

import pytest

from stoq_provider.exceptions import ValidationRejected
from stoq_provider.hooks.fetching import OWN, POLICY, Fetching
from stoq_provider.storage.policy import DownloadPolicy


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"format": "xlsx"}, "format is one of csv, parquet, not 'xlsx'"),
        ({"options": ["min_rows"]}, "is a mapping, not list"),
        ({"options": {"min_row": 1}}, "no 'min_row'.*min_rows"),
        ({"options": {"min_rows": -1}}, "min_rows is a number of rows, not -1"),
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


def test_every_option_is_one_of_the_policy_or_ours():
    Fetching("parquet", True, {"keep_csv": True, "column_types": {"a": "string"}, "at_once": 2}).check()
    assert set(POLICY) <= set(DownloadPolicy.__dataclass_fields__)
    assert not set(OWN) & set(POLICY)


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ValidationRejected, match=r"airflow-provider-stoq\[parquet\]"):
        Fetching("parquet").check()
