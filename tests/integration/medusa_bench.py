"""Tasks of Medusa against the sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stoq_provider.operators.medusa import MedusaBatchJobOperator, MedusaConfirmOperator
from stoq_provider.sensors.jobs import MedusaJobSensor
from stoq_provider.testing import Sandbox
from stoq_provider.transport import sync
from tests.harness import Killed, TaskRun

QUICK = {"poll_interval": 0.02, "timeout": 600}
COLUMNS = (
    "Product Handle;Product Title;Product Status;Variant Title;Variant SKU;Variant Inventory Quantity;"
    "Variant Allow Backorder;Variant Manage Inventory;Option 1 Name;Option 1 Value;Price EUR"
)
NEW = f"""{COLUMNS}
made-here;Made here;draft;S;MADE-S;5;false;true;Size;S;10
made-here;Made here;draft;M;MADE-M;5;false;true;Size;M;11
"""
"""One product with two variants: three changes."""
BAD = NEW.replace("MADE-S", "LAB-02-BLACK")
"""Takes a SKU that another product has: the server takes the whole import back (M)."""


def connect(
    monkeypatch: pytest.MonkeyPatch,
    sandbox: Sandbox,
    *,
    login: str | None = None,
    password: str | None = None,
    **extra: Any,
) -> None:
    """Let the connection lead to the sandbox, by token or by login."""
    connection = {
        "conn_type": "medusa",
        "host": sandbox.medusa_origin,
        "login": login,
        "password": password or (sandbox.medusa_password if login else sandbox.medusa_token),
        "extra": {"timeout": 60, **extra},
    }
    monkeypatch.setenv("AIRFLOW_CONN_MEDUSA_DEFAULT", json.dumps(connection))


class MedusaBench:
    """Makes tasks at Medusa, and tells what came of them there."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.source = folder.parent / "in" / "new.csv"
        self.source.parent.mkdir(exist_ok=True)
        self.source.write_text(NEW)

    def run(self, job_type: str, mode: str = "worker", *, store: Any = None, **options: Any) -> TaskRun:
        """A batch job; ``options`` are those of the operator."""
        given = {"job_type": job_type, "deferrable": mode == "deferred", **QUICK, **options}
        return TaskRun(lambda: MedusaBatchJobOperator(task_id="batch", **given), store=store)

    def export(self, mode: str = "worker", **options: Any) -> TaskRun:
        """An export of the products into the folder."""
        return self.run("product-export", mode, **{"destination": f"{self.folder}/", **options})

    def imports(self, mode: str = "worker", **options: Any) -> TaskRun:
        """An import of the file."""
        return self.run("product-import", mode, **{"source": self.source.as_uri(), **options})

    def confirm(self, job: Any, mode: str = "worker", **options: Any) -> TaskRun:
        """A decision about a dry run."""
        given = {"job": job, "deferrable": mode == "deferred", **QUICK, **options}
        return TaskRun(lambda: MedusaConfirmOperator(task_id="confirm", **given))

    def sensor(self, mode: str, job: Any, **options: Any) -> TaskRun:
        given: dict[str, Any] = {"deferrable": mode == "deferred", "poke_interval": 0.02, "timeout": 600}
        given["mode"] = "reschedule" if mode == "reschedule" else "poke"
        return TaskRun(lambda: MedusaJobSensor(task_id="wait", job=job, **{**given, **options}))

    def submitted(self, job_type: str = "product-export", **options: Any) -> list[dict[str, Any]]:
        """Submit in a task of its own; return the handles, as XCom holds them."""
        run = self.run(job_type, **{"wait_for_completion": False, **options})
        return json.loads(json.dumps(run.execute()))  # type: ignore[no-any-return]

    def bend(self, control: str, **options: Any) -> None:
        self.sandbox.control("medusa", control, **options)

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.sandbox.state["medusa"]
        return state

    @property
    def jobs(self) -> dict[str, Any]:
        jobs: dict[str, Any] = self.state["jobs"]
        return jobs

    @property
    def job(self) -> dict[str, Any]:
        """The one job there is."""
        (job,) = self.jobs.values()
        return dict(job)

    @property
    def submissions(self) -> int:
        return len(self.state["submissions"])

    @property
    def uploads(self) -> int:
        return sum(name.endswith("new.csv") for name in self.state["files"])

    def sent(self, target: str) -> int:
        """How often a route was called."""
        return int(self.state["requests"].get(target, 0))

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


def die_at(patch: pytest.MonkeyPatch, path: str, *, after: bool) -> None:
    """Let the worker die at the first POST to ``path``: before it goes out, or with its answer at hand."""
    send, state = sync.exchange, {"dead": False}

    def exchange(session: Any, request: Any, *arguments: Any, **options: Any) -> Any:
        fatal = request.method == "POST" and request.url.endswith(path) and not state["dead"]
        if fatal and not after:
            state["dead"] = True
            raise Killed
        answer = send(session, request, *arguments, **options)
        if fatal:
            state["dead"] = True
            raise Killed
        return answer

    patch.setattr(sync, "exchange", exchange)
