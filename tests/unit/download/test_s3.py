"""Uploads to S3 by boto3."""

from __future__ import annotations

import dataclasses
import itertools
import json
import threading

import pytest

from stoq_provider.download import download as module
from stoq_provider.download import output
from stoq_provider.download import s3 as s3_module
from stoq_provider.download.destination import Target
from stoq_provider.download.download import download_files
from stoq_provider.download.options import DownloadOptions
from stoq_provider.download.output import Output, open_writer
from stoq_provider.download.s3 import S3Writer, s3_client
from stoq_provider.exceptions import DownloadError, ValidationRejected, VerificationError
from tests.harness import wait_until

from .conftest import BODY, serve, serve_when
from .fake_s3 import FakeS3, Refused

PART = 1000
MIB = 1024 * 1024
NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(s3_module, "PART_BYTES", PART)


@pytest.fixture
def s3(monkeypatch):
    made = FakeS3()
    monkeypatch.setattr(output, "s3_client", lambda target: made)
    return made


@pytest.fixture
def target(s3):
    return Target("s3://lake/dir/x.csv", "s3", "lake/dir/x.csv", fs=s3)


def fill(writer, size, chunk=300):
    data = bytes(i % 251 for i in range(size))
    for start in range(0, size, chunk):
        writer.write(data[start : start + chunk])
    return data


def publish(target, size, **options):
    with open_writer(target, **options) as writer:
        data = fill(writer, size)
        writer.commit()
    return data


@pytest.mark.parametrize("size", [0, 1, 999, 1000])
def test_small_object_is_one_put(s3, target, size):
    data = publish(target, size)
    assert s3.steps == ["put_object", "invalidate_cache"]
    assert s3.objects == {"lake/dir/x.csv": data}


@pytest.mark.parametrize("chunk", [1, 300, 1000, 2500])
@pytest.mark.parametrize("size", [1001, 2000, 12_345])
def test_object_appears_with_the_commit_only(s3, target, size, chunk):
    with open_writer(target) as writer:
        data = fill(writer, size, chunk)
        assert s3.objects == {}
        writer.commit()
    writer.abort()
    assert s3.objects == {"lake/dir/x.csv": data}
    assert s3.uploads == {}
    assert s3.steps.count("upload_part") == -(-size // PART)
    assert "abort_multipart_upload" not in s3.steps
    sizes = {len(given["Body"]) for name, given in s3.calls if name == "upload_part"}
    assert sizes <= {PART, size % PART}, "some stores want all parts but the last alike"


@pytest.mark.parametrize("size", [0, 1001, 12_345])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_aborted_upload_is_forgotten_by_the_store(s3, target, size, error):
    def interrupted():
        with open_writer(target) as writer:
            fill(writer, size)
            raise error

    with pytest.raises(error):
        interrupted()
    assert (s3.objects, s3.uploads) == ({}, {})
    assert s3.steps.count("abort_multipart_upload") == (size > 0)


def test_parts_on_their_way_are_waited_for_before_the_abort(s3, target):
    s3.open.clear()
    writer = open_writer(target)
    fill(writer, 3 * PART + 1)
    wait_until(lambda: s3.at_once == 3)
    aborting = threading.Thread(target=writer.abort)
    aborting.start()
    assert "abort_multipart_upload" not in s3.steps
    s3.open.set()
    aborting.join()
    assert s3.steps[-1] == "abort_multipart_upload"
    assert s3.uploads == {}


def test_so_many_parts_are_in_memory(s3, target):
    s3.open.clear()
    with open_writer(target) as writer:
        filling = threading.Thread(target=fill, args=(writer, 20 * PART, PART))
        filling.start()
        wait_until(lambda: s3.at_once == s3_module.AT_ONCE)
        filling.join(0.1)
        assert len(writer._in_flight) <= s3_module.AT_ONCE
        s3.open.set()
        filling.join()
        writer.commit()
    assert s3.most_at_once == s3_module.AT_ONCE


def test_no_thread_is_left(target):
    for size in (10, 5000):
        publish(target, size)
    with open_writer(target) as writer:
        fill(writer, 5000)
    wait_until(lambda: not any(t.name == "stoq-upload" for t in threading.enumerate()))


@pytest.mark.parametrize("step", ["create_multipart_upload", "upload_part", "complete_multipart_upload"])
def test_store_that_refuses_a_step(s3, target, step):
    s3.refuse[step] = "AccessDenied"
    with pytest.raises(Refused, match="AccessDenied"):
        publish(target, 60 * PART)
    assert (s3.objects, s3.uploads) == ({}, {})
    assert s3.steps.count("upload_part") < 10 or step == "complete_multipart_upload"


def test_abort_that_the_store_refuses_is_logged(s3, target):
    s3.refuse["abort_multipart_upload"] = "AccessDenied"
    writer = open_writer(target)
    fill(writer, 5000)
    with pytest.raises(Refused):
        writer.abort()


def test_lost_answer_of_a_completion_is_no_trouble_of_the_abort(s3, target):
    writer = open_writer(target)
    fill(writer, 5000)
    s3.uploads.clear()
    writer.abort()
    assert s3.steps[-1] == "abort_multipart_upload"


# --- overwrite=False --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "step"), [(10, "put_object"), (5000, "complete_multipart_upload")])
def test_no_overwrite_is_a_condition_of_the_put(s3, target, size, step):
    publish(target, size, overwrite=False)
    assert [name for name, given in s3.calls if given.get("IfNoneMatch") == "*"] == [step]


def published(made):
    made.finish(lambda: None)
    return made.commit(0)


@pytest.mark.parametrize("size", [10, 5000])
@pytest.mark.parametrize("seen", [True, False], ids=["seen-before", "refused-by-the-store"])
def test_no_overwrite_of_what_came_in_between(s3, target, monkeypatch, size, seen):
    if not seen:
        monkeypatch.setattr(s3, "exists", lambda path: False)
    made = Output(target, DownloadOptions(overwrite=False))
    fill(made, size)
    s3.objects["lake/dir/x.csv"] = b"theirs"
    error, words = (
        (ValidationRejected, "holds something else") if seen else (DownloadError, "come into being")
    )
    with pytest.raises(error, match=words):
        published(made)
    made.abort()
    assert s3.objects == {"lake/dir/x.csv": b"theirs"}
    assert s3.uploads == {}


# --- sizes and checksums ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "sent", "part"),
    [
        (None, 0, 8 * MIB),
        (None, 4999, 8 * MIB),
        (None, 5000, 16 * MIB),
        (None, 9500, 8 * 2**5 * MIB),
        (9_000 * 20 * MIB, 8999, 20 * MIB),
        (100, 0, 8 * MIB),
    ],
)
def test_very_large_objects_get_larger_parts(s3, target, monkeypatch, size, sent, part):
    monkeypatch.setattr(s3_module, "PART_BYTES", 8 * MIB)
    upload = S3Writer(s3, target, size=size)
    upload._sent = [{}] * sent
    assert upload._part_bytes() == part


