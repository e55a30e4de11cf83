"""How records are named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stoq_provider.jobs.records import TaskIdentity

TASK = TaskIdentity(
    dag_id="reports", task_id="export", run_id="scheduled__2026-05-28", map_index=-1, clears=2
)
NAME = TASK.name("stoq_default", "ab12")


def test_a_name_is_stable_across_versions_of_this_package():
    assert NAME == "b547b0b195c4f33398e1ae450bd5cfd6536a3a7a9b079e921422110a40803104"


@pytest.mark.parametrize(
    "other", [{"dag_id": "reportsx"}, {"task_id": "exportx"}, {"run_id": "manual"}, {"map_index": 0}], ids=str
)
def test_another_task_instance_has_another_name(other):
    assert replace(TASK, **other).name("stoq_default", "ab12") != NAME


def test_another_connection_and_another_input_have_another_name():
    assert NAME not in (TASK.name("stoq_defaultx", "ab12"), TASK.name("stoq_default", "ab12x"))


def test_a_clear_leaves_the_name_as_it_is():
    assert replace(TASK, clears=3).name("stoq_default", "ab12") == NAME


def test_parts_do_not_run_into_each_other():
    shifted = replace(TASK, dag_id="reportse", task_id="xport")
    swapped = replace(TASK, dag_id=TASK.task_id, task_id=TASK.dag_id)
    assert NAME not in [task.name("stoq_default", "ab12") for task in (shifted, swapped)]
