"""A sensor that starts in the triggerer: no worker before the end, and a triggerer that is lost meanwhile."""

from __future__ import annotations

import pytest

from stoq_provider.hooks.stoq import StoqHook
from tests.cluster.airflow import Cluster
from tests.cluster.test_cluster import Shop, stored

NAME = "AIRFLOW_CONN_STOQ_DEFAULT"


def test_sensor_needs_no_worker_before_the_end(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, cluster.environment[NAME])
    shop = Shop(cluster)
    shop.hold()
    job = StoqHook().submit_export("revenue", {"from": "2026-05-01", "to": "2026-05-31"}).to_dict()
    run = cluster.api.trigger("sensor_in_the_triggerer", {"job": job})
    cluster.api.wait_task(run, "deferred")
    shop.until_polled()
    worked = f"logs/**/run_id={run.run_id}/**/attempt=1.log"
    assert not list(cluster.home.glob(worked))
    name = cluster.triggerer(run)
    cluster.kill(name)
    cluster.start(name)
    shop.until_polled()
    shop.finish()
    cluster.api.wait(run)
    assert list(cluster.home.glob(worked))
    manifest = cluster.api.xcoms(run)["return_value"]
    assert [ended["job_id"] for ended in manifest["jobs"]] == shop.job_ids() == [job["job_id"]]
    stored(manifest)
