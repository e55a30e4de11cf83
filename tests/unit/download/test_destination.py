from __future__ import annotations

from pathlib import Path

import pytest

from stoq_provider.download.destination import resolve_target
from stoq_provider.download.download import check_download
from stoq_provider.download.options import DownloadOptions
from stoq_provider.exceptions import ValidationRejected
from tests.interpreter import PROGRAMS


@pytest.fixture(autouse=True)
def no_connections(monkeypatch):
    """Decoded as Airflow does for a connection nobody has defined, without asking a database."""
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

    def get_connection(conn_id):
        if conn_id != "lake":
            raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")

    monkeypatch.setattr(BaseHook, "get_connection", get_connection)


@pytest.mark.parametrize(
    ("destination", "path"),
    [
        ("{tmp}/a.csv", "{tmp}/a.csv"),
        ("{tmp}/sub/", "{tmp}/sub/name.csv"),
        ("file://{tmp}/a b%20c#d.csv", "{tmp}/a b%20c#d.csv"),
        ("file://{tmp}/sub/", "{tmp}/sub/name.csv"),
        ("file://localhost{tmp}/a.csv", "{tmp}/a.csv"),
        ("file://conn@{tmp}/a.csv", "{tmp}/a.csv"),
        ("{tmp}/sub/../a.csv", "{tmp}/a.csv"),
    ],
)
def test_local_destinations(tmp_path, destination, path):
    found = resolve_target(destination.format(tmp=tmp_path), "name.csv")
    assert found.path == path.format(tmp=tmp_path)
    assert found.uri == f"file://{found.path}"
    assert found.is_local


def test_relative_and_home_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_target("out/", "n").path == f"{tmp_path}/out/n"
    assert resolve_target("~/x.csv", "n").path == f"{tmp_path}/x.csv"
    assert resolve_target(Path("x.csv"), "n").path == f"{tmp_path}/x.csv"


def test_path_objects_of_airflow(tmp_path):
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    assert resolve_target(ObjectStoragePath(f"file://{tmp_path}/x.csv"), "n").path == f"{tmp_path}/x.csv"


@pytest.mark.parametrize(
    ("destination", "reason"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("memory://x/y", "supported are local paths"),
        ("sftp://h/x", "supported are local paths"),
        ("https://h/x", "supported are local paths"),
        ("file://relative/x", "file:///"),
        ("file://x", "file:///"),
        ("{tmp}", "is a folder"),
        ("file://{tmp}", "is a folder"),
        ("s3://bucket", "names no object"),
        ("s3://missing_connection@bucket/x", "'missing_connection' .* does not exist"),
        ("gs://missing_connection@bucket/", "'missing_connection' .* does not exist"),
        ("abfs://missing_connection@container/x", "'missing_connection' .* does not exist"),
        ("s3://bucket/x.csv?versionId=abc", "names a version"),
        ("abfs://container/x.csv?versionid=abc", "names a version"),
    ],
)
def test_destination_that_cannot_be_used(tmp_path, destination, reason):
    with pytest.raises(ValidationRejected, match=reason) as caught:
        check_download(DownloadOptions(), destination.format(tmp=tmp_path))
    assert "Nothing was downloaded" in str(caught.value)


@pytest.mark.parametrize("destination", [["/tmp/a"], {"a": 1}, 5, True, b"/tmp/a"], ids=repr)
def test_destination_that_is_no_path(destination):
    with pytest.raises(ValidationRejected, match=f"not {type(destination).__name__}"):
        check_download(DownloadOptions(), destination)


def test_missing_connection_of_a_path_object():
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    with pytest.raises(ValidationRejected, match="'missing_connection'"):
        resolve_target(ObjectStoragePath("s3://bucket/x", conn_id="missing_connection"), "n")


@pytest.fixture
def s3(monkeypatch):
    """Stand in for the S3 file system of the Amazon provider, which is not installed here."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    class Store:
        present = ()

        def exists(self, path):
            return path in self.present

    store = Store()
    monkeypatch.setattr(ObjectStoragePath, "fs", property(lambda self: store))
    return store


def test_object_with_a_connection(s3):
    found = resolve_target("s3://lake@bucket/folder/", "name.csv")
    assert (found.protocol, found.path, found.fs) == ("s3", "bucket/folder/name.csv", s3)
    assert found.uri == "s3://lake@bucket/folder/name.csv"
    assert not found.is_local


def test_object_without_a_connection(s3):
    assert resolve_target("s3://bucket/x.csv", "n").uri == "s3://bucket/x.csv"


def test_object_that_exists(s3):
    s3.present = ("bucket/x.csv",)
    resolve_target("s3://lake@bucket/x.csv", "n")
    with pytest.raises(ValidationRejected, match="exists already"):
        resolve_target("s3://lake@bucket/x.csv", "n", overwrite=False)
    check_download(DownloadOptions(overwrite=False), "s3://lake@bucket/")  # the name is not known yet


def test_a_store_that_does_not_tell_what_exists_is_asked_at_the_end_instead(s3):
    def exists(path):
        raise PermissionError("Forbidden")

    s3.exists = exists
    found = resolve_target("s3://lake@bucket/x.csv", "n", overwrite=False)
    assert not found.exists()


def test_store_whose_package_is_missing(monkeypatch):
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    def fail(self):
        raise ImportError("no s3fs")

    monkeypatch.setattr(ObjectStoragePath, "fs", property(fail))
    with pytest.raises(ValidationRejected, match=r"ImportError: no s3fs.*install the extra"):
        resolve_target("s3://bucket/x.csv", "n")


@PROGRAMS
def test_importing_the_modules_is_cheap(start_program):
    child = start_program(
        "import sys, stoq_provider.exceptions\n"
        "before = set(sys.modules)\n"
        "import stoq_provider.download.download\n"
        "new = {m.partition('.')[0] for m in set(sys.modules) - before}\n"
        "print(sorted(new & {'requests', 'urllib3', 'fsspec', 'upath', 'httpx'}))"
    )
    assert child.wait() == 0, child.stderr
    assert child.stdout.strip().splitlines()[-1] == "[]"
