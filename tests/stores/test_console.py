"""Whether the stores' real clients say what pages of consoles are made of. No server is asked."""

from __future__ import annotations

import json

import pytest

from stoq_provider.links.console import console_page

KEY = "c2VjcmV0"
AZURE = f"AccountName=lake;AccountKey={KEY};"
AWS = {"conn_type": "aws", "login": "AKIA", "password": KEY}
GOOGLE = {"conn_type": "google_cloud_platform"}
WASB = {"conn_type": "wasb"}
OWN = "http://127.0.0.1:9"
PAGES = {
    "S3": (AWS, {"region_name": "eu-central-1"}, "s3", "console.aws.amazon.com/s3/buckets/lake?prefix=a/"),
    "S3 in China": (
        AWS,
        {"region_name": "cn-north-1"},
        "s3",
        "console.amazonaws.cn/s3/buckets/lake?prefix=a/",
    ),
    "another S3": (AWS, {"region_name": "eu-central-1", "endpoint_url": OWN}, "s3", None),
    "GCS": (GOOGLE, {"is_anonymous": True}, "gs", "console.cloud.google.com/storage/browser/lake/a"),
    "another GCS": (GOOGLE, {"is_anonymous": True, "gcs.endpoint": OWN}, "gs", None),
    "Azure": (
        WASB,
        {"connection_string": f"{AZURE}EndpointSuffix=core.windows.net"},
        "abfs",
        "portal.azure.com/#view/HubsExtension/BrowseResource/resourceType/Microsoft.Storage%2FStorageAccounts",
    ),
    "another Azure": (WASB, {"connection_string": f"{AZURE}BlobEndpoint={OWN}/lake;"}, "abfs", None),
}


@pytest.mark.parametrize("store", PAGES)
def test_only_the_vendors_own_store_has_a_console(monkeypatch, store):
    connection, extra, scheme, page = PAGES[store]
    conn_id = store.lower().replace(" ", "_")
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({**connection, "extra": extra}))
    assert console_page(f"{scheme}://{conn_id}@lake/a/{{file_name}}") == (page and f"https://{page}")
