"""Options that are no templates: a wrong one is found when the DAG is parsed."""

from __future__ import annotations

import inspect
from datetime import datetime, timedelta, timezone
from enum import Enum

import pytest
from airflow.providers.common.compat.sdk import DAG

from stoq_provider.exceptions import ValidationRejected
from stoq_provider.jobs.config import OPTIONS
from stoq_provider.operators.actions import StoqActionOperator
from stoq_provider.operators.bulk import StoqBulkOrdersOperator, StoqBulkVariantsOperator
from stoq_provider.operators.medusa import MedusaBatchJobOperator, MedusaConfirmOperator
from stoq_provider.operators.printstudio import (
    PrintStudioAdvanceJobsOperator,
    PrintStudioCancelJobsOperator,
    PrintStudioCreateOrdersOperator,
    PrintStudioImportSkusOperator,
)
from stoq_provider.operators.reports import StoqReportExportOperator
from stoq_provider.operators.surecart import SureCartBulkActionOperator
from stoq_provider.sensors.jobs import (
    MedusaJobSensor,
    PrintStudioJobSensor,
    StoqJobSensor,
    SureCartJobSensor,
)
from tests.harness import TaskRun

X = "{{ params.x }}"
TASKS = {
    StoqReportExportOperator: {"report": X},
    StoqBulkOrdersOperator: {"action": X, "order_ids": X},
    StoqBulkVariantsOperator: {"action": X, "variant_ids": X},
    StoqActionOperator: {"action": X},
    MedusaBatchJobOperator: {"job_type": X},
    MedusaConfirmOperator: {"job": X},
    SureCartBulkActionOperator: {"action_type": X, "record_ids": X},
    PrintStudioCreateOrdersOperator: {"orders": X},
    PrintStudioImportSkusOperator: {"skus": X},
    PrintStudioAdvanceJobsOperator: {"job_ids": X, "target_status": X},
    PrintStudioCancelJobsOperator: {"job_ids": X, "reason": X},
    StoqJobSensor: {"job": X},
    SureCartJobSensor: {"job": X},
    MedusaJobSensor: {"job": X},
    PrintStudioJobSensor: {"orders": X, "target_states": X},
}
DOWNLOAD = ("format", "overwrite", "download_options")


def options_of(cls) -> set[str]:
    """Return the options that a class takes, wherever in its bases they stand."""
    found = set()
    for base in cls.__mro__:
        if base.__module__.startswith("stoq_provider."):
            found |= set(inspect.signature(base.__init__).parameters)
    return {name for name in found if name in OPTIONS or name in DOWNLOAD}


def as_xcom():
    return StoqReportExportOperator(task_id="before", report="revenue").output


WRONG = {
    "text": "soon",
    "template": X,
    "number below zero": -1,
    "nan": float("nan"),
    "list": ["fail"],
    "mapping": {"a": 1},
    "object": object(),
}
CASES = [
    pytest.param(cls, name, id=f"{cls.__name__}-{name}") for cls in TASKS for name in sorted(options_of(cls))
]


@pytest.mark.parametrize(("cls", "name"), CASES)
def test_a_wrong_option_fails_the_parsing_of_the_dag(cls, name):
    said = {}
    for wrong, value in WRONG.items():
        try:
            cls(task_id="x", **TASKS[cls], **{name: value})
        except ValidationRejected as error:
            said[wrong] = str(error)
    assert said.keys() == WRONG.keys(), "the others were taken"
    assert not [wrong for wrong, text in said.items() if name not in text or "Nothing was sent" not in text]


@pytest.mark.parametrize("cls", TASKS)
def test_another_tasks_output_is_no_option(cls):
    for name in options_of(cls):
        with DAG("d", schedule=None), pytest.raises(ValidationRejected, match=name):
            cls(task_id="x", **TASKS[cls], **{name: as_xcom()})


RIGHT = {
    "on_clear": ["resubmit", "reuse"],
    "on_busy": ["fail", "wait"],
    "on_empty": ["error", "skip"],
    "verify": [None, "warn", "fail"],
    "timeout": [1, 0.5, timedelta(hours=1), "60"],
    "poll_interval": [None, 1, 0.5, timedelta(seconds=5), "60"],
    "unhealthy_after": [None, 60],
    "wait_for_completion": [None, True, False],
    "max_items": [1, 10**6],
    "chunk_size": [1, 500],
    "deferrable": [True, False],
    "dry_run": [True, False],
    "fail_on_failed": [True, False],
    "repeat_safe": [True, False],
    "durable": [True, False],
    "start_from_trigger": [False],  # True needs others beside it
}


def test_every_option_has_right_values_here():
    assert set(RIGHT) == set(OPTIONS) == set().union(*map(options_of, TASKS)) - set(DOWNLOAD)


class Word(str, Enum):
    REUSE = "reuse"
    WAIT = "wait"


def test_texts_and_whole_numbers_of_other_libraries_are_taken():
    given = {"on_clear": Word.REUSE, "on_busy": Word.WAIT}
    StoqBulkOrdersOperator(task_id="x", action="release", order_ids=[1], **given)
    numpy = pytest.importorskip("numpy")
    size, most = numpy.int64(2), numpy.uint8(9)
    SureCartBulkActionOperator(task_id="x", action_type="x", record_ids=[], chunk_size=size, max_items=most)


@pytest.mark.parametrize("cls", TASKS)
def test_right_options_are_taken_and_may_be_mapped(cls):
    for name in options_of(cls) - set(DOWNLOAD):
        for value in RIGHT[name]:
            cls(task_id="x", **TASKS[cls], **{name: value})
        with DAG("d", schedule=None, start_date=datetime(2026, 5, 1, tzinfo=timezone.utc)):
            cls.partial(task_id="x", **TASKS[cls]).expand(**{name: RIGHT[name]})


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("on_clear", "Reuse"),
        ("verify", False),
        ("deferrable", 1),
        ("wait_for_completion", "no"),
        ("timeout", 0),
        ("timeout", timedelta(0)),
        ("timeout", True),
        ("poll_interval", float("inf")),
        ("max_items", 1.0),
        ("max_items", True),
    ],
)
def test_near_misses(name, wrong):
    with pytest.raises(ValidationRejected, match=name):
        StoqBulkOrdersOperator(task_id="x", action="release", order_ids=[1], **{name: wrong})


def test_what_a_subclass_makes_a_template_field_is_left_to_the_run():
    class Mine(StoqBulkOrdersOperator):
        template_fields = (*StoqBulkOrdersOperator.template_fields, "verify")

    task = Mine(task_id="x", action="release", order_ids=[1], verify="{{ params.verify }}")
    task.render_template_fields({"params": {"verify": "always"}})
    with pytest.raises(ValidationRejected, match="verify is one of None, 'warn', 'fail', not 'always'"):
        TaskRun(lambda: task).execute()
