"""
The ways to copy a file, each run in a process of its own: ``python -m tests.benchmarks.download.ways JOB``.

A way imports what it needs and returns the copying itself, which is called twice: with a file that goes
the same way, so that sessions and caches are there, and with the file that is measured.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.benchmarks.download.reserve import release

CONNECTION = "bench_lake"
"""Id of the Airflow connection to the S3 server."""

SOURCE_CONNECTION = "bench_source"
"""Id of the Airflow connection to the source, for the operator that wants one."""

_AIRFLOW_S3 = ("airflow.providers.amazon.aws.fs.s3", "airflow.providers.amazon.aws.hooks.s3", "s3fs")


@dataclass(frozen=True)
class Copy:
    """
    One copy.

    :param url: of the source.
    :param bucket: ``None``: ``key`` is a local path.
    :param rows: of the file, for ways that check them.
    """

    url: str
    bucket: str | None
    key: str
    rows: int

    @property
    def uri(self) -> str:
        return f"s3://{CONNECTION}@{self.bucket}/{self.key}" if self.bucket else f"file://{self.key}"


@dataclass(frozen=True)
class Job:
    """
    What a process does.

    :param authority: certificate to trust.
    :param s3: the Airflow connection of the S3 server.
    :param answer: file to write the figures to.
    :param reserve: file whose memory the copy is to take over, or nothing.
    """

    way: str
    warm: Copy
    copy: Copy
    authority: str
    s3: dict[str, Any]
    answer: str
    reserve: str

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        facts = json.loads(text)
        return cls(**{**facts, "warm": Copy(**facts["warm"]), "copy": Copy(**facts["copy"])})


Copier = Callable[[Copy], str]
"""Copies, and returns the digest of what was stored, or nothing."""


def ours(job: Job) -> Copier:
    """All that a task of ours does with a result: guarded, hashed, counted, verified, published at once."""
    if job.copy.bucket:
        _import(*_AIRFLOW_S3)
    return _download(job.authority)


def boto3_fileobj(job: Job) -> Copier:
    """boto3's ``upload_fileobj`` from the raw stream of requests; no Airflow."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        aws_access_key_id=job.s3["login"],
        aws_secret_access_key=job.s3["password"],
        endpoint_url=job.s3["extra"]["endpoint_url"],
        region_name=job.s3["extra"]["region_name"],
        config=Config(**job.s3["extra"]["config_kwargs"]),
    )

    def copy(one: Copy) -> str:
        with _raw(one.url, job.authority) as body:
            client.upload_fileobj(body, one.bucket, one.key)
        return ""

    return copy


def object_storage_path(job: Job) -> Copier:
    """A mebibyte at a time into an opened ``ObjectStoragePath``."""
    if job.copy.bucket:
        _import(*_AIRFLOW_S3)
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    def copy(one: Copy) -> str:
        with _raw(one.url, job.authority) as body, ObjectStoragePath(one.uri).open("wb") as file:
            while piece := body.read(1024 * 1024):
                file.write(piece)
        return ""

    return copy


def http_to_s3(job: Job) -> Copier:
    """The operator of the Amazon provider."""
    from airflow.providers.amazon.aws.transfers.http_to_s3 import HttpToS3Operator

    def copy(one: Copy) -> str:
        HttpToS3Operator(
            task_id="copy",
            http_conn_id=SOURCE_CONNECTION,
            endpoint=one.url.rpartition("/")[2],
            extra_options={"verify": job.authority},
            aws_conn_id=CONNECTION,
            s3_bucket=one.bucket,
            s3_key=one.key,
            replace=True,
        ).execute({})
        return ""

    return copy


WAYS: dict[str, Callable[[Job], Copier]] = {
    each.__name__: each for each in (ours, boto3_fileobj, object_storage_path, http_to_s3)
}


def _download(authority: str) -> Copier:
    from stoq_provider.download.download import download_files
    from stoq_provider.download.options import DownloadOptions

    options = DownloadOptions(allow_loopback=True, verify=authority)

    def copy(one: Copy) -> str:
        stored = download_files(
            lambda: one.url, one.uri, file_name=None, expected_rows=one.rows, options=options
        )[0]
        assert stored.rows == one.rows
        return stored.sha256

    return copy


def _raw(url: str, authority: str) -> Any:
    import requests

    response = requests.get(url, stream=True, verify=authority, timeout=60)
    response.raise_for_status()
    return response.raw


def _import(*names: str) -> None:
    # What is imported at the first use would count as copying.
    for name in names:
        import_module(name)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    job = Job.from_json(sys.argv[1])
    copy = WAYS[job.way](job)
    copy(job.warm)
    waited = release(job.reserve)
    began, cpu = time.perf_counter(), _cpu()
    digest = copy(job.copy)
    figures = {"copy": time.perf_counter() - began, "copy_cpu": _cpu() - cpu, "waited": waited}
    Path(job.answer).write_text(json.dumps({**figures, "sha256": digest}))


if __name__ == "__main__":
    main()
