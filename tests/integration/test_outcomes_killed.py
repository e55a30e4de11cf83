"""What a deferred task's trigger does when Airflow takes it away; Airflow's own runner calls it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from stoq_provider.exceptions import JobCancelled
from stoq_provider.jobs import cancel
from tests.harness import make_trigger

from .conftest import Bench, fails
from .medusa_bench import MedusaBench, connect
from .others import SureCartBench, connect_other

runner = pytest.importorskip("airflow.jobs.triggerer_job_runner", reason="made for Airflow 3.3")
if not hasattr(runner, "_USER_ACTION_CANCEL_MSG"):
    pytest.skip("Airflow before 3.3 calls no on_kill of a trigger", allow_module_level=True)

CANCEL = "POST /admin/batch-jobs/{id}/cancel"
BY_HAND = ("failed", "success", "skipped")
NOT_BY_HAND = ("deferred", "scheduled", "queued", "running", "up_for_retry", "restarting", None)
"""Moved to another triggerer; resumed by the event of another one, or retried after it; cleared."""


class Supervisor:
    """Answers as the triggerer's supervisor does when it is asked for the states of tasks; it knows one."""

    def __init__(self, answer: Any, map_index: int) -> None:
        self.answer = answer
        self.map_index = map_index

    def send(self, message: Any) -> Any:
        assert type(message).__name__ == "GetTaskStates"
        if isinstance(self.answer, Exception):
            raise self.answer
        mapped = "" if message.map_index < 0 else f"_{message.map_index}"
        known = message.map_index == self.map_index and self.answer != "no row"
        states = {f"{task}{mapped}": self.answer for task in message.task_ids if known}
        return SimpleNamespace(task_states={run: states for run in message.run_ids if states})


@pytest.fixture
def taken_away(monkeypatch, clock):
    """Run the trigger of a deferred task as a triggerer does, and take it away while it waits."""

    def take(run: Any, state: Any, *, message: str = runner._USER_ACTION_CANCEL_MSG, map_index: int = -1):
        monkeypatch.setattr(
            "airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS",
            Supervisor(state, map_index),
            raising=False,
        )
        run.start()
        trigger = make_trigger(*run.triggers[-1])
        trigger.task_instance = SimpleNamespace(
            id="0",
            context_carrier=None,
            dag_id="reports",
            task_id=run.ti.task_id,
            run_id="r",
            try_number=1,
            map_index=map_index,
        )

        async def life() -> None:
            triggerer = runner.TriggerRunner()
            work = triggerer.run_trigger(1, trigger)
            triggerer.triggers[1] = {"task": work, "name": "trigger", "events": 0}
            task = asyncio.ensure_future(work)
            await asyncio.sleep(1)
            assert not task.done()
            while not task.done():
                # Airflow does so too, at each look until it has ended.
                task.cancel(message)
                await asyncio.sleep(1)
            await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

        asyncio.run(life())
        return run

    return take


@pytest.fixture
def medusa(sandbox, tmp_path, monkeypatch):
    connect(monkeypatch, sandbox)
    bench = MedusaBench(sandbox, tmp_path / "lake")
    bench.bend("next_job", stuck=True)
    return bench


@pytest.mark.parametrize("state", BY_HAND)
def test_task_marked_while_deferred_cancels_its_job(medusa, taken_away, logs, state):
    run = taken_away(medusa.export("deferred"), state)
    assert (medusa.job["status"], medusa.sent(CANCEL)) == ("canceled", 1)
    assert (
        f"Detached from Medusa; jobs submitted: {medusa.job['id']}. {medusa.job['id']}: cancelled"
        in logs.text
    )
    run.clear()
    assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    assert medusa.submissions == 2


def test_task_marked_while_deferred_whose_job_is_not_repeated_is_cleared_twice(medusa, taken_away, logs):
    run = taken_away(medusa.imports("deferred"), "failed")
    assert "the next try may find it cancelled and stop, and clearing the task once more submits" in logs.text
    run.clear()
    fails(run.execute, JobCancelled, "clearing it submits the job again", final=True)
    run.clear()
    assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    assert (medusa.submissions, medusa.state["products"]) == (2, 37)


def test_task_cleared_while_deferred_finds_the_job_that_is_not_repeated(medusa, taken_away):
    run = taken_away(medusa.imports("deferred"), None)
    run.clear()
    run.start()
    assert [job["job_id"] for job in run.triggers[-1][1]["jobs"]] == [medusa.job["id"]]
    assert medusa.submissions == 1


def test_mapped_task_marked_while_deferred_cancels_its_job(medusa, taken_away):
    taken_away(medusa.imports("deferred"), "failed", map_index=3)
    assert medusa.sent(CANCEL) == 1


