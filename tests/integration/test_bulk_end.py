"""Outcome table, bulk actions: how jobs end, and what the next try or a clear makes of it."""

from __future__ import annotations

import pytest

from stoq_provider.exceptions import (
    AuthenticationError,
    FinalJobExpired,
    FinalJobFailed,
    JobCancelled,
    JobFailed,
    JobTimeout,
)
from stoq_provider.hooks.stoq import StoqHook

from .conftest import MODES, connect, fails

MAIL = "send_payment_collection_url"
SAFE = ("release", "sync_metafields")
CAPS = {"release": 1000, "sync_metafields": 5000}
DAY = 25 * 3600


@pytest.fixture(autouse=True)
def short_jobs(sandbox):
    sandbox.jobs("*", times=None, duration=5)


def every_order():
    return [order["shopify_order_id"] for order in StoqHook().iter_orders()]


def bend(sandbox, *settings):
    """Bend the next jobs, each in its own way: of settings that fit the same job, the later ones win."""
    for count in range(len(settings), 0, -1):
        sandbox.jobs("*", times=count, **{"outcome": "completed", "item_errors": [], **settings[count - 1]})


def most_mails(sandbox):
    return max(sandbox.state["payment_links"].values(), default=0)


# -- failed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("action", SAFE)
def test_failed_is_submitted_again_by_the_next_try(bench, sandbox, mode, action, logs):
    sandbox.jobs("*", outcome="failed", error="Shopify is down")
    run = bench.bulk(action, [1, 2], mode)
    fails(run.execute, JobFailed, "Shopify is down", "The remote job has ended", "A retry submits it again")
    assert run.retry()["jobs"][0]["outcome"] == "succeeded"
    assert bench.sent() == [[1, 2], [1, 2]]
    assert logs.warnings(f"is failed; bulk_{action} is submitted again")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("action", SAFE)
def test_failed_half_of_the_chunks_the_next_try_submits_the_other_half_only(bench, sandbox, mode, action):
    cap = CAPS[action]
    ids = list(range(1, 4 * cap + 1))
    chunks = [ids[at : at + cap] for at in range(0, 4 * cap, cap)]
    bend(sandbox, {"outcome": "failed"}, {}, {"outcome": "failed"}, {})
    run = bench.bulk(action, ids, mode)
    fails(
        run.execute,
        JobFailed,
        "2 of 4 jobs did not end well",
        "jobs that did are not submitted again by a retry",
    )
    assert bench.sent() == chunks
    manifest = run.retry()
    assert bench.sent() == [*chunks, chunks[0], chunks[2]]
    assert {job["outcome"] for job in manifest["jobs"]} == {"succeeded"}
    assert manifest["totals"]["processed"] == len(ids)
    assert {job["job_id"] for job in manifest["jobs"]} == {
        sandbox.submissions[number]["job_id"] for number in (1, 3, 4, 5)
    }
    run.retry()
    assert len(bench.sent()) == 6


@pytest.mark.parametrize("mode", MODES)
def test_failed_again_and_again_only_what_failed_is_submitted(bench, sandbox, mode):
    bend(sandbox, {}, {"outcome": "failed"}, {"outcome": "failed"})
    run = bench.bulk("release", range(1, 1002), mode)
    fails(run.execute, JobFailed, "1 of 2 jobs")
    run.next_try()
    fails(run.execute, JobFailed, "1 of 2 jobs")
    run.retry()
    assert [len(ids) for ids in bench.sent()] == [1000, 1, 1, 1]


@pytest.mark.large_shop
@pytest.mark.parametrize("mode", MODES)
def test_failed_mail_is_not_submitted_again_by_itself(bench, sandbox, mode):
    sandbox.jobs("*", outcome="failed")
    run = bench.bulk(MAIL, every_order()[300:800], mode)
    says = ("It is not submitted again by itself", "look at what was done, then clear the task")
    fails(run.execute, FinalJobFailed, *says, final=True)
    run.next_try()
    fails(
        run.execute,
        FinalJobFailed,
        "An earlier try's job",
        "failed at STOQ",
        "The task is not retried",
        final=True,
    )
    assert len(bench.sent()) == 1
    assert most_mails(sandbox) == 1


@pytest.mark.large_shop
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("outcome", ["failed", "cancelled"])
@pytest.mark.parametrize("bad", [0, 1])
def test_failed_mail_of_one_chunk_a_clear_does_not_mail_the_others_again(bench, sandbox, mode, outcome, bad):
    """The bad one had reached nobody; a person who has seen so clears the task, as the message says."""
    ids = every_order()
    chunks = [ids[:1000], ids[1000:]]
    settings = [{}, {}]
    settings[bad] = {"outcome": outcome, "item_errors": ids}
    bend(sandbox, *settings)
    run = bench.bulk(MAIL, ids, mode)
    error = FinalJobFailed if outcome == "failed" else JobCancelled
    fails(run.execute, error, "1 of 2 jobs did not end well", final=True)
    run.clear()
    assert [job["outcome"] for job in run.execute()["jobs"]] == ["succeeded"] * 2
    assert bench.sent() == [*chunks, chunks[bad]]
    assert most_mails(sandbox) == 1
    run.clear()
    run.execute()
    assert bench.sent()[3:] == chunks, "the clear after that is an ordinary one: it submits everything"


