"""Outcome table, bulk actions: the worker is killed around a POST."""

from __future__ import annotations

import pytest

from stoq_provider.exceptions import SubmissionUncertain
from stoq_provider.hooks.stoq import StoqHook
from tests.harness import Killed, MemoryStateStore

from .conftest import DEATHS, MODES, fails, in_turn, kill_worker

MAIL = "send_payment_collection_url"
SAFE = ("release", "sync_metafields")
CAPS = {"release": 1000, "sync_metafields": 5000}
STORES = ("task state store", "state_path")


# Every two values of different columns meet.
KILLS = [
    ("before-the-post", "task state store", "release", "worker"),
    ("before-the-post", "state_path", "sync_metafields", "deferred"),
    ("after-the-post", "task state store", "sync_metafields", "worker"),
    ("after-the-post", "state_path", "release", "deferred"),
    ("after-the-handle", "task state store", "release", "deferred"),
    ("after-the-handle", "state_path", "sync_metafields", "worker"),
]


@pytest.fixture(autouse=True)
def short_jobs(sandbox):
    sandbox.jobs("*", times=None, duration=5)


@pytest.fixture(params=STORES)
def store(request, monkeypatch, tmp_path):
    if request.param == "state_path":
        monkeypatch.setenv("AIRFLOW__STOQ__STATE_PATH", f"file://{tmp_path}/records")
        return False
    return MemoryStateStore()


def killed(run, death, nth=1):
    with pytest.MonkeyPatch.context() as patch:
        kill_worker(patch, death, nth=nth)
        with pytest.raises(Killed):
            run.execute()


def every_order():
    return [order["shopify_order_id"] for order in StoqHook().iter_orders()]


def mails(bench):
    """Return how many customers got how many mails at the most."""
    links = bench.sandbox.state["payment_links"]
    return len(links), max(links.values(), default=0)


# -- safe to repeat -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("death", "store", "action", "mode"), KILLS, indirect=["store"])
def test_worker_killed_the_next_try_has_one_job_it_waits_for(bench, death, store, action, mode, logs):
    run = bench.bulk(action, [1, 2, 3], mode, store=store)
    killed(run, death)
    manifest = run.retry()
    assert bench.sent() == [[1, 2, 3]] * (2 if death == "after-the-post" else 1)
    assert manifest["jobs"][0]["job_id"] == bench.sandbox.submissions[-1]["job_id"]
    assert bool(logs.warnings(f"An earlier try was lost while it sent bulk_{action}")) is (death != DEATHS[2])
    assert bool("An earlier try submitted job" in logs.text) is (death == DEATHS[2])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("death", "action"), in_turn(DEATHS, SAFE))
def test_worker_killed_at_the_second_of_three_chunks(bench, mode, death, action, logs):
    cap = CAPS[action]
    ids = list(range(1, 2 * cap + 2))
    run = bench.bulk(action, ids, mode)
    killed(run, death, nth=2)
    before = len(bench.sent())
    assert before == (1 if death == "before-the-post" else 2)
    manifest = run.retry()
    sent = bench.sent()
    assert sent[:before] == [ids[:cap], ids[cap : 2 * cap]][:before]
    resent = [] if death == "after-the-handle" else [ids[cap : 2 * cap]]
    assert sent[before:] == [*resent, ids[2 * cap :]]
    assert [job["total"] for job in manifest["jobs"]] == [cap, cap, 1]
    assert run.retry()["jobs"] == manifest["jobs"]
    assert bench.sent() == sent


@pytest.mark.parametrize("mode", MODES)
def test_worker_killed_reset_metafields_is_repeated_with_a_warning(bench, mode, logs):
    run = bench.bulk("reset_metafields", [1], mode)
    killed(run, "after-the-post")
    run.retry()
    assert len(bench.sent()) == 2
    assert logs.warnings("Repeating bulk_reset_metafields is not without effect")


@pytest.mark.parametrize("mode", MODES)
def test_worker_killed_in_every_try_a_job_comes_of_it_all_the_same(bench, mode):
    run = bench.bulk("release", [1], mode)
    for death in (*DEATHS[:2], *DEATHS[:2]):
        killed(run, death)
        run.next_try()
    assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    assert len(bench.sent()) == 3


