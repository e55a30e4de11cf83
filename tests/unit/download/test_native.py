"""Uploads by obstore, to a server that notes every request."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import json
import logging
import re
import sys
import threading

import pytest

from stoq_provider.download import download as module
from stoq_provider.download import native, s3config, writers
from stoq_provider.download.destination import Target
from stoq_provider.download.download import download
from stoq_provider.download.native import ObstoreUpload, UploadFailed
from stoq_provider.download.writers import open_writer
from stoq_provider.exceptions import DownloadError, VerificationError

from .conftest import BODY, HANG_SECONDS, serve, serve_when
from .fake_s3 import FakeS3

obstore = pytest.importorskip("obstore")
MIB = 1024 * 1024
UNIT = 64 * 1024
"""A part is five of them."""
NUMBERS = itertools.count()


@pytest.fixture
def s3():
    server = FakeS3()
    yield server
    server.stop()


@pytest.fixture
def store(s3):
    from obstore.store import S3Store

    return S3Store(
        "lake",
        endpoint=s3.endpoint,
        region="us-east-1",
        access_key_id="k",
        secret_access_key="s",
        client_options={"allow_http": True, "timeout": "60s", "connect_timeout": "60s"},
        retry_config={"max_retries": 0},
    )


@pytest.fixture
def begin(store, monkeypatch):
    monkeypatch.setattr(native, "PART_BYTES", 5 * UNIT)
    monkeypatch.setattr(native, "_SETTLE_SECONDS", 0.0)  # this server forgets all parts that come late
    return lambda: ObstoreUpload(store, "dir/x.csv")


@pytest.fixture
def upload(begin):
    return begin()


def fill(upload, units):
    data = b"".join(bytes([n]) * UNIT for n in range(units))
    for n in range(units):
        upload.write(data[n * UNIT : (n + 1) * UNIT])
    return data


def fill_and_commit(upload):
    fill(upload, 60)
    upload.commit()


@pytest.mark.parametrize("units", [1, 5, 12, 40])
def test_object_appears_with_the_commit_only(s3, upload, units):
    data = fill(upload, units)
    assert s3.objects == {}
    upload.commit()
    assert s3.objects == {"lake/dir/x.csv": data}
    assert s3.uploads == {}
    upload.abort()
    assert s3.steps.count("DELETE uploadId") == 0


@pytest.mark.parametrize("units", [0, 1, 12, 40])
def test_aborted_upload_is_forgotten_by_the_store(s3, upload, units):
    fill(upload, units)
    if units > 10:
        assert s3.part_came.wait(HANG_SECONDS)
    upload.abort()
    upload.abort()
    gc.collect()
    assert s3.objects == {}
    assert s3.uploads == {}
    assert s3.steps.count("DELETE uploadId") == 1


@pytest.mark.parametrize("step", ["POST uploads", "PUT partNumber", "POST uploadId"])
def test_store_that_refuses_a_step(s3, begin, step):
    s3.refuse[step] = 403
    upload = begin()
    with pytest.raises(UploadFailed, match="403 Forbidden") as caught:
        fill_and_commit(upload)
    assert "\n" not in str(caught.value)
    upload.abort()
    assert s3.objects == {}
    assert s3.uploads == {}


def test_abort_that_the_store_refuses_is_told(s3, upload):
    s3.refuse["DELETE uploadId"] = 403
    fill(upload, 6)
    with pytest.raises(UploadFailed, match="403"):
        upload.abort()


def test_no_thread_is_left(begin):
    before = threading.enumerate()
    upload = begin()
    fill(upload, 6)
    upload.abort()
    assert [t for t in threading.enumerate() if t.name == "stoq-upload" and t not in before] == []


def test_very_large_objects_get_larger_parts(store):
    upload = ObstoreUpload(store, "x", size=9_000 * 20 * MIB)
    assert upload._part == 20 * MIB
    upload.abort()


# --- through the sink and the download ----------------------------------------------------------------


@pytest.fixture
def to_s3(s3, store, server, policy, monkeypatch):
    """Download to an object, in parts of 5 MiB as soon as it is larger than 100 kB."""
    target = Target("s3://lake/x.csv", "s3", "lake/x.csv", fs=object())
    monkeypatch.setattr(module, "resolve_target", lambda *a, **k: target)
    monkeypatch.setattr(writers, "FIRST_BYTES", 100_000)
    monkeypatch.setattr(s3config, "s3_store", lambda target: (store, ""))
    return lambda **given: download(server.url, "s3://lake/x.csv", file_name=None, policy=policy, **given)


def test_download_by_obstore(to_s3, s3):
    to_s3()
    assert s3.objects == {"lake/x.csv": BODY}
    assert s3.uploads == {}


def test_download_that_starts_over(to_s3, s3, server):
    server.etag = None
    server.plan = [serve(stop_after=300_000), serve_when(lambda: s3.steps)]
    to_s3()
    assert s3.objects == {"lake/x.csv": BODY}
    assert s3.uploads == {}
    assert s3.steps.count("POST uploads") == 2


def test_mismatch_leaves_nothing(to_s3, s3):
    with pytest.raises(VerificationError):
        to_s3(expected_rows=1)
    assert (s3.objects, s3.uploads) == ({}, {})
    assert "POST uploads" in s3.steps


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("POST uploads", r"Could not write s3://lake/x\.csv|did not confirm"),
        ("POST uploadId", "did not confirm .* not published or there as a whole"),
    ],
)
def test_trouble_of_the_store(to_s3, s3, step, says):
    s3.refuse[step] = 403
    with pytest.raises(DownloadError, match=says):
        to_s3()
    assert (s3.objects, s3.uploads) == ({}, {})


# --- when it is used, and when not --------------------------------------------------------------------


@pytest.mark.parametrize(("protocol", "overwrite"), [("s3", False), ("gs", True), ("abfs", True)])
def test_other_stores_and_conditional_puts_are_left_to_fsspec(monkeypatch, protocol, overwrite):
    seen = []
    monkeypatch.setattr(writers, "FIRST_BYTES", 10)
    monkeypatch.setattr(native, "begin_upload", lambda *a: pytest.fail("obstore was used"))
    monkeypatch.setattr(writers.FsspecUpload, "__init__", lambda self, *a, **k: seen.append((a, k)))
    monkeypatch.setattr(writers.FsspecUpload, "write", lambda self, chunk: None)
    open_writer(Target("", protocol, "b/k"), overwrite=overwrite).write(b"more than ten bytes")
    assert seen[0][1] == {"overwrite": overwrite}


@pytest.mark.parametrize("key", ["/k", "a//k", "a/./k", "a/../k", "./k", "k/"])
def test_keys_that_obstore_would_change_are_left_to_fsspec(monkeypatch, key):
    monkeypatch.setattr(s3config, "s3_store", lambda target: (object(), ""))
    assert native.begin_upload(Target(f"s3://b/{key}", "s3", f"b/{key}"), None) is None


def test_without_obstore_nothing_is_asked(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setattr(s3config, "s3_store", lambda target: pytest.fail("asked"))
    assert native.begin_upload(Target("", "s3", "b/k"), None) is None


def test_reason_for_the_slower_way_is_logged(monkeypatch, caplog):
    monkeypatch.setattr(s3config, "s3_store", lambda target: (None, "it has a signer"))
    with caplog.at_level(logging.INFO):
        assert native.begin_upload(Target("s3://b/k", "s3", "b/k"), None) is None
    assert "s3://b/k is written by fsspec, which is slower than obstore: it has a signer" in caplog.text


# --- the Airflow connection -----------------------------------------------------------------------------


@pytest.fixture
def connected(s3, monkeypatch):
    """Make a target of a connection with these extras."""
    pytest.importorskip("airflow.providers.amazon.aws.fs.s3")
    pytest.importorskip("s3fs")
    from stoq_provider.download.destination import resolve_target

    for name in ("AWS_CA_BUNDLE", "AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    def make(login="key-of-lake", **extra):
        conn_id = f"lake_{next(NUMBERS)}"  # file systems are cached by connection
        extra = {"endpoint_url": s3.endpoint, "region_name": "eu-central-1", **extra}
        connection = {"conn_type": "aws", "login": login, "password": "secret-of-lake", "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        return resolve_target(f"s3://{conn_id}@lake/dir/x y.csv", "n")

    return make


def signed(s3):
    return s3.requests[0][2]


def test_connection_is_translated(connected, s3):
    store, _ = s3config.s3_store(connected(aws_session_token="token-of-lake"))
    upload = ObstoreUpload(store, "dir/x y.csv")
    upload.write(b"abc")
    upload.commit()
    assert list(s3.objects) == ["lake/dir/x%20y.csv"]
    headers = signed(s3)
    assert "Credential=key-of-lake/" in headers["authorization"]
    assert "/eu-central-1/s3/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "token-of-lake"
    assert "secret-of-lake" not in str(s3.requests)


def test_sink_of_a_connection_uploads_by_obstore(connected, s3, monkeypatch):
    monkeypatch.setattr(writers, "FIRST_BYTES", 2 * MIB)
    with open_writer(connected()) as sink:
        for _ in range(12):
            sink.write(bytes(MIB))
        sink.commit()
    assert s3.objects == {"lake/dir/x%20y.csv": bytes(12 * MIB)}
    assert s3.steps == ["POST uploads", "PUT partNumber", "PUT partNumber", "POST uploadId"]


@pytest.mark.parametrize(("wanted", "signs"), [(None, False), (True, True), (False, False)])
def test_body_is_signed_where_it_is_asked_for(connected, s3, wanted, signs):
    options = {} if wanted is None else {"config_kwargs": {"s3": {"payload_signing_enabled": wanted}}}
    store, _ = s3config.s3_store(connected(**options))
    upload = ObstoreUpload(store, "x")
    upload.write(b"abc")
    upload.commit()
    digest = next(
        headers["x-amz-content-sha256"] for step, _, headers in s3.requests if step.startswith("PUT")
    )
    assert (digest != "UNSIGNED-PAYLOAD") is signs


@pytest.mark.parametrize(
    ("url", "open_to_others"),
    [
        ("https://s3.example.com/b/key", False),
        ("http://127.0.0.1:9000/b/key", False),
        ("http://[::1]:9000/b/key", False),
        ("http://localhost:9000/b/key", False),
        ("http://10.0.0.7:9000/b/key", True),
        ("http://minio:9000/b/key", True),
    ],
)
def test_body_is_signed_where_somebody_could_change_it(url, open_to_others):
    from urllib.parse import urlsplit

    assert s3config._open_to_others(urlsplit(url)) is open_to_others


@pytest.mark.parametrize(
    ("extra", "why_not"),
    [
        ({"verify": False}, "certificates of its own"),
        ({"config_kwargs": {"signature_version": "s3"}}, "signature version"),
        ({"config_kwargs": {"proxies": {"https": "http://proxy"}}}, "config_kwargs has proxies"),
        ({"config_kwargs": {"s3": {"use_accelerate_endpoint": True}}}, r"has s3\.use_accelerate_endpoint"),
        ({"service_config": {"s3": {"bucket_name": "x"}}}, "options of the service s3"),
    ],
)
def test_what_cannot_be_translated_is_left_to_fsspec(connected, extra, why_not):
    store, reason = s3config.s3_store(connected(**extra))
    assert store is None
    assert re.search(why_not, reason)


def test_a_bucket_is_asked_about_once(connected, monkeypatch):
    target = connected()
    store, _ = s3config.s3_store(target)
    other, _ = s3config.s3_store(dataclasses.replace(target, path="pond/x.csv"))
    assert (store.config["bucket"], other.config["bucket"]) == ("lake", "pond")
    monkeypatch.setattr(s3config, "_translate", lambda target, bucket: pytest.fail("translated again"))
    assert s3config.s3_store(target) == (store, "")


def test_what_did_not_work_is_tried_again(connected, monkeypatch):
    target, answers = connected(), iter([(None, "its region cannot be found out"), ("a store", "")])
    monkeypatch.setattr(s3config, "_translate", lambda target, bucket: next(answers))
    assert [s3config.s3_store(target)[0] for _ in range(3)] == [None, "a store", "a store"]


def test_storage_options_are_left_to_fsspec(connected):
    assert s3config.s3_store(dataclasses.replace(connected(), tuned=True))[0] is None


@pytest.mark.parametrize(
    ("url", "virtual", "endpoint"),
    [
        ("https://h.example/lake/key?X-Amz-Signature=1", False, "https://h.example"),
        ("https://lake.h.example:8443/key?X-Amz-Signature=1", True, "https://lake.h.example:8443"),
        ("https://h.example/prefix/lake/key", None, None),
    ],
)
def test_addressing_of_the_url_that_botocore_makes(url, virtual, endpoint):
    class Client:
        class meta:  # noqa: N801
            region_name = "r"
            config = type("C", (), {"s3": None})

    store = s3config._store(Client, url, "lake", None)
    if virtual is None:
        assert store is None
    else:
        assert store.config["endpoint"] == endpoint
        assert store.config["virtual_hosted_style_request"] in (virtual, str(virtual).lower())


def test_region_of_a_bucket_is_read_from_a_refusal_too():
    refusal = pytest.importorskip("botocore.exceptions").ClientError

    answer = {"ResponseMetadata": {"HTTPHeaders": {"x-amz-bucket-region": "eu-west-1"}}}

    class Client:
        def head_bucket(self, Bucket):  # noqa: N803
            raise refusal(answer, "HeadBucket")

    assert s3config._bucket_region(Client(), "lake") == "eu-west-1"