# -- cancelled ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("action", ["release", MAIL])
def test_cancelled_is_not_retried_and_a_clear_resubmits(bench, sandbox, mode, action):
    sandbox.jobs("*", outcome="cancelled")
    run = bench.bulk(action, [1], mode)
    fails(run.execute, JobCancelled, "was cancelled at STOQ", "clearing it submits the job again", final=True)
    run.next_try()
    fails(run.execute, JobCancelled, "An earlier try's job", "clearing the task submits it", final=True)
    assert len(bench.sent()) == 1
    run.clear()
    run.execute()
    assert len(bench.sent()) == 2


# -- expired --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("action", [*SAFE, MAIL])
def test_404_of_a_job_last_seen_a_day_ago_is_never_resubmitted_by_itself(bench, sandbox, clock, mode, action):
    """Nobody looked for the job for more than a day: its record is gone, and most likely it ran."""
    run = bench.bulk(action, [1], mode, wait_for_completion=False)
    run.execute()
    clock.forward(DAY)
    run.changes = {"wait_for_completion": True, "timeout": 7 * 24 * 3600}
    run.next_try()
    fails(run.execute, FinalJobExpired, "no longer knows job", "not submitted again by itself", final=True)
    run.next_try()
    fails(
        run.execute,
        FinalJobExpired,
        "The record of job",
        "is gone at STOQ",
        "The task is not retried",
        final=True,
    )
    assert len(bench.sent()) == 1
    run.clear()
    assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    assert len(bench.sent()) == 2


# -- still running --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("action", ["release", MAIL])
def test_timeout_passes_and_the_next_try_reattaches(bench, sandbox, mode, action):
    sandbox.jobs("*", outcome="forever")
    run = bench.bulk(action, [1], mode, timeout=0.3)
    fails(run.execute, JobTimeout, "did not end in time", "The remote job goes on", "submits nothing")
    (job_id,) = sandbox.state["jobs"]
    sandbox.end_job(job_id)
    assert run.retry()["jobs"][0]["job_id"] == job_id
    assert bench.sent() == [[1]]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("action", ["release", MAIL])
def test_401_while_polling_a_clear_reattaches_once_the_key_is_right(
    bench, sandbox, mode, action, monkeypatch
):
    run = bench.bulk(action, range(1, 1002), mode, wait_for_completion=False)
    run.execute()
    run.changes = {"wait_for_completion": True}
    run.next_try()
    connect(monkeypatch, sandbox, key="stoq_api_key_of_nobody")
    fails(
        run.execute, AuthenticationError, "The remote job goes on", "clear the task", "same job", final=True
    )
    connect(monkeypatch, sandbox)
    run.clear()
    assert len(run.execute()["jobs"]) == 2
    assert [len(ids) for ids in bench.sent()] == [1000, 1]
    run.clear()
    run.execute()
    assert len(bench.sent()) == 4, "the clear after that is an ordinary one: it submits everything"


@pytest.mark.parametrize("mode", MODES)
def test_401_beside_a_failed_job_a_clear_submits_only_the_failed(bench, sandbox, mode):
    """Two chunks: one is known to have failed; about the other the key was refused."""
    bend(sandbox, {"outcome": "failed", "duration": 0}, {"outcome": "forever"})
    run = bench.bulk(MAIL, range(1, 1002), mode)
    sandbox.arm("status", status=401, path="/jobs/", skip=1)
    fails(run.execute, FinalJobFailed, "2 of 2 jobs did not end well", final=True)
    run.clear()
    for job_id, job in sandbox.state["jobs"].items():
        if job["ended_at"] is None:
            sandbox.end_job(job_id)
    run.execute()
    assert [len(ids) for ids in bench.sent()] == [1000, 1, 1000]


# -- cleared by a person --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("action", ["release", "sync_metafields", MAIL])
def test_task_cleared_by_a_person_on_clear_resubmit(bench, mode, action):
    run = bench.bulk(action, [1], mode)
    run.execute()
    run.clear()
    second = run.execute()["jobs"]
    assert run.retry()["jobs"] == second
    assert bench.sent() == [[1], [1]]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("action", ["release", "sync_metafields", MAIL])
def test_task_cleared_by_a_person_on_clear_reuse(bench, mode, action):
    run = bench.bulk(action, [1], mode, on_clear="reuse")
    first = run.execute()["jobs"]
    for _ in range(2):
        run.clear()
        assert run.execute()["jobs"] == first
    assert bench.sent() == [[1]]


@pytest.mark.parametrize("mode", MODES)
def test_task_cleared_with_other_input_is_another_submission(bench, mode):
    run = bench.bulk("release", [1], mode, on_clear="reuse")
    run.execute()
    run.changes = {"order_ids": [2]}
    run.clear()
    run.execute()
    assert bench.sent() == [[1], [2]]


@pytest.mark.parametrize("mode", MODES)
def test_task_cleared_with_reuse_and_a_longer_list_sends_only_chunks_it_does_not_know(bench, mode):
    run = bench.bulk("release", list(range(1, 1001)), mode, on_clear="reuse")
    run.execute()
    run.changes = {"order_ids": list(range(1, 1501))}
    run.clear()
    assert len(run.execute()["jobs"]) == 2
    assert [(ids[0], len(ids)) for ids in bench.sent()] == [(1, 1000), (1001, 500)]
