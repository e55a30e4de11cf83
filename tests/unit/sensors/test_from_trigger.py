"""``start_from_trigger``: what the scheduler is given, what the triggerer makes of it, what a worker does."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.triggers.base import BaseTrigger

from stoq_provider.exceptions import JobFailed, JobTimeout, ValidationRejected
from stoq_provider.jobs import results, wait
from stoq_provider.operators.reports import StoqReportExportOperator
from stoq_provider.sensors import base
from stoq_provider.sensors.jobs import PrintStudioJobSensor, StoqJobSensor
from tests.harness import TaskRun, as_the_server_reads_it, first_event
from tests.unit.hooks.conftest import CONN
from tests.unit.sensors.conftest import HANDLE, OTHER, PATH

NEW = hasattr(BaseTrigger, "render_template_fields")
since_3_3 = pytest.mark.skipif(not NEW, reason="Airflow before 3.3 renders nothing in the triggerer")
TIMEOUT = 600.0


def sensor(job: Any = "exp_1", **options: Any) -> StoqJobSensor:
    given = {"deferrable": True, "start_from_trigger": True, "timeout": TIMEOUT, "poll_interval": 10}
    return StoqJobSensor(task_id="wait", job=job, **{**given, **options})


def serialised(dag: DAG) -> Any:
    """The sensor as scheduler and triggerer know it."""
    return as_the_server_reads_it(dag).get_task("wait")


def triggered(task: Any, xcoms: dict[str, Any] | None = None, gives_up: float | None = None) -> Any:
    """The trigger of a task, as scheduler and triggerer of Airflow 3.3.2 make and render it."""
    from airflow.models.trigger import Trigger
    from airflow.serialization.decoders import smart_decode_trigger_kwargs

    args = task.start_trigger_args
    assert args.trigger_cls == "stoq_provider.triggers.jobs.StoqJobTrigger"
    row = Trigger._decrypt_kwargs(Trigger.encrypt_kwargs(args.trigger_kwargs))
    given = {k: smart_decode_trigger_kwargs(v) for k, v in row.items()}
    made = StoqJobSensor.trigger_class(**given)
    assert made.serialize() == (args.trigger_cls, given)
    ti = SimpleNamespace(dag_id="d", task_id="wait", run_id="r", map_index=-1, task=task)
    # Without map_indexes, it would ask for what that triggerer can't answer.
    ti.xcom_pull = lambda task_ids, key, map_indexes: (xcoms or {}).get((task_ids, key))
    made.task_instance = ti
    made.timeout_after = datetime.fromtimestamp(gives_up or time.time() + TIMEOUT + 300, timezone.utc)
    made.render_template_fields({"ti": ti, "task_instance": ti, "params": {"job": "exp_1"}})
    return made


def submitting() -> DAG:
    return DAG("d", schedule=None, start_date=datetime(2026, 5, 1, tzinfo=timezone.utc))


@pytest.fixture
def server(monkeypatch):
    """Every job is ready; returns the paths that were asked for."""
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json={"status": word[0]})

    word = ["ready"]
    monkeypatch.setattr(
        "stoq_provider.transport.client_pool.make_client",
        lambda settings: httpx.AsyncClient(transport=httpx.MockTransport(handle)),
    )
    return SimpleNamespace(asked=asked, word=word)


@since_3_3
@pytest.mark.parametrize(
    ("job", "pushed", "ids"),
    [
        (lambda submit: submit.output, [HANDLE, OTHER], ["exp_1", "exp_2"]),
        (lambda submit: [submit.output, OTHER], [HANDLE], ["exp_1", "exp_2"]),
        (lambda submit: submit.output["job_id"], f"{PATH}exp_1", ["exp_1"]),
        (lambda submit: "{{ params.job }}", None, ["exp_1"]),
        (lambda submit: {**HANDLE, "job_id": "{{ params.job }}"}, None, ["exp_1"]),
    ],
    ids=["output", "output among others", "other output, a text", "template", "template in a handle"],
)
def test_the_triggerer_finds_the_jobs_and_the_worker_only_ends_the_task(
    server, job, pushed, ids, monkeypatch, tmp_path
):
    with submitting() as dag:
        submit = StoqReportExportOperator(task_id="submit", report="revenue")
        sensor(job(submit), unhealthy_after=60)
    task = serialised(dag)
    assert task.upstream_task_ids == ({"submit"} if pushed else set())
    key = "job_id" if isinstance(pushed, str) else "return_value"
    made = triggered(task, {("submit", key): pushed})
    assert (made.poll_interval, made.unhealthy_after) == (10, 60)
    event = asyncio.run(first_event(made))
    assert sorted(server.asked) == [f"{PATH}{job_id}" for job_id in ids]
    places = []
    monkeypatch.setattr(results, "fetch", lambda *given, recorded: places.append(given[-1]) or [])
    run = TaskRun(lambda: sensor([HANDLE, OTHER], destination=f"{tmp_path}/"))
    manifest = run._resume_once("execute_complete", {"event": event})
    assert [job["job_id"] for job in manifest["jobs"]] == ids
    assert places == [f"{tmp_path}/"]


@since_3_3
@pytest.mark.parametrize(
    ("job", "words"),
    [
        (None, "pushed nothing"),
        ({**HANDLE, "system": "medusa"}, "belongs to 'medusa'"),
        ({**HANDLE, "status_url": "https://elsewhere.example/x"}, "to another origin"),
    ],
    ids=["nothing", "another system", "another origin"],
)
def test_where_the_wait_cannot_begin_the_worker_says_why(server, job, words):
    with submitting() as dag:
        sensor(StoqReportExportOperator(task_id="submit", report="revenue").output)
    event = asyncio.run(first_event(triggered(serialised(dag), {("submit", "return_value"): job})))
    assert (event, server.asked) == (None, [])
    with pytest.raises(ValidationRejected, match=words):
        TaskRun(lambda: sensor(job))._resume_once("execute_complete", {"event": event})


@since_3_3
def test_a_worker_that_finds_nothing_wrong_defers_as_others_do(server, monkeypatch):
    with submitting() as dag:
        sensor()
    with monkeypatch.context() as lost:
        lost.delenv(CONN)
        event = asyncio.run(first_event(triggered(serialised(dag))))
    with pytest.raises(TaskDeferred) as caught:
        TaskRun(sensor)._resume_once("execute_complete", {"event": event})
    assert [job["job_id"] for job in caught.value.trigger.jobs] == ["exp_1"]
    # Airflow renders that trigger as well, which has nothing to render.
    again = caught.value.trigger
    again.task_instance = SimpleNamespace(dag_id="d", task_id="wait", run_id="r", task=serialised(dag))
    again.render_template_fields({})
    assert asyncio.run(first_event(again))["jobs"][0]["outcome"] == "succeeded"


@since_3_3
def test_a_wait_that_breaks_once_it_has_begun_is_not_begun_anew(server, monkeypatch):
    monkeypatch.setattr(wait, "wait_async", None)
    with submitting() as dag:
        sensor()
    with pytest.raises(TypeError):
        asyncio.run(first_event(triggered(serialised(dag))))


@since_3_3
@pytest.mark.parametrize(
    ("execution_timeout", "airflows", "waits", "limit", "error"),
    [
        (None, TIMEOUT + 300, TIMEOUT, "timeout", AirflowSensorTimeout),
        (60, 60, 60, "execution_timeout", JobTimeout),
        (700, 700, TIMEOUT, "timeout", AirflowSensorTimeout),
    ],
)
def test_the_deadline_is_absolute(server, execution_timeout, airflows, waits, limit, error):
    server.word[:] = ["running"]
    given = execution_timeout and timedelta(seconds=execution_timeout)
    with submitting() as dag:
        sensor(execution_timeout=given)
    task = serialised(dag)
    assert task.start_trigger_args.timeout == timedelta(seconds=TIMEOUT + 300)
    # The scheduler takes the smaller of that and execution_timeout, once.
    began = time.time() - waits - 1
    for _ in ("first", "after a restart of the triggerer"):
        made = triggered(task, gives_up=began + airflows)
        event = asyncio.run(first_event(made))
        assert made.deadline == pytest.approx(began + waits, abs=0.01)
        assert event["state"]["started_at"] == pytest.approx(began, abs=0.01)
        assert (event["jobs"][0]["outcome"], event["state"]["limit"]) == ("timeout", limit)
    with pytest.raises(error, match=f"{limit} has passed"):
        TaskRun(lambda: sensor(execution_timeout=given))._resume_once("execute_complete", {"event": event})


@since_3_3
@pytest.mark.parametrize(
    ("place", "options", "error"),
    [
        ("file/x.csv", {}, ValidationRejected),
        ("one.csv", {}, ValidationRejected),
        ("one.csv", {"soft_fail": True}, AirflowSkipException),
    ],
    ids=["no folder", "one file for two jobs", "soft_fail"],
)
def test_the_destination_is_looked_at_before_anything_is_stored(server, tmp_path, place, options, error):
    with submitting() as dag:
        sensor([HANDLE, OTHER])
    event = asyncio.run(first_event(triggered(serialised(dag))))
    (tmp_path / "file").write_text("in the way")
    run = TaskRun(lambda: sensor([HANDLE, OTHER], destination=f"{tmp_path}/{place}", **options))
    with pytest.raises(error, match=r"can't|soft_fail"):
        run._resume_once("execute_complete", {"event": event})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@since_3_3
def test_links_are_there_as_soon_as_a_worker_is(server, monkeypatch):
    pushed = []
    monkeypatch.setattr(base, "push_links", lambda context, task, hook, place: pushed.append(place))
    with submitting() as dag:
        sensor()
    server.word[:] = ["failed"]
    event = asyncio.run(first_event(triggered(serialised(dag))))
    with pytest.raises(JobFailed):
        TaskRun(lambda: sensor(destination="s3://lake/"))._resume_once("execute_complete", {"event": event})
    assert pushed == ["s3://lake/"]


@since_3_3
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"deferrable": False}, "needs deferrable=True"),
        ({"stoq_conn_id": "{{ params.shop }}"}, "the id of a connection, not a template"),
        ({"stoq_conn_id": "{% if x %}a{% endif %}"}, "the id of a connection, not a template"),
        ({"job": object()}, "not a object"),
        ({"job": "{{ ti.xcom_pull('submit') }}"}, "another task's output as it is"),
    ],
)
def test_what_cannot_start_there_is_refused_as_the_dag_is_parsed(options, words):
    with pytest.raises(ValidationRejected, match=words):
        sensor(**options)


@since_3_3
@pytest.mark.parametrize("which", ["changed", "mapped", "in a mapped group", "of a mapped group"])
def test_outputs_that_the_triggerer_cannot_pull_are_refused(which):
    from airflow.sdk import task_group

    @task_group
    def each(number: int) -> None:
        sensor(submit.output)

    @task_group
    def submit_each(number: int) -> None:
        StoqReportExportOperator(task_id="inner", report="revenue")

    with submitting() as dag:
        submit = StoqReportExportOperator(task_id="submit", report="revenue")
        mapped = StoqReportExportOperator.partial(task_id="mapped").expand(report=["revenue"])
        submit_each.expand(number=[1])
        inner = dag.get_task("submit_each.inner")
        make, words = {
            "changed": (lambda: sensor(submit.output.map(len)), "another task's output as it is"),
            "mapped": (lambda: sensor(mapped.output), "output of a mapped task"),
            "in a mapped group": (lambda: each.expand(number=[1]), "in a mapped task group"),
            "of a mapped group": (lambda: sensor(inner.output), "output of a mapped task"),
        }[which]
        with pytest.raises(ValidationRejected, match=words):
            make()


@since_3_3
def test_states_of_printstudio_need_a_worker():
    with pytest.raises(ValidationRejected, match="not for PrintStudioJobSensor"):
        PrintStudioJobSensor(
            task_id="x", orders=["o"], target_states="READY", deferrable=True, start_from_trigger=True
        )


@since_3_3
def test_a_mapped_sensor_starts_on_a_worker():
    with submitting() as dag:
        submit = StoqReportExportOperator.partial(task_id="submit").expand(report=["revenue"])
        mapped = StoqJobSensor.partial(
            task_id="wait", job=submit.output, deferrable=True, start_from_trigger=True
        ).expand(stoq_conn_id=["one", "other"])
    assert serialised(dag).start_trigger_args is None
    # On its worker, what the triggerer could not have pulled is no problem.
    assert mapped.unmap({"stoq_conn_id": "one"}).start_trigger_args is None


def test_default_is_a_worker():
    assert StoqJobSensor(task_id="wait", job="exp_1", deferrable=True).start_trigger_args is None


@pytest.mark.skipif(NEW, reason="this Airflow can do it")
def test_older_airflow_is_told_so():
    with pytest.raises(ValidationRejected, match=r"needs Airflow 3\.3 or later"):
        sensor()
