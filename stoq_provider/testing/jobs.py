"""Jobs: their lives on the job clock, and the settings that bend them."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import count
from typing import Any, Literal

from stoq_provider.testing.clock import JobClock

Family = Literal["orders", "variants", "exports", "hidden"]
Outcome = Literal["done", "failed", "cancelled", "forever"]

RECORD_LIFETIME = 24 * 3600  # documented: about 24 h after the end
# Invented: how long jobs take. Documented: most bulk jobs under 500 items take less than 30 s.
BULK_SECONDS = 2.0
BULK_SECONDS_PER_ITEM = 0.05
EXPORT_SECONDS = 20.0
# Invented: a failed or cancelled job stops half way; an endless one shows no more than this.
STOPS_AT = {"done": 1.0, "failed": 0.5, "cancelled": 0.5, "forever": 0.9}
OUTCOMES: dict[str, Outcome] = {
    "ready": "done",
    "completed": "done",
    "failed": "failed",
    "cancelled": "cancelled",
    "forever": "forever",
}
SETTINGS = frozenset(
    {
        "duration",
        "outcome",
        "error",
        "item_errors",
        "rows",
        "row_count_lie",
        "status_word",
        "url_expires",
        "file_name",
    }
)


class ItemError(Exception):
    """One item of a bulk job can't be changed; the job swallows it (documented)."""


@dataclass
class Job:
    """One job of any family."""

    job_id: str
    kind: str
    family: Family
    path: str
    key: str
    created_at: float
    duration: float
    items: list[int]
    apply: Callable[[int], bool]
    finish: Callable[[Job], None]
    power: float = 1.0
    """Progress is the part of the duration that has passed, to this power; infinite: 0 until the end."""
    outcome: Outcome = "done"
    settings: dict[str, Any] = field(default_factory=dict)
    ended_at: float | None = None
    forgotten: bool = False
    processed: int = 0
    fraction: float = 0.0
    changed: list[int] = field(default_factory=list)
    unchanged: list[int] = field(default_factory=list)
    swallowed: dict[int, str] = field(default_factory=dict)
    file_path: str | None = None
    file_name: str | None = None
    row_count: int | None = None

    @property
    def status(self) -> str:
        """The status word, as documented, or the one set by a test."""
        word = self.settings.get("status_word")
        if self.ended_at is None:
            return str(word or "running")
        if self.outcome != "done":
            return self.outcome
        return "ready" if self.family == "exports" else "completed"

    @property
    def progress(self) -> int:
        """Percent, floored as in the documented example (12 of 47 is 25)."""
        if self.ended_at is not None and self.outcome == "done":
            return 100
        if self.items:
            return 100 * self.processed // len(self.items)
        return int(100 * min(self.fraction, 0.99))

    @property
    def error(self) -> str | None:
        """Why the job failed. Invented: a string, and its default wording."""
        if self.status != "failed":
            return None
        return str(self.settings.get("error") or "The job failed unexpectedly.")

    def move(self, now: float) -> None:
        """Do what is due by now: items one after another, then the end."""
        if self.ended_at is not None:
            return
        elapsed = (now - self.created_at) / self.duration if self.duration > 0 else 1.0
        self.fraction = min(min(elapsed, 1.0) ** self.power, STOPS_AT[self.outcome])
        self._process(int(len(self.items) * self.fraction))
        if elapsed >= 1.0 and self.outcome != "forever":
            self._end(self.created_at + self.duration)

    def next_step(self) -> float | None:
        """When the next item is done, or else the job; None if nothing will happen by itself."""
        if self.ended_at is not None:
            return None
        after_next = (self.processed + 1) / len(self.items) if self.items else 2.0
        if after_next <= STOPS_AT[self.outcome]:
            return self.created_at + self.duration * float(after_next ** (1 / self.power))
        return None if self.outcome == "forever" else self.created_at + self.duration

    def end(self, outcome: Outcome, now: float) -> None:
        """Force an end."""
        self.outcome = outcome
        if outcome == "done":
            self._process(len(self.items))
        self._end(now)

    def _end(self, at: float) -> None:
        self.ended_at = at
        if self.outcome == "done":
            self.finish(self)

    def _process(self, count: int) -> None:
        refused = {int(item) for item in self.settings.get("item_errors") or ()}
        for item in self.items[self.processed : count]:
            try:
                if item in refused:
                    raise ItemError("refused by a setting of the sandbox")
                (self.changed if self.apply(item) else self.unchanged).append(item)
            except ItemError as error:
                self.swallowed[item] = str(error)
        self.processed = max(self.processed, count)

    def view(self) -> dict[str, Any]:
        """The true story, for the control endpoint only."""
        return {
            "kind": self.kind,
            "path": self.path,
            "status": self.status,
            "progress": self.progress,
            "total": len(self.items),
            "processed": self.processed,
            "changed": list(self.changed),
            "unchanged": list(self.unchanged),
            "swallowed": {str(item): error for item, error in self.swallowed.items()},
            "created_at": self.created_at,
            "ended_at": self.ended_at,
            "forgotten": self.forgotten,
            "row_count": self.row_count,
        }


