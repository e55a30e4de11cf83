"""``completed`` means attempted: items are read back, and a retry sends only those that did not change."""

from __future__ import annotations

import json

import pytest

from stoq_provider.exceptions import AuthenticationError, ItemsUnchanged
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.testing import Sandbox
from stoq_provider.testing.shop import ShopSize
from tests.harness import Killed

from .conftest import MODES, connect, fails, in_turn
from .test_outcomes_lost import kill_at_xcom

BODIES = {"set_tags": {"tags": ["late"]}}
READABLE = (
    "release",
    "cancel",
    "set_tags",
    "sync_metafields",
    "reset_metafields",
    "recalculate_preorder_counts",
)
LISTS = {"orders": "GET /preorders/orders", "variants": "GET /preorders/product_variants"}
GONE = 777


@pytest.fixture(autouse=True)
def short_jobs(sandbox):
    sandbox.jobs("*", times=None, duration=5)


def items(action, count=40):
    """Return items that the action really changes, as the shop has them."""
    hook = StoqHook()
    if action in ("release", "cancel", "set_tags"):
        found = [row["shopify_order_id"] for row in hook.iter_orders(state="placed")]
    elif action == "recalculate_preorder_counts":
        found = [row["shopify_variant_id"] for row in hook.iter_variants() if row["metafields"]["drift"]]
    else:
        wrong = [
            row["shopify_variant_id"]
            for row in hook.iter_variants()
            if (row["metafields"]["preorder_count"] == row["preorder_count"])
            is (action == "reset_metafields")
        ]
        found = wrong
    assert len(found) > 10
    return found[:count]


def make(bench, action, ids, mode, verify, **options):
    return bench.bulk(action, ids, mode, verify=verify, **{"body": BODIES.get(action), **options})


@pytest.mark.parametrize(("action", "verify", "mode"), in_turn(READABLE, ["warn", "fail"], MODES))
def test_everything_changed(bench, mode, action, verify, logs):
    manifest = make(bench, action, items(action), mode, verify).execute()
    assert manifest["unchanged_items"] == []
    assert manifest["totals"]["unchanged"] == 0
    assert not logs.warnings("read-back")


@pytest.mark.parametrize(("action", "mode"), in_turn(READABLE, MODES))
def test_warn_succeeds_and_reports_what_is_unchanged(bench, sandbox, mode, action, logs):
    ids = items(action)
    sandbox.jobs("*", times=None, item_errors=[ids[7], ids[3]])
    manifest = make(bench, action, [*ids, GONE], mode, "warn").execute()
    assert manifest["jobs"][0]["outcome"] == "succeeded"
    assert manifest["unchanged_items"] == [ids[3], ids[7], GONE]
    assert manifest["totals"]["unchanged"] == 3
    assert logs.warnings(f"{action} completed at STOQ, and a read-back found 3 items that it did not change")
    assert manifest["points_spent"] <= sandbox.state["points_spent"]


@pytest.mark.parametrize(("action", "mode"), in_turn(READABLE, MODES))
def test_fail_fails_and_retries_send_only_what_is_unchanged_round_after_round(bench, sandbox, mode, action):
    ids = items(action)
    run = make(bench, action, ids, mode, "fail")
    for found, odd in (("found 4 items", ids[2:6]), ("found 2 items", ids[4:6])):
        sandbox.jobs("*", times=1, item_errors=odd)
        says = (found, f": {odd[0]}, ", "The remote jobs have ended", "A retry submits only these items")
        fails(run.execute, ItemsUnchanged, "completed at STOQ", *says)
        run.next_try()
    manifest = run.execute()
    assert manifest["unchanged_items"] == []
    assert bench.sent() == [ids, ids[2:6], ids[4:6]]
    assert run.retry()["unchanged_items"] == []
    assert len(bench.sent()) == 3


@pytest.mark.parametrize("mode", MODES)
def test_without_verify_nothing_is_read_back(bench, sandbox, mode):
    ids = items("release")
    reads = sandbox.state["requests"][LISTS["orders"]]
    sandbox.jobs("*", item_errors=ids)
    assert make(bench, "release", ids, mode, None).execute()["unchanged_items"] == []
    assert sandbox.state["requests"][LISTS["orders"]] == reads


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("verify", ["warn", "fail"])
def test_payment_links_say_that_nothing_can_be_read(bench, sandbox, mode, verify, logs):
    ids = items("release")
    manifest = make(bench, "send_payment_collection_url", ids, mode, verify).execute()
    assert manifest["unchanged_items"] == []
    assert logs.warnings("nothing to read for send_payment_collection_url: nothing: no read tells")
    assert not any(name == "GET /preorders/orders/:id" for name in sandbox.state["requests"])


