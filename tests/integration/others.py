"""Tasks of SureCart and PrintStudio against the sandbox."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stoq_provider.operators.printstudio import (
    PrintStudioAdvanceJobsOperator,
    PrintStudioCancelJobsOperator,
    PrintStudioCreateOrdersOperator,
    PrintStudioImportSkusOperator,
)
from stoq_provider.operators.surecart import SureCartBulkActionOperator
from stoq_provider.sensors.jobs import PrintStudioJobSensor, SureCartJobSensor
from stoq_provider.testing import Sandbox
from tests.harness import TaskRun

QUICK = {"poll_interval": 0.02, "timeout": 600}


def connect_other(
    monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, system: str, *, key: str | None = None, **extra: Any
) -> None:
    """Let the system's connection lead to the sandbox."""
    connection = {
        "conn_type": system,
        "host": getattr(sandbox, f"{system}_origin"),
        "password": key or getattr(sandbox, f"{system}_key"),
        "extra": {"timeout": 5, **extra},
    }
    monkeypatch.setenv(f"AIRFLOW_CONN_{system.upper()}_DEFAULT", json.dumps(connection))


class SureCartBench:
    """Makes tasks at SureCart, and tells what came of them there."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def delete(self, ids: Any, mode: str = "worker", *, store: Any = None, **options: Any) -> TaskRun:
        given = {
            "action_type": "delete_customers",
            "record_ids": ids,
            "deferrable": mode == "deferred",
            **QUICK,
        }
        return TaskRun(
            lambda: SureCartBulkActionOperator(task_id="delete", **{**given, **options}), store=store
        )

    def sensor(self, mode: str, job: Any, **options: Any) -> TaskRun:
        given = {"job": job, "deferrable": mode == "deferred", "poke_interval": 0.02, "timeout": 600}
        given["mode"] = "reschedule" if mode == "reschedule" else "poke"
        return TaskRun(lambda: SureCartJobSensor(task_id="wait", **{**given, **options}))

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.sandbox.state["surecart"]
        return state

    def customers(self, count: int) -> list[str]:
        return list(self.state["customers"][:count])

    def sent(self) -> list[list[str]]:
        return [entry["ids"] for entry in self.state["submissions"]]

    def polls(self) -> tuple[int, int]:
        """Requests for one action, and for lists of actions."""
        requests = self.state["requests"]
        return requests.get("GET /v1/bulk_actions/{id}", 0), requests.get("GET /v1/bulk_actions", 0)

    def bend(self, **options: Any) -> None:
        self.sandbox.control("surecart", "next_action", **options)


class StudioBench:
    """Makes tasks at PrintStudio, and tells what came of them there."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def create(self, orders: Any, *, store: Any = None, **options: Any) -> TaskRun:
        return self._run(PrintStudioCreateOrdersOperator, {"orders": orders, **options}, store)

    def skus(self, skus: Any, *, store: Any = None, **options: Any) -> TaskRun:
        return self._run(PrintStudioImportSkusOperator, {"skus": skus, **options}, store)

    def advance(self, ids: Any, target: str, *, store: Any = None, **options: Any) -> TaskRun:
        given = {"job_ids": ids, "target_status": target, **options}
        return self._run(PrintStudioAdvanceJobsOperator, given, store)

    def cancel(self, ids: Any, *, store: Any = None, **options: Any) -> TaskRun:
        given = {"job_ids": ids, "reason": "out of filament", **options}
        return self._run(PrintStudioCancelJobsOperator, given, store)

    def sensor(self, mode: str, **options: Any) -> TaskRun:
        given: dict[str, Any] = {"deferrable": mode == "deferred", "poke_interval": 0.02, "timeout": 600}
        given["mode"] = "reschedule" if mode == "reschedule" else "poke"
        return TaskRun(lambda: PrintStudioJobSensor(task_id="wait", **{**given, **options}))

    def _run(self, operator: Any, given: dict[str, Any], store: Any) -> TaskRun:
        return TaskRun(lambda: operator(task_id="studio", **given), store=store)

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.sandbox.state["printstudio"]
        return state

    def sent(self, kind: str) -> list[list[Any]]:
        return [entry["items"] for entry in self.state["submissions"] if entry["kind"] == kind]

    def jobs(self, state: str) -> list[str]:
        return [job["id"] for job in self.state["jobs"].values() if job["status"] == state]

    def job(self, job_id: str) -> str:
        return str(self.state["jobs"][job_id]["status"])

    def bend(self, control: str, **options: Any) -> None:
        self.sandbox.control("printstudio", control, **options)


def orders(count: int, sku: str = "sku_001") -> list[dict[str, Any]]:
    """Orders that PrintStudio takes, each different."""
    return [
        {"customerId": f"cust_{n}", "lineItems": [{"skuId": sku, "quantity": 1 + n % 3}]}
        for n in range(count)
    ]
