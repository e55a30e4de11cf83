"""The process that runs triggers, as a triggerer does: in one event loop, one task each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from airflow.triggers.base import BaseTrigger

from stoq_provider.transport import client_pool
from stoq_provider.triggers.jobs import StoqJobTrigger
from tests.benchmarks.points import peers
from tests.benchmarks.points.children import end_with_parent, serve
from tests.benchmarks.points.idling import idle
from tests.benchmarks.points.probe import Probe

LONG = 24 * 3600.0


def watch_clients(probe: Probe) -> None:
    """Let the probe note what ours sends."""
    make_client = client_pool.make_client
    client_pool.make_client = lambda settings: probe.attach(make_client(settings))


def trigger_for(way: str, conn_id: str, job: dict[str, Any]) -> BaseTrigger:
    if way == "idle-empty":
        return peers.EmptyTrigger()
    if way.startswith("fixed"):
        return peers.FixedIntervalTrigger(conn_id, job, documented=way == "fixed-documented")
    return StoqJobTrigger(conn_id=conn_id, jobs=[job], deadline=time.time() + LONG, state={})


async def first_event(trigger: BaseTrigger, seen: dict[str, Any], job_id: str) -> None:
    """Note when the event comes, and whether it tells of a success."""
    started_at = time.time()
    seen[job_id] = {"started_at": started_at}
    async for event in trigger.run():
        payload: Any = event.payload
        good = payload.get("status") in ("completed", "ready") or all(
            job["outcome"] == "succeeded" for job in payload.get("jobs", [{"outcome": ""}])
        )
        seen[job_id] |= {"at": time.time(), "good": good}
        return


async def wait_for_all(way: str, plan: dict[str, Any], seen: dict[str, Any]) -> None:
    """Start the triggers evenly over ``spread`` seconds, and wait for their events until ``until``."""
    tasks = []
    for conn_id, job in plan["jobs"]:
        work = first_event(trigger_for(way, conn_id, job), seen, job["job_id"])
        tasks.append(asyncio.create_task(work))
        await asyncio.sleep(plan["spread"] / len(plan["jobs"]))
    done, pending = await asyncio.wait(tasks, timeout=max(1.0, plan["until"] - time.time()))
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        if task.exception() is not None:
            print("A trigger raised:", repr(task.exception()))


def work(hear: Callable[[], Any], tell: Callable[[Any], None]) -> None:
    way, seen = hear()["way"], {}
    probe = Probe(keep="idle" not in way)
    watch_clients(probe)
    if way == "unshared":
        peers.share_nothing()
    if way.startswith("fixed"):
        peers.give_client(probe)
    tell("ready")
    plan = hear()
    end_with_parent()
    if "seconds" in plan:
        tell(asyncio.run(idle(lambda conn_id, job: trigger_for(way, conn_id, job), plan, probe)))
    else:
        asyncio.run(wait_for_all(way, plan, seen))
        tell({"seen": seen, "calls": probe.calls})


if __name__ == "__main__":
    serve(work)