@pytest.mark.large_shop
@pytest.mark.parametrize("mode", MODES)
def test_several_chunks_are_judged_together_and_the_rest_is_cut_anew(bench, sandbox, mode):
    ids = [row["shopify_order_id"] for row in StoqHook().iter_orders()]
    odd = [*ids[990:1010], ids[-1]]
    sandbox.jobs("*", times=2, item_errors=odd)
    run = make(bench, "set_tags", ids, mode, "fail")
    fails(run.execute, ItemsUnchanged, "found 21 items", f"{odd[0]}", "and 16 more")
    assert run.retry()["unchanged_items"] == []
    assert bench.sent() == [ids[:1000], ids[1000:], odd]


@pytest.mark.parametrize("mode", MODES)
def test_killed_between_the_chunks_of_the_second_round_nothing_goes_out_twice(bench, sandbox, mode):
    ids = items("set_tags")
    sandbox.jobs("*", times=1, item_errors=ids[:5])
    run = make(bench, "set_tags", ids, mode, "fail")
    fails(run.execute, ItemsUnchanged, "found 5 items")

    run.next_try()
    with pytest.MonkeyPatch.context() as patch:
        kill_at_xcom(patch)
        with pytest.raises(Killed):
            run.execute()
    assert run.retry()["unchanged_items"] == []
    assert bench.sent() == [ids, ids[:5]]


@pytest.mark.parametrize("mode", MODES)
def test_a_clear_sends_the_whole_list_again(bench, sandbox, mode):
    ids = items("set_tags")
    sandbox.jobs("*", times=1, item_errors=ids[:5])
    run = make(bench, "set_tags", ids, mode, "fail")
    fails(run.execute, ItemsUnchanged, "found 5 items")
    run.clear()
    run.execute()
    assert bench.sent() == [ids, ids]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("when", ["submission", "polling"])
def test_a_key_refused_in_the_second_round_and_mended_goes_on_with_that_round(bench, sandbox, mode, when):
    ids = items("set_tags")
    sandbox.jobs("*", times=1, item_errors=ids[:5])
    run = make(bench, "set_tags", ids, mode, "fail")
    fails(run.execute, ItemsUnchanged, "found 5 items")
    run.next_try()
    sandbox.arm("status", status=401, path="bulk_set_tags$" if when == "submission" else "/jobs/")
    fails(run.execute, AuthenticationError, final=True)
    run.clear()
    assert run.execute()["unchanged_items"] == []
    assert bench.sent() == [ids, ids[:5]]
    run.clear()
    run.execute()
    assert bench.sent() == [ids, ids[:5], ids]


@pytest.mark.parametrize("mode", MODES)
def test_items_that_do_not_tell_are_warned_of_and_count_as_done(bench, sandbox, mode, logs):
    ids = items("release", 3)
    rows = [{"shopify_order_id": item} for item in ids[:2]] + [
        {"shopify_order_id": ids[2], "state": "placed"}
    ]
    body = {"orders": rows, "meta": {"total_pages": 1}}
    sandbox.arm("json", path="/preorders/orders$", body=body, times=None)
    run = make(bench, "release", ids, mode, "fail")
    fails(run.execute, ItemsUnchanged, "found 1 items", str(ids[2]))
    assert logs.warnings(
        "2 items do not tell whether release changed them (state is released or fulfilled (D))"
    )


@pytest.mark.parametrize("mode", MODES)
def test_a_read_back_that_breaks_is_made_again_by_the_retry_and_nothing_is_submitted(bench, sandbox, mode):
    ids = items("release", 3)
    run = make(bench, "release", ids, mode, "fail")
    sandbox.arm("status", status=500, path="/preorders/orders$", times=None)
    with pytest.raises(Exception, match="a retry reads again"):
        run.execute()
    sandbox.disarm()
    assert run.retry()["unchanged_items"] == []
    assert bench.sent() == [ids]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", ["html", "empty", "garbage", "reset_after"])
