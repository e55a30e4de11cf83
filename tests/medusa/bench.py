"""Tasks at a Medusa server, many at once: a step of a job takes seconds, however small the job is."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stoq_provider.hooks.base import JobHook
from stoq_provider.operators.medusa import MedusaBatchJobOperator, MedusaConfirmOperator
from stoq_provider.sensors.jobs import MedusaJobSensor
from tests.harness import TaskRun
from tests.medusa.client import Client, Row, table
from tests.medusa.servers import INTERVAL, PATIENCE, Server

MODES = ("worker", "deferred")
MARK = "test_mark"
"""Key of ``context`` that tells whose job it is; the server keeps it."""
PARALLEL = 40
NOTHING = {"filterable_fields": {"title": "no product has this title"}}
"""
An export whose file is always the same. Exports that begin in the same millisecond share a file (M), so
where they run beside imports they may not differ.
"""


class Run(TaskRun):
    """A task whose jobs can be distinguished from all others on the server; `mark` is in their context."""

    def __init__(self, make: Callable[[], Any], mark: str = "") -> None:
        super().__init__(make)
        self.mark = mark

    def in_thread(self) -> Future[Any]:
        """Run one try beside the test; return once it has a job, with what the try will give."""
        ended: Future[Any] = Future()

        def work() -> None:
            try:
                ended.set_result(self.execute())
            except BaseException as error:
                ended.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return ended


class Ahead:
    """
    The package's clock, which a test puts forward: whatever waits for a moment finds that it has come.

    ``asleep`` is set while a task on the worker sleeps.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._by = 0.0
        self.asleep = threading.Event()
        real, wait = time.time, JobHook.sleep

        def sleep(hook: JobHook, seconds: float) -> None:
            until = time.time() + seconds
            self.asleep.set()
            try:
                while (left := until - time.time()) > 0:
                    wait(hook, min(left, INTERVAL))
            finally:
                self.asleep.clear()

        patch.setattr(time, "time", lambda: real() + self._by)
        patch.setattr(JobHook, "sleep", sleep)

    def forward(self, seconds: float) -> None:
        self._by += seconds


class Bench:
    """
    Makes tasks at a server.

    :param patch: takes the connections back at the end.
    :param folder: where exports are stored.
    """

    def __init__(self, server: Server, client: Client, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.server = server
        self.client = client
        self.folder = folder
        self._patch = patch
        self.conn_id = self.connect()

    def connect(
        self,
        origin: str | None = None,
        *,
        token: str | None = None,
        login: str | None = None,
        password: str | None = None,
        conn_id: str | None = None,
    ) -> str:
        """Make a connection by token, or by login and password; return its id."""
        conn_id = conn_id or f"medusa_{uuid.uuid4().hex[:8]}"
        secret = (password or self.server.password) if login else (token or self.server.api_token)
        connection = {
            "conn_type": "medusa",
            "host": origin or self.server.origin,
            "login": login,
            "password": secret,
            "extra": {"timeout": PATIENCE},
        }
        self._patch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        return conn_id

    # -- tasks --------------------------------------------------------------------------------------

    def batch(
        self,
        job_type: str,
        mode: str = "worker",
        *,
        context: Mapping[str, Any] | None = None,
        mark: str | None = None,
        **options: Any,
    ) -> Run:
        """A batch job; ``options`` are those of the operator."""
        mark = mark or uuid.uuid4().hex
        given = self._given(mode, job_type=job_type, context={**(context or {}), MARK: mark}, **options)
        return Run(lambda: MedusaBatchJobOperator(task_id="batch", **given), mark)

    def export(self, mode: str = "worker", job_type: str = "product-export", **options: Any) -> Run:
        """An export into a folder of its own."""
        return self.batch(job_type, mode, **{"destination": self.destination(), **options})

    def imports(self, rows: Sequence[Row] | str, mode: str = "worker", **options: Any) -> Run:
        """An import of these rows."""
        return self.batch("product-import", mode, source=self.file(rows), **options)

    def confirm(self, job: Any, mode: str = "worker", **options: Any) -> Run:
        """A decision about a dry run."""
        given = self._given(mode, job=job, **options)
        return Run(lambda: MedusaConfirmOperator(task_id="confirm", **given))

    def sensor(self, job: Any, mode: str = "worker", **options: Any) -> Run:
        """A wait for somebody's jobs."""
        given = self._given(mode, **{"job": job, "poke_interval": self.interval, **options})
        return Run(lambda: MedusaJobSensor(task_id="wait", **given))

    def _given(self, mode: str, **options: Any) -> dict[str, Any]:
        common = {"deferrable": mode == "deferred", "poll_interval": self.interval, "timeout": PATIENCE}
        return {**common, "medusa_conn_id": self.conn_id, **options}

    @property
    def interval(self) -> float:
        """Seconds between polls: a few in a step, so that many tasks at once do not keep a server busy."""
        return self.server.step / 3

    def destination(self) -> str:
        return f"{self.folder}/{uuid.uuid4().hex[:8]}/"

    def file(self, rows: Sequence[Row] | str) -> str:
        """Write a table for an import; return its URL."""
        path = self.folder / f"{uuid.uuid4().hex[:8]}.csv"
        path.write_text(rows if isinstance(rows, str) else table(rows), "utf-8", newline="")
        return path.as_uri()

    # -- what came of them --------------------------------------------------------------------------

    def made(self, run: Run) -> list[dict[str, Any]]:
        """The jobs of a task that the server knows, newest first; of no user but the first."""
        listed = self.client.listed({"limit": 100})["batch_jobs"]
        return [job for job in listed if job["context"].get(MARK) == run.mark]

    def rows(self, handles: Sequence[str]) -> dict[str, list[Row]]:
        """What the shop has of these products."""
        found: dict[str, list[Row]] = {handle: [] for handle in handles}
        for row in self.client.products(handle=list(handles)):
            found[row["Product Handle"]].append(row)
        return found


class Crew:
    """Runs tasks beside each other: started together by a fixture, and looked at by one test each."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(PARALLEL)
        self._ends: dict[str, Future[Any]] = {}
        self.runs: dict[str, Run] = {}

    def start(self, name: str, run: Run, work: Callable[[], Any] | None = None) -> None:
        """Start a task; ``work`` is what is done with it, its execution at first."""
        assert name not in self._ends
        self.runs[name] = run
        self._ends[name] = self._pool.submit(work or run.execute)

    def end(self, name: str) -> Any:
        """What a task came to; raises what it raised."""
        return self._ends[name].result(2 * PATIENCE)

    def wait(self) -> None:
        """Until all have ended, well or badly."""
        for end in self._ends.values():
            end.exception(2 * PATIENCE)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)


def job_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The one job of a manifest."""
    (job,) = manifest["jobs"]
    return dict(job)


def desk(handle: str, **changes: str) -> list[Row]:
    """A product in two sizes that no shop has yet, with the fewest columns that do: three changes."""
    return [
        {
            "Product Handle": handle,
            "Product Title": "Desk",
            "Variant Title": size,
            "Variant SKU": f"{handle}-{size}",
            "Variant Inventory Quantity": "5",
            "Option 1 Name": "Size",
            "Option 1 Value": size,
            **changes,
        }
        for size in ("S", "M")
    ]


def new_handle() -> str:
    """A handle that is not taken; its end tells `test_lab` that an import made it."""
    return f"desk-{uuid.uuid4().hex[:8]}"
