"""Whole runs of a DAG in this process, by Airflow's own ``dag.test()``, and what became of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import airflow
import pytest
from airflow.listeners import hookimpl
from airflow.providers.common.compat.sdk import BaseSensorOperator

from stoq_provider.triggers.deferral import WaitingTask

try:
    from airflow.sdk.listener import get_listener_manager
except ImportError:  # Airflow before 3.2
    from airflow.listeners.listener import get_listener_manager
try:
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
except ImportError:
    from airflow.models.dagbag import DagBag

    with suppress(ImportError):  # Airflow before 3.1
        from airflow.models.dagbag import sync_bag_to_db

AIRFLOW = tuple(int(part) for part in airflow.__version__.split(".")[:2])
SECONDS = 0.1
"""Between two polls, and between two pokes of a sensor, whatever the task says."""


@dataclass(frozen=True)
class TaskResult:
    """
    What became of a task, or of one instance of a mapped task.

    :param state: `success`, `failed`, `skipped`, `upstream_failed` and so on, as Airflow names them
    :param tries: how often it was started; 0: never
    :param return_value: what it returned, as other tasks see it
    :param error: what its last try failed with, also where a later one succeeded; `None`: no try failed
    """

    task_id: str
    map_index: int
    state: str
    tries: int
    return_value: Any
    error: BaseException | str | None
    _instance: Any = field(repr=False)

    def xcom(self, key: str) -> Any:
        """Return what it pushed under a key; `None`: nothing. Only as long as the test runs."""
        return _xcom(self._instance, key)


@dataclass(frozen=True)
class DagResult:
    """
    What became of a run.

    ``result["export"]`` is a task, ``result["export[1]"]`` the second instance of a mapped one.

    :param state: `success` or `failed`
    """

    state: str
    run_id: str
    tasks: Mapping[str, TaskResult]

    def __getitem__(self, task: str) -> TaskResult:
        """Return a task's result; `KeyError` names those that there are."""
        if task not in self.tasks:
            raise KeyError(f"{task}; tasks of this run: {', '.join(self.tasks)}")
        return self.tasks[task]

    @property
    def states(self) -> dict[str, str]:
        """The state of every task, by the names that the result takes."""
        return {name: task.state for name, task in self.tasks.items()}

    def __str__(self) -> str:
        """Return a line for the run and one for each task, with its error."""
        lines = [f"{self.run_id}: {self.state}"]
        for name, task in self.tasks.items():
            error = "" if task.error is None else f", {task.error!r}"
            lines.append(f"{name}: {task.state}, tries: {task.tries}{error}")
        return "\n".join(lines)


class RunDag:
    """The fixture `run_dag`; `report` gets each result as text, to be shown with a test that fails."""

    def __init__(self, folder: Path, root: Path, report: Callable[[str], None]) -> None:
        self._folder = folder
        self._root = root
        self._report = report

    def __call__(
        self,
        dag: Any,
        dag_id: str | None = None,
        *,
        logical_date: datetime | None = None,
        run_after: datetime | None = None,
        conf: Mapping[str, Any] | None = None,
        mark_success: str | None = None,
    ) -> DagResult:
        """
        Run a DAG to its end: retries, deferrals, triggers and mapped tasks included.

        Retries come at once, and polls and pokes every 0.1 s, whatever the DAG says.

        :param dag: the DAG, or the path of its file, as seen from pytest's `rootdir` or the working directory
        :param dag_id: which one, where the file has several
        :param logical_date: with a time zone; default: now
        :param run_after: with a time zone; for a run without a logical date, which Airflow 3 has
        :param conf: of the run: values for the DAG's parameters
        :param mark_success: regular expression of tasks that succeed without being run, such as an approval
        :raises ValueError: the file is not there or can't be imported, or the DAG is not in it
        """
        bag = self._bag(dag)
        found = _choose(bag, dag_id or getattr(dag, "dag_id", None))
        options: dict[str, Any] = {"run_conf": dict(conf or {}), "mark_success_pattern": mark_success}
        if run_after is not None:
            options |= {"logical_date": None, "run_after": run_after}
        elif logical_date is not None:
            options["logical_date" if AIRFLOW >= (3, 0) else "execution_date"] = logical_date
        with pytest.MonkeyPatch.context() as patch, _process_as_it_was(), _errors() as errors:
            if AIRFLOW >= (3, 0):
                patch.setattr("airflow.sdk.execution_time.supervisor.in_process_api_server", _execution_api)
            for task in found.tasks:
                _shorten(task, patch)
            _store(bag)
            run = found.test(**options)
        tasks = {name: _result(ti, errors.get(name)) for name, ti in _by_name(run).items()}
        result = DagResult(_text(run.state), run.run_id, tasks)
        self._report(str(result))
        return result

    def _bag(self, dag: Any) -> Any:
        if isinstance(dag, (str, Path)):
            bag = DagBag(dag_folder=str(self._found(dag)), safe_mode=False)
            if bag.import_errors:
                raise ValueError("\n".join(bag.import_errors.values()))
            return bag
        bag = DagBag(dag_folder=str(self._folder / "dags"))
        bag.dags[dag.dag_id] = dag
        if AIRFLOW >= (3, 0):
            # As when a bag reads the file; Airflow 3.0 stores no DAG without it.
            dag.relative_fileloc = dag.relative_fileloc or Path(dag.fileloc).name
        return bag

    def _found(self, path: str | Path) -> Path:
        for folder in (self._root, Path.cwd()):
            if (folder / path).is_file():
                return folder / path
        raise ValueError(f"There is no file {path} in {self._root} or {Path.cwd()}.")


