"""
Nothing lost, nothing doubled: exports, actions, payment links and sensors on a cluster that keeps failing.

A seed is a storm: ``--seeds 3`` or ``--seeds 1-10`` chooses, ``--storm-seconds`` says how long each blows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import requests

from tests.cluster.airflow import Cluster
from tests.cluster.audit import ENDED, KINDS, Audit
from tests.cluster.conftest import BUSY_KEY
from tests.cluster.leaks import Leaks
from tests.cluster.storm import FAULTS, KILLS, Storm
from tests.cluster.waiting import until
from tests.stores.stores import BUCKET, S3_SECRET, S3Store

LARGE = 900_000
"""Rows of a large export, which are about 100 MB."""

DURATION = 8.0
"""Seconds of a job."""

SPOILED = "logs/spoiled.log"
DEADLINE = 600.0
"""Seconds after a storm by which every run must have ended."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    first, _, last = str(metafunc.config.getoption("seeds", "1")).partition("-")
    metafunc.parametrize("seed", range(int(first), int(last or first) + 1))


@pytest.fixture(autouse=True)
def components(cluster: Cluster) -> Iterator[None]:
    """Whatever a storm leaves, the next one begins with all components."""
    yield
    for name, part in cluster.parts.items():
        if not part.runs:
            cluster.start(name)
    cluster.until_healthy()


def test_nothing_is_lost_and_nothing_doubled(
    cluster: Cluster,
    store: S3Store,
    signatures: set[str],
    seed: int,
    request: pytest.FixtureRequest,
    record_storm: list[str],
) -> None:
    sandbox = cluster.sandbox
    store.clear()
    sandbox.jobs(times=None, duration=DURATION)
    sandbox.jobs("export:customers", times=None, rows=LARGE)
    storm = Storm(cluster, seed, request.config.getoption("storm_seconds", 30.0))
    begun = time.monotonic()
    storm.blow()
    runs = {asked.run_id for asked in storm.asked}

    def ended() -> bool:
        return runs <= {run["dag_run_id"] for run in runs_of(cluster) if run["state"] in ENDED}

    def unfinished() -> list[str]:
        return [str(run) for run in runs_of(cluster) if run["state"] not in ENDED]

    until("the end of all runs", ended, DEADLINE, unfinished)
    leaks = Leaks({sandbox.key, BUSY_KEY, S3_SECRET, *signatures})
    audit = Audit(cluster, storm, store)
    audit.run(leaks)
    kills = sum(storm.happened[name] for name in KILLS)
    faults = sum(storm.happened[name] for name in FAULTS)
    figures = (seed, len(runs), kills, faults, audit.repeats, audit.uncertain, audit.gone, audit.left)
    row = " | ".join(map(str, (*figures, f"{time.monotonic() - begun:.0f} s")))
    record_storm.append(f"| {row} |")
    assert not audit.findings, "\n".join([f"seed {seed}: {storm.happened}", *audit.findings])
    expected = spoil(cluster, storm, store, audit)
    second = Audit(cluster, storm, store)
    second.run(leaks)
    (cluster.home / SPOILED).unlink()
    for words in expected:
        assert any(words in finding for finding in second.findings), f"{words!r} is not in {second.findings}"


def spoil(cluster: Cluster, storm: Storm, store: S3Store, audit: Audit) -> list[str]:
    """Do what the audit is there to find; return words of each finding."""
    sandbox = cluster.sandbox
    kind = KINDS["storm_links"]
    twice = next(entry for entry in sandbox.submissions if entry["kind"] == kind)
    url = f"{sandbox.origin}/api/v2/external{twice['path']}"
    sandbox.jobs(duration=0)
    requests.post(
        url, json=twice["body"], headers={"X-Auth-Token": sandbox.key}, timeout=60
    ).raise_for_status()
    whole, *_ = sorted(audit.objects)
    store.put(whole, (store.get(whole) or b"")[1:])
    store.put("stray.csv", b"")
    store._client.create_multipart_upload(Bucket=BUCKET, Key="open.csv")
    (cluster.home / SPOILED).write_text(f"token {sandbox.key}")
    found = ["was submitted 2 times", "got 2 payment links", f"{whole} has", "'stray.csv'", "open.csv"]
    return [*found, "spoiled.log: ...token <a secret>"]


def runs_of(cluster: Cluster) -> list[dict[str, str]]:
    found: list[dict[str, str]] = cluster.api.call("GET", "/dags/~/dagRuns", limit=1000)["dag_runs"]
    return [run for run in found if run["dag_id"].startswith("storm_")]
