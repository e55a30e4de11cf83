"""
The stores under test, and what is visible in each.

What a test asserts is read with each store's own client, not through the code under test nor the fsspec
file systems it uses, which keep listings in memory.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import requests

from tests.stores.servers import S3_ADMIN_KEY, S3_ADMIN_SECRET, S3_KEY, S3_SECRET

BUCKET = "lake"
LATE = 17 * 1024 * 1024
"""An offset of a file that lies behind what any writer sends in one request."""

# Azurite's built-in account; its key is in Azurite's manual.
AZURE_ACCOUNT = "devstoreaccount1"
_AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Store:
    """
    One store.

    :param root: destination of the empty key; ends with ``/``.
    :param connections: environment variables that hold Airflow connections.
    """

    remote = True

    def __init__(self, name: str, root: str, connections: dict[str, Any]) -> None:
        self.name = name
        self.root = root
        self.connections = {f"AIRFLOW_CONN_{key}": json.dumps(value) for key, value in connections.items()}

    def uri(self, key: str) -> str:
        """Return the destination of a key."""
        return self.root + key

    def missing(self) -> str:
        """Return a destination that cannot be read or written, although the store is there."""
        return self.root.replace(f"{BUCKET}/", "no-such-bucket/") + "folder/"

    def visible(self) -> list[str]:
        """Return the keys of all visible objects."""
        raise NotImplementedError

    def get(self, key: str) -> bytes | None:
        """Return the content of an object, or ``None`` where there is none."""
        raise NotImplementedError

    def put(self, key: str, body: bytes) -> None:
        """Write an object."""
        raise NotImplementedError

    def version(self, key: str) -> Any:
        """Return what differs between what :meth:`put` wrote and what was written since, bytes aside."""
        raise NotImplementedError

    def delete(self, key: str) -> None:
        """Delete an object."""
        raise NotImplementedError

    def leftovers(self) -> list[str]:
        """Return what unfinished uploads left behind, as far as the store lets one see it."""
        return []

    def clear(self) -> None:
        """Make the store empty."""
        for key in self.visible():
            self.delete(key)


class LocalStore(Store):
    """A folder. Temporary files show to anyone who lists it; they count as left over, not as objects."""

    remote = False

    def __init__(self, folder: Path) -> None:
        super().__init__("file", f"file://{folder}/", {})
        self._folder = folder

    def missing(self) -> str:
        blocked = self._folder / ".blocked"
        blocked.write_bytes(b"a file, not a folder")
        return f"file://{blocked}/folder/"

    def visible(self) -> list[str]:
        return sorted(name for name in self._all() if not _is_hidden(name))

    def get(self, key: str) -> bytes | None:
        path = self._folder / key
        return path.read_bytes() if path.exists() else None

    def put(self, key: str, body: bytes) -> None:
        path = self._folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    def version(self, key: str) -> Any:
        found = (self._folder / key).stat()
        return found.st_ino, found.st_mtime_ns

    def delete(self, key: str) -> None:
        (self._folder / key).unlink()

    def leftovers(self) -> list[str]:
        return sorted(name for name in self._all() if _is_hidden(name) and name != ".blocked")

    def clear(self) -> None:
        shutil.rmtree(self._folder)
        self._folder.mkdir()

    def _all(self) -> Iterator[str]:
        return (str(p.relative_to(self._folder)) for p in self._folder.rglob("*") if p.is_file())


class S3Store(Store):
    """An S3 bucket."""

    def __init__(self, endpoint: str, name: str = "s3", options: dict[str, Any] | None = None) -> None:
        import boto3
        from botocore.config import Config

        path_style = {"s3": {"addressing_style": "path"}}
        aws = {
            "conn_type": "aws",
            "login": S3_KEY,
            "password": S3_SECRET,
            "extra": {
                "endpoint_url": endpoint,
                "region_name": "us-east-1",
                "config_kwargs": path_style,
                "service_config": {"s3": options or {}},
            },
        }
        conn_id = f"{name.replace('-', '_')}_lake"  # Airflow keeps one file system for each connection id
        super().__init__(name, f"s3://{conn_id}@{BUCKET}/", {conn_id.upper(): aws})
        self._client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=S3_ADMIN_KEY,
            aws_secret_access_key=S3_ADMIN_SECRET,
            config=Config(**path_style),
        )
        self._client.create_bucket(Bucket=BUCKET)

    def visible(self) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def get(self, key: str) -> bytes | None:
        try:
            body = self._client.get_object(Bucket=BUCKET, Key=key)["Body"]
        except self._client.exceptions.NoSuchKey:
            return None
        return bytes(body.read())

    def put(self, key: str, body: bytes) -> None:
        # The time of modification is of whole seconds, and the ETag tells of the content only.
        self._client.put_object(Bucket=BUCKET, Key=key, Body=body, Metadata={"put": uuid4().hex})

    def version(self, key: str) -> Any:
        found = self._client.head_object(Bucket=BUCKET, Key=key)
        return found["Metadata"].get("put"), found["LastModified"]

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=BUCKET, Key=key)

    def leftovers(self) -> list[str]:
        return [f"{upload['Key']} ({upload['UploadId']})" for upload in self._uploads()]

    def clear(self) -> None:
        super().clear()
        for upload in self._uploads():
            self._client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])

    def _uploads(self) -> list[dict[str, Any]]:
        uploads: list[dict[str, Any]] = self._client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        return uploads


class GcsStore(Store):
    """A bucket of Google Cloud Storage, asked by its JSON interface."""

    def __init__(self, endpoint: str) -> None:
        google = {
            "conn_type": "google_cloud_platform",
            "extra": {"gcs.endpoint": endpoint, "is_anonymous": True, "project": "tests"},
        }
        super().__init__("gs", f"gs://google_lake@{BUCKET}/", {"GOOGLE_LAKE": google})
        self._endpoint = endpoint
        self._bucket = f"{endpoint}/storage/v1/b/{BUCKET}"
        self._http = requests.Session()
        self._http.trust_env = False
        self._ask("POST", f"{endpoint}/storage/v1/b?project=tests", json={"name": BUCKET})

    def visible(self) -> list[str]:
        return [item["name"] for item in self._ask("GET", f"{self._bucket}/o").json().get("items", [])]

    def get(self, key: str) -> bytes | None:
        answer = self._ask("GET", f"{self._object(key)}?alt=media", allowed=404)
        return None if answer.status_code == 404 else answer.content

    def put(self, key: str, body: bytes) -> None:
        upload = f"{self._endpoint}/upload/storage/v1/b/{BUCKET}/o"
        self._ask("POST", f"{upload}?uploadType=media&name={quote(key, safe='')}", data=body)

    def version(self, key: str) -> Any:
        return self._ask("GET", self._object(key)).json()["generation"]

    def delete(self, key: str) -> None:
        self._ask("DELETE", self._object(key))

    def _object(self, key: str) -> str:
        return f"{self._bucket}/o/{quote(key, safe='')}"

    def _ask(self, method: str, url: str, *, allowed: int = 200, **options: Any) -> requests.Response:
        answer = self._http.request(method, url, timeout=60, **options)
        if answer.status_code != allowed:
            answer.raise_for_status()
        return answer


class AzureStore(Store):
    """A container of Azure Blob Storage. Blocks nobody committed make no blob."""

    def __init__(self, endpoint: str) -> None:
        from azure.storage.blob import ContainerClient

        # One line with all headers for every request otherwise.
        logging.getLogger("azure.core.pipeline.policies.http_logging_policy").setLevel(logging.WARNING)

        text = (
            f"DefaultEndpointsProtocol=http;AccountName={AZURE_ACCOUNT};AccountKey={_AZURE_KEY};"
            f"BlobEndpoint={endpoint}/{AZURE_ACCOUNT};"
        )
        wasb = {"conn_type": "wasb", "extra": {"connection_string": text}}
        super().__init__("abfs", f"abfs://azure_lake@{BUCKET}/", {"AZURE_LAKE": wasb})
        self._container = ContainerClient.from_connection_string(text, BUCKET)
        self._container.create_container()

    def visible(self) -> list[str]:
        return [blob.name for blob in self._container.list_blobs()]

    def get(self, key: str) -> bytes | None:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return self._container.download_blob(key).readall()
        except ResourceNotFoundError:
            return None

    def put(self, key: str, body: bytes) -> None:
        self._container.upload_blob(key, body, overwrite=True)

    def version(self, key: str) -> Any:
        return self._container.get_blob_client(key).get_blob_properties().etag

    def delete(self, key: str) -> None:
        self._container.delete_blob(key)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in Path(name).parts)