@pytest.mark.parametrize(
    ("wanted", "begun", "parts"),
    [("when_supported", {"ChecksumAlgorithm": "CRC32"}, {"ChecksumCRC32"}), ("when_required", {}, set())],
)
def test_checksums_of_parts_are_announced_and_repeated(s3, target, wanted, begun, parts):
    s3.meta.config.request_checksum_calculation = wanted
    publish(target, 2500)
    given = dict(s3.calls)
    assert given["create_multipart_upload"] == {"Bucket": "lake", "Key": "dir/x.csv", **begun}
    completed = given["complete_multipart_upload"]["MultipartUpload"]["Parts"]
    assert [part.keys() - {"PartNumber", "ETag"} for part in completed] == [parts] * 3


# --- through the download ---------------------------------------------------------------------------------


@pytest.fixture
def to_s3(s3, target, server, options, monkeypatch):
    monkeypatch.setattr(module, "resolve_target", lambda *a, **k: target)
    monkeypatch.setattr(s3_module, "PART_BYTES", 100_000)
    return lambda **given: download_files(server.url, target.uri, file_name=None, options=options, **given)


def test_download_in_parts(to_s3, s3):
    to_s3()
    assert s3.objects == {"lake/dir/x.csv": BODY}
    assert s3.uploads == {}


def test_download_that_starts_over(to_s3, s3, server):
    server.etag = None
    server.plan = [serve(stop_after=300_000), serve_when(lambda: s3.steps)]
    to_s3()
    assert s3.objects == {"lake/dir/x.csv": BODY}
    assert s3.uploads == {}
    assert s3.steps.count("create_multipart_upload") == 2


def test_mismatch_leaves_nothing(to_s3, s3):
    with pytest.raises(VerificationError):
        to_s3(expected_rows=1)
    assert (s3.objects, s3.uploads) == ({}, {})
    assert "create_multipart_upload" in s3.steps


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("create_multipart_upload", r"Could not write s3://lake/dir/x\.csv"),
        ("upload_part", r"Could not write s3://lake/dir/x\.csv|did not confirm"),
        ("complete_multipart_upload", "did not confirm .* not published or there as a whole"),
    ],
)
def test_trouble_of_the_store(to_s3, s3, step, says):
    s3.refuse[step] = "AccessDenied"
    with pytest.raises(DownloadError, match=says):
        to_s3()
    assert (s3.objects, s3.uploads) == ({}, {})


# --- the Airflow connection -------------------------------------------------------------------------------


@pytest.fixture
def connected(monkeypatch):
    """Make a target of a connection with these extras."""
    pytest.importorskip("airflow.providers.amazon.aws.fs.s3")
    pytest.importorskip("s3fs")
    from stoq_provider.download.destination import resolve_target

    def make(**extra):
        conn_id = f"lake_{next(NUMBERS)}"  # file systems are cached by connection
        extra = {"endpoint_url": "http://127.0.0.1:1", "region_name": "eu-central-1", **extra}
        connection = {
            "conn_type": "aws",
            "login": "key-of-lake",
            "password": "secret-of-lake",
            "extra": extra,
        }
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        return resolve_target(f"s3://{conn_id}@lake/dir/x y.csv", "n")

    return make


def test_client_is_that_of_the_connection(connected):
    target = connected(config_kwargs={"s3": {"addressing_style": "path"}, "read_timeout": 7})
    client = s3_client(target)
    assert (client.meta.endpoint_url, client.meta.region_name) == ("http://127.0.0.1:1", "eu-central-1")
    assert client.meta.config.s3["addressing_style"] == "path"
    assert client.meta.config.read_timeout == 7
    assert client._request_signer._credentials.access_key == "key-of-lake"
    assert s3_client(target) is client, "making one takes time"


@pytest.mark.parametrize(
    "options",
    [
        {"signer": "S3V4RestSigner", "signer_uri": "http://sign.example", "signer_token": "token"},
        {"proxy-uri": "http://proxy.example"},
    ],
)
def test_options_that_the_hook_does_not_know_are_left_to_the_file_system(connected, options):
    assert s3_client(connected(service_config={"s3": options})) is None


def test_options_beside_the_connection_are_left_to_the_file_system(connected):
    assert s3_client(dataclasses.replace(connected(), tuned=True)) is None


@pytest.mark.parametrize("protocol", ["gs", "gcs", "abfs", "abfss"])
def test_other_stores_are_left_to_their_file_systems(protocol):
    assert s3_client(Target("", protocol, "b/k")) is None
