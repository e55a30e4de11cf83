"""Lists of any length: each id goes out exactly once, in submissions of at most STOQ's cap."""

from __future__ import annotations

import json

import pytest

from stoq_provider.operators.bulk import StoqBulkVariantsOperator
from tests.harness import TaskRun

from .conftest import MODES, in_turn


@pytest.fixture(autouse=True)
def short_jobs(sandbox):
    sandbox.jobs("*", times=None, duration=5)


@pytest.mark.parametrize(
    ("action", "count", "sizes", "mode"),
    in_turn(
        [
            ("release", 1, [1]),
            ("release", 1000, [1000]),
            ("release", 1001, [1000, 1]),
            ("cancel", 2500, [1000, 1000, 500]),
            ("sync_metafields", 5000, [5000]),
            ("reset_metafields", 5001, [5000, 1]),
        ],
        MODES,
    ),
)
def test_every_id_goes_out_once_in_order(bench, mode, action, count, sizes):
    ids = list(range(10**12, 10**12 + count))
    run = bench.bulk(action, ids, mode)
    manifest = run.execute()
    sent = bench.sent()
    assert [len(chunk) for chunk in sent] == sizes
    assert [item for chunk in sent for item in chunk] == ids
    job_ids = [entry["job_id"] for entry in bench.sandbox.submissions]
    assert (run.ti.xcoms["job_id"], run.ti.xcoms["job_ids"]) == (job_ids[0], job_ids)
    assert [job["job_id"] for job in manifest["jobs"]] == job_ids
    assert [(job["total"], job["processed"], job["error"]) for job in manifest["jobs"]] == [
        (n, n, None) for n in sizes
    ]
    assert manifest["totals"]["jobs"] == len(sizes)
    assert manifest["totals"]["total"] == manifest["totals"]["processed"] == count
    assert (manifest["kind"], manifest["unchanged_items"], manifest["files"]) == (f"bulk_{action}", [], [])
    assert manifest["points_spent"] == bench.sandbox.state["points_spent"]


@pytest.mark.parametrize("mode", MODES)
def test_a_deferred_task_has_one_trigger_for_all_its_jobs(bench, mode):
    run = bench.bulk("release", range(1, 2501), mode)
    run.execute()
    assert [len(kwargs["jobs"]) for _, kwargs in run.triggers] == ([] if mode == "worker" else [3])


def test_without_waiting_the_handles_are_returned(bench):
    run = bench.bulk("release", range(1, 1502), wait_for_completion=False)
    handles = json.loads(json.dumps(run.execute()))
    assert [handle["item_count"] for handle in handles] == [1000, 501]
    assert {(handle["system"], handle["kind"]) for handle in handles} == {("stoq", "bulk_release")}
    assert [handle["job_id"] for handle in handles] == run.ti.xcoms["job_ids"]
    assert run.triggers == []
    assert not any("jobs/:job_id" in name for name in bench.sandbox.state["requests"])


def test_a_sensor_waits_for_the_handles(bench):
    handles = bench.bulk("release", range(1, 1502), wait_for_completion=False).execute()
    manifest = bench.sensor("worker", json.loads(json.dumps(handles)), destination=None).execute()
    assert [job["outcome"] for job in manifest["jobs"]] == ["succeeded", "succeeded"]


@pytest.mark.parametrize("mode", MODES)
def test_the_body_goes_along_with_every_chunk(bench, mode):
    bench.bulk("set_tags", range(1, 1502), mode, body={"tags": ["late"]}, extra_body={"note": "x"}).execute()
    assert [(s["body"]["tags"], s["body"]["note"]) for s in bench.sandbox.submissions] == [
        (["late"], "x")
    ] * 2


def test_mapped_over_offers_each_task_instance_has_its_own_jobs(bench, sandbox):
    """As ``.partial(...).expand(variant_ids=...)`` runs it: one template, one map index for each offer."""
    from stoq_provider.hooks.stoq import StoqHook

    offers = [offer["id"] for offer in StoqHook().iter_offers()][:3]
    runs = []
    for index, offer in enumerate(offers):
        run = bench.bulk("sync_metafields", {"offer_id": offer})
        run.ti.map_index = index
        run.store = runs[0].store if runs else run.store
        runs.append(run)
    jobs = [run.execute()["jobs"][0]["job_id"] for run in runs]
    assert len(set(jobs)) == len(bench.sent()) == 3
    assert all(len(ids) == 8 for ids in bench.sent())
    assert [run.retry()["jobs"][0]["job_id"] for run in runs] == jobs
    assert len(bench.sent()) == 3


def test_partial_and_expand_take_every_parameter():
    mapped = StoqBulkVariantsOperator.partial(
        task_id="sync", action="sync_metafields", verify="warn", deferrable=True, destination="file:///tmp/x/"
    ).expand(variant_ids=[{"offer_id": "a"}, {"offer_id": "b"}])
    assert mapped.partial_kwargs["verify"] == "warn"
    assert set(mapped.template_fields) >= {"variant_ids", "action", "body", "destination", "stoq_conn_id"}


def test_items_may_come_from_an_upstream_task(bench):
    """A template that was rendered to a list, as an XComArg is."""
    run = TaskRun(
        lambda: StoqBulkVariantsOperator(
            task_id="bulk", action="sync_metafields", variant_ids=None, poll_interval=0.02
        )
    )
    run.changes = {"variant_ids": [3, 4]}
    run.execute()
    assert bench.sent() == [[3, 4]]
