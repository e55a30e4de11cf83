from __future__ import annotations

import os
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from stoq_provider.download.destination import resolve_target
from stoq_provider.download.download import check_download
from stoq_provider.download.options import DownloadOptions
from stoq_provider.exceptions import DownloadError, ValidationRejected


@pytest.fixture(autouse=True)
def no_connections(monkeypatch):
    """Decoded as Airflow does for a connection nobody has defined, without asking a database."""
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

    def get_connection(conn_id):
        if conn_id != "lake":
            raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")

    monkeypatch.setattr(BaseHook, "get_connection", get_connection)


STORES = ("s3", "gs", "abfs")
SHORTENED = ("/x.csv", "a//x.csv", "a//", "./x.csv", "a/./x.csv", "../x.csv", "a/../x.csv", "a/..", "a/.")
"""Keys that an HTTP client shortens on their way."""


@pytest.fixture
def s3(monkeypatch):
    """Stand in for the S3 file system of the Amazon provider, which is not installed here."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    class Store:
        present = ()

        def exists(self, path):
            return path in self.present

        def split_path(self, path):
            bucket, _, key = path.partition("/")
            key, _, version = key.partition("?versionId=")
            return bucket, key.removesuffix("/cut/y"), version or None

    store = Store()
    monkeypatch.setattr(ObjectStoragePath, "fs", property(lambda self: store))
    return store


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
        ("{tmp}//a.csv", "{tmp}/a.csv"),
        ("FILE://{tmp}/a.csv", "{tmp}/a.csv"),
        ("{tmp}/12:30/a:b.csv", "{tmp}/12:30/a:b.csv"),
        ("{tmp}/a@b.example/#?x.csv", "{tmp}/a@b.example/#?x.csv"),
    ],
)
def test_local_destinations(tmp_path, destination, path):
    found = resolve_target(destination.format(tmp=tmp_path), "name.csv")
    assert found.path == path.format(tmp=tmp_path)
    assert found.uri == f"file://{found.path}"
    assert found.is_local


def test_home_of_the_worker(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_target("~/x.csv", "n").path == f"{tmp_path}/x.csv"
    assert resolve_target(Path("~/x.csv"), "n").path == f"{tmp_path}/x.csv"


def test_path_objects_of_airflow(tmp_path):
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    assert resolve_target(ObjectStoragePath(f"file://{tmp_path}/x.csv"), "n").path == f"{tmp_path}/x.csv"


@pytest.mark.parametrize(
    ("destination", "reason"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        (" s3://bucket/x.csv", "white space"),
        ("{tmp}/x.csv\n", "white space"),
        ("{tmp}/x\ty.csv", "no path can have"),
        ("{tmp}/x\0.csv", "no path can have"),
        ("s3://bucket/x\ud800.csv", "no path can have"),
        ("None", "'None'"),
        ("s3://None/x.csv", "'None'"),
        ("s3://bucket/None/", "'None'"),
        ("s3://key:secret@bucket/x.csv", "stands in the connection only"),
        ("s3://key:a/secret@bucket/x.csv", "stands in the connection only"),
        ("s3://bucket:9000/x.csv", "stands in the connection only"),
        # --- what pathlib, os.path and hurry make of a URL
        (Path("s3://bucket/x.csv"), "as the text 's3://bucket/x.csv'"),
        (Path("/data") / "s3://bucket/x.csv", "as the text 's3://bucket/x.csv'"),
        ("s3:/bucket/x/", "as the text 's3://bucket/x/name.csv'"),
        ("S3:/bucket/x/", "as the text 's3://bucket/x/name.csv'"),
        ("s3:bucket/x.csv", "as the text 's3://bucket/x.csv'"),
        (os.path.normpath("gs://bucket/x.csv"), "as the text 'gs://bucket/x.csv'"),
        (str(Path("/data") / "abfs://c/x.csv"), "as the text 'abfs://c/x.csv'"),
        ("file:/x.csv", "as the text 'file:///x.csv'"),
        ("file:x.csv", "as the text 'file:///x.csv'"),
        ("file:///data/s3:/bucket/x.csv", "as the text 's3://bucket/x.csv'"),
        ("sftp:/host/x.csv", "lost a slash"),
        ("C:/data/x.csv", "lost a slash"),
        ("C:\\data\\x.csv", "backslash"),
        ("\\\\server\\share\\x.csv", "backslash"),
        ("s3:\\\\bucket\\x.csv", "backslash"),
        ("//bucket/x.csv", "neither an absolute path nor a URL"),
        ("://bucket/x.csv", "neither an absolute path nor a URL"),
        ("file:////bucket/x.csv", "neither an absolute path nor a URL"),
        ("bucket/x.csv", "neither an absolute path nor a URL"),
        ("./x.csv", "neither an absolute path nor a URL"),
        (Path("x.csv"), "neither an absolute path nor a URL"),
        ("~root/x.csv", "neither an absolute path nor a URL"),
        ("{{job_id}}/x.csv", "neither an absolute path nor a URL"),
        # ---
        ("memory://x/y", "supported are absolute local paths"),
        ("sftp://h/x", "supported are absolute local paths"),
        ("https://h/x", "supported are absolute local paths"),
        ("file://relative/x", "file:///"),
        ("file://x", "file:///"),
        ("file://host/x.csv", "file:///"),
        ("{tmp}", "is a folder"),
        ("file://{tmp}", "is a folder"),
        ("s3://bucket", "names no object"),
        ("s3://", "names no object"),
        ("s3:///bucket/x.csv", "names no object"),
        ("s3://lake@/x.csv", "names no object"),
        ("s3://bucket?x.csv", "names no object"),
        *((f"{store}://bucket/{key}", "a part between slashes") for store in STORES for key in SHORTENED),
        ("s3://missing_connection@bucket/x", "'missing_connection' .* does not exist"),
        ("gs://missing_connection@bucket/", "'missing_connection' .* does not exist"),
        ("abfs://missing_connection@container/x", "'missing_connection' .* does not exist"),
        ("s3://bucket/x.csv?versionId=abc", "such as a version"),
        ("s3://bucket/x.csv/cut/y", "something else than an object"),
    ],
    ids=repr,
)
def test_destination_that_cannot_be_used(s3, tmp_path, destination, reason):
    if isinstance(destination, str):
        destination = destination.format(tmp=tmp_path)
    with pytest.raises(ValidationRejected, match=reason) as caught:
        resolve_target(destination, "name.csv", values={"job_id": "~root"})
    assert "Nothing was downloaded" in str(caught.value)
    assert "secret" not in str(caught.value)
    with pytest.raises(ValidationRejected):
        check_download(DownloadOptions(), destination)


@pytest.mark.parametrize("destination", [["/tmp/a"], {"a": 1}, 5, True, b"/tmp/a"], ids=repr)
def test_destination_that_is_no_path(destination):
    with pytest.raises(ValidationRejected, match=f"not {type(destination).__name__}"):
        check_download(DownloadOptions(), destination)


def test_missing_connection_of_a_path_object():
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    with pytest.raises(ValidationRejected, match="'missing_connection'"):
        resolve_target(ObjectStoragePath("s3://bucket/x", conn_id="missing_connection"), "n")


def test_object_with_a_connection(s3):
    found = resolve_target("s3://lake@bucket/folder/", "name.csv")
    assert (found.protocol, found.path, found.fs) == ("s3", "bucket/folder/name.csv", s3)
    assert found.uri == "s3://lake@bucket/folder/name.csv"
    assert not found.is_local


@pytest.mark.parametrize("store", [*STORES, "S3", "s3a", "gcs", "abfss"])
@pytest.mark.parametrize(
    "key",
    ["#a.csv", "?a.csv", "a#b?c.csv", "mail/a@b.example/x.csv", "...", ".a", "100%2F.csv", "a:b", "~a/x y"],
)
def test_key_is_kept_as_it_is(s3, store, key):
    found = resolve_target(f"{store}://lake@bucket/{key}", "n")
    assert found.path == f"bucket/{key}"
    assert found.uri == f"{store.lower()}://lake@bucket/{key}"


def test_access_point_as_a_bucket(s3):
    path = "arn:aws:s3:us-west-2:123456789012:accesspoint/mine/x.csv"
    assert resolve_target(f"s3://{path}", "n").path == path
    assert resolve_target(f"s3://lake@{path}", "n").path == path


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


@pytest.mark.parametrize(
    "error", [TimeoutError("late"), OSError(5, "I/O error"), RuntimeError("loop")], ids=repr
)
def test_what_a_store_or_a_secrets_backend_raises_is_typed(s3, monkeypatch, error):
    from airflow.providers.common.compat.sdk import BaseHook

    def fail(*args):
        raise error

    def check(says):
        with pytest.raises(DownloadError, match=says) as caught:
            check_download(DownloadOptions(overwrite=False), "s3://lake@bucket/x.csv")
        assert not isinstance(caught.value, AirflowFailException)
        assert "Nothing was downloaded" in str(caught.value)
        assert "a retry looks again." in str(caught.value)

    s3.exists = fail
    check(f"Could not look whether s3://lake@bucket/x.csv exists: {type(error).__name__}")
    monkeypatch.setattr(BaseHook, "get_connection", fail)
    check(f"Could not look up the connection 'lake': {type(error).__name__}")


@pytest.mark.parametrize(
    ("store", "extra"), [("s3", "s3"), ("gs", "gcs"), ("gcs", "gcs"), ("abfs", "azure"), ("abfss", "azure")]
)
@pytest.mark.parametrize(
    "error", [ImportError("no such package"), ValueError("No filesystem registered for protocol")], ids=repr
)
def test_store_whose_package_is_missing(monkeypatch, store, extra, error):
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    def fail(self):
        raise error

    monkeypatch.setattr(ObjectStoragePath, "fs", property(fail))
    with pytest.raises(ValidationRejected, match=rf"{error}.*install airflow-provider-stoq\[{extra}\]"):
        resolve_target(f"{store}://bucket/x.csv", "n")


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
