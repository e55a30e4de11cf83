"""
Processor time of a real Airflow 3.3 whose sensors wait, with and without ``start_from_trigger``.

Each sensor waits for the job of the task before it, by its XCom. Processor time, since wall time tells more
of the machine than of Airflow.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from stoq_provider.testing import Sandbox
from tests.cluster.airflow import Cluster
from tests.cluster.rest import Api
from tests.cluster.waiting import until
from tests.services.processes import tree

DAGS = Path(__file__).parent / "dags"
TICKS = os.sysconf("SC_CLK_TCK")
HELD = 1e6
LONGEST = 7200.0
LOOK = 2.0
WAYS = {"without": "on_a_worker", "with": "in_the_triggerer"}


def main() -> None:
    """Measure both ways and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sensors", type=int, default=200)
    sensors = parser.parse_args().sensors
    os.environ["STOQ_SENSORS"] = str(sensors)
    with Sandbox() as sandbox, tempfile.TemporaryDirectory() as home:
        cluster = Cluster(Path(home), sandbox, dags=DAGS)
        with cluster.running():
            print(f"\nProcessor seconds for {sensors} sensors that wait\n")
            print("| start_from_trigger | workers | scheduler | triggerer | workers, each sensor |")
            print("| --- | --- | --- | --- | --- |")
            for way, dag_id in WAYS.items():
                found = measure(cluster, dag_id, sensors)
                figures = " | ".join(f"{found[part]:.0f}" for part in ("workers", "scheduler", "triggerer"))
                print(f"| {way} | {figures} | {found['workers'] / sensors:.2f} |", flush=True)


def measure(cluster: Cluster, dag_id: str, sensors: int) -> dict[str, float]:
    """Return the processor seconds of each part, from the start of a run to its end."""
    cluster.sandbox.reset()
    cluster.sandbox.jobs(times=None, duration=HELD)
    before = used(cluster)
    body = {"logical_date": None, "conf": {}}
    run = cluster.api.call("POST", f"/dags/{dag_id}/dagRuns", body=body)["dag_run_id"]

    def states(state: str) -> int:
        return count(cluster.api, f"/dags/{dag_id}/dagRuns/{run}/taskInstances", state)

    until("all sensors to wait", lambda: states("deferred") == sensors, LONGEST)
    for job_id in cluster.sandbox.state["jobs"]:
        cluster.sandbox.end_job(job_id)
    until("all sensors to end", lambda: states("success") == sensors + 1, LONGEST)
    after = used(cluster)
    return {part: after[part] - before[part] for part in after}


def count(api: Api, path: str, state: str) -> int:
    """Count the task instances in a state, after a moment: who asks takes of the processor as well."""
    time.sleep(LOOK)
    assert not api.call("GET", path, state="failed", limit=1)["total_entries"], "a task failed"
    total: int = api.call("GET", path, state=state, limit=1)["total_entries"]
    return total


def used(cluster: Cluster) -> dict[str, float]:
    """Return the processor seconds of each part since it started, with those of its children."""
    parts = {"workers": "worker_1", "scheduler": "scheduler", "triggerer": "triggerer_1"}
    return {part: sum(seconds(pid) for pid in tree(cluster.parts[name].pid)) for part, name in parts.items()}


def seconds(pid: int) -> float:
    """Return what a process used, and its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / TICKS


if __name__ == "__main__":
    main()
