"""Exports, records and lists of ids on every store, through operators and Airflow's connections."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from stoq_provider.exceptions import DownloadError, StoqProviderError, ValidationRejected
from stoq_provider.operators.bulk import StoqBulkOrdersOperator
from stoq_provider.operators.reports import StoqReportExportOperator
from stoq_provider.testing import Sandbox
from tests.harness import TaskRun, wait_until
from tests.stores.choice import on, on_disk, on_each_file_system
from tests.stores.stores import AZURE_ACCOUNT, BUCKET, Store


@pytest.fixture(scope="session")
def session_sandbox() -> Iterator[Sandbox]:
    with Sandbox(time_scale=200) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(session_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    session_sandbox.reset()
    shop = {"conn_type": "stoq", "host": session_sandbox.origin, "password": session_sandbox.key}
    monkeypatch.setenv("AIRFLOW_CONN_STOQ_DEFAULT", json.dumps(shop))
    return session_sandbox


def export(destination: str, **parameters: Any) -> StoqReportExportOperator:
    defaults: dict[str, Any] = {"report": "revenue", "poll_interval": 0.05}
    return StoqReportExportOperator(task_id="export", destination=destination, **{**defaults, **parameters})


# A download is the worker's, also of a task that deferred.
@pytest.mark.parametrize(
    ("session_store", "deferrable"),
    [("file", False), ("file", True), ("s3", False), ("gs", False), ("abfs", False)],
    ids=["file-worker", "file-deferred", "s3-worker", "gs-worker", "abfs-worker"],
    indirect=["session_store"],
)
def test_an_export_lands_whole(store: Store, sandbox: Sandbox, deferrable: bool) -> None:
    sandbox.jobs(kind="export", rows=20)
    folder = store.uri("reports/")
    run = TaskRun(lambda: export(folder, deferrable=deferrable))
    (file,) = run.execute()["files"]
    assert file["uri"] == folder + file["file_name"]
    body = store.get(f"reports/{file['file_name']}")
    assert body is not None
    assert (len(body), hashlib.sha256(body).hexdigest()) == (file["bytes"], file["sha256"])
    assert file["rows"] == 20
    (output,) = run.task.get_openlineage_facets_on_complete(run.ti).outputs
    namespace = {"file": "file", "abfs": f"abfss://{BUCKET}@{AZURE_ACCOUNT}.dfs.core.windows.net"}
    assert output.namespace == namespace.get(store.name, f"{store.name}://{BUCKET}")
    assert output.name.endswith(f"reports/{file['file_name']}")


@on_disk
def test_rows_that_differ_publish_nothing(store: Store, sandbox: Sandbox) -> None:
    sandbox.jobs(kind="export", rows=20, row_count_lie=7)
    with pytest.raises(DownloadError, match="Nothing was published"):
        TaskRun(lambda: export(store.uri("reports/"))).execute()
    assert store.visible() == []


@pytest.mark.parametrize(
    ("session_store", "deferrable", "keep_csv"),
    [
        ("file", False, False),
        ("file", True, True),
        ("s3", False, True),
        ("gs", False, True),
        ("abfs", False, True),
    ],
    ids=[
        "file-worker-alone",
        "file-deferred-with-csv",
        *(f"{name}-worker-with-csv" for name in ("s3", "gs", "abfs")),
    ],
    indirect=["session_store"],
)
def test_an_export_lands_as_parquet(store: Store, sandbox: Sandbox, deferrable: bool, keep_csv: bool) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    sandbox.jobs(kind="export", rows=20)
    given: dict[str, Any] = {"format": "parquet", "download_options": {"keep_csv": keep_csv}}
    folder = store.uri("reports/")
    files = TaskRun(lambda: export(folder, deferrable=deferrable, **given)).execute()["files"]
    assert [file["file_name"].rpartition(".")[2] for file in files] == ["csv"] * keep_csv + ["parquet"]
    assert sorted(store.visible()) == sorted(f"reports/{file['file_name']}" for file in files)
    for file in files:
        body = store.get(f"reports/{file['file_name']}")
        assert body is not None
        assert (len(body), hashlib.sha256(body).hexdigest()) == (file["bytes"], file["sha256"])
        assert file["rows"] == 20
    assert pq.read_table(io.BytesIO(body)).num_rows == 20
    assert store.leftovers() == []


@on_disk
@pytest.mark.parametrize("keep_csv", [False, True], ids=["alone", "with-csv"])
def test_rows_that_differ_publish_no_parquet(store: Store, sandbox: Sandbox, keep_csv: bool) -> None:
    sandbox.jobs(kind="export", rows=20, row_count_lie=7)
    given: dict[str, Any] = {"format": "parquet", "download_options": {"keep_csv": keep_csv}}
    with pytest.raises(DownloadError, match="Nothing was published"):
        TaskRun(lambda: export(store.uri("reports/"), **given)).execute()
    assert store.visible() == []
    assert store.leftovers() == []


@on_disk
def test_the_same_content_is_left_alone_by_a_task(store: Store, sandbox: Sandbox) -> None:
    sandbox.jobs(kind="export", rows=20, times=None)
    folder = store.uri("reports/")
    (file,) = TaskRun(lambda: export(folder)).execute()["files"]
    key = f"reports/{file['file_name']}"
    body = store.get(key)
    assert body is not None
    store.put(key, body)
    before = store.version(key)
    again = TaskRun(lambda: export(folder, overwrite="if_different")).execute()["files"]
    assert again == [file]
    assert store.version(key) == before
    store.put(key, body.swapcase())
    TaskRun(lambda: export(folder, overwrite="if_different")).execute()
    assert store.get(key) == body


@on_disk
def test_a_stopped_task_publishes_nothing(store: Store, sandbox: Sandbox) -> None:
    sandbox.jobs(kind="export", rows=20_000)
    sandbox.arm("stall", origin="files", after=500_000, seconds=None)
    task = export(store.uri("reports/"))
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(_stop_amid_the_file, task, sandbox)
        with pytest.raises(StoqProviderError, match="was stopped"):
            TaskRun(lambda: task).execute()
        stopping.result()
    assert store.visible() == []
    assert store.leftovers() == []


def _stop_amid_the_file(task: StoqReportExportOperator, sandbox: Sandbox) -> None:
    try:
        wait_until(lambda: sandbox.stalled)
    finally:
        task.on_kill()


@on_each_file_system
def test_records_let_the_next_try_find_the_job(
    store: Store, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__STOQ__STATE_PATH", store.uri("records"))
    sandbox.jobs(kind="export", duration=1e6)
    run = TaskRun(lambda: export(store.uri("reports/"), timeout=0.2), store=False)
    with pytest.raises(StoqProviderError, match="did not end in time"):
        run.execute()
    sandbox.end_job(sandbox.submissions[0]["job_id"])
    run.make = lambda: export(store.uri("reports/"), timeout=600)
    assert run.retry()["files"]
    assert len(sandbox.submissions) == 1
    assert any(key.startswith("records/") for key in store.visible())


@on("file", "s3")
def test_a_record_store_that_can_not_be_used_sends_nothing(
    store: Store, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__STOQ__STATE_PATH", store.missing() + "records")
    with pytest.raises(StoqProviderError, match="record"):
        TaskRun(lambda: export(store.uri("reports/")), store=False).execute()
    assert not sandbox.submissions


@on("s3", "gs", "abfs")
def test_a_connection_that_does_not_exist_is_refused_before_anything_is_sent(
    store: Store, sandbox: Sandbox
) -> None:
    scheme = store.root.partition("://")[0]
    with pytest.raises(ValidationRejected, match="no_such_conn"):
        TaskRun(lambda: export(f"{scheme}://no_such_conn@{BUCKET}/reports/")).execute()
    assert not sandbox.submissions


@on_each_file_system
def test_ids_come_from_a_file(store: Store, sandbox: Sandbox) -> None:
    store.put("ids.csv", b"sku,order\nA,5500000154496\nB,5500000154368\n")
    given = {"path": store.uri("ids.csv"), "column": "order"}
    TaskRun(
        lambda: StoqBulkOrdersOperator(task_id="tag", action="cancel", order_ids=given, poll_interval=0.05)
    ).execute()
    assert [sent["ids"] for sent in sandbox.submissions] == [[5500000154496, 5500000154368]]
