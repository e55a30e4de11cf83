"""Outcome table: somebody is killed, or a person clears or kills the task."""

from __future__ import annotations

import asyncio
import threading

import pytest

from stoq_provider.exceptions import Detached, DownloadError, SubmissionUncertain
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.transport.sync import SyncTransport
from tests.harness import (
    FakeTaskInstance,
    Killed,
    MemoryStateStore,
    first_event,
    make_trigger,
    run_trigger,
    wait_until,
)

from .conftest import MODES, POLL, fails, in_turn, mail

STATUS_REQUESTS = "GET /preorders/reports/exports/:job_id"


def kill_at_post(monkeypatch, *, after: bool) -> None:
    """Let the worker die just before, or just after, a POST was exchanged."""
    exchange = SyncTransport._exchange

    async def die(transport, request):
        if request.method == "POST":
            if after:
                await exchange(transport, request)
            raise Killed
        return await exchange(transport, request)

    monkeypatch.setattr(SyncTransport, "_exchange", die)


def kill_at_xcom(monkeypatch) -> None:
    """Let the worker die after the handle was noted, before anything else."""

    def die(self, key, value):
        if not key.startswith("_link_"):  # those are pushed before anything is sent
            raise Killed

    monkeypatch.setattr(FakeTaskInstance, "xcom_push", die)


# -- the worker -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("after", [False, True], ids=["before-the-post", "after-the-post"])
def test_worker_killed_after_the_intent_the_next_try_repeats_what_is_safe(bench, mode, after, logs):
    run = bench.export(mode)
    with pytest.MonkeyPatch.context() as patch:
        kill_at_post(patch, after=after)
        with pytest.raises(Killed):
            run.execute()
    (record,) = run.store.records()
    assert record["handle"] is None
    assert bench.submissions == int(after)
    manifest = run.retry()
    assert bench.submissions == int(after) + 1
    assert manifest["jobs"][0]["job_id"] == bench.sandbox.submissions[-1]["job_id"]
    assert logs.warnings("An earlier try was lost while it sent export:revenue")


@pytest.mark.parametrize("after", [False, True], ids=["before-the-post", "after-the-post"])
def test_worker_killed_after_the_intent_the_next_try_stops_where_repeating_is_not_safe(bench, after):
    store = MemoryStateStore()
    submit = mail(StoqHook(), store)
    with pytest.MonkeyPatch.context() as patch:
        kill_at_post(patch, after=after)
        with pytest.raises(Killed):
            submit()
    error = fails(
        submit, SubmissionUncertain, "was lost before it had a response", "perhaps runs", final=True
    )
    assert "Nothing was sent now" in str(error)
    assert bench.submissions == int(after)


@pytest.mark.parametrize("mode", MODES)
def test_worker_killed_after_the_handle_reattaches_and_submits_nothing(bench, mode, logs):
    run = bench.export(mode)
    with pytest.MonkeyPatch.context() as patch:
        kill_at_xcom(patch)
        with pytest.raises(Killed):
            run.execute()
    job_id = bench.job_id
    manifest = run.retry()
    assert [job["job_id"] for job in manifest["jobs"]] == [job_id]
    assert run.ti.xcoms["job_id"] == job_id
    assert bench.submissions == 1
    assert f"An earlier try submitted job {job_id}" in logs.text


@pytest.mark.parametrize("mode", MODES)
def test_worker_killed_after_the_handle_a_fresh_process_reattaches_too(bench, mode):
    store = MemoryStateStore()
    first = bench.export(mode, store=store)
    with pytest.MonkeyPatch.context() as patch:
        kill_at_xcom(patch)
        with pytest.raises(Killed):
            first.execute()
    assert bench.export(mode, store=store).execute()["jobs"][0]["job_id"] == bench.job_id
    assert bench.submissions == 1


@pytest.mark.parametrize(
    ("field", "value", "mode"),
    in_turn([("map_index", 3), ("run_id", "manual__2"), ("dag_id", "other"), ("task_id", "other")], MODES),
)
def test_worker_killed_after_the_handle_another_task_instance_has_its_own_job(bench, mode, field, value):
    store = MemoryStateStore()
    bench.export(mode, store=store).execute()
    other = bench.export(mode, store=store)
    setattr(other.ti, field, value)
    other.execute()
    assert bench.submissions == 2


@pytest.mark.parametrize("mode", MODES)
def test_worker_killed_after_the_handle_changed_input_is_another_job(bench, mode):
    run = bench.export(mode)
    run.execute()
    run.changes = {"filters": {"from": "2026-05-01"}}
    run.retry()
    assert bench.submissions == 2


@pytest.mark.parametrize("mode", MODES)
def test_worker_killed_after_the_handle_while_it_waits(bench, sandbox, mode):
    """Killed in the middle of the wait, on the worker or on the worker that resumed."""
    sandbox.jobs("export", duration=20)
    run = bench.export(mode)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stoq_provider.jobs.files.store_files", _die)
        with pytest.raises(Killed):
            run.execute()
    assert bench.files() == []
    assert run.retry()["jobs"][0]["job_id"] == bench.job_id
    assert (bench.submissions, len(bench.files())) == (1, 1)


