"""``StoqReportExportOperator`` as the author of a DAG meets it."""

from __future__ import annotations

import datetime as dt
import json
import time
from itertools import product
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, TaskDeferred

from stoq_provider.exceptions import PollingUnhealthy, ProtocolError, ValidationRejected
from stoq_provider.operators.reports import StoqReportExportOperator
from tests.harness import TaskRun
from tests.unit.hooks.conftest import API, KEY

JOB = {"job_id": "exp_1", "status_url": "/api/v2/external/preorders/reports/exports/exp_1"}
EXPORT = f"{API}/preorders/reports/revenue/export"
STATUS = f"{API}/preorders/reports/exports/exp_1"
UTC = dt.timezone.utc


def run(**options) -> TaskRun:
    keys = ("data_interval_start", "data_interval_end", "logical_date", "dag_run")
    context = {key: options.pop(key) for key in keys if key in options}
    given = {"report": "revenue", **options}
    return TaskRun(lambda: StoqReportExportOperator(task_id="export", **given), **context)


# -- templates, mapping ---------------------------------------------------------------------------------


def test_every_argument_of_the_job_is_a_template_field_with_a_renderer_where_it_is_structured():
    fields = set(StoqReportExportOperator.template_fields)
    assert fields >= {"report", "filters", "destination", "window", "timezone", "stoq_conn_id"}
    assert fields >= {"extra_body", "extra_query"}
    renderers = StoqReportExportOperator.template_fields_renderers
    assert set(renderers) <= fields
    assert {renderers[name] for name in ("filters", "extra_body", "extra_query")} == {"json"}


def test_templates_are_rendered_in_depth():
    task = StoqReportExportOperator(
        task_id="x",
        report="{{ params.report }}",
        filters={"from": "{{ ds }}", "offer_ids": ["{{ params.offer }}"]},
        destination="s3://lake/{{ ds }}/",
        window="{{ params.window }}",
        stoq_conn_id="stoq_{{ params.shop }}",
    )
    params = {"report": "revenue", "offer": "o-1", "shop": "eu", "window": "previous_day"}
    task.render_template_fields({"ds": "2026-05-28", "params": params})
    assert task.filters == {"from": "2026-05-28", "offer_ids": ["o-1"]}
    assert (task.report, task.destination) == ("revenue", "s3://lake/2026-05-28/")
    assert (task.window, task.make_hook().conn_id) == ("previous_day", "stoq_eu")


def test_nothing_is_computed_from_templated_values_before_they_are_rendered():
    template = "{{ nothing_yet }}"
    fields = StoqReportExportOperator.template_fields
    task = StoqReportExportOperator(task_id="x", **dict.fromkeys(fields, template))
    assert {name: getattr(task, name) for name in fields} == dict.fromkeys(fields, template)


def test_partial_expand_maps_over_reports():
    with DAG("d", start_date=dt.datetime(2026, 1, 1), schedule=None):
        mapped = StoqReportExportOperator.partial(
            task_id="export", destination="s3://lake/x/", deferrable=True, poll_interval=30
        ).expand(report=["revenue", "summary", "customers"])
    task = mapped.unmap({"report": "summary"})
    assert type(task) is StoqReportExportOperator
    assert (task.report, task.destination, task.deferrable) == ("summary", "s3://lake/x/", True)


def test_partial_expand_kwargs_over_reports_and_filters():
    with DAG("d", start_date=dt.datetime(2026, 1, 1), schedule=None):
        mapped = StoqReportExportOperator.partial(task_id="export").expand_kwargs(
            [{"report": "revenue"}, {"report": "by_variant", "filters": {"offer_id": "o"}}]
        )
    task = mapped.unmap({"report": "by_variant", "filters": {"offer_id": "o"}})
    assert task.filters == {"offer_id": "o"}


def test_unknown_arguments_are_refused():
    with pytest.raises(Exception, match=r"repport|Invalid arguments|unexpected"):
        StoqReportExportOperator(task_id="x", report="revenue", repport="x")


def test_deferrable_follows_the_configuration(start_program):
    # In a process of its own: the modules read the configuration when they are imported.
    child = start_program(
        "import os\n"
        "os.environ['AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE'] = 'True'\n"
        "from stoq_provider.operators.reports import StoqReportExportOperator as Export\n"
        "print(Export(task_id='x', report='revenue').deferrable)\n"
        "print(Export(task_id='y', report='revenue', deferrable=False).deferrable)"
    )
    assert child.wait() == 0, child.stderr
    assert child.stdout.split()[-2:] == ["True", "False"]
    assert StoqReportExportOperator(task_id="x", report="revenue").deferrable is False


# -- XCom -----------------------------------------------------------------------------------------------


