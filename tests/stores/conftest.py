"""An S3 server on loopback, known to Airflow as ``aws_lake``, and a sandbox shop."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from stoq_provider.sandbox import Sandbox

BUCKET = "lake"


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(time_scale=200) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def connections(endpoint: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.reset()
    aws = {
        "conn_type": "aws",
        "login": "key",
        "password": "secret-of-the-store",
        "extra": {"endpoint_url": endpoint, "region_name": "us-east-1"},
    }
    shop = {"conn_type": "stoq", "host": sandbox.origin, "password": sandbox.key}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_LAKE", json.dumps(aws))
    monkeypatch.setenv("AIRFLOW_CONN_STOQ_DEFAULT", json.dumps(shop))


@pytest.fixture
def s3(endpoint: str) -> Any:
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret-of-the-store",
    )
    client.create_bucket(Bucket=BUCKET)
    yield client
    for entry in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=entry["Key"])
