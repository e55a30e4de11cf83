"""The dates of an export: in its destination, in its manifest, and after a deferral, a retry and a clear."""

from __future__ import annotations

import json
from datetime import date, datetime, timezone
from decimal import Decimal
from types import SimpleNamespace

import pytest

from stoq_provider.exceptions import DownloadError, ValidationRejected

from .conftest import MODES, fails

MAY = {"from": "2026-05-01", "to": "2026-05-31"}


def in_run(run, moment):
    """Let a task be of a run without a logical date."""
    run.extra["dag_run"] = SimpleNamespace(run_after=moment)
    return run


def nightly(bench, mode="worker", **options):
    """An export of the day before a run that is wanted at half past midnight."""
    given = {"window": "previous_day", "destination": f"{bench.folder}/{{from}}/"}
    run = bench.export(mode, **{**given, **options})
    return in_run(run, datetime(2026, 5, 28, 0, 30, tzinfo=timezone.utc))


def folders(bench):
    return sorted(path.name for path in bench.folder.iterdir())


@pytest.mark.parametrize(
    ("filters", "options", "place"),
    [
        pytest.param(MAY, {}, "2026-05-01_2026-05-31", id="filters"),
        pytest.param(
            {"from": date(2026, 5, 1), "to": datetime(2026, 5, 31, 23)},
            {},
            "2026-05-01_2026-05-31",
            id="dates",
        ),
        pytest.param('{"from": "2026-05-01", "to": "2026-05-31"}', {}, "2026-05-01_2026-05-31", id="text"),
        pytest.param(MAY, {"extra_body": {"to": "2026-06-01"}}, "2026-05-01_2026-06-01", id="extra_body"),
        pytest.param(
            MAY,
            {"extra_body": {"from": None, "to": None}, "extra_query": MAY},
            "2026-05-01_2026-05-31",
            id="extra_query",
        ),
    ],
)
def test_dates_that_are_asked_for_stand_in_the_destination(bench, filters, options, place):
    destination = f"{bench.folder}/{{from}}_{{to}}/{{report}}.csv"
    manifest = bench.export(filters=filters, destination=destination, **options).execute()
    assert [file["uri"] for file in manifest["files"]] == [f"file://{bench.folder}/{place}/revenue.csv"]
    asked = manifest["request"]["filters"]
    assert f"{asked['from'][:10]}_{asked['to'][:10]}" == place


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="no filters"),
        pytest.param({"filters": {"to": "2026-05-31"}}, id="the other date"),
        pytest.param({"filters": {"from": None}}, id="null"),
        pytest.param({"filters": MAY, "extra_body": {"from": None}}, id="taken away"),
    ],
)
@pytest.mark.parametrize("deferrable", MODES)
def test_a_date_that_is_not_asked_for_is_refused_before_anything_is_sent(bench, sandbox, options, deferrable):
    run = bench.export(deferrable, destination=f"{bench.folder}/{{from}}.csv", **options)
    says = ("has {from}, but the report has no 'from'", "set window", "not retried")
    fails(run.execute, ValidationRejected, *says, final=True)
    assert sandbox.state["requests"] == {}


@pytest.mark.parametrize("place", ["{from}/", "{to}.csv"])
@pytest.mark.parametrize("task", ["sensor", "bulk"])
def test_who_exports_no_report_has_no_dates(bench, sandbox, task, place):
    destination = f"{bench.folder}/{place}"
    if task == "sensor":
        run = bench.sensor("worker", "/api/v2/external/x/exports/1", destination=destination)
    else:
        run = bench.bulk("release", [1], destination=destination)
    fails(run.execute, ValidationRejected, "only the task that exports a report knows its dates", final=True)
    assert sandbox.state["requests"] == {}


def test_what_is_there_for_these_dates_is_found_before_anything_is_sent(bench):
    destination = f"{bench.folder}/{{from}}.csv"
    nightly(bench, destination=destination, overwrite=False).execute()
    again = nightly(bench, destination=destination, overwrite=False)
    fails(again.execute, ValidationRejected, "2026-05-27.csv exists already", final=True)
    assert bench.submissions == 1


@pytest.mark.parametrize(
    ("context", "day"),
    [
        ({"data_interval_end": datetime(2026, 4, 2, tzinfo=timezone.utc)}, "2026-04-01"),
        ({"data_interval_end": None}, "2026-05-01"),
        ({"data_interval_end": None, "logical_date": None}, "2026-05-27"),
    ],
    ids=["interval", "logical date", "run_after"],
)
def test_window_ends_with_the_interval_else_before_the_logical_date_else_before_run_after(
    bench, context, day
):
    run = nightly(bench)
    run.extra.update({"logical_date": datetime(2026, 5, 2, 9, tzinfo=timezone.utc), **context})
    assert run.execute()["request"]["filters"] == {"from": day, "to": day}


@pytest.mark.parametrize("mode", MODES)
def test_manifest_tells_what_was_asked_for(bench, mode):
    manifest = nightly(bench, mode, filters={"granularity": "day"}).execute()
    filters = {"from": "2026-05-27", "to": "2026-05-27", "granularity": "day"}
    assert manifest["request"] == {"report": "revenue", "filters": filters}
    assert folders(bench) == ["2026-05-27"]


@pytest.mark.parametrize("mode", MODES)
def test_dates_in_a_query_are_asked_for_as_text(bench, mode):
    query = {"since": date(2026, 5, 1), "at": datetime(2026, 5, 1, 8), "rate": Decimal("1.50")}
    run = bench.export(mode, extra_query=query)
    asked = {"since": "2026-05-01", "at": "2026-05-01 08:00:00", "rate": "1.50"}
    assert json.loads(json.dumps(run.execute()))["request"]["filters"] == asked


def test_other_manifests_have_no_request(bench):
    assert "request" not in bench.sensor("worker", bench.submitted()).execute()


def test_dates_of_the_submission_count_after_a_deferral(bench):
    """Templates are rendered again on resumption, and may then give another day."""
    run = nightly(bench, "deferred")
    deferred = run.start()
    in_run(run, datetime(2026, 5, 29, 0, 30, tzinfo=timezone.utc))
    run.changes = {"destination": f"{bench.folder}/later/{{to}}/"}
    manifest = run.resume(deferred)
    assert manifest["request"]["filters"]["from"] == "2026-05-27"
    assert folders(bench) == ["2026-05-27"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("again", ["retry", "clear"])
def test_a_later_try_asks_for_the_same_dates(bench, sandbox, clock, mode, again):
    run = nightly(bench, mode)
    sandbox.arm("truncated", origin="files", after=10, times=None)
    with pytest.raises(DownloadError):
        run.execute()
    sandbox.disarm()
    clock.forward(3 * 3600)
    if again == "clear":
        run.clear()
    manifest = run.retry() if again == "retry" else run.execute()
    assert manifest["request"]["filters"] == {"from": "2026-05-27", "to": "2026-05-27"}
    assert {str(sent["body"]["from"]) for sent in sandbox.submissions} == {"2026-05-27"}
    assert folders(bench) == ["2026-05-27"]
