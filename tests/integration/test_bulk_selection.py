"""Selections and files: resolved once, and the same for every try of the task."""

from __future__ import annotations

import pytest

from stoq_provider.exceptions import StateError, ValidationRejected
from stoq_provider.hooks.stoq import StoqHook
from tests.harness import Killed

from .conftest import DEATHS, MODES, fails, in_turn, kill_worker

STORES = ("task state store", "state_path")


@pytest.fixture(params=STORES)
def store(request, monkeypatch, tmp_path):
    if request.param == "state_path":
        monkeypatch.setenv("AIRFLOW__STOQ__STATE_PATH", f"file://{tmp_path}/records")
        return False
    return None


def placed():
    return [order["shopify_order_id"] for order in StoqHook().iter_orders() if order["state"] == "placed"]


@pytest.mark.large_shop
@pytest.mark.parametrize("mode", MODES)
def test_a_state_is_selected_through_short_and_empty_pages(bench, sandbox, mode):
    wanted = placed()
    pages = sandbox.state["requests"]["GET /preorders/orders"]
    assert pages == 12
    assert len(wanted) == 108
    bench.bulk("release", {"state": "placed"}, mode).execute()
    assert bench.sent() == [wanted]
    assert sandbox.state["requests"]["GET /preorders/orders"] == 2 * pages


def test_offer_and_state_together(bench):
    offer = next(StoqHook().iter_offers())["id"]
    wanted = [
        order["shopify_order_id"]
        for order in StoqHook().iter_orders(offer_id=offer)
        if order["state"] == "placed"
    ]
    assert wanted
    bench.bulk("release", {"offer_id": offer, "state": "placed"}).execute()
    assert bench.sent() == [wanted]


def test_variants_of_an_offer(bench):
    offer = next(StoqHook().iter_offers())["id"]
    bench.bulk("sync_metafields", {"offer_id": offer}).execute()
    (sent,) = bench.sent()
    assert len(sent) == len(set(sent)) == 8


@pytest.mark.parametrize(("death", "mode"), in_turn(DEATHS, MODES))
def test_a_selection_that_shrinks_meanwhile_is_the_same_for_the_next_try(bench, sandbox, mode, death, store):
    """The lost try has released the orders, so the same filter finds none of them any more."""
    wanted = placed()
    run = bench.bulk("release", {"state": "placed"}, mode, store=store)
    with pytest.MonkeyPatch.context() as patch:
        kill_worker(patch, death)
        with pytest.raises(Killed):
            run.execute()
    sandbox.advance(600)
    assert (len(placed()) == 0) is (death != "before-the-post")
    manifest = run.retry()
    assert manifest["totals"]["processed"] == len(wanted)
    assert bench.sent() == [wanted] * (2 if death == "after-the-post" else 1)


@pytest.mark.large_shop
@pytest.mark.parametrize("mode", MODES)
def test_a_selection_of_several_chunks_is_cut_alike_and_only_the_rest_is_sent(bench, sandbox, mode, store):
    """1,200 orders by date; between the tries, an order leaves the selection."""
    sandbox.jobs("*", times=None, duration=1)
    run = bench.bulk("release", {"from": "2020-01-01"}, mode, store=store)
    with pytest.MonkeyPatch.context() as patch:
        kill_worker(patch, "after-the-handle")
        with pytest.raises(Killed):
            run.execute()
    listed = sandbox.state["requests"]["GET /preorders/orders"]
    manifest = run.retry()
    assert [len(chunk) for chunk in bench.sent()] == [1000, 200]
    assert len({item for chunk in bench.sent() for item in chunk}) == 1200
    assert [job["job_id"] for job in manifest["jobs"]] == [s["job_id"] for s in sandbox.submissions]
    assert sandbox.state["requests"]["GET /preorders/orders"] == listed


@pytest.mark.parametrize(("column", "mode"), in_turn([None, "order_id"], MODES))
def test_a_file_that_changes_between_the_tries_is_the_same_for_the_next(bench, tmp_path, mode, column, store):
    file = tmp_path / "ids.csv"
    file.write_text("order_id\n1\n2\n" if column else "1\n2\n")
    run = bench.bulk(
        "release", {"path": str(file), "column": column} if column else str(file), mode, store=store
    )
    with pytest.MonkeyPatch.context() as patch:
        kill_worker(patch, "after-the-handle")
        with pytest.raises(Killed):
            run.execute()
    file.unlink()
    assert run.retry()["jobs"][0]["outcome"] == "succeeded"
    assert bench.sent() == [[1, 2]]


@pytest.mark.parametrize("mode", MODES)
def test_a_clear_selects_anew(bench, tmp_path, mode):
    file = tmp_path / "ids"
    file.write_text("1\n")
    run = bench.bulk("release", str(file), mode)
    run.execute()
    file.write_text("2\n")
    run.clear()
    run.execute()
    assert bench.sent() == [[1], [2]]


@pytest.mark.parametrize("mode", MODES)
def test_a_clear_with_reuse_keeps_the_selection_and_its_job(bench, tmp_path, mode):
    file = tmp_path / "ids"
    file.write_text("1\n")
    run = bench.bulk("release", str(file), mode, on_clear="reuse")
    run.execute()
    file.write_text("2\n")
    run.clear()
    run.execute()
    assert bench.sent() == [[1]]


def test_a_store_that_breaks_before_the_selection_is_kept_sends_nothing(bench, tmp_path):
    (tmp_path / "ids").write_text("1\n")
    run = bench.bulk("release", str(tmp_path / "ids"))
    run.store.broken = True
    fails(run.execute, StateError, "could not be read", "nothing more was sent", "A retry looks again")
    run.store.broken = False
    run.retry()
    assert bench.sent() == [[1]]


def test_verify_of_a_changing_selection_needs_a_store_where_the_task_defers(bench, tmp_path):
    (tmp_path / "ids").write_text("1\n")
    run = bench.bulk("release", str(tmp_path / "ids"), "deferred", verify="warn", store=False)
    fails(
        run.execute,
        ValidationRejected,
        "verify needs a place",
        "[stoq] state_path",
        "Nothing was sent",
        final=True,
    )
    bench.bulk("release", [1], "deferred", verify="warn", store=False).execute()
    assert bench.sent() == [[1]]
