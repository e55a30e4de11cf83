"""Dry runs by operators: what would be done is shown first, and then somebody decides."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stoq_provider.exceptions import JobCancelled
from tests.integration.conftest import fails
from tests.medusa.bench import Bench, Crew, desk, job_of, new_handle
from tests.medusa.client import Row

# Each policy once, each kind of policy in each way of waiting.
GO = [
    ("always", "worker"),
    ("max_changes: 3", "deferred"),
    ("by a task", "worker"),
    ("by a task", "deferred"),
]
STOP = [("never", "deferred"), ("by a task, no", "worker")]
TOO_MANY = [("max_changes: 2", "worker")]
BY_TASK = [(way, mode) for way, mode in (*GO, *STOP) if way.startswith("by a task")]


class Scenes:
    """All decisions, under way at once."""

    def __init__(self, bench: Bench, crew: Crew) -> None:
        self.bench, self.crew = bench, crew
        self.handles: dict[str, str] = {}
        self.dry: dict[str, Any] = {}
        self.deciders: dict[str, Any] = {}
        for way, mode in (*GO, *STOP, *TOO_MANY):
            self._start(way, mode)
        dry = bench.export(dry_run=True, destination=None)
        crew.start("export", dry, lambda: self._decided("export", dry, "worker", bench.destination()))
        crew.wait()
        self.shop = bench.rows(list(self.handles.values()))

    def _start(self, way: str, mode: str) -> None:
        name = f"{way} {mode}"
        handle = self.handles[name] = new_handle()
        confirm = None if (way, mode) in BY_TASK else way
        run = self.bench.imports(desk(handle), mode, dry_run=True, confirm=confirm)
        decided = (lambda: self._decided(name, run, mode)) if confirm is None else None
        self.crew.start(name, run, decided)

    def _decided(self, name: str, run: Any, mode: str, destination: str | None = None) -> Any:
        """Make a dry run, and hand its manifest to another task as XCom does."""
        self.dry[name] = json.loads(json.dumps(run.execute()))
        self.deciders[name] = self.bench.confirm(
            self.dry[name], mode, confirm=", no" not in name, destination=destination
        )
        return self.deciders[name].execute()

    def rows(self, name: str) -> list[Row]:
        return self.shop[self.handles[name]]

    def statuses(self, name: str) -> list[str]:
        return [job["status"] for job in self.bench.made(self.crew.runs[name])]


@pytest.fixture(scope="module")
def scenes(bench: Bench, crew: Crew) -> Scenes:
    return Scenes(bench, crew)


@pytest.mark.parametrize(("way", "mode"), BY_TASK)
def test_a_dry_run_ends_waiting_and_tells_what_it_would_do(scenes: Scenes, way: str, mode: str) -> None:
    scenes.crew.end(f"{way} {mode}")
    manifest = scenes.dry[f"{way} {mode}"]
    job = job_of(manifest)
    assert (manifest["kind"], job["outcome"], manifest["files"]) == ("product-import:dry_run", "waiting", [])
    assert (job["details"]["operations"]["VARIANT_CREATE"], job["processed"]) == (2, 0)
    (described,) = job["details"]["stat_descriptors"]
    assert "1 products created" in described["message"]
    assert "2 variants will be created" in described["message"]


@pytest.mark.parametrize(("way", "mode"), GO)
def test_a_dry_run_that_is_confirmed_imports_once(scenes: Scenes, way: str, mode: str) -> None:
    name = f"{way} {mode}"
    manifest = scenes.crew.end(name)
    assert job_of(manifest)["outcome"] == "succeeded"
    assert len(scenes.rows(name)) == 2
    task = scenes.deciders.get(name, scenes.crew.runs[name])
    assert job_of(task.retry())["job_id"] == job_of(manifest)["job_id"]
    assert scenes.statuses(name) == ["completed"]


@pytest.mark.parametrize(("way", "mode"), STOP)
def test_a_dry_run_that_is_not_to_be_confirmed_is_cancelled_and_a_success(
    scenes: Scenes, way: str, mode: str
) -> None:
    name = f"{way} {mode}"
    job = job_of(scenes.crew.end(name))
    assert (job["outcome"], job["details"]["operations"]["PRODUCT_CREATE"]) == ("cancelled", 1)
    assert scenes.statuses(name) == ["canceled"]
    assert scenes.rows(name) == []
    task = scenes.deciders.get(name, scenes.crew.runs[name])
    if (way, mode) in BY_TASK:
        assert job_of(task.retry())["outcome"] == "cancelled"
    assert scenes.statuses(name) == ["canceled"]


@pytest.mark.parametrize(("way", "mode"), TOO_MANY)
def test_too_many_changes_cancel_and_fail(scenes: Scenes, way: str, mode: str) -> None:
    name = f"{way} {mode}"
    says = ("3 changes, more than max_changes: 2", "Nothing was changed", "not retried")
    fails(lambda: scenes.crew.end(name), JobCancelled, *says, final=True)
    assert scenes.statuses(name) == ["canceled"]
    assert scenes.rows(name) == []


def test_a_dry_run_of_an_export_is_confirmed_and_stored_by_another_task(scenes: Scenes) -> None:
    manifest = scenes.crew.end("export")
    assert job_of(scenes.dry["export"])["outcome"] == "waiting"
    assert job_of(manifest)["job_id"] == job_of(scenes.dry["export"])["job_id"]
    (stored,) = manifest["files"]
    assert stored["rows"] >= 72