@cache
def _execution_api() -> Any:
    """Return the API that tasks ask; before 3.3, Airflow takes seconds to make another for each task."""
    from airflow.api_fastapi.execution_api.app import InProcessExecutionAPI

    return InProcessExecutionAPI()


def _choose(bag: Any, dag_id: str | None) -> Any:
    if dag_id is None and len(bag.dags) == 1:
        return next(iter(bag.dags.values()))
    if dag_id not in bag.dags:
        asked = "dag_id is needed" if dag_id is None else f"no DAG {dag_id!r}"
        raise ValueError(f"{asked} in {bag.dag_folder}; it has {sorted(bag.dags)}")
    return bag.dags[dag_id]


def _store(bag: Any) -> None:
    """Write the DAGs and their assets to the database, as the DAG processor does."""
    if AIRFLOW < (3, 0):
        bag.sync_to_db()
        return
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    DagBundlesManager().sync_bundles_to_db()
    if AIRFLOW < (3, 1):
        bag.sync_to_db("dags-folder", None)
    else:
        sync_bag_to_db(bag, "dags-folder", None)


def _shorten(task: Any, patch: pytest.MonkeyPatch) -> None:
    """Let a task wait for no longer than a test likes to."""
    mapped = hasattr(task, "partial_kwargs")
    kind = task.operator_class if mapped else type(task)
    given = task.partial_kwargs if mapped else vars(task)
    waits: dict[str, Any] = {"retry_delay": timedelta(0)}
    if issubclass(kind, BaseSensorOperator):
        waits["poke_interval"] = SECONDS
    if issubclass(kind, WaitingTask) and given.get("poll_interval") is not None:
        waits["poll_interval"] = SECONDS
    for name, value in waits.items():
        if mapped:
            patch.setitem(given, name, value)
        else:
            patch.setattr(task, name, value)


@contextmanager
def _process_as_it_was() -> Iterator[None]:
    """Put back what tasks leave: variables of the environment, and a handler that ends nothing at SIGTERM."""
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        with mock.patch.dict(os.environ):
            yield
    finally:
        signal.signal(signal.SIGTERM, on_term)


@contextmanager
def _errors() -> Iterator[dict[str, Any]]:
    """Collect what tasks fail with, by the names of their instances; Airflow keeps it nowhere."""
    errors: dict[str, Any] = {}

    class Listener:
        @hookimpl
        def on_task_instance_failed(self, task_instance: Any, error: Any) -> None:
            errors[_name(task_instance)] = error

    listener, manager = Listener(), get_listener_manager()
    manager.add_listener(listener)
    try:
        yield errors
    finally:
        manager.pm.unregister(listener)


def _by_name(run: Any) -> dict[str, Any]:
    instances = sorted(run.get_task_instances(), key=lambda ti: (ti.start_date is None, ti.start_date))
    return {_name(ti): ti for ti in instances}


def _name(instance: Any) -> str:
    mapped = instance.map_index is not None and instance.map_index >= 0
    return f"{instance.task_id}[{instance.map_index}]" if mapped else str(instance.task_id)


def _result(instance: Any, error: Any) -> TaskResult:
    return TaskResult(
        instance.task_id,
        instance.map_index,
        _text(instance.state),
        instance.try_number,
        _xcom(instance, "return_value"),
        error,
        instance,
    )


def _xcom(instance: Any, key: str) -> Any:
    return instance.xcom_pull(task_ids=instance.task_id, map_indexes=instance.map_index, key=key)


def _text(state: Any) -> str:
    return str(getattr(state, "value", state) or "none")
