"""The rows of the outcome table that only real processes can show: kills, restarts, clears, crowds."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.cluster.airflow import Cluster
from tests.cluster.conftest import BUSY_KEY
from tests.cluster.leaks import Leaks
from tests.cluster.rest import Run
from tests.cluster.waiting import until

HELD = 1e6
"""Duration of a job that ends when the test says so."""

QUICK = 0.5
QUIET = 1.5
"""Seconds without a poll after which nobody polls: three times the interval that is set here."""

POLLED = "GET /preorders/reports/exports/:job_id"
MAPPED = 12
CROWDED = 8.0
"""Seconds of waiting in which twelve exports polled at 0.2 s would ask for more than the shop has."""


class Shop:
    """The remote side of a test."""

    def __init__(self, cluster: Cluster) -> None:
        self.sandbox = cluster.sandbox

    def hold(self) -> None:
        """Let jobs run until :meth:`finish`."""
        self.sandbox.jobs(times=None, duration=HELD)

    def finish(self) -> None:
        """Let every running job end well."""
        for job_id, job in self.sandbox.state["jobs"].items():
            if job["status"] == "running":
                self.sandbox.end_job(job_id)

    def polls(self) -> int:
        return self.sandbox.state["requests"].get(POLLED, 0)

    def until_polled(self) -> None:
        """Wait for another poll; the handle is on record before the first."""
        before = self.polls()
        until("another poll", lambda: self.polls() > before)

    def until_left_alone(self) -> None:
        """Wait until nobody polls any more."""

        def quiet() -> bool:
            before = self.polls()
            self.until_later(QUIET)
            return self.polls() == before

        until("an end of the polls", quiet)

    def until_submitted(self, count: int = 1) -> None:
        until(f"{count} submissions", lambda: len(self.sandbox.submissions) >= count)

    def orders(self) -> list[int]:
        """Some held orders."""
        answer = requests.get(
            f"{self.sandbox.origin}/api/v2/external/preorders/orders",
            params={"state": "awaiting_balance"},
            headers={"X-Auth-Token": self.sandbox.key},
            timeout=60,
        )
        return [order["shopify_order_id"] for order in answer.json()["orders"][:5]]

    def until_later(self, seconds: float) -> None:
        """Wait until the shop's clock has gone on."""
        end = self.sandbox.state["now"] + seconds
        until(f"{seconds:g} s at the shop", lambda: self.sandbox.state["now"] >= end)

    def job_ids(self) -> list[str]:
        """The jobs that were submitted, in order."""
        return [entry["job_id"] for entry in self.sandbox.submissions]


@pytest.fixture
def shop(cluster: Cluster) -> Shop:
    return Shop(cluster)


def stored(manifest: dict[str, Any]) -> Path:
    """Return the one file of a manifest, after a look at whether it is what the manifest says."""
    (file,) = manifest["files"]
    path = Path(file["uri"].removeprefix("file://"))
    content = path.read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
    return path


def deferred(cluster: Cluster, shop: Shop, dag_id: str = "deferred_export") -> Run:
    """Start an export whose job goes on, and return once the triggerer waits for it."""
    shop.hold()
    run = cluster.api.trigger(dag_id)
    cluster.api.wait_task(run, "deferred")
    shop.until_polled()
    return run


def test_completed_while_deferred(cluster: Cluster, shop: Shop) -> None:
    run = deferred(cluster, shop)
    until("its only trigger", lambda: len(cluster.database.triggers()) == 1)
    # A local file has no console.
    assert cluster.api.links(run) == {"Destination": None, "STOQ admin": "https://admin.shopify.com/"}
    shop.finish()
    cluster.api.wait(run)
    (job_id,) = shop.job_ids()
    xcoms = cluster.api.xcoms(run)
    assert (xcoms["job_id"], xcoms["job_ids"]) == (job_id, [job_id])
    manifest = xcoms["return_value"]
    assert manifest["jobs"] == [
        {"job_id": job_id, "outcome": "succeeded", "total": None, "processed": None, "error": None}
    ]
    assert run.run_id in str(stored(manifest))
    until("the trigger to be gone", lambda: not cluster.database.triggers())


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "redeployed"])
def test_triggerer_killed_or_redeployed(cluster: Cluster, shop: Shop, sign: signal.Signals) -> None:
    """The other triggerer takes over, without a word from anybody."""
    run = deferred(cluster, shop)
    name = cluster.triggerer(run)
    cluster.kill(name, sign)
    shop.until_polled()
    assert cluster.api.task(run)["state"] == "deferred"
    assert cluster.triggerer(run) != name
    cluster.start(name)
    shop.finish()
    cluster.api.wait(run)
    assert len(shop.job_ids()) == 1
    stored(cluster.api.xcoms(run)["return_value"])


