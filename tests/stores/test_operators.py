"""Exports, records and lists of ids on a real S3 server, through Airflow's connection."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from stoq_provider.exceptions import DownloadError, StoqProviderError, ValidationRejected
from stoq_provider.operators.bulk import StoqBulkOrdersOperator
from stoq_provider.operators.reports import StoqReportExportOperator
from stoq_provider.sandbox import Sandbox
from stoq_provider.storage.state import PathStateStore
from tests.harness import TaskRun
from tests.stores.conftest import BUCKET

FOLDER = f"s3://aws_lake@{BUCKET}/reports/"
HUGE = 900_000
"""Rows of an export of some 40 MB: more than two parts of a multipart upload."""


def export(**parameters: Any) -> StoqReportExportOperator:
    defaults: dict[str, Any] = {"report": "revenue", "destination": FOLDER, "poll_interval": 0.05}
    return StoqReportExportOperator(task_id="export", **{**defaults, **parameters})


def visible(s3: Any) -> dict[str, int]:
    return {o["Key"]: o["Size"] for o in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])}


def dangling(s3: Any) -> list[Any]:
    return s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
@pytest.mark.parametrize("rows", [20, HUGE], ids=["one-put", "multipart"])
def test_an_export_lands_whole(s3: Any, sandbox: Sandbox, rows: int, deferrable: bool) -> None:
    sandbox.jobs(kind="export", rows=rows)
    (file,) = TaskRun(lambda: export(deferrable=deferrable)).execute()["files"]
    body = s3.get_object(Bucket=BUCKET, Key=f"reports/{file['file_name']}")["Body"].read()
    assert file["rows"] == rows
    assert (len(body), hashlib.sha256(body).hexdigest()) == (file["bytes"], file["sha256"])
    assert file["uri"] == FOLDER + file["file_name"]
    assert not dangling(s3)


@pytest.mark.parametrize("rows", [20, HUGE], ids=["one-put", "multipart"])
def test_rows_that_differ_publish_nothing(s3: Any, sandbox: Sandbox, rows: int) -> None:
    sandbox.jobs(kind="export", rows=rows, row_count_lie=7)
    with pytest.raises(DownloadError, match="Nothing was published"):
        TaskRun(export).execute()
    assert not visible(s3)
    assert not dangling(s3)


def test_a_task_told_to_stop_publishes_nothing(s3: Any, sandbox: Sandbox) -> None:
    sandbox.jobs(kind="export", rows=HUGE)
    sandbox.arm("stall", origin="files", after=20_000_000, seconds=3, times=1)
    task = export()
    run = TaskRun(lambda: task)
    timer = threading.Timer(1.5, task.on_kill)
    timer.start()
    with pytest.raises(StoqProviderError):
        run.execute()
    timer.cancel()
    assert not visible(s3)
    assert not dangling(s3)


def test_records_on_s3_let_the_next_try_find_the_job(
    s3: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__STOQ__STATE_PATH", f"s3://aws_lake@{BUCKET}/records")
    sandbox.jobs(kind="export", duration=400)
    run = TaskRun(lambda: export(timeout=0.2), store=False)
    with pytest.raises(StoqProviderError, match="did not end in time"):
        run.execute()
    run.make = lambda: export(timeout=30)
    assert run.retry()["files"]
    assert len(sandbox.submissions) == 1
    assert any(key.startswith("records/") for key in visible(s3))


def test_two_workers_can_not_both_begin(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PathStateStore(ObjectStoragePath(f"s3://aws_lake@{BUCKET}/records"))
    assert store.create("one", {"worker": 1})
    assert not store.create("one", {"worker": 2})
    # The other worker's record comes into being after this one looked.
    monkeypatch.setattr(type(store._path("one").fs), "exists", lambda *args, **kwargs: False)
    assert not store.create("one", {"worker": 3})
    assert store.load("one") == {"worker": 1}


def test_a_record_store_that_can_not_be_read_sends_nothing(
    s3: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__STOQ__STATE_PATH", "s3://aws_lake@no-such-bucket/records")
    with pytest.raises(StoqProviderError, match="record"):
        TaskRun(export, store=False).execute()
    assert not sandbox.submissions


def test_a_connection_that_does_not_exist_is_refused_before_anything_is_sent(
    s3: Any, sandbox: Sandbox
) -> None:
    with pytest.raises(ValidationRejected, match="no_such_conn"):
        TaskRun(lambda: export(destination=f"s3://no_such_conn@{BUCKET}/reports/")).execute()
    assert not sandbox.submissions


def test_ids_come_from_a_file_on_s3(s3: Any, sandbox: Sandbox) -> None:
    s3.put_object(Bucket=BUCKET, Key="ids.csv", Body=b"sku,order\nA,5500000154496\nB,5500000154368\n")
    given = {"path": f"s3://aws_lake@{BUCKET}/ids.csv", "column": "order"}
    TaskRun(
        lambda: StoqBulkOrdersOperator(task_id="tag", action="cancel", order_ids=given, poll_interval=0.05)
    ).execute()
    assert [sent["ids"] for sent in sandbox.submissions] == [[5500000154496, 5500000154368]]