@pytest.mark.parametrize("mode", MODES)
def test_worker_killed_without_a_store_the_next_try_submits_anew_as_was_warned(bench, mode, logs):
    run = bench.bulk("release", [1], mode, store=False)
    killed(run, "after-the-handle")
    assert logs.warnings("the next try does not know of the job and submits another one")
    run.retry()
    assert len(bench.sent()) == 2


# -- never to be repeated -------------------------------------------------------------------------------


@pytest.mark.parametrize("death", DEATHS[:2])
def test_worker_killed_before_the_handle_mail_is_not_sent_again(bench, death, store):
    run = bench.bulk(MAIL, every_order()[-500:], store=store)
    killed(run, death)
    sent = len(bench.sent())
    assert sent == (death == "after-the-post")
    for _ in range(3):
        run.next_try()
        fails(
            run.execute,
            SubmissionUncertain,
            "An earlier try was about to send bulk_send_payment_collection_url",
            "The job perhaps runs",
            "Nothing was sent now",
            "The task is not retried",
            "clearing the task submits it",
            final=True,
        )
    assert len(bench.sent()) == sent
    assert mails(bench)[1] == 0 or mails(bench)[1] == sent


@pytest.mark.large_shop
@pytest.mark.parametrize("mode", MODES)
def test_worker_killed_after_the_handle_mail_reattaches(bench, mode, store):
    ids = every_order()
    run = bench.bulk(MAIL, ids[400:800], mode, store=store)
    killed(run, "after-the-handle")
    assert run.retry()["jobs"][0]["outcome"] == "succeeded"
    assert bench.sent() == [ids[400:800]]
    customers, most = mails(bench)
    assert customers > 0
    assert most == 1


@pytest.mark.large_shop
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("death", DEATHS)
def test_worker_killed_at_the_second_chunk_no_customer_gets_two_mails(bench, sandbox, mode, death):
    """What the message advises, a clear, sends the chunk in question only: the first has its job."""
    ids = every_order()
    run = bench.bulk(MAIL, [*ids[600:], *ids[:600]], mode)
    killed(run, death, nth=2)
    sandbox.advance(600)
    first = [ids[600:] + ids[:400], ids[400:600]]
    if death == "after-the-handle":
        run.retry()
        assert bench.sent() == first
    else:
        run.next_try()
        error = fails(
            run.execute, SubmissionUncertain, "Before that, 1 of 2 submissions had their jobs", final=True
        )
        assert "clearing the task finds them and sends only the others" in str(error)
        assert bench.sent() == first[: 1 if death == "before-the-post" else 2]
    customers, most = mails(bench)
    assert customers > 0
    assert most == 1
    if death == "before-the-post":
        run.clear()
        run.execute()
        sandbox.advance(600)
        assert bench.sent() == first
        assert mails(bench)[1] == 1


@pytest.mark.parametrize("mode", MODES)
def test_worker_killed_a_clear_after_looking_submits_what_was_in_doubt(bench, mode):
    run = bench.bulk(MAIL, [1, 2], mode, on_clear="resubmit")
    killed(run, "before-the-post")
    run.clear()
    assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    assert bench.sent() == [[1, 2]]


def test_worker_killed_a_clear_to_reuse_stops_at_what_is_in_doubt(bench):
    run = bench.bulk(MAIL, [1, 2], on_clear="reuse")
    killed(run, "before-the-post")
    run.clear()
    fails(run.execute, SubmissionUncertain, "on_clear='resubmit'", final=True)
    assert bench.sent() == []


# -- while waiting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("action", ["release", MAIL])
def test_worker_killed_at_the_end_of_the_wait_nothing_is_submitted_again(bench, mode, action):
    def die(*args, **kwargs):
        raise Killed

    run = bench.bulk(action, [1], mode)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stoq_provider.jobs.results.sum_up", die)
        with pytest.raises(Killed):
            run.execute()
    assert run.retry()["jobs"][0]["outcome"] == "succeeded"
    assert bench.sent() == [[1]]


@pytest.mark.parametrize("action", ["release", MAIL])
def test_triggerer_failed_the_next_try_finds_the_jobs(bench, action):
    run = bench.bulk(action, range(1, 1002), "deferred")
    run.start()
    with pytest.raises(Exception, match=r"retry waits for the same job"):
        run.fail_trigger("TriggerFailureReason.TRIGGER_TIMEOUT")
    assert len(run.retry()["jobs"]) == 2
    assert [len(ids) for ids in bench.sent()] == [1000, 1]