@pytest.mark.parametrize("kill", [Cluster.kill_task, Cluster.kill_worker], ids=["task process", "machine"])
def test_worker_killed_after_the_handle(cluster: Cluster, shop: Shop, kill: Callable[..., None]) -> None:
    shop.hold()
    run = cluster.api.trigger("worker_export")
    shop.until_polled()
    kill(cluster, run)
    cluster.api.wait_task(run, "running", tries=2)
    shop.until_polled()
    shop.finish()
    cluster.api.wait(run)
    (job_id,) = shop.job_ids()
    assert f"An earlier try submitted job {job_id}" in cluster.api.log(run, 2)
    assert cluster.api.xcoms(run)["job_id"] == job_id
    stored(cluster.api.xcoms(run)["return_value"])


def killed_while_sending(cluster: Cluster, shop: Shop, action: str) -> tuple[Run, list[int]]:
    """Kill a bulk action's process after the shop has begun the job, which it never gets to hear."""
    orders = shop.orders()
    shop.sandbox.arm("delay", method="POST", path=r"/orders/bulk_", processed=True, seconds=None)
    shop.sandbox.jobs(times=None, duration=QUICK)
    run = cluster.api.trigger("bulk_action", {"action": action, "order_ids": orders})
    shop.until_submitted()
    cluster.kill_task(run)
    return run, orders


def test_worker_killed_after_the_intent_never_repeats_mails(cluster: Cluster, shop: Shop) -> None:
    run, orders = killed_while_sending(cluster, shop, "send_payment_collection_url")
    task = cluster.api.wait_task(run, "failed", tries=2)
    assert task["max_tries"] == 3, "there were retries left"
    cluster.api.wait(run, ("failed",))
    log = cluster.api.log(run, 2)
    assert "SubmissionUncertain" in log
    assert "The job perhaps runs. Nothing was sent now" in log
    assert len(shop.sandbox.submissions) == 1
    assert shop.sandbox.state["payment_links"] == {str(order): 1 for order in orders}


def test_worker_killed_after_the_intent_repeats_what_is_safe(cluster: Cluster, shop: Shop) -> None:
    run, orders = killed_while_sending(cluster, shop, "release")
    cluster.api.wait(run)
    assert cluster.api.task(run)["try_number"] == 2
    assert [entry["ids"] for entry in shop.sandbox.submissions] == [orders, orders]
    assert "it is submitted again" in cluster.api.log(run, 2)
    assert cluster.api.xcoms(run)["job_id"] == shop.job_ids()[1]


@pytest.mark.parametrize(("dag_id", "submissions"), [("deferred_export", 2), ("deferred_export_reuse", 1)])
def test_task_cleared_by_a_person(cluster: Cluster, shop: Shop, dag_id: str, submissions: int) -> None:
    shop.sandbox.jobs(times=None, duration=QUICK)
    run = cluster.api.trigger(dag_id)
    cluster.api.wait(run)
    cluster.api.clear(run)
    cluster.api.wait(run)
    assert cluster.api.task(run)["try_number"] == 2
    assert len(shop.job_ids()) == submissions
    manifest = cluster.api.xcoms(run)["return_value"]
    assert [job["job_id"] for job in manifest["jobs"]] == [shop.job_ids()[-1]]
    stored(manifest)


def test_task_marked_failed(cluster: Cluster, shop: Shop) -> None:
    run = deferred(cluster, shop)
    (job_id,) = shop.job_ids()
    cluster.api.mark_failed(run)
    cluster.api.wait(run, ("failed",))
    until("the trigger to be gone", lambda: not cluster.database.triggers())
    shop.until_left_alone()
    assert shop.sandbox.state["jobs"][job_id]["status"] == "running"
    shop.finish()
    assert shop.sandbox.state["jobs"][job_id]["status"] == "ready"
    assert shop.job_ids() == [job_id]
    assert cluster.api.task(run)["state"] == "failed"
    until("the last words of the trigger", lambda: f"jobs submitted: {job_id}. They go on" in words(cluster))


def words(cluster: Cluster) -> str:
    """What triggers wrote into the logs of their tasks, or, given up by Airflow, into the triggerer's."""
    files = [*cluster.home.glob("logs/**/*.trigger.*.log"), *cluster.home.glob("triggerer_*.log")]
    return "".join(file.read_text() for file in files)


