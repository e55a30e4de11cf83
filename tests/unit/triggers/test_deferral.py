"""What a task says of a trigger that failed."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from stoq_provider.triggers.deferral import is_time_out, trigger_failure

UNSET = object()


class MappedInstance:
    """Answers as a task instance of Airflow 2 does: without an index, with the XComs of all of them."""

    def __init__(self, map_index: int, pushed: dict[int, list[str]]) -> None:
        self.map_index = map_index
        self.pushed = pushed

    def xcom_pull(self, task_ids: Any, key: str, map_indexes: Any = UNSET) -> Any:
        assert (task_ids, key) == ("mapped", "job_ids")
        if map_indexes is not UNSET:
            return self.pushed.get(map_indexes)
        return self.pushed.get(-1) or list(self.pushed.values())


def message(ti: Any) -> str:
    task = SimpleNamespace(task_id="mapped", log=logging.getLogger("x"))
    return trigger_failure(task, {"error": "Trigger failure"}, {"ti": ti}, "STOQ")


@pytest.mark.parametrize(
    ("map_index", "jobs"), [(0, "the jobs exp_1, exp_2 at STOQ"), (1, "the jobs exp_3 at STOQ")]
)
def test_mapped_task_names_the_jobs_of_its_own_index(map_index, jobs):
    assert jobs in message(MappedInstance(map_index, {0: ["exp_1", "exp_2"], 1: ["exp_3"]}))


def test_task_that_is_not_mapped_names_its_jobs():
    assert "the jobs exp_1 at STOQ" in message(MappedInstance(-1, {-1: ["exp_1"]}))


def test_message_needs_no_xcom():
    assert "the jobs at STOQ" in message(SimpleNamespace())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"error": "Trigger timeout"}, True),
        ({"error": "Trigger/execution timeout"}, True),
        ({"error": "Trigger failure"}, False),
        ({}, False),
    ],
)
def test_time_out_is_told_from_a_failure(given, expected):
    assert is_time_out(given) is expected


def test_time_out_is_told_by_the_words_of_this_airflow():
    trigger = pytest.importorskip("airflow.models.trigger")
    if not hasattr(trigger, "TriggerFailureReason"):
        pytest.skip("Airflow 2 has the words in its scheduler only")
    assert is_time_out({"error": trigger.TriggerFailureReason.TRIGGER_TIMEOUT})