def test_xcom_without_waiting_is_the_list_of_handles(api):
    api.post(EXPORT, status_code=202, json=JOB)
    task_run = run()
    (handle,) = task_run.execute()
    assert set(handle) == {"system", "kind", "job_id", "status_url", "item_count", "submitted_at"}
    assert handle | {"submitted_at": 0} == {
        "system": "stoq",
        "kind": "export:revenue",
        "item_count": None,
        "submitted_at": 0,
        **JOB,
    }
    assert dt.datetime.fromisoformat(handle["submitted_at"]).utcoffset() == dt.timedelta(0)
    assert task_run.ti.xcoms == {"job_id": "exp_1", "job_ids": ["exp_1"], "status_urls": [JOB["status_url"]]}


def test_xcom_after_waiting_without_a_destination_is_the_manifest(api):
    api.post(EXPORT, status_code=202, json=JOB)
    api.get(STATUS, json={"status": "ready", "row_count": 3})
    manifest = run(wait_for_completion=True, poll_interval=0.01).execute()
    assert set(manifest) == {
        "schema_version",
        "system",
        "kind",
        "request",
        "jobs",
        "files",
        "totals",
        "unchanged_items",
        "points_spent",
        "started_at",
        "finished_at",
    }
    assert (manifest["files"], manifest["points_spent"]) == ([], 3)
    json.dumps(manifest, allow_nan=False)


def test_xcom_is_not_pushed_where_the_task_wants_none(api):
    api.post(EXPORT, status_code=202, json=JOB)
    task_run = run(do_xcom_push=False)
    task_run.execute()
    assert task_run.ti.xcoms == {}


def test_xcom_has_the_job_before_waiting_begins(api):
    api.post(EXPORT, status_code=202, json=JOB)
    task_run = run(wait_for_completion=True, deferrable=True)
    assert isinstance(task_run.start(), TaskDeferred)
    assert task_run.ti.xcoms == {"job_id": "exp_1", "job_ids": ["exp_1"], "status_urls": [JOB["status_url"]]}


def test_destination_without_waiting_submits_only(api):
    api.post(EXPORT, status_code=202, json=JOB)
    assert run(destination="/tmp/never/", wait_for_completion=False).execute()[0]["job_id"] == "exp_1"
    assert api.call_count == 1


# -- window ---------------------------------------------------------------------------------------------


BERLIN_DAY = (dt.datetime(2026, 5, 27, 22, tzinfo=UTC), dt.datetime(2026, 5, 28, 22, tzinfo=UTC))


@pytest.mark.parametrize(
    ("window", "timezone", "expected"),
    [
        ("data_interval", "Europe/Berlin", ("2026-05-28", "2026-05-28")),
        ("data_interval", "UTC", ("2026-05-27", "2026-05-28")),
        ("previous_day", "Europe/Berlin", ("2026-05-28", "2026-05-28")),
        ("previous_day", "UTC", ("2026-05-27", "2026-05-27")),
    ],
)
def test_window_fills_both_dates(api, window, timezone, expected):
    api.post(EXPORT, status_code=202, json=JOB)
    start, end = BERLIN_DAY
    task_run = run(window=window, timezone=timezone, data_interval_start=start, data_interval_end=end)
    task_run.execute()
    body = api.last_request.json()
    assert (body["from"], body["to"]) == expected