@dataclass
class Setting:
    """What the next jobs of a kind shall do."""

    kind: str
    values: dict[str, Any]
    times: int | None = 1

    def fits(self, names: Sequence[str]) -> bool:
        """Whether the setting is meant for a job of these names, and not used up."""
        return self.times != 0 and any(fnmatchcase(name, self.kind) for name in names)


def take_settings(settings: Iterable[Setting], *names: str) -> dict[str, Any]:
    """Merge and use up the settings that are meant for the next job of these names; later ones win."""
    merged: dict[str, Any] = {}
    for setting in settings:
        if setting.fits(names):
            merged |= setting.values
            if setting.times is not None:
                setting.times -= 1
    return merged


def check_settings(values: dict[str, Any]) -> None:
    """Refuse names and outcomes nobody knows; a misspelt setting must not pass as no setting."""
    unknown = set(values) - SETTINGS
    if unknown:
        raise ValueError(f"unknown job settings: {', '.join(sorted(unknown))}")
    outcome = values.get("outcome")
    if outcome is not None and outcome not in OUTCOMES:
        raise ValueError(f"outcome must be one of: {', '.join(OUTCOMES)}")


class JobBook:
    """All jobs of a sandbox."""

    def __init__(self, clock: JobClock, seed: str) -> None:
        self._clock = clock
        self._seed = seed
        self._settings: list[Setting] = []
        self._agenda: list[tuple[float, int, Job]] = []
        self._serial = count()
        self.jobs: dict[str, Job] = {}

    def prepare(self, kind: str, times: int | None, values: dict[str, Any]) -> None:
        """Bend the next `times` jobs of a kind (a pattern), or all of them with `None`."""
        check_settings(values)
        self._settings.append(Setting(kind, values, times))

    def settings_for(self, *names: str) -> dict[str, Any]:
        """Merge and use up the settings that fit; later ones win."""
        return take_settings(self._settings, *names)

    def new_id(self, prefix: str) -> str:
        """Next job id: a documented prefix and 16 hexadecimal digits."""
        text = f"{self._seed}|{len(self.jobs)}|{prefix}"
        return f"{prefix}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def add(self, job: Job) -> None:
        """Start a job."""
        self.jobs[job.job_id] = job
        job.move(self._clock.now())
        self._plan(next(self._serial), job)

    def _plan(self, serial: int, job: Job) -> None:
        at = job.next_step()
        if at is not None:
            heapq.heappush(self._agenda, (at, serial, job))

    def settle_due(self) -> None:
        """Do what is due by now, oldest job first; progress alone is not brought up to date."""
        now = self._clock.now()
        due = []
        while self._agenda and self._agenda[0][0] <= now:
            due.append(heapq.heappop(self._agenda)[1:])
        for serial, job in sorted(due):
            job.move(now)
            self._plan(serial, job)

    def settle(self) -> None:
        """Bring every job up to now, oldest first."""
        now = self._clock.now()
        for job in self.jobs.values():
            job.move(now)

    def find(self, job_id: str, family: Family, key: str) -> Job | None:
        """A job that can still be asked for at the endpoint of its family."""
        job = self.jobs.get(job_id)
        if job is None or job.forgotten or (job.family, job.key) != (family, key):
            return None
        job.move(self._clock.now())
        expired = job.ended_at is not None and self._clock.now() >= job.ended_at + RECORD_LIFETIME
        return None if expired else job

    def busy(self, path: str, key: str) -> bool:
        """Whether a job submitted to this path is still running."""
        return any(job.ended_at is None and (job.path, job.key) == (path, key) for job in self.jobs.values())
