"""Runs a task as Airflow does, without a scheduler: render, execute, defer, trigger, resume, retry, clear."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import import_module
from typing import Any

from airflow.providers.common.compat.sdk import TaskDeferred

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:
    from airflow.exceptions import AirflowRescheduleException

MAX_DEFERRALS = 3
MAX_POKES = 300
pause = time.sleep
"""What passes between two pokes of a sensor in mode ``reschedule``; virtual time takes its place."""
patience = 60.0
"""Seconds until a trigger that never fires is given up; only a broken one takes as long."""


def as_the_server_reads_it(dag: Any) -> Any:
    """Serialize a DAG, through JSON, and read it back."""
    from airflow.serialization import serialized_objects

    serializer = getattr(serialized_objects, "DagSerialization", serialized_objects.SerializedDAG)
    return serializer.from_dict(json.loads(json.dumps(serializer.to_dict(dag))))


class Killed(BaseException):
    """Stands for a worker that is gone: nothing in the package may catch it."""


class MemoryStateStore:
    """Stands for ``context["task_state_store"]``; keeps JSON, as the real one does."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.broken = False

    def get(self, key: str, default: Any = None) -> Any:
        self._check()
        return json.loads(self.rows[key]) if key in self.rows else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self._check()
        self.rows[key] = json.dumps(value)

    def delete(self, key: str) -> None:
        self._check()
        self.rows.pop(key, None)

    def records(self) -> list[dict[str, Any]]:
        """The rows, decoded, oldest first."""
        return [json.loads(row) for row in self.rows.values()]

    def _check(self) -> None:
        if self.broken:
            raise RuntimeError("the state store does not answer")


@dataclass
class FakeTaskInstance:
    """What operators use of a task instance."""

    task_id: str
    dag_id: str = "reports"
    run_id: str = "scheduled__2026-05-28"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 2
    xcoms: dict[str, Any] = field(default_factory=dict)
    links: dict[str, Any] = field(default_factory=dict)
    first_poke: datetime | None = None

    def xcom_push(self, key: str, value: Any) -> None:
        kept = self.links if key.startswith("_link_") else self.xcoms
        kept[key] = json.loads(json.dumps(value))

    def xcom_pull(self, task_ids: Any = None, key: str = "return_value", **_: Any) -> Any:
        return self.xcoms.get(key)

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first_poke


def _spare_the_database() -> None:
    """Keep Airflow 2 from asking its database when a sensor of ours first poked; there is none."""
    try:
        from airflow.sensors.base import _orig_start_date as ask
    except ImportError:  # Airflow 3 asks the task instance
        return

    def answer(*, dag_id: str, **others: Any) -> Any:
        return None if dag_id == FakeTaskInstance.dag_id else ask(dag_id=dag_id, **others)

    import_module("airflow.sensors.base")._orig_start_date = answer


_spare_the_database()