OTHER = dt.datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "context",
    [
        pytest.param(
            {
                "data_interval_start": BERLIN_DAY[0],
                "data_interval_end": BERLIN_DAY[1],
                "logical_date": OTHER,
                "dag_run": SimpleNamespace(run_after=OTHER),
            },
            id="data interval",
        ),
        pytest.param(
            {"data_interval_start": BERLIN_DAY[1], "data_interval_end": BERLIN_DAY[1]},
            id="data interval without a length",
        ),
        pytest.param(
            {"logical_date": BERLIN_DAY[1], "dag_run": SimpleNamespace(run_after=OTHER)}, id="logical date"
        ),
        pytest.param(
            {"logical_date": None, "dag_run": SimpleNamespace(run_after=BERLIN_DAY[1])}, id="run_after"
        ),
        pytest.param({"dag_run": SimpleNamespace(run_after=BERLIN_DAY[1])}, id="nothing but run_after"),
    ],
)
def test_the_previous_day_is_that_of_the_run(api, context):
    api.post(EXPORT, status_code=202, json=JOB)
    run(window="previous_day", timezone="Europe/Berlin", **context).execute()
    body = api.last_request.json()
    assert (body["from"], body["to"]) == ("2026-05-28", "2026-05-28")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": "last_week"}, "window is one of"),
        ({"window": "data_interval"}, "has no data interval"),
        ({"window": "data_interval", "filters": {"to": "2026-05-01"}}, "fills 'from' and 'to'"),
        (
            {
                "window": "data_interval",
                "data_interval_start": BERLIN_DAY[0],
                "data_interval_end": BERLIN_DAY[0],
            },
            "has no length",
        ),
        (
            {
                "window": "previous_day",
                "timezone": "Mars/Base",
                "data_interval_start": BERLIN_DAY[0],
                "data_interval_end": BERLIN_DAY[1],
            },
            "no time zone is called 'Mars/Base'",
        ),
        ({"filters": "2026-05-01"}, "^filters given as text must be a JSON object"),
        ({"filters": ""}, "^filters given as text must be a JSON object"),
        ({"filters": ["from"]}, "^filters must be an object"),
        ({"filters": "[]", "window": "previous_day"}, "^filters given as text must be a JSON object"),
        ({"extra_body": "x"}, "^extra_body given as text must be a JSON object"),
        ({"extra_query": "x"}, "^extra_query given as text must be a JSON object"),
        ({"on_clear": "again"}, "on_clear is"),
        ({"timeout": 0}, "timeout must be"),
        ({"poll_interval": -1}, "poll_interval must be"),
        ({"poll_interval": "often"}, "poll_interval must be"),
        ({"unhealthy_after": float("nan")}, "unhealthy_after must be"),
        ({"timeout": dt.timedelta(0)}, "timeout must be"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_sent(api, options, words):
    with pytest.raises(ValidationRejected, match=words) as caught:
        run(**options).execute()
    assert "Nothing was sent" in str(caught.value)
    assert isinstance(caught.value, AirflowFailException)
    assert api.call_count == 0


@pytest.mark.parametrize("write", [json.dumps, repr])
def test_mappings_as_text_are_read(api, write):
    api.post(EXPORT, status_code=202, json=JOB)
    given = {"filters": {"from": "2026-05-01"}, "extra_body": {"x": None, "y": 1}, "extra_query": {"v": 3}}
    run(**{name: write(value) for name, value in given.items()}).execute()
    assert api.last_request.json() == {"from": "2026-05-01", "y": 1}
    assert api.last_request.qs == {"v": ["3"]}


# -- waiting --------------------------------------------------------------------------------------------


def test_poll_interval_and_unhealthy_after_come_from_the_installation(api, monkeypatch):
    monkeypatch.setenv("AIRFLOW__STOQ__POLL_INTERVAL", "42")
    monkeypatch.setenv("AIRFLOW__STOQ__UNHEALTHY_AFTER", "77")
    api.post(EXPORT, status_code=202, json=JOB)
    trigger = run(wait_for_completion=True, deferrable=True).start().trigger
    assert (trigger.poll_interval, trigger.unhealthy_after) == (42.0, 77.0)
    given = {"poll_interval": 3, "unhealthy_after": 5}
    trigger = run(wait_for_completion=True, deferrable=True, **given).start().trigger
    assert (trigger.poll_interval, trigger.unhealthy_after) == (3.0, 5.0)


def test_deferral_holds_the_deadline_and_airflows_own_time_out_is_only_a_backstop(api):
    api.post(EXPORT, status_code=202, json=JOB)
    before = time.time()
    deferred = run(wait_for_completion=True, deferrable=True, timeout=dt.timedelta(hours=1)).start()
    assert before + 3600 <= deferred.trigger.deadline <= before + 3660
    assert deferred.timeout > dt.timedelta(hours=1)
    assert deferred.method_name == "execute_complete"
    assert KEY not in json.dumps([deferred.trigger.serialize(), deferred.kwargs])


@pytest.mark.parametrize(
    ("error", "traceback"),
    list(
        product(["Trigger/execution timeout", "Trigger failure"], [None, ["Traceback ...", "ValueError: x"]])
    ),
)
def test_failed_trigger_is_explained(api, logs, error, traceback):
    api.post(EXPORT, status_code=202, json=JOB)
    task_run = run(wait_for_completion=True, deferrable=True)
    task_run.start()
    with pytest.raises(PollingUnhealthy) as caught:
        task_run.fail_trigger(error, traceback)
    text = str(caught.value)
    for part in ("exp_1", error, "Nothing is known against the jobs", "they go on", "submits nothing"):
        assert part in text
    assert ("ValueError: x" in logs.text) is bool(traceback)


@pytest.mark.parametrize(
    "event", [None, {}, [], "done", {"version": 99, "jobs": []}, {"version": 1}, {"version": 1, "jobs": [{}]}]
)
def test_event_of_another_shape_is_refused(api, event):
    api.post(EXPORT, status_code=202, json=JOB)
    task_run = run(wait_for_completion=True, deferrable=True)
    deferred = task_run.start()
    with pytest.raises(ProtocolError, match="not a trigger event") as caught:
        task_run.resume_with(deferred, event)
    assert "The remote jobs go on" in str(caught.value)
