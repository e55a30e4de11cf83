"""Processes of a run: each speaks JSON, line by line, over its standard input and output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

ROOT = Path(__file__).parents[3]


class Child:
    """A module of this folder, run in a process of its own; it ends when its input does."""

    def __init__(self, module: str, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"tests.benchmarks.points.{module}"],
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def send(self, message: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process of the benchmark ended early: {self.log.read_text()[-2000:]}")
        return json.loads(line)

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20 if kind is None else 1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def serve(work: Callable[[Callable[[], Any], Callable[[Any], None]], None]) -> None:
    """Be a child: ``work`` gets ``hear`` and ``tell``. What else writes to the output goes to the log."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def tell(message: Any) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    def hear() -> Any:
        line = sys.stdin.readline()
        if not line:
            raise SystemExit
        return json.loads(line)

    work(hear, tell)


def end_with_parent() -> None:
    """End this process at once when its input ends, whatever it is busy with; nothing more is heard then."""

    def listen() -> None:
        while sys.stdin.readline():
            pass
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()


class Shops:
    """A sandbox in a process of its own, with one or more shops."""

    def __init__(self, child: Child, count: int) -> None:
        self._child = child
        child.send({"shops": count})
        facts = child.hear()
        self.origin: str = facts["origin"]
        self.keys: list[str] = facts["keys"]

    def start_jobs(self, key: str, durations: list[float], powers: list[float], kind: str) -> list[dict]:
        """Start jobs, and return their handles as triggers take them."""
        from stoq_provider.core.forms import iso

        self._child.send({"key": key, "durations": durations, "progress_powers": powers, "kind": kind})
        return [
            {
                "system": "stoq",
                "kind": "export:revenue" if kind == "export" else "bulk_set_tags",
                "job_id": job["job_id"],
                "status_url": job["status_url"],
                "item_count": None,
                "submitted_at": iso(job["created_at"]),
                "seen_at": None,
            }
            for job in self._child.hear()
        ]

    def state(self) -> dict[str, Any]:
        """What the sandbox itself counted."""
        state: dict[str, Any] = httpx.get(f"{self.origin}/_sandbox/state", timeout=60).json()
        return state


class Stage:
    """The processes and files of one part of the benchmark."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="stoq-bench-")))

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def shops(self, name: str, count: int = 1) -> Shops:
        return Shops(self._child("shops", name), count)

    def waiter(self, name: str, way: str, shops: Shops) -> Child:
        """A process that runs triggers; connections ``stoq_0``, ``stoq_1``, ... lead to the shops."""
        environment = {
            f"AIRFLOW_CONN_STOQ_{number}": json.dumps(
                {"conn_type": "stoq", "host": shops.origin, "password": key}
            )
            for number, key in enumerate(shops.keys)
        }
        child = self._child("waiter", name, {"AIRFLOW_HOME": str(self.folder / name), **environment})
        child.send({"way": way})
        return child

    def other(self, name: str) -> Child:
        return self._child("other", name)

    def _child(self, module: str, name: str, environment: Mapping[str, str] | None = None) -> Child:
        log = self.folder / f"{module}-{name}.log"
        return self._stack.enter_context(Child(module, log, environment))
