"""
A storm: a seeded row of failures of a cluster, its services and its shop, while DAG runs are begun.

What happens when is drawn before it begins, so a seed gives the same storm. What it meets then is up to
the machine.
"""

from __future__ import annotations

import logging
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import requests

from tests.cluster.airflow import Cluster
from tests.cluster.books import Asked, Asking
from tests.services.processes import send

log = logging.getLogger(__name__)
TICK = 0.2
LONGEST_DOWN = 4.0
"""Seconds after which what was killed starts again, at most."""

DAY = 25 * 3600.0
"""Seconds that the shop's clock is moved by: records of jobs live for 24 h."""

CALM = 0.15
"""Part of the storm, at its begin, without failures: something must run that can fail."""

KILLS = {
    "kill worker": 4,
    "kill supervisor": 3,
    "kill task": 6,
    "kill triggerer": 4,
    "kill scheduler": 2,
    "kill api server": 1,
    "kill redis": 1,
    "pause postgres": 1,
    "stop api": 1,
}
"""Failure to weight, of the cluster and of the shop as a whole."""

SUBMIT, POLL, FILE = ("POST", None), ("GET", "jobs|exports"), ("GET", "stoq-exports")
FAULTS: dict[str, tuple[int, tuple[str, str | None], str, dict[str, Any]]] = {
    "reset before": (3, SUBMIT, "reset_before", {}),
    "reset after": (3, SUBMIT, "reset_after", {}),
    "garbage after": (2, SUBMIT, "garbage", {}),
    "error after": (2, SUBMIT, "status", {"status": 502, "processed": True}),
    "429 storm": (3, POLL, "status", {"status": 429, "headers": {"Retry-After": "1"}}),
    "refused 429": (2, SUBMIT, "status", {"status": 429, "headers": {"Retry-After": "1"}}),
    "5xx": (3, POLL, "status", {"status": 503}),
    "garbage": (2, POLL, "garbage", {}),
    "html": (1, POLL, "html", {}),
    "poll reset": (2, POLL, "reset_after", {}),
    "truncated": (3, FILE, "truncated", {"after": 700, "reset": True}),
    "cut in the middle": (3, FILE, "truncated", {"after": 30_000_000, "reset": True}),
    "expired URL": (3, FILE, "expired_url", {}),
    "other file": (1, FILE, "changed_etag", {}),
    "no ranges": (1, FILE, "ignore_range", {}),
}
"""Fault to weight, method and path, kind of the sandbox, and its options."""

AMBIGUOUS = ("reset after", "garbage after", "error after")
"""Faults after which who submitted cannot know whether a job began."""


@dataclass
class Event:
    """Something to happen, in seconds from the begin; ``draw`` chooses one of those that are there then."""

    at: float
    name: str
    draw: float
    length: float

    def __str__(self) -> str:
        return f"{self.at:.1f} s: {self.name} ({self.draw:.3f}, {self.length:.1f} s)"


def plan(seed: int, seconds: float) -> list[Event]:
    """Return the failures of a storm; two or three in five seconds, and one step of the clock."""
    random = Random(seed)
    weights = {**KILLS, **{name: fault[0] for name, fault in FAULTS.items()}}
    events = []
    at = CALM * seconds
    while at < seconds:
        (name,) = random.choices(list(weights), list(weights.values()))
        longest = min(60.0, seconds / 4) if name == "stop api" else LONGEST_DOWN
        events.append(Event(at, name, random.random(), random.uniform(0.2, longest)))
        at += random.uniform(1.0, 3.0)
    events.append(Event(random.uniform(0.6, 0.9) * seconds, "step clock", 0.0, 0.0))
    return sorted(events, key=lambda event: event.at)


