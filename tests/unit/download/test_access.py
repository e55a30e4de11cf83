"""Whether a place can be written to, as far as that is found out before a job is submitted."""

from __future__ import annotations

import os

import pytest

from stoq_provider.download import output
from stoq_provider.download.access import check_access
from stoq_provider.download.destination import Target
from stoq_provider.download.store_errors import says_no
from stoq_provider.exceptions import ValidationRejected
from tests.harness import recorded_logs

from .fake_s3 import FakeS3
from .test_writers import FakeAzureStore, FakeFile, FakeStore


class Refused(Exception):
    """As the errors of several libraries."""

    def __init__(self, text="refused", **fields):
        super().__init__(text)
        self.__dict__.update(fields)


class NoCredentialsError(Exception):
    """As botocore's."""


class ParamValidationError(Exception):
    """As botocore's."""


def botocore(status):
    return Refused(response={"Error": {"Code": "X"}, "ResponseMetadata": {"HTTPStatusCode": status}})


@pytest.mark.parametrize(
    ("error", "refuses"),
    [
        (FileNotFoundError("no such bucket"), True),
        (PermissionError("Access Denied"), True),
        (NotADirectoryError("file"), True),
        (OSError(30, "Read-only file system"), True),
        (OSError(36, "File name too long"), True),
        (OSError("Forbidden: https://storage.example\n"), True),
        (NoCredentialsError(), True),
        (ParamValidationError("Invalid bucket name"), True),
        *((botocore(status), True) for status in (401, 403, 404)),
        *((Refused(code=status), True) for status in (401, 403, 404)),
        *((Refused(status_code=status), True) for status in (401, 403, 404)),
        # --- says nothing about the destination
        *((botocore(status), False) for status in (400, 405, 409, 429, 500, 501, 503)),
        *((Refused(code=status), False) for status in (400, 429, 503, "403", None)),
        *((Refused(status_code=status), False) for status in (409, 429, 500, None)),
        (Refused(response=None), False),
        (Refused(response=object()), False),
        (TimeoutError("late"), False),
        (ConnectionResetError("reset"), False),
        (OSError(5, "Input/output error"), False),
        (OSError(116, "Stale file handle"), False),
        (ValueError("?"), False),
    ],
    ids=repr,
)
def test_which_errors_are_a_clear_no(error, refuses):
    assert says_no(error) is refuses


# --- local paths ------------------------------------------------------------------------------------------


def local(path):
    return Target(f"file://{path}", "", str(path))


def tree(folder):
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    "path", ["x.csv", "new/x.csv", "new/and/newer/x.csv", "there/x.csv", "link/x.csv", "old.csv"]
)
def test_folder_that_can_be_written_to(tmp_path, path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "old.csv").write_text("old")
    before = tree(tmp_path)
    check_access(local(tmp_path / path))
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("file/x.csv", "Not a directory"),
        ("file/and/more/x.csv", "Not a directory"),
        ("dangling/x.csv", "dangling is no folder"),
        ("dangling/and/more/x.csv", "dangling is no folder"),
        ("loop/x.csv", "symbolic links"),
        (f"{'x' * 256}", "File name too long"),
        (f"{'x' * 256}/x.csv", "File name too long"),
        ("closed/x.csv", "no permission to write in .*closed"),
        ("closed/new/x.csv", "no permission to write in .*closed"),
    ],
)
def test_folder_that_can_not_be_written_to(tmp_path, monkeypatch, path, says):
    (tmp_path / "file").write_text("x")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "closed").mkdir(mode=0o500)
    allowed = os.access  # everything, to root

    def access(path, mode):
        assert mode == os.W_OK | os.X_OK
        return path != str(tmp_path / "closed") and allowed(path, mode)

    monkeypatch.setattr(os, "access", access)
    before = tree(tmp_path)
    with pytest.raises(ValidationRejected, match=rf"can't be written to: .*{says}"):
        check_access(local(tmp_path / path))
    assert tree(tmp_path) == before


# --- stores -----------------------------------------------------------------------------------------------


class ResumableFile(FakeFile):
    def _initiate_upload(self):
        self.store.may_fail("initiate")
        self.store.log.append(("initiate",))


@pytest.fixture
def gcs(monkeypatch):
    store = FakeStore()
    monkeypatch.setattr(store, "file_class", ResumableFile)
    return store, Target("gs://lake/x.csv", "gs", "lake/x.csv", fs=store)


@pytest.fixture
def azure():
    store = FakeAzureStore()

    def info(path, refresh):
        store.log.append(("info", path))
        store.may_fail("info")

    store.info = info
    return store, Target("abfs://lake/x.csv", "abfs", "lake/x.csv", fs=store)


@pytest.fixture
def s3(monkeypatch):
    store = FakeS3()
    monkeypatch.setattr(output, "s3_client", lambda target: store)
    return store, Target("s3://lake/x.csv", "s3", "lake/x.csv", fs=store)


def test_upload_to_s3_is_begun_and_dropped(s3):
    store, target = s3
    check_access(target)
    assert store.steps == ["create_multipart_upload", "abort_multipart_upload"]
    assert (store.uploads, store.objects) == ({}, {})


def test_resumable_upload_is_begun_and_dropped(gcs):
    store, target = gcs
    check_access(target)
    assert store.steps == ["open", "initiate", "discard"]
    assert (store.objects, store.transaction.files) == ({}, [])


def test_container_of_azure_is_looked_for(azure):
    store, target = azure
    check_access(target)
    assert store.log == [("info", "lake")]


def refused(target):
    with pytest.raises(ValidationRejected, match=rf"{target.uri} can't be written to: ") as caught:
        check_access(target)
    return str(caught.value)


def doubted(target):
    with recorded_logs() as logs:
        check_access(target)
    return "was not found out" in logs.text


@pytest.mark.parametrize(("status", "clear"), [(403, True), (404, True), (501, False), (503, False)])
def test_only_a_clear_no_of_s3_refuses(s3, status, clear):
    store, target = s3
    store.refuse["create_multipart_upload"] = "X"
    store.status = status
    assert refused(target) if clear else doubted(target)
    assert store.uploads == {}


def test_upload_to_s3_that_may_not_be_dropped_is_no_refusal(s3):
    store, target = s3
    store.refuse["abort_multipart_upload"] = "AccessDenied"
    with recorded_logs() as logs:
        check_access(target)
    assert "could not be dropped" in logs.text


@pytest.mark.parametrize(
    ("error", "clear"),
    [(OSError("Forbidden: x"), True), (FileNotFoundError("b"), True), (Refused(code=503), False)],
    ids=repr,
)
@pytest.mark.parametrize("step", ["open", "initiate"])
def test_only_a_clear_no_of_a_file_system_refuses(gcs, step, error, clear):
    store, target = gcs
    store.failing[step] = error
    assert refused(target) if clear else doubted(target)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (FileNotFoundError("No such container"), refused),
        (Refused(status_code=403, error_code="AuthenticationFailed"), refused),
        (Refused(status_code=503, error_code="ServerBusy"), doubted),
        # Of a key that may write but not look.
        (Refused(status_code=403, error_code="AuthorizationPermissionMismatch"), check_access),
        (Refused(status_code=403, error_code="AuthorizationFailure"), check_access),
    ],
    ids=lambda value: getattr(value, "__name__", repr(value)),
)
def test_only_a_clear_no_of_azure_refuses(azure, error, outcome):
    store, target = azure
    store.failing["info"] = error
    assert outcome(target) in (None, True) or outcome is refused
