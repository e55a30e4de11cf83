"""As much of boto3's client for S3 as an upload needs, in memory."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any


class Refused(Exception):
    """As botocore's ``ClientError``."""

    def __init__(self, code: str, status: int = 403) -> None:
        super().__init__(f"An error occurred ({code})")
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


class NoSuchUpload(Refused):
    pass


class FakeS3:
    """
    The client, and the file system of a target as far as it is asked.

    ``objects`` by ``bucket/key``; ``uploads`` not completed; ``calls`` by name and arguments; ``refuse``:
    name of a call to a code, with ``status``; ``open``: parts wait until it is set.
    """

    exceptions = SimpleNamespace(NoSuchUpload=NoSuchUpload)

    def __init__(self, checksums: str = "when_required") -> None:
        self.meta = SimpleNamespace(config=SimpleNamespace(request_checksum_calculation=checksums))
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refuse: dict[str, str] = {}
        self.status = 403
        self.open = threading.Event()
        self.open.set()
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    @property
    def steps(self) -> list[str]:
        return [name for name, _ in self.calls]

    def _take(self, name: str, given: dict[str, Any]) -> None:
        with self._lock:
            self.calls.append((name, given))
            if name in self.refuse:
                raise Refused(self.refuse[name], self.status)
            if given.get("UploadId", "") not in ("", *self.uploads):
                raise NoSuchUpload("NoSuchUpload")
            if "IfNoneMatch" in given and f"{given['Bucket']}/{given['Key']}" in self.objects:
                raise Refused("PreconditionFailed")

    def put_object(self, **given: Any) -> None:
        self._take("put_object", given)
        self.objects[f"{given['Bucket']}/{given['Key']}"] = bytes(given["Body"])

    def create_multipart_upload(self, **given: Any) -> dict[str, str]:
        self._take("create_multipart_upload", given)
        name = f"upload-{len(self.calls)}"
        self.uploads[name] = {}
        return {"UploadId": name}

    def upload_part(self, **given: Any) -> dict[str, Any]:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        assert self.open.wait(30)
        with self._lock:
            self.at_once -= 1
        self._take("upload_part", given)
        number, body = given["PartNumber"], bytes(given["Body"])
        self.uploads[given["UploadId"]][number] = body
        return {"ETag": f'"{number}"', "ChecksumCRC32": f"crc-{number}", "ServerSideEncryption": "AES256"}

    def complete_multipart_upload(self, **given: Any) -> None:
        self._take("complete_multipart_upload", given)
        parts = self.uploads.pop(given["UploadId"])
        numbers = [part["PartNumber"] for part in given["MultipartUpload"]["Parts"]]
        assert numbers == sorted(parts)
        self.objects[f"{given['Bucket']}/{given['Key']}"] = b"".join(parts[n] for n in numbers)

    def abort_multipart_upload(self, **given: Any) -> None:
        self._take("abort_multipart_upload", given)
        self.uploads.pop(given["UploadId"])

    # --- as a file system -----------------------------------------------------------------------------

    def split_path(self, path: str) -> tuple[str, str, None]:
        bucket, _, key = path.partition("/")
        return bucket, key, None

    def exists(self, path: str) -> bool:
        return path in self.objects

    def info(self, path: str) -> dict[str, int]:
        return {"size": len(self.objects[path])}

    def invalidate_cache(self, path: str | None = None) -> None:
        self.calls.append(("invalidate_cache", {"path": path}))
