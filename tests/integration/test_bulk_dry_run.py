"""``dry_run``: what would be done and what it would cost, and not one submission."""

from __future__ import annotations

import json

import pytest

from stoq_provider.exceptions import DownloadError
from stoq_provider.hooks.stoq import StoqHook

from .conftest import fails

KEYS = {"submit", "poll", "verify", "total"}
TABLE = [
    ("release", 2500, 3, "safe", 2500),
    ("cancel", 1000, 1, "safe", 1000),
    ("set_tags", 1001, 2, "safe", 1001),
    ("send_payment_collection_url", 1001, 2, "never", 0),
    ("sync_metafields", 5001, 2, "safe", 51),
    ("recalculate_preorder_counts", 100, 1, "safe", 1),
    ("reset_metafields", 100_000, 20, "warn", 1000),
]


@pytest.mark.parametrize(("action", "count", "submissions", "safety", "reads"), TABLE)
def test_the_plan(bench, sandbox, action, count, submissions, safety, reads):
    ids = [*range(1, count + 1), 1, 2]
    body = {"tags": ["late"]} if action == "set_tags" else None
    run = bench.bulk(action, ids, dry_run=True, verify="warn", body=body, max_items=200_000)
    plan = json.loads(json.dumps(run.execute()))
    assert plan["dry_run"] is True
    assert (plan["action"], plan["items"], plan["duplicates"]) == (action, count, 2)
    assert (plan["submissions"], plan["repeat_safety"]) == (submissions, safety)
    assert set(plan["points"]) == KEYS
    assert (plan["points"]["submit"], plan["points"]["verify"]) == (2 * submissions, reads)
    assert plan["points"]["total"] == sum(plan["points"][part] for part in KEYS - {"total"})
    assert plan["minutes"] >= 0.5
    assert plan["verification"]
    assert sandbox.state["requests"] == {}
    assert run.store.records() == []
    assert run.triggers == []


def test_without_verify_nothing_is_read_back_and_the_plan_says_so(bench):
    plan = bench.bulk("release", [1], dry_run=True).execute()
    assert (plan["verification"], plan["points"]["verify"]) == (None, 0)


def test_a_selection_is_resolved_and_not_kept(bench, sandbox):
    wanted = [order for order in StoqHook().iter_orders() if order["state"] == "placed"]
    run = bench.bulk("release", {"state": "placed"}, dry_run=True)
    assert run.execute()["items"] == len(wanted)
    assert bench.submissions == 0
    assert run.store.records() == []


def test_a_dry_run_before_the_real_one_changes_nothing_for_it(bench):
    run = bench.bulk("release", [1, 2], dry_run=True)
    run.execute()
    run.changes = {"dry_run": False}
    run.next_try()
    assert run.execute()["jobs"][0]["outcome"] == "succeeded"
    assert bench.sent() == [[1, 2]]


def test_a_plan_whose_items_cannot_be_stored_says_that_nothing_was_sent(bench, tmp_path, monkeypatch):
    (tmp_path / "lake").write_text("a file in the way")
    monkeypatch.setattr("stoq_provider.download.download.check_access", lambda target: None)
    run = bench.bulk("release", [1, 2], dry_run=True, destination=f"{(tmp_path / 'lake').as_uri()}/")
    fails(run.execute, DownloadError, "list of items could not be stored", "Nothing was sent.")


@pytest.mark.parametrize("end", ["", "/"])
def test_a_plan_is_stored_again_in_the_folder_that_the_first_one_made(bench, tmp_path, end):
    for _ in range(2):
        run = bench.bulk("release", [1, 2], dry_run=True, destination=f"{tmp_path}/lake{end}")
        assert run.execute()["items_uri"].startswith(f"file://{tmp_path}/lake/items-")