def deferred_medusa(cluster: Cluster) -> Run:
    """Start a batch job that goes on, and return once the triggerer waits for it."""
    cluster.sandbox.control("medusa", "next_job", stuck=True)
    run = cluster.api.trigger("deferred_medusa")
    cluster.api.wait_task(run, "deferred")
    until("its trigger", lambda: len(cluster.database.triggers()) == 1)
    until("a poll", lambda: cluster.sandbox.state["medusa"]["requests"].get("GET /admin/batch-jobs/{id}"))
    return run


def batch_job(cluster: Cluster) -> dict[str, Any]:
    (job,) = cluster.sandbox.state["medusa"]["jobs"].values()
    return dict(job)


def test_task_marked_failed_whose_system_can_cancel(cluster: Cluster) -> None:
    run = deferred_medusa(cluster)
    cluster.api.mark_failed(run)
    cluster.api.wait(run, ("failed",))
    until("the end of its job", lambda: batch_job(cluster)["status"] == "canceled")
    until("the last words", lambda: f"jobs submitted: {batch_job(cluster)['id']}" in words(cluster))


def test_trigger_that_moves_to_another_triggerer_cancels_nothing(cluster: Cluster) -> None:
    run = deferred_medusa(cluster)
    cluster.move_triggers(run)
    until("its words", lambda: "The task is deferred, so its jobs are left alone" in words(cluster))
    assert batch_job(cluster)["status"] == "created"
    assert cluster.api.task(run)["state"] == "deferred"


def test_task_marked_failed_on_the_worker(cluster: Cluster, shop: Shop) -> None:
    shop.hold()
    run = cluster.api.trigger("worker_export")
    shop.until_polled()
    cluster.api.mark_failed(run)
    cluster.api.wait(run, ("failed",))
    shop.until_left_alone()
    (job_id,) = shop.job_ids()
    assert shop.sandbox.state["jobs"][job_id]["status"] == "running"
    until("the last words of the task", lambda: "Detached" in cluster.api.log(run, 1))


def test_many_exports_of_one_shop_stay_within_its_points(cluster: Cluster, shop: Shop) -> None:
    shop.hold()
    run = cluster.api.trigger("mapped_exports")
    until("all exports to wait", lambda: _all_are(cluster, run, "deferred"))
    assert all(cluster.api.links(run, number)["STOQ admin"] for number in range(MAPPED))
    shop.until_later(CROWDED)
    shop.finish()
    cluster.api.wait(run)
    assert _all_are(cluster, run, "success")
    job_ids = shop.job_ids()
    assert len(set(job_ids)) == len(job_ids) == MAPPED
    found = [cluster.api.xcoms(run, number)["job_id"] for number in range(MAPPED)]
    assert sorted(found) == sorted(job_ids)
    assert len({stored(cluster.api.xcoms(run, number)["return_value"]) for number in range(MAPPED)}) == MAPPED
    points = shop.sandbox.state["buckets"][BUSY_KEY]
    assert points["refused"] == 0
    assert points["highest_in_window"] <= points["limit"]


def _all_are(cluster: Cluster, run: Run, state: str) -> bool:
    return [task["state"] for task in cluster.api.instances(run)] == [state] * MAPPED


def test_secrets_are_left_nowhere(cluster: Cluster, shop: Shop, signatures: set[str]) -> None:
    """Looks at what this test leaves, and at all that the tests before it left in files."""
    echo = {"errors": [f"token {shop.sandbox.key} is not liked"]}
    shop.sandbox.arm("status", status=422, body=echo, method="POST", path="/export$")
    refused = cluster.api.trigger("deferred_export")
    cluster.api.wait(refused, ("failed",))
    shop.sandbox.arm("status", status=500, body=echo, path="/exports/", times=2)
    run = deferred(cluster, shop)
    leaks = Leaks({shop.sandbox.key, BUSY_KEY})
    leaks.look("trigger", "".join(cluster.database.triggers()), *shop.job_ids())
    shop.finish()
    cluster.api.wait(run)
    (job_id,) = shop.job_ids()
    assert signatures, "the sandbox signed no link"
    leaks.secrets |= signatures
    leaks.look("log of the refusal", cluster.api.logs(refused), "is not liked")
    leaks.look("log", cluster.api.logs(run), job_id, "urllib3 is heard")
    leaks.look("XCom", json.dumps(cluster.api.xcoms(run)), job_id)
    leaks.look("rendered", json.dumps(cluster.api.task(run)["rendered_fields"]), "revenue")
    leaks.look_into(cluster.home.glob("logs/**/*.log*"), job_id)
    tables = dict(cluster.database.everything())
    assert {"trigger", "xcom", "rendered_task_instance_fields", "task_state_store"} <= tables.keys(), (
        tables.keys()
    )
    leaks.look("database", "".join(tables.values()), job_id)
    leaks.look_into(cluster.home.glob("*.log"), run.run_id)
