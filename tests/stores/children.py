"""
Downloads in processes of their own, which can be killed.

Starting Airflow takes seconds, so one process that has imported everything forks a child for each download.
A child ends as any Python process does, with all exit handlers and finalizers: that is where writers that
were left behind have been seen to hang.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import IO, Any, Literal

from tests.stores.running import ENVIRONMENT
from tests.stores.servers import die_with_parent

ROOT = Path(__file__).parents[2]
START_SECONDS = 300.0
EXIT_SECONDS = 60.0
"""How long a process may take to end after it was asked to; only one that hangs takes as long."""

_S3 = ("airflow.providers.amazon.aws.fs.s3", "airflow.providers.amazon.aws.hooks.s3", "s3fs")
MODULES = {
    "file": (),
    "s3": _S3,
    "s3-fsspec": _S3,
    "gs": ("airflow.providers.google.cloud.fs.gcs", "gcsfs"),
    "abfs": ("airflow.providers.microsoft.azure.fs.adls", "adlfs"),
}
"""What a download to a store imports; it takes seconds."""

OnTerm = Literal["raise", "stop", "die", "return"]


class Terminated(BaseException):
    """What a handler of SIGTERM raises, as Airflow's task timeout does."""


class Hung(Exception):
    """A process did not end in time; it was killed."""


@dataclass(frozen=True)
class Job:
    """
    What a child does.

    :param on_term: what SIGTERM does: ``raise`` an exception, tell the download to ``stop``, let the process
        ``die`` of it, or have the main thread ``return`` while the download runs in another.
    :param environment: Airflow's connections.
    :param killed: ends itself by a SIGKILL just ``before`` or ``after`` it publishes the file.
    """

    url: str
    destination: str
    rows: int
    on_term: OnTerm
    environment: dict[str, str]
    killed: Literal["before", "after"] | None = None


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code, negative for a signal, and the seconds since ``wait`` was called."""

    code: int
    seconds: float


class Nursery:
    """The process that forks the children of some stores, one at a time; its errors go to ``log``."""

    def __init__(self, stores: Iterable[str], log: IO[bytes]) -> None:
        self._log = log
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._child: int | None = None
        modules = dict.fromkeys(module for store in stores for module in MODULES[store])
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, *modules],
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            preexec_fn=die_with_parent,
        )
        threading.Thread(target=self._listen, daemon=True).start()
        self._expect("ready", START_SECONDS)

    def start(self, job: Job) -> int:
        """Fork a child; return its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        self._child = int(self._expect("pid", START_SECONDS))
        return self._child

    def wait(self, seconds: float = EXIT_SECONDS) -> Ended:
        """
        Wait for the end of the child.

        :raises Hung: it did not end in time.
        """
        assert self._child is not None
        began = time.monotonic()
        try:
            code = int(self._expect("ended", seconds))
        except Empty:
            os.kill(self._child, signal.SIGABRT)  # has it write down what its threads do
            self._expect("ended", START_SECONDS)
            raise Hung(f"the process did not end within {seconds:g} s:\n{self._tail()}") from None
        finally:
            self._child = None
        return Ended(code, time.monotonic() - began)

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            os.kill(self._child, signal.SIGKILL)
        self._process.kill()
        self._process.wait()

    def _tail(self) -> str:
        with open(self._log.name, errors="replace") as log:  # noqa: PTH123
            return log.read()[-6000:]

    def _expect(self, word: str, seconds: float) -> str:
        answer, _, rest = self._lines.get(timeout=seconds).partition(" ")
        if answer != word:
            raise RuntimeError(f"the process that forks the downloads answered {answer!r}, not {word!r}")
        return rest

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip())
        self._lines.put("gone")


# --- in the process that forks ------------------------------------------------------------------------


def main() -> None:
    """Fork a child for every line of the input."""
    die_with_parent()
    faulthandler.enable()
    # Modules only: no session, no event loop and no thread may exist before the fork.
    for name in ("stoq_provider.download.download", "stoq_provider.download.many", *sys.argv[1:]):
        import_module(name)
    parent = os.getpid()
    _say("ready")
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            die_with_parent()
            if os.getppid() != parent:
                os._exit(1)
            _redirect_output()
            _work(Job(**json.loads(line)))
            return
        _say(f"pid {pid}")
        _, status = os.waitpid(pid, 0)
        _say(f"ended {os.waitstatus_to_exitcode(status)}")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def _redirect_output() -> None:
    # What libraries print must not be taken for what this process says.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def _work(job: Job) -> None:
    os.environ.update(job.environment)
    if job.killed is not None:
        _die_at_publication(job.killed)
    received: list[int] = []  # no lock: the main thread might hold it when the handler runs
    if job.on_term == "raise":
        signal.signal(signal.SIGTERM, _raise)
    elif job.on_term != "die":
        signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    if job.on_term != "return":
        _download(job, received)
        return
    threading.Thread(target=_download, args=(job, []), daemon=True).start()
    while not received:
        time.sleep(0.01)


def _die_at_publication(when: Literal["before", "after"]) -> None:
    from stoq_provider.download.s3 import S3Writer
    from stoq_provider.download.writers import FsspecWriter, LocalWriter

    for writer in (LocalWriter, FsspecWriter, S3Writer):
        writer.commit = _killing(writer.commit, when)  # type: ignore[method-assign]


def _killing(commit: Callable[[Any], None], when: Literal["before", "after"]) -> Callable[[Any], None]:
    def killing(writer: Any) -> None:
        if when == "after":
            commit(writer)
        os.kill(os.getpid(), signal.SIGKILL)

    return killing


def _raise(number: int, frame: Any) -> None:
    raise Terminated


def _download(job: Job, received: list[int]) -> None:
    from stoq_provider.download.download import download_files
    from stoq_provider.download.many import DownloadPool
    from stoq_provider.download.options import DownloadOptions
    from stoq_provider.download.verification import StoredFile

    pool: DownloadPool[list[StoredFile]] = DownloadPool(lambda: bool(received))
    call = partial(
        download_files,
        lambda: job.url,
        job.destination,
        file_name=None,
        expected_rows=job.rows,
        options=DownloadOptions(allow_loopback=True),
        should_stop=pool.stopped,
    )
    pool.run([call], 1)


if __name__ == "__main__":
    main()
