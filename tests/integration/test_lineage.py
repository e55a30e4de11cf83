"""What OpenLineage hears of a task, asked for by Airflow's own provider; events of assets that go wrong."""

from __future__ import annotations

import importlib.util
import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias
from airflow.utils.state import TaskInstanceState

from stoq_provider.exceptions import JobFailed, ValidationRejected

from .conftest import MODES

installed = pytest.mark.skipif(
    importlib.util.find_spec("airflow.providers.openlineage") is None,
    reason="needs Airflow's provider for it",
)


def lineage_of(run: Any, state: TaskInstanceState = TaskInstanceState.SUCCESS) -> Any:
    """Return what the provider finds out about a task after its end."""
    from airflow.providers.openlineage.extractors.manager import ExtractorManager
    from openlineage.client.serde import Serde

    dag_run = SimpleNamespace(run_id=run.ti.run_id)
    metadata = ExtractorManager().extract_metadata(
        dagrun=dag_run, task=run.task, task_instance_state=state, task_instance=run.ti
    )
    text = json.dumps(Serde.to_dict(metadata))
    for secret in ("X-Amz-Signature", "stoq_api_key", "stoq_default"):
        assert secret not in text
    return json.loads(text)


def columns(output: dict[str, Any]) -> dict[str, str]:
    return {field["name"]: field["type"] for field in output["facets"]["schema"]["fields"]}


def check(metadata: Any, bench: Any, files: list[dict[str, Any]]) -> None:
    """Check jobs, source, and the files that the manifest has."""
    assert metadata["run_facets"]["externalQuery"]["externalQueryId"] == bench.job_id
    assert metadata["run_facets"]["externalQuery"]["source"] == "stoq"
    host = urlsplit(bench.sandbox.origin).netloc
    assert [(one["namespace"], one["name"]) for one in metadata["inputs"]] == [
        (f"stoq://{host}", "reports/revenue")
    ]
    for output, file in zip(metadata["outputs"], files, strict=True):
        assert (output["namespace"], f"file://{output['name']}") == ("file", file["uri"])
        statistics = output["outputFacets"]["outputStatistics"]
        assert (statistics["rowCount"], statistics["size"]) == (file["rows"], file["bytes"])


@installed
@pytest.mark.parametrize("mode", MODES)
def test_an_export_tells_its_job_its_report_and_its_files(bench: Any, mode: str) -> None:
    pytest.importorskip("pyarrow")
    run = bench.export(
        mode, format="parquet", download_options={"keep_csv": True, "column_types": {"revenue": "float64"}}
    )
    files = run.execute()["files"]
    metadata = lineage_of(run)
    check(metadata, bench, files)
    of_csv, of_parquet = (columns(output) for output in metadata["outputs"])
    assert of_csv == dict.fromkeys(("date", "deposits", "balances", "revenue"), "string")
    assert of_parquet == {**of_csv, "revenue": "double"}


@installed
@pytest.mark.parametrize("mode", MODES)
def test_a_sensor_tells_what_it_stored(bench: Any, mode: str) -> None:
    run = bench.sensor(mode, bench.submitted())
    files = run.execute()["files"]
    check(lineage_of(run), bench, files)


@installed
@pytest.mark.parametrize("mode", MODES)
def test_a_failed_export_tells_its_job_and_claims_no_data(bench: Any, mode: str) -> None:
    bench.sandbox.jobs("export", outcome="failed", error="Disk full at the vendor")
    run = bench.export(mode)
    with pytest.raises(JobFailed):
        run.execute()
    metadata = lineage_of(run, TaskInstanceState.FAILED)
    assert metadata["run_facets"]["externalQuery"]["externalQueryId"] == bench.job_id
    assert (metadata["inputs"], metadata["outputs"]) == ([], [])


@installed
def test_what_was_submitted_before_a_refusal_is_told(bench: Any) -> None:
    bench.sandbox.arm("status", status=422, path=r"/bulk_[a-z_]+$", skip=1)
    run = bench.bulk("release", list(range(1, 1002)))
    with pytest.raises(ValidationRejected):
        run.execute()
    metadata = lineage_of(run, TaskInstanceState.FAILED)
    assert metadata["run_facets"]["externalQuery"]["externalQueryId"] == bench.job_id


@installed
def test_a_submission_alone_tells_its_job_and_claims_no_data(bench: Any) -> None:
    run = bench.export(destination=None)
    run.execute()
    metadata = lineage_of(run)
    assert metadata["run_facets"]["externalQuery"]["externalQueryId"] == bench.job_id
    assert (metadata["inputs"], metadata["outputs"]) == ([], [])


@installed
def test_a_retry_tells_the_jobs_that_ended_before_it_as_well(bench: Any) -> None:
    bench.sandbox.jobs("*", outcome="failed")
    run = bench.bulk("release", range(1, 1002), "deferred")
    with pytest.raises(JobFailed):
        run.execute()
    jobs = [job["job_id"] for job in run.retry()["jobs"]]
    assert len(jobs) == 2
    assert lineage_of(run)["run_facets"]["externalQuery"]["externalQueryId"].split(",") == jobs


class Broken:
    def __getitem__(self, outlet: Any) -> Any:
        raise RuntimeError("the API does not answer")


def test_a_task_without_files_leaves_its_events_alone(bench: Any, logs: Any) -> None:
    run = bench.bulk("release", [1], outlets=[Asset("done")])
    run.extra["outlet_events"] = Broken()
    run.execute()
    assert logs.warnings("RuntimeError") == []


@pytest.mark.parametrize("mode", MODES)
def test_an_event_that_goes_wrong_fails_no_task_whose_file_is_published(
    bench: Any, logs: Any, mode: str
) -> None:
    run = bench.export(mode, outlets=[Asset("revenue"), AssetAlias("files")])
    run.extra["outlet_events"] = Broken()
    assert run.execute()["totals"]["files"] == len(bench.files()) == 1
    assert len(logs.warnings("RuntimeError: the API does not answer")) == 2
