"""``StoqJobTrigger``: its row in the database, and that it only reads."""

from __future__ import annotations

import asyncio
import json
import time
from types import SimpleNamespace

import httpx
import pytest

from stoq_provider.exceptions import ProtocolError
from stoq_provider.triggers.jobs import StoqJobTrigger
from tests.harness import make_trigger, run_trigger
from tests.unit.hooks.conftest import KEY

JOB = {
    "system": "stoq",
    "kind": "export:revenue",
    "job_id": "exp_1",
    "status_url": "/api/v2/external/preorders/reports/exports/exp_1",
    "item_count": None,
    "submitted_at": "2026-05-28T10:00:00.000+00:00",
    "seen_at": None,
}


@pytest.fixture
def server(monkeypatch):
    """Answers of the server in order, the last one for ever; returns the requests."""
    requests: list[httpx.Request] = []

    def answer_with(*answers: httpx.Response) -> list[httpx.Request]:
        def handle(request: httpx.Request) -> httpx.Response:
            requests.append(request)
            given = answers[min(len(requests), len(answers)) - 1]
            return httpx.Response(given.status_code, content=given.content, headers=given.headers)

        monkeypatch.setattr(
            "stoq_provider.transport.client_pool.make_client",
            lambda settings: httpx.AsyncClient(transport=httpx.MockTransport(handle)),
        )
        return requests

    return answer_with


def trigger(**options) -> StoqJobTrigger:
    given = {
        "conn_id": "stoq_default",
        "jobs": [JOB],
        "deadline": time.time() + 20,
        "state": {},
        "poll_interval": 0.01,
    }
    return StoqJobTrigger(**{**given, **options})


def status(word: str, **more) -> httpx.Response:
    return httpx.Response(200, json={"job_id": "exp_1", "status": word, **more})


def test_serialize_round_trip():
    made = trigger(unhealthy_after=5.0)
    path, kwargs = made.serialize()
    assert path == "stoq_provider.triggers.jobs.StoqJobTrigger"
    copy = make_trigger(path, json.loads(json.dumps(kwargs, allow_nan=False)))
    assert copy.serialize() == (path, kwargs)
    assert kwargs["conn_id"] == "stoq_default"
    assert kwargs["jobs"] == [JOB]
    assert KEY not in json.dumps(kwargs)


def test_serialize_survives_airflows_own_serialisation():
    from airflow.serialization.serialized_objects import BaseSerialization

    _, kwargs = trigger().serialize()
    assert BaseSerialization.deserialize(BaseSerialization.serialize(kwargs)) == kwargs


def test_fires_once_when_the_job_has_ended(server):
    url = "https://bucket.example/x?X-Amz-Signature=s3cret"
    requests = server(status("running"), status("ready", download_url=url, row_count=3))
    event = run_trigger(*trigger().serialize())
    assert [job["outcome"] for job in event["jobs"]] == ["succeeded"]
    assert event["points_spent"] == 2
    assert len(requests) == 2
    assert "s3cret" not in json.dumps(event)
    assert {request.method for request in requests} == {"GET"}
    assert {request.headers["X-Auth-Token"] for request in requests} == {KEY}


def test_waits_for_all_jobs_and_polls_an_ended_one_no_more(server):
    other = {**JOB, "job_id": "exp_2", "status_url": JOB["status_url"].replace("exp_1", "exp_2")}
    answered = httpx.Response(200, json={"status": "ready"})
    requests = server(httpx.Response(503), answered, answered)
    event = run_trigger(*trigger(jobs=[JOB, other]).serialize())
    assert [(job["handle"]["job_id"], job["outcome"]) for job in event["jobs"]] == [
        ("exp_1", "succeeded"),
        ("exp_2", "succeeded"),
    ]
    assert len(requests) == 3


def test_deadline_is_absolute_and_ends_with_one_last_look(server):
    requests = server(status("running"))
    event = run_trigger(*trigger(deadline=time.time() - 5).serialize())
    assert [job["outcome"] for job in event["jobs"]] == ["timeout"]
    assert len(requests) == 1


def test_seen_at_of_the_worker_counts(server):
    """A 404 of a job that the worker saw alive is not "never existed"."""
    server(httpx.Response(404, json={"errors": ["gone"]}), status("ready"))
    now = time.time()
    recent = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(now - 60))
    job = {**JOB, "submitted_at": recent, "seen_at": recent}
    assert run_trigger(*trigger(jobs=[job]).serialize())["jobs"][0]["outcome"] == "succeeded"


def test_its_requests_name_the_dag_of_the_task_that_waits(server, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CTX_DAG_ID", raising=False)
    requests = server(status("ready"))
    made = trigger()
    made.task_instance = SimpleNamespace(dag_id="nightly", task_id="export")

    async def first_event():
        async for event in made.run():
            return event
        return None

    assert asyncio.run(first_event()) is not None
    assert requests[0].headers["User-Agent"].endswith("(dag nightly)")


@pytest.mark.parametrize(
    "jobs",
    [7, None, "exp_1", ["exp_1"], [None], [{}], [{**JOB, "seen_at": "today"}]],
    ids=str,
)
def test_jobs_of_an_unknown_shape_are_a_typed_error(jobs):
    with pytest.raises(ProtocolError, match="The remote jobs go on"):
        trigger(jobs=jobs)._progress("stoq", 0.0)