def _die(*args, **kwargs):
    raise Killed


# -- the triggerer --------------------------------------------------------------------------------------


def test_triggerer_killed_keeps_waiting_elsewhere(bench, sandbox):
    sandbox.jobs("export", outcome="forever")
    run = bench.export("deferred")
    deferred = run.start()
    path, kwargs = run.triggers[-1]

    async def abandon() -> None:
        waiting = asyncio.ensure_future(first_event(make_trigger(path, kwargs)))
        while sandbox.state["requests"].get(STATUS_REQUESTS, 0) < 2:
            assert not waiting.done()
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(abandon())
    assert bench.jobs[bench.job_id]["status"] == "running"
    sandbox.end_job(bench.job_id)
    event = run_trigger(path, kwargs)
    assert run.resume_with(deferred, event)["jobs"][0]["job_id"] == bench.job_id
    assert bench.submissions == 1


def test_triggerer_killed_two_triggerers_run_the_same_trigger(bench, sandbox):
    run = bench.export("deferred")
    deferred = run.start()
    path, kwargs = run.triggers[-1]

    async def both() -> list:
        return await asyncio.gather(*(first_event(make_trigger(path, kwargs)) for _ in range(2)))

    one, other = asyncio.run(both())
    assert one["jobs"][0]["outcome"] == other["jobs"][0]["outcome"] == "succeeded"
    assert len(run.resume_with(deferred, one)["files"]) == 1
    assert (bench.submissions, len(bench.files())) == (1, 1)


# -- cleared by a person --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_task_cleared_by_a_person_on_clear_resubmit_starts_a_new_job(bench, mode):
    run = bench.export(mode)
    first = run.execute()["jobs"][0]["job_id"]
    run.clear()
    second = run.execute()["jobs"][0]["job_id"]
    assert second != first
    assert run.retry()["jobs"][0]["job_id"] == second
    assert bench.submissions == 2


@pytest.mark.parametrize("mode", MODES)
def test_task_cleared_by_a_person_on_clear_reuse_finds_its_job(bench, mode):
    run = bench.export(mode, on_clear="reuse")
    first = run.execute()["jobs"][0]["job_id"]
    run.clear()
    assert run.execute()["jobs"][0]["job_id"] == first
    assert bench.submissions == 1


@pytest.mark.parametrize("mode", MODES)
def test_task_cleared_by_a_person_on_clear_reuse_still_resubmits_what_failed(bench, sandbox, mode):
    sandbox.jobs("export", outcome="failed")
    run = bench.export(mode, on_clear="reuse")
    with pytest.raises(Exception, match="A retry submits it again"):
        run.execute()
    run.clear()
    assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    assert bench.submissions == 2


# -- killed by a person ---------------------------------------------------------------------------------


def test_task_killed_ends_the_wait_and_logs_that_the_job_goes_on(bench, sandbox, clock, logs):
    sandbox.jobs("export", outcome="forever")
    run = bench.export("worker")
    clock.at(0.1, lambda: run.task.on_kill())
    error = fails(run.execute, Detached, "goes on")
    assert f"Detached from STOQ; jobs submitted: {bench.job_id}. They go on" in logs.text
    assert bench.jobs[bench.job_id]["status"] == "running"
    sandbox.end_job(bench.job_id)
    assert run.retry()["jobs"][0]["job_id"] == bench.job_id
    assert bench.submissions == 1
    assert clock.passed < 1, error


def test_task_killed_during_the_download_publishes_nothing(bench, sandbox):
    sandbox.jobs("export", duration=0, rows=200_000)
    sandbox.arm("stall", origin="files", after=3_000_000, seconds=None)
    run = bench.export("worker")
    killer = threading.Thread(target=lambda: (wait_until(lambda: sandbox.stalled), run.task.on_kill()))
    killer.start()
    fails(run.execute, DownloadError, "was stopped")
    killer.join()
    assert bench.files() == []
    assert len(run.retry()["files"]) == 1
    assert bench.submissions == 1


def test_task_killed_before_it_began_does_nothing(bench, logs):
    run = bench.export("worker")
    run.make().on_kill()
    assert "Detached" not in logs.text


def test_task_killed_a_sensor_stops_and_cancels_nothing(bench, sandbox, clock):
    sandbox.jobs("export", outcome="forever")
    run = bench.sensor("worker", bench.submitted())
    sandbox.arm("status", status=429, path=POLL, headers={"Retry-After": "30"}, times=None)
    clock.at(10, lambda: run.task.on_kill())
    fails(run.execute, Detached)
    assert sandbox.state["faults"][0]["fired"] == 1
    assert bench.jobs[bench.job_id]["status"] == "running"


def test_task_killed_a_sensor_that_pokes_does_not_poke_again(bench, sandbox, clock):
    sandbox.jobs("export", outcome="forever")
    run = bench.sensor("worker", bench.submitted())
    clock.at(0.05, lambda: run.task.on_kill())
    fails(run.execute, Detached)
    assert sandbox.state["requests"][STATUS_REQUESTS] == 3