@pytest.mark.parametrize("state", NOT_BY_HAND)
def test_trigger_that_is_taken_from_a_task_that_goes_on_cancels_nothing(medusa, taken_away, logs, state):
    taken_away(medusa.imports("deferred"), state)
    assert (medusa.job["status"], medusa.sent(CANCEL)) == ("created", 0)
    assert f"The task is {state or 'cleared'}, so its jobs are left alone" in logs.text
    assert f"taken away from {medusa.job['id']}" in logs.text


@pytest.mark.parametrize("answer", [RuntimeError("no answer"), TimeoutError(), "no row"], ids=repr)
def test_state_that_is_not_known_cancels_nothing(medusa, taken_away, logs, answer):
    taken_away(medusa.imports("deferred"), answer)
    assert medusa.sent(CANCEL) == 0
    assert "The task is in an unknown state, so its jobs are left alone" in logs.text


def test_trigger_whose_deadline_has_passed_cancels_nothing(medusa, logs):
    run = medusa.imports("deferred")
    run.start()
    path, arguments = run.triggers[-1]
    trigger = make_trigger(path, {**arguments, "deadline": 1.0})
    trigger._task_state = lambda: "failed"
    asyncio.run(trigger.on_kill())
    assert medusa.sent(CANCEL) == 0
    assert "The task is past its deadline, so its jobs are left alone" in logs.text


def test_triggerer_that_shuts_down_cancels_nothing(medusa, taken_away):
    taken_away(medusa.imports("deferred"), "failed", message="")
    assert medusa.sent(CANCEL) == 0


@pytest.mark.parametrize("kind", ["sensor", "confirm"])
def test_trigger_of_a_task_that_did_not_submit_cancels_nothing(medusa, taken_away, logs, kind):
    handles = medusa.submitted(dry_run=True)
    run = medusa.sensor("deferred", handles) if kind == "sensor" else medusa.confirm(handles, "deferred")
    taken_away(run, "failed")
    assert (medusa.job["status"], medusa.sent(CANCEL)) == ("created", 0)
    assert "Detached" not in logs.text


def test_trigger_of_a_first_release_cancels_its_job_too(medusa, taken_away, monkeypatch):
    """What it carries has not changed since."""
    run = medusa.imports("deferred")
    start = run.start

    def started() -> Any:
        deferred = start()
        run.triggers[-1][1]["state"] = {"started_at": 1.0, "records": run.triggers[-1][1]["state"]["records"]}
        return deferred

    monkeypatch.setattr(run, "start", started)
    taken_away(run, "failed")
    assert medusa.sent(CANCEL) == 1


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"status": 409, "body": {"type": "not_allowed", "message": "no"}}, "there is nothing to cancel"),
        ({"status": 503}, "the cancellation failed; it goes on"),
    ],
    ids=["ended", "refused"],
)
def test_cancellation_that_is_refused_says_what_goes_on(medusa, sandbox, taken_away, logs, fault, says):
    sandbox.arm("status", origin="medusa", path="/cancel$", **fault)
    taken_away(medusa.export("deferred"), "failed")
    assert says in logs.text


def test_cancellation_without_an_answer_is_given_up(medusa, sandbox, taken_away, logs, clock):
    sandbox.arm("delay", origin="medusa", path="/cancel$", seconds=None)
    taken_away(medusa.export("deferred"), "failed")
    assert f"no response to the cancellation within {cancel.STOP_SECONDS:g} s" in logs.text


def test_fault_on_the_way_is_said_with_the_jobs(medusa, taken_away, logs, monkeypatch):
    async def broken(*given: Any) -> str:
        raise RuntimeError("s3cret")

    monkeypatch.setattr("stoq_provider.triggers.jobs.stop_deferred", broken)
    taken_away(medusa.export("deferred"), "failed")
    assert f"jobs submitted: {medusa.job['id']}. They go on: nothing could be cancelled" in logs.text
    assert "s3cret" not in logs.text


# -- systems that have no call to cancel ----------------------------------------------------------------


def stoq(sandbox, folder, monkeypatch):
    sandbox.jobs("export", outcome="forever")
    return Bench(sandbox, folder).export("deferred")


def surecart(sandbox, folder, monkeypatch):
    connect_other(monkeypatch, sandbox, "surecart")
    bench = SureCartBench(sandbox)
    bench.bend(processing_seconds=1e6)
    return bench.delete(bench.customers(2), "deferred")


@pytest.mark.parametrize("make", [stoq, surecart])
def test_system_that_cannot_cancel_logs_that_the_job_goes_on(
    sandbox, tmp_path, monkeypatch, taken_away, logs, make
):
    run = taken_away(make(sandbox, tmp_path, monkeypatch), "failed")
    (job_id,) = run.ti.xcoms["job_ids"]
    assert f"jobs submitted: {job_id}. They go on, since nothing can cancel them from here" in logs.text
