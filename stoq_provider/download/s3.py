"""Uploads to S3 by boto3, with the client that Airflow's own hook makes of the connection."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from stoq_provider.download.destination import S3, Target
from stoq_provider.download.writers import AtomicWriter

PART_BYTES = 8 * 1024 * 1024
"""Size of a part; a part is in memory until it is sent."""

AT_ONCE = 3
"""Parts on their way at the same time."""

_MAX_PARTS = 9_000  # S3 takes 10,000
_SAME_SIZE = 5_000  # parts of a file of unknown length, before they grow: some stores want them all alike
_FSSPEC_ONLY = {"signer", "proxy-uri"}
"""Options of a connection's service ``s3`` that Airflow gives to its file system and not to its hook."""

T = TypeVar("T")

_CLIENTS: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
"""Clients by file system: making one takes up to 0.3 s. Airflow keeps a file system for each connection."""


def s3_client(target: Target) -> Any:
    """Return the client for ``target``, or ``None`` where only its file system has all of its options."""
    if target.protocol not in S3 or target.tuned:
        return None
    if target.fs not in _CLIENTS:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook  # of an extra

        hook = S3Hook(aws_conn_id=target.conn_id)
        _CLIENTS[target.fs] = None if _FSSPEC_ONLY & set(hook.service_config) else hook.get_conn()
    return _CLIENTS[target.fs]


def _in_thread(call: Callable[[], T]) -> Future[T]:
    """
    Have a call made in a daemon thread.

    The threads of an executor are joined when the interpreter exits, which a store that does not respond
    could hold up for minutes.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="stoq-upload", daemon=True).start()
    return future


class S3Writer(AtomicWriter):
    """
    One object: put at once, or in parts that a few threads send.

    :param size: bytes that will be written, if known. It decides how large a part is, because there may be
        ten thousand; of unknown length, parts grow after the first 39 GiB.
    """

    def __init__(
        self, client: Any, target: Target, *, overwrite: bool = True, size: int | None = None
    ) -> None:
        bucket, key, _ = target.fs.split_path(target.path)
        self._target = target
        self._client = client
        self._object = {"Bucket": bucket, "Key": key}
        self._condition = {} if overwrite else {"IfNoneMatch": "*"}
        self._size = size
        self._id: str | None = None
        self._part = bytearray()
        self._sent: list[dict[str, Any]] = []
        self._in_flight: deque[Future[dict[str, Any]]] = deque()

    def begin(self) -> None:
        """Begin an upload in parts."""
        begun = self._client.create_multipart_upload(**self._object, **self._checksum())
        self._id = begun["UploadId"]

    def write(self, chunk: bytes) -> None:
        """Append bytes; sends a part when it is full and more has come."""
        rest = memoryview(chunk)
        while rest:
            if len(self._part) >= self._part_bytes():
                self._send()
            taken = rest[: self._part_bytes() - len(self._part)]
            self._part += taken
            rest = rest[len(taken) :]

    def commit(self) -> None:
        """Put the object into place: at once what is no longer than a part, else by its parts."""
        if self._id is None:
            self._client.put_object(**self._object, Body=bytes(self._part), **self._condition)
        else:
            self._send()
            self._sent += [part.result() for part in self._in_flight]
            self._in_flight.clear()
            self._client.complete_multipart_upload(
                **self._object, UploadId=self._id, MultipartUpload={"Parts": self._sent}, **self._condition
            )
            self._id = None
        # The file system did not see the object come.
        self._target.fs.invalidate_cache(self._target.path)

    def abort(self) -> None:
        """Have the store forget the parts, once none is on its way: it would keep one that comes later."""
        wait(self._in_flight)
        upload, self._id = self._id, None
        if upload is not None:
            # There is none if it was completed and the response was lost.
            with suppress(self._client.exceptions.NoSuchUpload):
                self._client.abort_multipart_upload(**self._object, UploadId=upload)

    def _part_bytes(self) -> int:
        if self._size:
            return max(PART_BYTES, -(-self._size // _MAX_PARTS))
        return PART_BYTES << max(0, 1 + (len(self._sent) - _SAME_SIZE) // 1000)

    def _send(self) -> None:
        """Hand the part over to a thread, after the oldest one on its way where there are enough."""
        if self._id is None:
            self.begin()
        if len(self._in_flight) >= AT_ONCE:
            self._sent.append(self._in_flight.popleft().result())
        number = len(self._sent) + len(self._in_flight) + 1
        self._in_flight.append(_in_thread(partial(self._upload_part, number, self._part)))
        self._part = bytearray()

    def _upload_part(self, number: int, body: bytearray) -> dict[str, Any]:
        response = self._client.upload_part(**self._object, UploadId=self._id, PartNumber=number, Body=body)
        checksums = {name: value for name, value in response.items() if name.startswith("Checksum")}
        return {"PartNumber": number, "ETag": response["ETag"], **(checksums if self._checksum() else {})}

    def _checksum(self) -> dict[str, str]:
        # What botocore puts into each part by default has to be announced, and repeated at the end.
        config = self._client.meta.config
        wanted = getattr(config, "request_checksum_calculation", None) == "when_supported"
        return {"ChecksumAlgorithm": "CRC32"} if wanted else {}