@dataclass
class Storm:
    """
    The failures of one seed, and what was asked for meanwhile.

    :param seconds: how long failures go on.
    :ivar asked: the DAG runs that were begun.
    :ivar happened: how often each failure happened.
    :ivar clock_stepped_at: Unix time of the step of the shop's clock.
    """

    cluster: Cluster
    seed: int
    seconds: float
    asked: list[Asked] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    clock_stepped_at: float | None = None
    _later: list[tuple[float, Callable[[], object]]] = field(default_factory=list)

    def blow(self) -> None:
        """Go through the storm; in the end everything runs again, and no fault is armed."""
        asking = Asking(self.cluster.sandbox, self.seed, self.seconds * (1 - CALM))
        events = plan(self.seed, self.seconds)
        started = time.monotonic()
        try:
            while (now := time.monotonic() - started) < self.seconds or asking.left:
                while events and events[0].at <= now:
                    self._happen(events.pop(0))
                self._restart(now)
                while (asked := asking.due(now)) is not None and self._begin(asked):
                    asking.begun()
                time.sleep(TICK)
        finally:
            self._restart(None)
        self._count_faults()

    # -- steps --------------------------------------------------------------------------------------

    def _begin(self, asked: Asked) -> bool:
        """Begin a DAG run, unless the api-server is down."""
        with suppress(requests.RequestException):
            self.cluster.api.begin(asked.dag_id, asked.run_id, asked.conf)
            self.asked.append(asked)
            return True
        return False

    def _happen(self, event: Event) -> None:
        log.info("seed %s, %s", self.seed, event)
        if event.name in FAULTS:
            _, (method, path), kind, options = FAULTS[event.name]
            self.cluster.sandbox.arm(kind, method=method, path=path, times=1 + int(event.draw * 4), **options)
        elif getattr(self, "_" + event.name.replace(" ", "_"))(event):
            self.happened[event.name] += 1

    def _restart(self, now: float | None) -> None:
        """Do what is due; ``None``: all of it."""
        due = [entry for entry in self._later if now is None or entry[0] <= now]
        self._later = [entry for entry in self._later if entry not in due]
        for _, work in due:
            work()

    def _down(self, name: str, event: Event) -> bool:
        """Kill a component that runs, to be started again."""
        if not self.cluster.parts[name].runs:
            return False
        self.cluster.kill(name)
        self._later.append((event.at + event.length, lambda: self.cluster.start(name)))
        return True

    def _kill_worker(self, event: Event) -> bool:
        name = _one(self.cluster.workers, event)
        killed = self._down(name, event)
        if killed:
            self.cluster.database.silence_worker(name)
        return killed

    def _kill_triggerer(self, event: Event) -> bool:
        return self._down(_one(self.cluster.triggerers, event), event)

    def _kill_scheduler(self, event: Event) -> bool:
        killed = self._down("scheduler", event)
        if killed:
            self.cluster.database.silence_schedulers()
        return killed

    def _kill_api_server(self, event: Event) -> bool:
        return self._down("api_server", event)

    def _kill_supervisor(self, event: Event) -> bool:
        return self._kill_one(self.cluster.task_processes()[0], event)

    def _kill_task(self, event: Event) -> bool:
        return self._kill_one(self.cluster.task_processes()[1], event)

    def _kill_one(self, pids: list[int], event: Event) -> bool:
        if not pids:
            return False
        send(signal.SIGKILL, [_one(pids, event)])
        return True

    def _kill_redis(self, event: Event) -> bool:
        self.cluster.redis.kill()
        self.cluster.redis.start()
        return True

    def _pause_postgres(self, event: Event) -> bool:
        with self.cluster.postgres.paused():
            time.sleep(event.length)
        return True

    def _stop_api(self, event: Event) -> bool:
        self.cluster.sandbox.arm("refuse", seconds=event.length)
        return True

    def _step_clock(self, event: Event) -> bool:
        self.cluster.sandbox.advance(DAY)
        self.clock_stepped_at = time.time()
        return True

    def _count_faults(self) -> None:
        for armed in self.cluster.sandbox.state["faults"]:
            for name, (_, (method, path), kind, options) in FAULTS.items():
                meant = {"fault": kind, "method": method, "path": path, **options}
                if all(armed.get(key) == value for key, value in meant.items()):
                    self.happened[name] += armed["fired"]
        self.cluster.sandbox.disarm()


def _one(names: Any, event: Event) -> Any:
    return names[int(event.draw * len(names))]
