"""
What a sensor in mode ``reschedule`` remembers from one poke to the next.

Every poke is a process of its own. Without memory, one stray 404 would look like a job that never was, and
no row of bad answers would ever be too long. Where no store is at hand, that is how it is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from stoq_provider.core.http import MalformedAnswer
from stoq_provider.core.lifecycle import JobWatch
from stoq_provider.core.models import from_iso, iso
from stoq_provider.core.records import identity
from stoq_provider.exceptions import StoqProviderError
from stoq_provider.hooks import options
from stoq_provider.jobs.state_store import StateStore, open_store


class WatchMemory:
    """Keeps, by job id, when a job was last seen and since when answers have been bad."""

    def __init__(self, store: StateStore, key: str, try_number: int, log: logging.Logger) -> None:
        self._store = store
        self._key = key
        self._try_number = try_number
        self._log = log

    @classmethod
    def of(cls, context: Mapping[str, Any], conn_id: str, log: logging.Logger) -> WatchMemory:
        """Open the memory of a task instance."""
        ti = context["ti"]
        key = identity(
            dag_id=ti.dag_id,
            task_id=ti.task_id,
            run_id=ti.run_id,
            map_index=getattr(ti, "map_index", -1),
            conn_id=conn_id,
            submission_digest="watched jobs",
        )
        return cls(open_store(context, options.state_path(), None), key, getattr(ti, "try_number", 0), log)

    def recall(self, watches: Iterable[JobWatch]) -> tuple[JobWatch, ...]:
        """Return the watches with what earlier pokes saw."""
        try:
            known = self._store.load(self._key) or {}
            return tuple(self._with(watch, known.get(watch.handle.job_id)) for watch in watches)
        except (StoqProviderError, MalformedAnswer, AttributeError, TypeError) as error:
            self._log.debug("Earlier pokes could not be recalled: %s", error)
            return tuple(watches)

    def keep(self, watches: Iterable[JobWatch]) -> None:
        """Write down what this poke saw; a sensor goes on without it."""
        try:
            self._store.save(self._key, {watch.handle.job_id: self._note(watch) for watch in watches})
        except StoqProviderError as error:
            self._log.debug("This poke could not be written down: %s", error)

    def _note(self, watch: JobWatch) -> dict[str, Any]:
        return {
            "try_number": self._try_number,
            "seen_at": None if watch.seen_at is None else iso(watch.seen_at),
            "bad_since": None if watch.bad_since is None else iso(watch.bad_since),
            "bad_count": watch.bad_count,
        }

    def _with(self, watch: JobWatch, note: Mapping[str, Any] | None) -> JobWatch:
        if note is None:
            return watch
        seen_at, bad_since = note.get("seen_at"), note.get("bad_since")
        watch = replace(watch, seen_at=None if seen_at is None else from_iso(seen_at))
        if note.get("try_number") != self._try_number:
            # A new try has patience of its own with bad answers.
            return watch
        return replace(
            watch,
            bad_since=None if bad_since is None else from_iso(bad_since),
            bad_count=int(note.get("bad_count") or 0),
        )