def test_a_read_back_bears_bad_responses(bench, sandbox, mode, fault):
    ids = items("release", 3)
    sandbox.arm(fault, path="/preorders/orders$", times=9)
    assert make(bench, "release", ids, mode, "fail").execute()["unchanged_items"] == []
    assert bench.sent() == [ids]


@pytest.mark.parametrize("verify", ["warn", "fail"])
def test_a_selection_without_a_store_is_verified_on_the_worker(bench, verify):
    """The selection shrinks by what the job does; what was sent is what is read back."""
    ids = items("release", 500)
    run = make(bench, "release", {"state": "placed"}, "worker", verify, store=False)
    assert run.execute()["unchanged_items"] == []
    assert bench.sent() == [ids]


def test_without_a_store_a_failure_promises_no_smaller_retry(bench, sandbox):
    ids = items("set_tags", 5)
    sandbox.jobs("*", times=1, item_errors=ids[:2])
    run = make(bench, "set_tags", ids, "worker", "fail", store=False)
    error = fails(run.execute, ItemsUnchanged, "found 2 items")
    assert "submits only these" not in str(error)
    run.retry()
    assert bench.sent() == [ids, ids]


# -- what it costs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_variants_are_read_by_lists_of_a_hundred(bench, sandbox, mode):
    ids = [row["shopify_variant_id"] for row in StoqHook().iter_variants()]
    before = sandbox.state["requests"][LISTS["variants"]]
    make(bench, "sync_metafields", ids, mode, "fail").execute()
    requests = sandbox.state["requests"]
    assert requests[LISTS["variants"]] - before == 2
    assert "GET /preorders/product_variants/:variant_id" not in requests


@pytest.mark.large_shop
@pytest.mark.parametrize(("count", "lists", "singles"), [(2, 1, 2), (1200, 12, 0)])
def test_orders_are_read_by_whichever_costs_less(bench, sandbox, count, lists, singles):
    ids = [row["shopify_order_id"] for row in StoqHook().iter_orders()][-count:]
    before = sandbox.state["requests"][LISTS["orders"]]
    make(bench, "set_tags", ids, "worker", "fail").execute()
    requests = sandbox.state["requests"]
    assert requests[LISTS["orders"]] - before == lists
    assert requests.get("GET /preorders/orders/:id", 0) == singles


def test_single_reads_stay_within_the_points(monkeypatch, clock):
    """Fifty items that no list shows, and forty points in a window."""
    with Sandbox(time_scale=0, points_limit=40, size=ShopSize(orders=5, variants=50)) as small:
        clock.drives(small)
        connect(monkeypatch, small)
        from .conftest import Bench

        ids = list(range(1, 51))
        manifest = Bench(small, None).bulk("sync_metafields", ids, verify="warn").execute()
        assert manifest["unchanged_items"] == ids
        assert small.state["rate_limited"] == 0
        assert small.state["highest_points_in_window"] <= 32
        assert manifest["points_spent"] == small.state["points_spent"]


# -- long lists -----------------------------------------------------------------------------------------


@pytest.mark.large_shop
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("folder", [True, False], ids=["with a destination", "without"])
def test_more_than_a_thousand_unchanged_items_go_to_a_file(bench, sandbox, mode, folder, tmp_path, logs):
    ids = [row["shopify_order_id"] for row in StoqHook().iter_orders()]
    sandbox.jobs("*", times=None, item_errors=ids)
    options = {"destination": f"file://{tmp_path}/lake"} if folder else {}
    run = make(bench, "set_tags", ids, mode, "warn", **options)
    manifest = run.execute()
    assert manifest["totals"]["unchanged"] == 1200
    assert manifest["unchanged_items"] == ids[:1000]
    assert len(json.dumps(manifest)) < 48_000
    assert max(len(json.dumps(value)) for value in run.ti.xcoms.values()) < 48_000
    if folder:
        (file,) = (tmp_path / "lake").iterdir()
        assert manifest["unchanged_items_uri"].endswith(file.name)
        assert [int(line) for line in file.read_text().splitlines()] == ids
    else:
        assert "unchanged_items_uri" not in manifest
        assert logs.warnings("With a destination, the whole list would be stored there")
