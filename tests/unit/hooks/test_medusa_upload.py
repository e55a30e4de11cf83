"""The file that an import reads: what can't be read is a typed error, and nothing was sent."""

from __future__ import annotations

import io
import json

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from stoq_provider.exceptions import ServiceUnavailable, ValidationRejected
from stoq_provider.hooks.medusa import MedusaHook


class Refused(Exception):
    """As botocore's ``ClientError``."""

    def __init__(self, status):
        super().__init__(f"status {status}")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


class Broken(io.BytesIO):
    def read(self, *args):
        raise ConnectionResetError("reset")


@pytest.fixture
def medusa(monkeypatch):
    connection = {"conn_type": "medusa", "host": "https://medusa.example", "password": "a" * 20}
    monkeypatch.setenv("AIRFLOW_CONN_MEDUSA_DEFAULT", json.dumps(connection))
    return MedusaHook()


def check(medusa, api, source, error_class, says):
    with pytest.raises(error_class, match=says) as caught:
        medusa.upload(source)
    assert isinstance(caught.value, AirflowFailException) is (error_class is ValidationRejected)
    assert "Nothing was sent." in str(caught.value)
    assert not api.called


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("file:///no/such/file.csv", "FileNotFoundError"),
        ("file:///tmp", "IsADirectoryError"),
        ("file:///etc/hostname/x.csv", "NotADirectoryError"),
        (f"file:///{'x' * 300}", "File name too long"),
        ("nonsense://bucket/x.csv", "can't be read"),
        ("None", "FileNotFoundError"),
    ],
)
def test_source_that_is_not_there(medusa, api, source, says):
    check(medusa, api, source, ValidationRejected, says)


@pytest.mark.parametrize(
    ("error", "error_class"),
    [
        (PermissionError("no"), ValidationRejected),
        (ImportError("no s3fs"), ValidationRejected),
        (Refused(403), ValidationRejected),
        (Refused(404), ValidationRejected),
        (Refused(503), ServiceUnavailable),
        (TimeoutError("late"), ServiceUnavailable),
        (OSError(5, "Input/output error"), ServiceUnavailable),
        (RuntimeError("event loop"), ServiceUnavailable),
    ],
    ids=repr,
)
def test_source_that_can_not_be_opened(medusa, api, monkeypatch, error, error_class):
    def fail(self, mode):
        raise error

    monkeypatch.setattr(ObjectStoragePath, "open", fail)
    check(medusa, api, "file:///x.csv", error_class, type(error).__name__)


def test_source_that_breaks_while_it_is_read(medusa, api, monkeypatch):
    monkeypatch.setattr(ObjectStoragePath, "open", lambda self, mode: Broken())
    check(medusa, api, "file:///x.csv", ServiceUnavailable, "ConnectionResetError: reset")