class TaskRun:
    """
    One task instance over its tries.

    :param make: builds the operator; called anew for each try and for each resumption, as a worker would.
    :param store: the task state store; ``False``: this Airflow has none.
    :param context: more keys of the context.

    ``changes``: parameters that are set anew on every task made from now on, as after a change of the DAG.
    """

    RETRIES = 2

    def __init__(self, make: Callable[[], Any], *, store: Any = None, **context: Any) -> None:
        self.make = make
        self.store = MemoryStateStore() if store is None else store
        self.extra = context
        self.ti = FakeTaskInstance(make().task_id, max_tries=self.RETRIES)
        self.triggers: list[tuple[str, dict[str, Any]]] = []
        self.events: list[Any] = []
        self.task: Any = None
        self.changes: dict[str, Any] = {}
        self.pokes = 0

    def context(self) -> dict[str, Any]:
        context = {"ti": self.ti, "task_instance": self.ti, "run_id": self.ti.run_id, **self.extra}
        if self.store is not False:
            context["task_state_store"] = self.store
        return context

    def execute(self) -> Any:
        """Run one try to its end, deferrals and pokes included."""
        for _ in range(MAX_POKES):
            self.pokes += 1
            try:
                return self._task().execute(self.context())
            except TaskDeferred as deferred:
                return self._resume(deferred)
            except AirflowRescheduleException as again:
                now = datetime.fromtimestamp(time.time(), timezone.utc)
                self.ti.first_poke = self.ti.first_poke or now
                pause(max(0.0, (again.reschedule_date - now).total_seconds()))
        raise AssertionError("the sensor was rescheduled again and again")

    def start(self) -> TaskDeferred | Any:
        """Run one try until it defers or ends; the deferral is returned, not carried on."""
        try:
            return self._task().execute(self.context())
        except TaskDeferred as deferred:
            self._note(deferred)
            return deferred

    def retry(self) -> Any:
        """Run the next try: XComs are wiped, the state store is not."""
        self.next_try()
        return self.execute()

    def next_try(self) -> None:
        self.ti.try_number += 1
        self.ti.xcoms.clear()
        self.ti.links.clear()
        self.ti.first_poke = None

    def clear(self) -> None:
        """Do what clearing does: all retries are granted anew."""
        self.ti.max_tries = self.ti.try_number + self.RETRIES
        self.next_try()

    def resume(self, deferred: TaskDeferred) -> Any:
        return self._resume(deferred)

    def resume_with(self, deferred: TaskDeferred, event: Any) -> Any:
        """Go on with an event of the test's own making."""
        return self._resume_once(deferred.method_name, {**(deferred.kwargs or {}), "event": event})

    def fail_trigger(self, error: str, traceback: list[str] | None = None) -> Any:
        """Go on as Airflow does after a trigger raised, or after its own time-out."""
        return self._resume_once("__fail__", {"error": error, "traceback": traceback})

    def _resume_once(self, method: str, kwargs: dict[str, Any]) -> Any:
        return self._task().resume_execution(method, json.loads(json.dumps(kwargs)), self.context())

    def _task(self) -> Any:
        self.task = self.make()
        self.task.retries = self.RETRIES
        for name, value in self.changes.items():
            setattr(self.task, name, value)
        return self.task

    def _note(self, deferred: TaskDeferred) -> None:
        path, kwargs = deferred.trigger.serialize()
        self.triggers.append((path, json.loads(json.dumps(kwargs))))

    def _resume(self, deferred: TaskDeferred) -> Any:
        for _ in range(MAX_DEFERRALS):
            self._note(deferred)
            event = run_trigger(*self.triggers[-1])
            self.events.append(event)
            try:
                return self.resume_with(deferred, event)
            except TaskDeferred as again:
                deferred = again
        raise AssertionError("the task deferred again and again")


def make_trigger(path: str, kwargs: dict[str, Any]) -> Any:
    """Build a trigger from its serialised form, as a triggerer does."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)(**kwargs)


async def first_event(trigger: Any) -> Any:
    """Return the payload of a trigger's one event, as it comes out of the database."""
    async for event in trigger.run():
        return json.loads(json.dumps(event.payload))
    raise AssertionError("the trigger ended without an event")


def run_trigger(path: str, kwargs: dict[str, Any]) -> Any:
    """Build a trigger from its serialised form and return its one event's payload."""
    return asyncio.run(asyncio.wait_for(first_event(make_trigger(path, kwargs)), patience))


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


class Logs(list[tuple[int, str]]):
    """What was logged: level and text, tracebacks included."""

    @property
    def text(self) -> str:
        return "\n".join(text for _, text in self)

    def warnings(self, part: str = "") -> list[str]:
        """Warnings and worse that hold ``part``."""
        return [text for level, text in self if level >= logging.WARNING and part in text]


class _Recorder(logging.Handler):
    def __init__(self, logs: Logs) -> None:
        super().__init__(logging.DEBUG)
        self._logs = logs
        self._format = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        self._logs.append((record.levelno, f"{self._format.format(record)} {record.args!r}"))


@contextmanager
def recorded_logs() -> Iterator[Logs]:
    """Record the log of the standard library and, on Airflow 3, that of structlog as well."""
    logs = Logs()
    recorder = _Recorder(logs)
    root = logging.getLogger()
    root.addHandler(recorder)
    try:
        with _structlog(logs):
            yield logs
    finally:
        root.removeHandler(recorder)


@contextmanager
def _structlog(logs: Logs) -> Iterator[None]:
    try:
        import structlog
    except ImportError:
        yield
        return

    def note(logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
        level = logging.getLevelName("ERROR" if method == "exception" else method.upper())
        args = event.get("positional_args", ())
        text = str(event.get("event", ""))
        logs.append((level, f"{text % args if args else text} {event!r}"))
        return event

    # Loggers keep this very list, so it is changed in place.
    processors = structlog.get_config()["processors"]
    processors.insert(0, note)
    try:
        yield
    finally:
        processors.remove(note)
