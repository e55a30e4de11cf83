"""Jobs that must not be repeated are found by a clear until they have ended, and not after a good end."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from stoq_provider.exceptions import (
    ActionRejected,
    AuthenticationError,
    Detached,
    FinalPollingUnhealthy,
    JobTimeout,
    PollingUnhealthy,
    ProtocolError,
    SubmissionUncertain,
    ValidationRejected,
)
from stoq_provider.operators.actions import StoqActionOperator
from stoq_provider.operators.base import JobOperator
from stoq_provider.systems.stoq.system import Stoq
from stoq_provider.transport.rate_limiter import RateLimiter
from tests.harness import Killed, MemoryStateStore, TaskRun, recorded_logs

from .conftest import MODES, fails

MAIL = "send_payment_collection_url"
NEVER = "The task is not retried: no record of the jobs could be kept"
LIST = list(range(1, 1002))


@pytest.fixture
def lost(monkeypatch):
    """Lose the worker of a try once its jobs are submitted."""

    def lose(run):
        def die(*args, **options):
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(JobOperator, "_wait_for", die)
            with pytest.raises(Killed):
                run.execute()

    return lose


# -- a try that ends without a word ---------------------------------------------------------------------


def test_after_a_lost_worker_a_clear_finds_the_job(bench, lost):
    run = bench.bulk(MAIL, [1, 2])
    lost(run)
    run.clear()
    assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    assert bench.sent() == [[1, 2]]


def test_after_a_lost_worker_a_clear_of_what_is_safe_begins_anew(bench, lost):
    run = bench.bulk("release", [1, 2])
    lost(run)
    run.clear()
    run.execute()
    assert bench.sent() == [[1, 2], [1, 2]]


def test_after_a_lost_worker_a_clear_finds_the_jobs_of_a_selection_that_has_shrunk(bench, lost, tmp_path):
    file = tmp_path / "ids.txt"
    file.write_text("1\n2\n")
    run = bench.bulk(MAIL, str(file))
    lost(run)
    file.write_text("2\n")
    run.clear()
    run.execute()
    assert bench.sent() == [[1, 2]]


def test_after_a_failed_trigger_a_clear_finds_the_job(bench):
    run = bench.bulk(MAIL, [1], "deferred")
    run.start()
    fails(lambda: run.fail_trigger("Trigger failure"), PollingUnhealthy, "waits for the same job")
    run.clear()
    assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    assert bench.sent() == [[1]]


def test_without_records_a_failed_trigger_is_final(bench):
    run = bench.bulk(MAIL, [1], "deferred", store=False)
    run.start()
    says = ("not retried", "clearing the task submits them again")
    fails(lambda: run.fail_trigger("Trigger failure"), FinalPollingUnhealthy, *says, final=True)


def test_without_records_an_event_that_makes_no_sense_is_final(bench):
    run = bench.bulk(MAIL, [1], "deferred", store=False)
    deferred = run.start()
    error = fails(lambda: run.resume_with(deferred, {"odd": 1}), FinalPollingUnhealthy, NEVER, final=True)
    assert "A retry waits" not in str(error)


def test_with_records_an_event_that_makes_no_sense_is_retried(bench):
    run = bench.bulk(MAIL, [1], "deferred")
    deferred = run.start()
    fails(lambda: run.resume_with(deferred, {"odd": 1}), ProtocolError, "go on. A retry waits for them.")
    assert run.retry()["jobs"][0]["outcome"] == "succeeded"
    assert bench.sent() == [[1]]


def test_without_records_an_event_of_what_is_safe_that_makes_no_sense_promises_no_job(bench):
    run = bench.bulk("release", [1], "deferred", store=False)
    deferred = run.start()
    error = fails(lambda: run.resume_with(deferred, {"odd": 1}), ProtocolError, "submits a new job")
    assert "waits for them" not in str(error)


def test_without_records_a_failed_trigger_of_what_is_safe_is_retried(bench):
    run = bench.bulk("release", [1], "deferred", store=False)
    run.start()
    error = fails(lambda: run.fail_trigger("Trigger failure"), PollingUnhealthy, "submits a new job")
    assert not isinstance(error, AirflowFailException)


@pytest.mark.parametrize("action", [MAIL, "release"])
@pytest.mark.parametrize("mode", MODES)
def test_without_records_a_refused_key_promises_nothing(bench, sandbox, mode, action):
    sandbox.arm("status", status=401, path="/jobs/", times=99)
    run = bench.bulk(action, [1], mode, store=False)
    says = ("No record of the job is kept", "clearing the task sends bulk_")
    error = fails(run.execute, AuthenticationError, *says, final=True)
    assert "finds the same job" not in str(error)


# -- a good end -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_after_a_good_end_a_clear_begins_anew_though_a_try_before_timed_out(bench, sandbox, mode):
    sandbox.jobs("*", duration=150)
    run = bench.bulk(MAIL, [1], mode)
    run.changes = {"timeout": 0.2}
    fails(run.execute, JobTimeout)
    run.changes = {}
    run.retry()
    assert bench.sent() == [[1]]
    run.clear()
    run.execute()
    assert bench.sent() == [[1], [1]]


def test_after_a_good_end_a_clear_sends_all_parts_though_one_was_refused_before(bench, sandbox):
    sandbox.arm("status", status=409, path=MAIL, skip=1, times=1)
    run = bench.bulk(MAIL, LIST)
    fails(run.execute, ActionRejected, "1 of 2 submissions had their jobs")
    run.retry()
    assert bench.sent() == [LIST[:1000], LIST[1000:]]
    run.clear()
    run.execute()
    assert bench.sent() == [LIST[:1000], LIST[1000:]] * 2


def test_a_task_that_does_not_wait_begins_anew_after_a_clear(bench):
    run = bench.bulk(MAIL, [1], wait_for_completion=False)
    run.execute()
    run.clear()
    run.execute()
    assert bench.sent() == [[1], [1]]


def test_a_run_that_was_deleted_and_made_again_submits_anew(bench):
    """Airflow 2 numbers its runs; the new one has the same name."""
    store = MemoryStateStore()
    for number in (1, 1, 2):
        run = bench.bulk("release", [1], store=store)
        run.extra = {"dag_run": SimpleNamespace(id=number)}
        run.execute()
    assert bench.sent() == [[1], [1]]


# -- other input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"order_ids": [1, 2, 3]}, id="a longer list"),
        pytest.param({"order_ids": [1]}, id="a shorter list"),
        pytest.param({"extra_body": {"note": "b"}}, id="another body"),
    ],
)
def test_a_retry_with_other_input_stops_where_something_was_sent(bench, lost, changes):
    run = bench.bulk(MAIL, [1, 2], extra_body={"note": "a"})
    lost(run)
    run.changes = changes
    fails(run.retry, SubmissionUncertain, "other input", "clearing the task submits", final=True)
    assert bench.sent() == [[1, 2]]
    run.clear()
    run.execute()
    assert len(bench.sent()) == 2


def test_a_clear_that_reuses_stops_as_well_and_says_what_to_do(bench, lost):
    run = bench.bulk(MAIL, [1, 2], on_clear="reuse")
    lost(run)
    run.changes = {"order_ids": [1]}
    fails(run.retry, SubmissionUncertain, "set on_clear='resubmit'", final=True)
    assert bench.sent() == [[1, 2]]


def test_a_retry_with_other_input_goes_on_where_nothing_was_sent(bench, sandbox):
    sandbox.arm("status", status=409, path=MAIL, times=1)
    run = bench.bulk(MAIL, [1])
    fails(run.execute, ActionRejected)
    run.changes = {"order_ids": [1, 2]}
    run.retry()
    assert bench.sent() == [[1, 2]]


def test_other_input_of_what_is_safe_is_sent(bench, lost):
    run = bench.bulk("release", [1])
    lost(run)
    run.changes = {"order_ids": [1, 2]}
    run.retry()
    assert bench.sent() == [[1], [1, 2]]


@pytest.mark.parametrize("on_clear", ["resubmit", "reuse"])
def test_a_file_that_was_refused_and_mended_is_read_again(bench, sandbox, tmp_path, on_clear):
    file = tmp_path / "ids.txt"
    file.write_text("1\n2\n")
    sandbox.arm("status", status=422, path="bulk_release", times=1)
    run = bench.bulk("release", str(file), on_clear=on_clear)
    fails(run.execute, ValidationRejected, final=True)
    file.write_text("2\n3\n")
    run.clear()
    run.execute()
    assert bench.sent() == [[2, 3]]


# -- nothing was sent -----------------------------------------------------------------------------------


SAYS = "No remote job was started. A retry submits it."


def test_a_task_killed_while_the_server_is_busy_leaves_no_intent(bench, sandbox, clock):
    sandbox.arm("status", status=409, path=MAIL, times=99, body={"errors": ["Another job is in progress"]})
    run = bench.bulk(MAIL, [1], on_busy="wait")
    clock.at(10, lambda: run.task.on_kill())
    fails(run.execute, Detached, SAYS)
    assert clock.passed == 30, "it was killed while it waited for its next attempt"
    assert run.store.records() == []
    sandbox.disarm()
    run.retry()
    assert bench.sent() == [[1]]


def test_a_task_killed_while_it_waits_out_a_429_leaves_no_intent(bench, sandbox, clock):
    sandbox.arm("status", status=429, path=MAIL, headers={"Retry-After": "300"})
    run = bench.bulk(MAIL, [1])
    clock.at(100, lambda: run.task.on_kill())
    fails(run.execute, Detached, SAYS)
    assert run.store.records() == []
    run.retry()
    assert bench.sent() == [[1]]


def test_a_task_that_waits_for_its_points_has_no_intent_yet(bench, monkeypatch, clock):
    run = bench.bulk(MAIL, [1])
    left = []
    clock.at(10, lambda: (left.extend(run.store.records()), run.task.on_kill()))
    with monkeypatch.context() as patch:
        patch.setattr(RateLimiter, "wait", lambda limiter, request, now: 0.0 if request.reads_only else 60.0)
        fails(run.execute, Detached, SAYS)
    assert not [record for record in left if "intent_at" in record], "nor would a worker killed now"
    run.retry()
    assert bench.sent() == [[1]]


def test_verify_without_waiting_is_refused(bench):
    run = bench.bulk("release", [1], verify="warn", wait_for_completion=False)
    fails(run.execute, ValidationRejected, "wait_for_completion must be true", final=True)
    assert bench.sent() == []


@pytest.mark.usefixtures("bench")
def test_an_action_with_a_body_that_json_can_not_hold_leaves_nothing_behind(sandbox):
    run = TaskRun(
        lambda: StoqActionOperator(
            task_id="call",
            action="POST /preorders/orders/:id/payments/charge_balance",
            path_params={"id": 1},
            body={"at": {1, 2}},
        )
    )
    fails(run.execute, ValidationRejected, "can't be sent as JSON", "Nothing was sent", final=True)
    assert run.store.records() == []


@pytest.mark.usefixtures("bench")
def test_an_action_warns_where_no_record_can_be_kept():
    run = TaskRun(
        lambda: StoqActionOperator(
            task_id="call",
            action="POST /preorders/offers/:id/enable",
            repeat_safe=True,
            path_params={"id": 1},
        ),
        store=False,
    )
    with recorded_logs() as logs:
        fails(run.execute, ValidationRejected, "Offer not found", final=True)
    assert logs.warnings("No record") == []
    run.changes = {"repeat_safe": False}
    with recorded_logs() as logs:
        fails(run.execute, ValidationRejected, "Offer not found", final=True)
    assert len(logs.warnings("No record")) == 1


# -- what the server says beside a good end -------------------------------------------------------------


def test_a_job_of_other_items_than_were_sent_is_logged(bench, sandbox, monkeypatch):
    read = Stoq.read_submission
    monkeypatch.setattr(
        Stoq, "read_submission", lambda *args: replace(read(*args), item_count=1), raising=True
    )
    with recorded_logs() as logs:
        bench.bulk(MAIL, [1, 2, 3]).execute()
    assert logs.warnings("3 items were sent")


@pytest.mark.parametrize("changes", [{"error": "quota exceeded"}, {"processed": 1}])
def test_a_good_end_with_doubts_is_logged(bench, monkeypatch, changes):
    read = Stoq.read_status
    monkeypatch.setattr(
        Stoq,
        "read_status",
        lambda *args: replace(status, **changes) if (status := read(*args)).word == "completed" else status,
    )
    with recorded_logs() as logs:
        bench.bulk(MAIL, [1, 2, 3]).execute()
    (warning,) = logs.warnings("says that job")
    assert "quota exceeded" in warning or "1 of 3 items" in warning
