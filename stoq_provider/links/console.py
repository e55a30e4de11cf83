"""The page of a destination in the web console of its store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from stoq_provider.download.destination import (
    AZURE,
    GCS,
    NOT_KNOWN,
    PLACEHOLDERS,
    S3,
    Target,
    resolve_target,
)
from stoq_provider.download.s3 import s3_client

_AWS = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}
"""By partition."""

_PORTALS = {
    ".core.windows.net": "portal.azure.com",
    ".core.chinacloudapi.cn": "portal.azure.cn",
    ".core.usgovcloudapi.net": "portal.azure.us",
}
"""By the end of an account's host."""


def console_page(destination: Any) -> str | None:
    """
    Return the page that shows the folder of a destination, as far as it is known before a job is submitted.

    Asks no store. The endpoint that the store's own client uses tells whether it is the vendor's.

    :return: ``None``: local, or a store at an endpoint of one's own, which has no console.
    :raises ValidationRejected: it names no object.
    """
    target = resolve_target(destination, NOT_KNOWN, values=dict.fromkeys(PLACEHOLDERS, NOT_KNOWN))
    find = _PAGES.get(target.protocol)
    if find is None:
        return None
    folder = target.path.partition(NOT_KNOWN)[0].rpartition("/")[0]
    bucket, _, prefix = folder.partition("/")
    return find(target, bucket, quote(f"{prefix}/" if prefix else ""))


def _s3(target: Target, bucket: str, prefix: str) -> str | None:
    client = s3_client(target)
    if client is None or ":" in bucket:  # an access point is no bucket
        return None
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    console = _AWS.get(client.meta.partition)
    if console is None or not host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return None
    return f"https://{console}/s3/buckets/{bucket}" + (f"?prefix={prefix}" if prefix else "")


def _gcs(target: Target, bucket: str, prefix: str) -> str | None:
    host = urlsplit(target.fs.base).hostname or ""
    if not host.endswith(".googleapis.com"):
        return None
    return f"https://console.cloud.google.com/storage/browser/{bucket}/{prefix}".rstrip("/")


def _azure(target: Target, bucket: str, prefix: str) -> str | None:
    # The page of a container is named by subscription and resource group, which no connection knows.
    host = target.fs.service_client.primary_hostname
    portal = next((page for end, page in _PORTALS.items() if host.endswith(end)), None)
    accounts = "#view/HubsExtension/BrowseResource/resourceType/Microsoft.Storage%2FStorageAccounts"
    return portal and f"https://{portal}/{accounts}"


_PAGES: Mapping[str, Callable[[Target, str, str], str | None]] = {
    **dict.fromkeys(S3, _s3),
    **dict.fromkeys(GCS, _gcs),
    **dict.fromkeys(AZURE, _azure),
}
