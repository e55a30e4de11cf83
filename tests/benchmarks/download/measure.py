"""One cell of a table after another: all ways in turn, round by round, each copy in a process of its own."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from tests.benchmarks.download.files import MB, CsvFile, write_file
from tests.benchmarks.download.reserve import Reserve, release
from tests.benchmarks.download.servers import BUCKET, Bucket, Source, Swallower, connection
from tests.benchmarks.download.ways import CONNECTION, SOURCE_CONNECTION, Copy, Job
from tests.stores.servers import SeaweedS3, Server, die_with_parent, executable

ROOT = Path(__file__).parents[3]
LAUNCH = str(Path(__file__).with_name("launch.py"))
CURL, CURL_NULL, CURL_SYNC, CURL_DIGEST = "curl", "curl_null", "curl_sync", "curl_digest"
PATIENCE_SECONDS = 300.0
WARM = 10 * MB
"""Size of the first copy of a process: large enough to go the way of the large ones, with all they need."""
_RESERVED = 50 * MB
"""Size of a file from which on it matters where its memory comes from."""
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class BenchError(Exception):
    """A copy failed or is not whole: its figures would mean nothing."""


@dataclass(frozen=True)
class Cell:
    """
    What is measured together, in turn.

    :param place: ``file`` in memory (tmpfs) if there is such, ``disk``, ``discard``, or ``store``.
    """

    place: str
    scheme: str
    size: int
    ways: tuple[str, ...]
    rounds: int


@dataclass(frozen=True)
class Run:
    """
    One process.

    :param wall: seconds from its start to its end, without the wait for the kernel.
    :param cpu: seconds, user and system, all threads.
    :param peak: bytes in memory at most.
    :param copy: seconds of the copy itself; for curl as ``wall``.
    :param copy_cpu: CPU seconds of it.
    """

    wall: float
    cpu: float
    peak: int
    copy: float
    copy_cpu: float


class Bench:
    """Files, servers and folders of one bench; all gone at the end."""

    def __init__(self, sizes: Sequence[int], folder: Path | None) -> None:
        self._stack = ExitStack()
        self._chance = random.Random(5)
        self._sizes = sizes
        self._wanted = folder
        self._servers: dict[str, tuple[str, Bucket]] = {}

    def __enter__(self) -> Bench:
        with self._stack:
            self._folder = self._temporary(self._wanted)
            memory = Path("/dev/shm")  # where it is not, files go to disk
            self._places = {"disk": self._folder / "copies"}
            self._places["disk"].mkdir()
            self.in_memory = self._wanted is None and os.access(memory, os.W_OK)
            self._places["file"] = self._temporary(memory) if self.in_memory else self._places["disk"]
            self._reserve = Reserve(self._places["file"]) if self.in_memory else None
            files = self._folder / "files"
            files.mkdir()
            self.files = {size: write_file(files, size) for size in sorted({MB, WARM, *self._sizes})}
            self.source = Source(files)
            self._stack.enter_context(self.source)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _temporary(self, parent: Path | None) -> Path:
        return Path(self._stack.enter_context(TemporaryDirectory(prefix="stoq-bench-download-", dir=parent)))

    @contextmanager
    def s3(self, place: str) -> Iterator[None]:
        """Have the S3 server of a place, if it has one, for as long as the block lasts."""
        if place in self._places:
            yield
            return
        server: Server = Swallower() if place == "discard" else SeaweedS3(BUCKET)
        with server:
            self._servers[place] = server.endpoint, Bucket(server.endpoint)
            yield

    def measure(self, cell: Cell) -> Iterator[tuple[str, Run]]:
        """Run the ways of a cell in turn, in another order each round; yield each run with its way."""
        for _ in range(cell.rounds):
            for way in self._chance.sample(cell.ways, len(cell.ways)):
                yield way, self._run(cell, way)

    # --- one run ----------------------------------------------------------------------------------

    def _run(self, cell: Cell, way: str) -> Run:
        file, warm = self.files[cell.size], self.files[min(cell.size, WARM)]
        if way in (CURL, CURL_NULL, CURL_SYNC, CURL_DIGEST):
            return self._run_curl(cell, way, file)
        bucket = None if cell.place in self._places else BUCKET
        reserve = self._hold(file) if cell.place == "file" else ""
        answer = self._folder / "answer.json"
        job = Job(
            way,
            self._copy(cell, warm, bucket, "warm.csv"),
            self._copy(cell, file, bucket, "copy.csv"),
            str(self.source.authority),
            connection(self._servers[cell.place][0]) if bucket else {},
            str(answer),
            reserve,
        )
        command = [sys.executable, "-m", "tests.benchmarks.download.ways", job.to_json()]
        took = self._launch(command, self._environment(cell, job))
        inner = json.loads(answer.read_text())
        answer.unlink()
        if inner["sha256"] not in ("", file.sha256):
            raise BenchError(f"{way} stored something else")
        self._check(cell, job.warm.key, warm)
        self._check(cell, job.copy.key, file)
        wall, peak = took["wall"] - inner["waited"], int(took["peak_kib"]) * 1024
        return Run(wall, took["cpu"], peak, inner["copy"], inner["copy_cpu"])

    def _run_curl(self, cell: Cell, way: str, file: CsvFile) -> Run:
        place = cell.place if cell.place in self._places else "file"
        path = str(self._places[place] / "curl.csv")
        reserve = self._hold(file) if place == "file" and way != CURL_NULL else ""
        target = "/dev/null" if way == CURL_NULL else path
        command = [executable("curl"), "--silent", "--show-error", "--fail"]
        command += ["--cacert", str(self.source.authority), "--output", target, self._url(cell, file)]
        if way == CURL_SYNC:
            command = ["/bin/sh", "-c", f"{shlex.join(command)} && sync {shlex.quote(path)}"]
        if way == CURL_DIGEST:
            digest = [executable("openssl"), "dgst", "-sha256", path]
            command = ["/bin/sh", "-c", f"{shlex.join(command)} && {shlex.join(digest)}"]
        release(reserve)
        took = self._launch(command, _plain_environment())
        if way != CURL_NULL:
            self._check_file(cell, Path(path), file)
        return Run(took["wall"], took["cpu"], int(took["peak_kib"]) * 1024, took["wall"], took["cpu"])

    def _hold(self, file: CsvFile) -> str:
        """Have memory for a copy to take over, and return the file that it is in, or nothing."""
        if self._reserve is None or file.bytes < _RESERVED:
            return ""
        self._reserve.hold(file.bytes)
        return str(self._reserve.path)

    def _url(self, cell: Cell, file: CsvFile) -> str:
        return f"{self.source.secure if cell.scheme == 'https' else self.source.endpoint}/{file.name}"

    def _copy(self, cell: Cell, file: CsvFile, bucket: str | None, name: str) -> Copy:
        key = f"bench/{name}" if bucket else str(self._places[cell.place] / name)
        return Copy(self._url(cell, file), bucket, key, file.rows)

    def _check(self, cell: Cell, key: str, file: CsvFile) -> None:
        if cell.place in self._places:
            self._check_file(cell, Path(key), file)
            return
        size = self._servers[cell.place][1].take(key)
        if size != file.bytes:
            raise BenchError(f"{key} has {size} bytes instead of {file.bytes}")

    def _check_file(self, cell: Cell, path: Path, file: CsvFile) -> None:
        size = path.stat().st_size
        if self._reserve is not None and cell.place != "disk" and size >= _RESERVED:
            self._reserve.take(path)
        else:
            path.unlink()
        if size != file.bytes:
            raise BenchError(f"{path.name} has {size} bytes instead of {file.bytes}")

    def _environment(self, cell: Cell, job: Job) -> dict[str, str]:
        secure, plain = self.source.secure, self.source.endpoint
        source = {"conn_type": "http", "host": secure if cell.scheme == "https" else plain}
        return {
            **_plain_environment(),
            "AIRFLOW_HOME": str(self._folder / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            f"AIRFLOW_CONN_{CONNECTION.upper()}": json.dumps(job.s3),
            f"AIRFLOW_CONN_{SOURCE_CONNECTION.upper()}": json.dumps(source),
        }

    def _launch(self, command: list[str], environment: dict[str, str]) -> dict[str, float]:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", LAUNCH, *command],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        try:
            out, errors = process.communicate(timeout=PATIENCE_SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        took: dict[str, float] = json.loads(out)
        if took["code"]:
            raise BenchError(f"{' '.join(command)[:400]} ended with {took['code']}:\n{errors[-3000:]}")
        return took


def _plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.lower() not in _PROXIES}
