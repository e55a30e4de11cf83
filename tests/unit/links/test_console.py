"""Pages of stores' consoles, made of what the stores' own clients say of themselves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stoq_provider.download.destination import Target
from stoq_provider.links import console
from stoq_provider.links.console import console_page

AWS = "https://console.aws.amazon.com/s3/buckets"
GOOGLE = "https://console.cloud.google.com/storage/browser"
ACCOUNTS = "#view/HubsExtension/BrowseResource/resourceType/Microsoft.Storage%2FStorageAccounts"


@pytest.fixture
def page(monkeypatch):
    """Ask for a page, where file system and client are stood in for."""

    def ask(destination: str, *, partition: str = "aws", client: bool = True, **of_store: Any) -> str | None:
        def remote(uri, scheme, rest, given):
            return Target(uri, scheme, rest.rpartition("@")[2], fs=SimpleNamespace(**of_store))

        meta = SimpleNamespace(partition=partition, **of_store)
        monkeypatch.setattr("stoq_provider.download.destination._remote", remote)
        monkeypatch.setattr(console, "s3_client", lambda _: SimpleNamespace(meta=meta) if client else None)
        return console_page(destination)

    return ask


@pytest.mark.parametrize(
    ("destination", "end"),
    [
        ("s3://lake/", "lake"),
        ("s3://aws_default@lake/reports/2026/", "lake?prefix=reports/2026/"),
        ("s3a://lake/reports/x.csv", "lake?prefix=reports/"),
        ("s3://lake/x.csv", "lake"),
        ("s3://lake/{report}/{job_id}.csv", "lake"),
        ("s3://lake/a/{file_name}", "lake?prefix=a/"),
        ("s3://lake/a b&c/ü/", "lake?prefix=a%20b%26c/%C3%BC/"),
    ],
)
def test_the_folder_as_far_as_it_is_known(page, destination, end):
    endpoint = "https://s3.eu-central-1.amazonaws.com"
    assert page(destination, endpoint_url=endpoint) == f"{AWS}/{end}"


@pytest.mark.parametrize(
    ("partition", "endpoint", "host"),
    [
        ("aws", "https://s3.amazonaws.com", "console.aws.amazon.com"),
        ("aws", "https://bucket.vpce-1.s3.us-east-1.vpce.amazonaws.com", "console.aws.amazon.com"),
        ("aws-cn", "https://s3.cn-north-1.amazonaws.com.cn", "console.amazonaws.cn"),
        ("aws-us-gov", "https://s3-fips.us-gov-west-1.amazonaws.com", "console.amazonaws-us-gov.com"),
        ("aws-iso", "https://s3.us-iso-east-1.c2s.ic.gov", None),
        ("aws-new", "https://s3.new-1.amazonaws.com", None),
        ("aws", "https://minio.example", None),
        ("aws", "https://amazonaws.com.example", None),
        ("aws", "http://127.0.0.1:9000", None),
    ],
)
def test_s3_by_partition_and_only_at_its_own_endpoint(page, partition, endpoint, host):
    found = page("s3://lake/x/", partition=partition, endpoint_url=endpoint)
    assert found == (host and f"https://{host}/s3/buckets/lake?prefix=x/")


def test_what_is_no_bucket_or_has_no_client(page):
    endpoint = "https://s3.eu-central-1.amazonaws.com"
    access_point = "s3://arn:aws:s3:eu-central-1:1:accesspoint/name/x.csv"
    assert page(access_point, endpoint_url=endpoint) is None
    assert page("s3://lake/x/", endpoint_url=endpoint, client=False) is None


@pytest.mark.parametrize(
    ("destination", "base", "want"),
    [
        ("gs://lake/a/", "https://storage.googleapis.com/storage/v1/", f"{GOOGLE}/lake/a"),
        ("gcs://c@lake/x.csv", "https://storage.mtls.googleapis.com/storage/v1/", f"{GOOGLE}/lake"),
        ("gs://lake/a/", "http://127.0.0.1:4443/storage/v1/", None),
    ],
)
def test_gcs(page, destination, base, want):
    assert page(destination, base=base) == want


@pytest.mark.parametrize(
    ("host", "portal"),
    [
        ("lake.blob.core.windows.net", "portal.azure.com"),
        ("lake.blob.core.chinacloudapi.cn", "portal.azure.cn"),
        ("lake.blob.core.usgovcloudapi.net", "portal.azure.us"),
        ("127.0.0.1:10000", None),
    ],
)
def test_azure_has_no_address_of_a_container_so_it_is_the_list_of_accounts(page, host, portal):
    client = SimpleNamespace(primary_hostname=host)
    assert page("abfs://lake/a/", service_client=client) == (portal and f"https://{portal}/{ACCOUNTS}")


def test_local_files_have_none(tmp_path):
    assert console_page(str(tmp_path / "x.csv")) is None
    assert console_page(f"file://{tmp_path}/") is None
