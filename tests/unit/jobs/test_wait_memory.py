"""What a rescheduled sensor remembers from poke to poke."""

from __future__ import annotations

import logging
from types import SimpleNamespace

from stoq_provider.core.lifecycle import JobProgress
from stoq_provider.core.models import JobHandle
from stoq_provider.jobs.wait import PokeMemory
from tests.harness import MemoryStateStore

LOG = logging.getLogger(__name__)
HANDLE = JobHandle("stoq", "export:revenue", "exp_1", "/jobs/exp_1", None, 1000.0)


def memory(store: object, task_id: str = "wait") -> PokeMemory:
    ti = SimpleNamespace(dag_id="d", task_id=task_id, run_id="r", map_index=-1)
    return PokeMemory({"ti": ti, "task_state_store": store}, "stoq_default", LOG)


def test_what_one_poke_saw_the_next_recalls() -> None:
    store = MemoryStateStore()
    seen = JobProgress(HANDLE, 1000.0, seen_at=1010.0, bad_since=1020.0, bad_count=3)
    memory(store).keep([seen])
    (recalled,) = memory(store).recall([JobProgress(HANDLE, 2000.0)])
    assert (recalled.seen_at, recalled.bad_since, recalled.bad_count) == (1010.0, 1020.0, 3)
    assert recalled.started_at == 2000.0


def test_another_task_and_another_job_are_not_recalled() -> None:
    store = MemoryStateStore()
    memory(store).keep([JobProgress(HANDLE, 1000.0, seen_at=1010.0)])
    other = JobProgress(JobHandle("stoq", "export", "exp_2", "/jobs/exp_2"), 2000.0)
    assert memory(store).recall([other]) == (other,)
    fresh = JobProgress(HANDLE, 2000.0)
    assert memory(store, task_id="other").recall([fresh]) == (fresh,)


def test_a_store_that_does_not_answer_stops_no_sensor() -> None:
    store = MemoryStateStore()
    store.broken = True
    fresh = JobProgress(HANDLE, 2000.0)
    memory(store).keep([fresh])
    assert memory(store).recall([fresh]) == (fresh,)


def test_a_note_of_another_shape_is_no_note() -> None:
    store = MemoryStateStore()
    memory(store).keep([JobProgress(HANDLE, 1000.0, seen_at=1010.0)])
    (name,) = store.rows
    for broken in ('{"exp_1": {"seen_at": "yesterday"}}', '{"exp_1": 7}', "[]"):
        store.rows[name] = broken
        fresh = JobProgress(HANDLE, 2000.0)
        assert memory(store).recall([fresh]) == (fresh,)
