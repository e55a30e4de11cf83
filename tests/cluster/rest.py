"""Airflow's REST API, as far as a person would use it through the UI."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import requests

from tests.cluster.waiting import PATIENCE, until

TIMEOUT = 60.0
LOG_SHOWN = 6000
"""Characters of a task's log that a failure shows."""


@dataclass(frozen=True)
class Run:
    """A run of a DAG with one task."""

    dag_id: str
    run_id: str
    task_id: str

    @property
    def path(self) -> str:
        """Where the API has it."""
        return f"/dags/{self.dag_id}/dagRuns/{self.run_id}"


class Api:
    """
    The REST API, version 2.

    :param origin: of the api-server.
    """

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self._session = requests.Session()
        self._session.trust_env = False

    def health(self) -> dict[str, Any] | None:
        """Return the health of all components; ``None`` while nothing answers."""
        try:
            answer = self._session.get(f"{self.origin}/api/v2/monitor/health", timeout=TIMEOUT)
        except requests.ConnectionError:
            return None
        return answer.json() if answer.ok else None

    def sign_in(self) -> None:
        """Take a token; everybody is an admin here."""
        answer = self._session.get(f"{self.origin}/auth/token", timeout=TIMEOUT)
        answer.raise_for_status()
        self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def call(self, method: str, path: str, *, body: Any = None, **query: Any) -> Any:
        """Send a request and return the answer; what is refused fails with Airflow's own words."""
        answer = self._session.request(
            method, f"{self.origin}/api/v2{path}", json=body, params=query, timeout=TIMEOUT
        )
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> Run:
        """Start a run."""
        body = {"logical_date": None, "conf": conf or {}}
        run = self.call("POST", f"/dags/{dag_id}/dagRuns", body=body)
        tasks = self.call("GET", f"/dags/{dag_id}/tasks")["tasks"]
        (task_id,) = [task["task_id"] for task in tasks]
        return Run(dag_id, run["dag_run_id"], task_id)

    def begin(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
        """Start a run of a DAG with any tasks; one that was started already is no error."""
        url = f"{self.origin}/api/v2/dags/{dag_id}/dagRuns"
        body = {"logical_date": None, "conf": conf, "dag_run_id": run_id}
        answer = self._session.post(url, json=body, timeout=TIMEOUT)
        assert answer.ok or answer.status_code == 409, f"{dag_id}: {answer.status_code} {answer.text}"

    def instances(self, run: Run) -> list[dict[str, Any]]:
        """Return all task instances of a run, mapped ones one by one."""
        found: list[dict[str, Any]] = self.call("GET", f"{run.path}/taskInstances")["task_instances"]
        return found

    def task(self, run: Run) -> dict[str, Any]:
        """Return the one task instance: its ``state``, ``try_number`` and ``rendered_fields``."""
        (task,) = self.instances(run)
        return task

    def states(self, run: Run) -> list[tuple[str, int]]:
        """Return state and number of tries of each task instance."""
        return [(task["state"], task["try_number"]) for task in self.instances(run)]

    def log(self, run: Run, try_number: int, map_index: int = -1) -> str:
        """Return the log of a try, with all fields of its lines."""
        path = f"{run.path}/taskInstances/{run.task_id}/logs/{try_number}"
        lines = self.call("GET", path, map_index=map_index, full_content=True)["content"]
        return "\n".join(json.dumps(line) for line in lines)

    def logs(self, run: Run) -> str:
        """Return the logs of all tries."""
        return "\n".join(
            self.log(run, number, task["map_index"])
            for task in self.instances(run)
            for number in range(1, task["try_number"] + 1)
        )

    def xcoms(self, run: Run, map_index: int = -1) -> dict[str, Any]:
        """Return the XComs of a task instance."""
        path = f"{run.path}/taskInstances/{run.task_id}/xcomEntries"
        keys = [entry["key"] for entry in self.call("GET", path, map_index=map_index)["xcom_entries"]]
        return {
            key: self.call("GET", f"{path}/{key}", map_index=map_index, stringify=False)["value"]
            for key in keys
        }

    def links(self, run: Run, map_index: int = -1) -> dict[str, str | None]:
        """Return what the links on the page of a task instance open."""
        path = f"{run.path}/taskInstances/{run.task_id}/links"
        found: dict[str, str | None] = self.call("GET", path, map_index=map_index)["extra_links"]
        return found

    def clear(self, run: Run) -> None:
        """Clear the task, as a person does to run it again."""
        body = {"dry_run": False, "only_failed": False, "task_ids": [run.task_id], "dag_run_id": run.run_id}
        self.call("POST", f"/dags/{run.dag_id}/clearTaskInstances", body=body)

    def mark_failed(self, run: Run) -> None:
        """Mark the task failed."""
        self.call("PATCH", f"{run.path}/taskInstances/{run.task_id}", body={"new_state": "failed"})

    def abandon(self) -> None:
        """Mark every unfinished run failed, which ends its tasks."""
        for state in ("queued", "running"):
            for run in self.call("GET", "/dags/~/dagRuns", state=state)["dag_runs"]:
                self.call(
                    "PATCH", f"/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}", body={"state": "failed"}
                )

    def wait(self, run: Run, states: tuple[str, ...] = ("success",), timeout: float = PATIENCE) -> str:
        """Wait for a state of the run; one that ends otherwise fails at once, with its logs."""

        def look() -> str | None:
            state: str = self.call("GET", run.path)["state"]
            if state in states:
                return state
            assert state not in ("success", "failed"), f"{run} is {state}:\n{self.logs(run)[-LOG_SHOWN:]}"
            return None

        return until(f"{run} to be {states}", look, timeout, lambda: self.states(run))

    def wait_task(self, run: Run, state: str, *, tries: int = 1, timeout: float = PATIENCE) -> dict[str, Any]:
        """Wait for a state in try number ``tries``; another end or a later try fails at once."""

        def look() -> dict[str, Any] | None:
            task = self.task(run)
            if (task["state"], task["try_number"]) == (state, tries):
                return task
            ended = task["state"] in ("success", "failed") or task["try_number"] > tries
            assert not ended, f"{run}: {task}\n{self.logs(run)[-LOG_SHOWN:]}"
            return None

        what = f"{run} to be {state} in try {tries}"
        return until(what, look, timeout, lambda: self.states(run))
