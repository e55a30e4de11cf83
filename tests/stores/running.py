"""Which stores there are, and how each is started."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.stores.servers import Azurite, FakeGcs, SeaweedS3
from tests.stores.stores import BUCKET, AzureStore, GcsStore, LocalStore, S3Store, Store

# gcsfs asks buckets by gRPC what they can do, which the emulator does not speak: minutes for every file.
ENVIRONMENT = {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}


@contextmanager
def _local() -> Iterator[Store]:
    folder = Path(tempfile.mkdtemp(prefix="stores-file-"))
    try:
        yield LocalStore(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _s3(name: str, options: dict[str, Any]) -> Iterator[Store]:
    with SeaweedS3(BUCKET) as server:
        yield S3Store(server.endpoint, name, options)


@contextmanager
def _moto() -> Iterator[Store]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield S3Store("http://{}:{}".format(*server.get_host_and_port()), "s3-moto")
    finally:
        server.stop()


@contextmanager
def _gs() -> Iterator[Store]:
    with FakeGcs() as server:
        yield GcsStore(server.endpoint)


@contextmanager
def _abfs() -> Iterator[Store]:
    with Azurite() as server:
        yield AzureStore(server.endpoint)


STORES: dict[str, Callable[[], Any]] = {
    "file": _local,
    "s3": partial(_s3, "s3", {}),
    # An option that Airflow's file system alone knows, here without effect: s3fs writes.
    "s3-fsspec": partial(_s3, "s3-fsspec", {"proxy-uri": ""}),
    "gs": _gs,
    "abfs": _abfs,
}
"""Name to a context manager that starts the store, empty."""


AWS_WORDS = {"s3-moto": _moto}
"""An S3 server that names the condition that was not met, as that of AWS does; SeaweedFS does not."""


@contextmanager
def running(name: str) -> Iterator[Store]:
    """Start a store and make Airflow know it."""
    with (
        {**STORES, **AWS_WORDS}[name]() as store,
        patch.dict(os.environ, {**ENVIRONMENT, **store.connections}),
    ):
        yield store
