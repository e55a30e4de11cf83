"""Exports by operators: what is stored is what the server made, and many jobs are waited for at once."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from stoq_provider.exceptions import JobFailed
from stoq_provider.hooks.medusa import MedusaHook
from tests.integration.conftest import fails
from tests.medusa.bench import MODES, NOTHING, Bench, Crew, job_of
from tests.medusa.client import Client, rows_of
from tests.medusa.proxy import Proxy, store_elsewhere
from tests.medusa.servers import Server

EXPORTS = [("product-export", "worker"), ("order-export", "deferred")]
MANY = 22
"""Jobs in one wait; one request asks for 20."""


@pytest.fixture(scope="module")
def ended(bench: Bench, crew: Crew) -> Crew:
    for job_type, mode in EXPORTS:
        crew.start(f"{job_type} {mode}", bench.export(mode, job_type))
    crew.start("parquet", bench.export(format="parquet"))
    crew.start("bad filter", bench.export(context={"filterable_fields": {"nope": "x"}}))
    crew.wait()
    # Not beside the others: exports of one type that begin in the same millisecond share a file (M).
    crew.start("empty", bench.export("deferred", context=NOTHING))
    crew.start("empty skipped", bench.export(context=NOTHING, download_options={"on_empty": "skip"}))
    crew.wait()
    return crew


def content(uri: str) -> bytes:
    return Path(unquote(urlsplit(uri).path)).read_bytes()


@pytest.mark.parametrize(("job_type", "mode"), EXPORTS)
def test_an_export_is_stored_as_the_server_made_it(
    ended: Crew, bench: Bench, client: Client, job_type: str, mode: str
) -> None:
    manifest, run = ended.end(f"{job_type} {mode}"), ended.runs[f"{job_type} {mode}"]
    job, (stored,) = job_of(manifest), manifest["files"]
    (made,) = bench.made(run)
    assert (job["job_id"], job["outcome"], made["status"]) == (made["id"], "succeeded", "completed")
    assert (job["total"], job["processed"]) == (made["result"]["count"], made["result"]["count"])
    file = content(stored["uri"])
    assert file == client.file_of(made)
    assert stored["bytes"] == len(file)
    assert stored["sha256"] == hashlib.sha256(file).hexdigest()
    assert stored["rows"] == len(rows_of(file)) > 0
    assert job["details"]["file_key"] == made["result"]["file_key"]
    urls = [f"/admin/batch-jobs/{made['id']}"]
    assert run.ti.xcoms == {"job_id": made["id"], "job_ids": [made["id"]], "status_urls": urls}
    assert bool(run.triggers) is (mode == "deferred")


@pytest.mark.parametrize(("job_type", "mode"), EXPORTS)
def test_an_export_that_is_tried_again_is_the_same_job(
    ended: Crew, bench: Bench, job_type: str, mode: str
) -> None:
    manifest, run = ended.end(f"{job_type} {mode}"), ended.runs[f"{job_type} {mode}"]
    again = run.retry()
    assert job_of(again)["job_id"] == job_of(manifest)["job_id"]
    assert again["files"] == manifest["files"]
    assert len(bench.made(run)) == 1


def test_an_export_without_a_match_is_a_header_of_a_file(ended: Crew) -> None:
    manifest = ended.end("empty")
    (stored,) = manifest["files"]
    assert (job_of(manifest)["outcome"], stored["rows"]) == ("succeeded", 0)
    assert job_of(manifest)["total"] is None, "an export of nothing has no counts"
    lines = content(stored["uri"]).decode().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("Product Id;Product Handle;")


def test_an_export_without_a_match_can_be_skipped(ended: Crew) -> None:
    with pytest.raises(AirflowSkipException, match="No result has rows"):
        ended.end("empty skipped")


def test_an_export_is_stored_as_parquet(ended: Crew) -> None:
    (stored,) = ended.end("parquet")["files"]
    assert content(stored["uri"])[:4] == b"PAR1"
    assert stored["rows"] >= 72


def test_a_filter_that_the_server_does_not_know_fails_the_job_in_its_words(ended: Crew, bench: Bench) -> None:
    run = ended.runs["bad filter"]
    says = ('Property "nope" was not found', "A retry submits it again")
    fails(lambda: ended.end("bad filter"), JobFailed, *says)
    assert [job["status"] for job in bench.made(run)] == ["failed"]


def test_a_file_store_elsewhere_gives_the_file_and_sees_no_token(bench: Bench, server: Server) -> None:
    with store_elsewhere(server.origin) as (api, store):
        run = bench.export(medusa_conn_id=bench.connect(api.origin))
        (stored,) = run.execute()["files"]
    assert stored["rows"] >= 72
    (fetched,) = store.seen
    assert fetched.line.startswith("GET /uploads/")
    assert server.api_token not in fetched.head
    assert "x-medusa-access-token" not in fetched.head.lower()
    assert api.count("^GET /uploads/") == 0
    assert api.count("^POST /admin/uploads/download-url$") == 1


@pytest.mark.parametrize("mode", MODES)
def test_many_jobs_are_waited_for_by_one_request_for_twenty(bench: Bench, server: Server, mode: str) -> None:
    hook = MedusaHook(bench.conn_id)
    # By their ids: nothing tells when they were submitted, so that all are due at once.
    job_ids = [hook.submit_batch_job("product-export", NOTHING).job_id for _ in range(MANY)]
    with Proxy(server.origin) as proxy:
        sensor = bench.sensor(job_ids, mode, medusa_conn_id=bench.connect(proxy.origin))
        manifest = sensor.execute()
    assert [job["job_id"] for job in manifest["jobs"]] == job_ids
    assert {job["outcome"] for job in manifest["jobs"]} == {"succeeded"}
    assert proxy.count("^POST ") == 0
    asked = [set(parse_qs(urlsplit(seen.line.split()[1]).query).get("id[]", [])) for seen in proxy.seen]
    # Requests that are under way at once may arrive in any order.
    first_polls, known = 0, set[str]()
    for ids in asked:
        first_polls += not ids <= known
        known |= ids
    assert known == set(job_ids)
    assert first_polls == 2
    assert max(map(len, asked)) == 20
