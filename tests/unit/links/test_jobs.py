"""The links of every task: what they open, when it is there, and that no link costs a task anything."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat import sdk
from airflow.providers.common.compat.sdk import DAG, TaskDeferred

from stoq_provider.links import jobs
from stoq_provider.operators.actions import StoqActionOperator
from stoq_provider.operators.reports import StoqReportExportOperator
from stoq_provider.sensors.jobs import StoqJobSensor
from tests.harness import AirflowRescheduleException, FakeTaskInstance, TaskRun, as_the_server_reads_it
from tests.unit.hooks.conftest import API, CONN, KEY, api, logs
from tests.unit.operators.test_options import TASKS
from tests.unit.operators.test_reports import EXPORT, JOB
from tests.virtual_time import VirtualTime, virtual_time

__all__ = ["api", "logs", "virtual_time"]

SHOPIFY = "https://admin.shopify.com/"
ADMIN = {
    "stoq": ("STOQ admin", "_link_StoqAdminLink", SHOPIFY),
    "medusa": ("Medusa admin", "_link_MedusaAdminLink", "https://shop.example/app"),
    "surecart": ("SureCart", "_link_SureCartLink", "https://app.surecart.com/"),
    "printstudio": ("PrintStudio", "_link_PrintStudioLink", "https://shop.example/"),
}
WITHOUT_FILES = {"StoqActionOperator", "SureCartJobSensor", "PrintStudioJobSensor"}


def connect(monkeypatch, conn_type="stoq", **extra) -> None:
    about = {"conn_type": conn_type, "host": "https://shop.example", "password": KEY, "extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_type.upper()}_DEFAULT", json.dumps(about))


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch, virtual_time: VirtualTime) -> None:
    monkeypatch.setenv(CONN, json.dumps({"conn_type": "stoq", "password": KEY}))


def export(**options) -> TaskRun:
    return TaskRun(lambda: StoqReportExportOperator(task_id="export", report="revenue", **options))


@pytest.mark.parametrize("cls", TASKS)
def test_every_task_links_to_its_shop_and_to_its_files(cls):
    (system,) = (name for name in ADMIN if cls.__name__.lower().startswith(name))
    names = [link.name for link in cls(task_id="x", **TASKS[cls]).operator_extra_links]
    assert names == ["Destination"] * (cls.__name__ not in WITHOUT_FILES) + [ADMIN[system][0]]


@pytest.mark.parametrize("cls", TASKS)
def test_serialized_as_airflow_does_mapped_or_not(cls):
    name, values = next(iter(TASKS[cls].items()))
    rest = {key: value for key, value in TASKS[cls].items() if key != name}
    with DAG("d", schedule=None) as dag:
        cls(task_id="alone", **TASKS[cls])
        cls.partial(task_id="mapped", **rest).expand(**{name: [values]})
    read = as_the_server_reads_it(dag)
    want = sorted(link.name for link in cls.operator_extra_links)
    assert [sorted(read.get_task(task_id).extra_links) for task_id in ("alone", "mapped")] == [want, want]


# -- what is pushed, and when ---------------------------------------------------------------------------


def test_the_links_are_there_while_the_task_is_deferred(api, monkeypatch):
    monkeypatch.setattr("stoq_provider.links.console.console_page", lambda place: f"https://console/{place}")
    monkeypatch.setattr("stoq_provider.triggers.deferral.WaitingTask._check_download", lambda *_: None)
    api.post(EXPORT, status_code=202, json=JOB)
    run = export(destination="s3://lake/{from}/", filters={"from": "2026-05-01"}, deferrable=True)
    assert isinstance(run.start(), TaskDeferred)
    assert run.ti.links == {
        "_link_DestinationLink": "https://console/s3://lake/2026-05-01/",
        "_link_StoqAdminLink": SHOPIFY,
    }


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_sensor_has_them_before_it_waits(api, deferrable):
    api.get(f"{API}/preorders/reports/exports/exp_1", json={"status": "running"})
    given = {"job": "exp_1", "deferrable": deferrable, "mode": "reschedule"}
    run = TaskRun(lambda: StoqJobSensor(task_id="wait", **given))
    with pytest.raises((TaskDeferred, AirflowRescheduleException)):
        run._task().execute(run.context())
    assert run.ti.links == {"_link_DestinationLink": "", "_link_StoqAdminLink": SHOPIFY}


def test_a_poke_in_a_process_of_its_own_makes_no_client_of_a_store(api, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        "stoq_provider.links.console.console_page", lambda place: asked.append(place) or "page"
    )
    status = {"status": "running"}
    api.get(f"{API}/preorders/reports/exports/exp_1", json=lambda *_: status)
    place = str(tmp_path / "x.csv")
    given = {"job": "exp_1", "destination": place, "mode": "reschedule"}
    run = TaskRun(lambda: StoqJobSensor(task_id="wait", **given))
    with pytest.raises(AirflowRescheduleException):
        run._task().execute(run.context())
    assert asked == []
    assert run.ti.links == {"_link_DestinationLink": "", "_link_StoqAdminLink": SHOPIFY}
    status["status"] = "failed"
    with pytest.raises(sdk.AirflowException):
        run._task().execute(run.context())
    assert asked == [place]
    assert run.ti.links == {"_link_StoqAdminLink": SHOPIFY, "_link_DestinationLink": "page"}


def test_they_are_there_after_a_submission_that_failed(api):
    api.post(EXPORT, status_code=422, json={"error": "no"})
    run = export()
    with pytest.raises(sdk.AirflowException):
        run.execute()
    assert run.ti.links == {"_link_DestinationLink": "", "_link_StoqAdminLink": SHOPIFY}


def test_an_action_has_one_before_it_calls(api):
    api.get(f"{API}/help", status_code=401)
    run = TaskRun(lambda: StoqActionOperator(task_id="x", action="nothing like it"))
    with pytest.raises(sdk.AirflowException):
        run.execute()
    assert run.ti.links == {"_link_StoqAdminLink": SHOPIFY}


@pytest.mark.parametrize("system", ADMIN)
@pytest.mark.parametrize("own", [None, "https://elsewhere.example/shop"], ids=["usual", "of the connection"])
def test_where_people_look_after_a_shop(monkeypatch, system, own):
    connect(monkeypatch, system, **({"admin_url": own} if own else {}))
    cls = next(cls for cls in TASKS if cls.__name__.lower().startswith(system) and "Sensor" in cls.__name__)
    task, ti = cls(task_id="x", **TASKS[cls]), FakeTaskInstance("x")
    jobs.push_links({"ti": ti}, task, task.hook)
    _, key, page = ADMIN[system]
    assert {key: page for key, page in ti.links.items() if page} == {key: own or page}


@pytest.mark.parametrize("place", [None, "/tmp/", "file:///tmp/x.csv", "a/relative/path"])
def test_without_a_console_the_link_is_empty(place):
    task, ti = StoqReportExportOperator(task_id="x", report="revenue"), FakeTaskInstance("x")
    jobs.push_links({"ti": ti}, task, task.hook, place)
    assert ti.links == {"_link_DestinationLink": "", "_link_StoqAdminLink": SHOPIFY}


# -- no link costs a task anything ----------------------------------------------------------------------


def test_a_task_that_wants_no_xcom_has_no_links(api, monkeypatch):
    api.post(EXPORT, status_code=202, json=JOB)
    run = export(do_xcom_push=False)
    run.execute()
    assert run.ti.links == {}
    # Airflow would look for what nobody pushed, and log an error.
    asked = []
    monkeypatch.setattr(sdk.XCom, "get_value", lambda **key: asked.append(key))
    assert (jobs.StoqAdminLink().get_link(run._task(), ti_key=None), asked) == ("", [])


def test_links_that_can_not_be_made_or_pushed_do_not_matter(api, monkeypatch):
    def broken(self, key, value):
        if key.startswith("_link_"):
            raise RuntimeError("no XCom today")

    monkeypatch.setattr(FakeTaskInstance, "xcom_push", broken)
    monkeypatch.setattr("stoq_provider.links.console.console_page", lambda _: 1 / 0)
    api.post(EXPORT, status_code=202, json=JOB)
    (handle,) = export(destination="/tmp/", wait_for_completion=False).execute()
    assert handle["job_id"] == "exp_1"


def test_a_link_of_a_users_own_is_left_alone():
    task, ti = StoqReportExportOperator(task_id="x", report="revenue"), FakeTaskInstance("x")
    task.operator_extra_links = (SimpleNamespace(name="own"), jobs.StoqAdminLink())
    jobs.push_links({"ti": ti}, task, task.hook)
    assert set(ti.links) == {"_link_StoqAdminLink"}


# -- what Airflow asks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("pushed", "page"), [(SHOPIFY, SHOPIFY), (None, ""), (RuntimeError(), "")])
def test_airflow_gets_the_page_or_nothing(monkeypatch, pushed, page):
    asked = []

    def get_value(*, ti_key, key):
        asked.append((ti_key, key))
        if isinstance(pushed, Exception):
            raise pushed
        return pushed

    monkeypatch.setattr(sdk.XCom, "get_value", get_value)
    assert jobs.StoqAdminLink().get_link(None, ti_key="of the try") == page
    assert asked == [("of the try", "_link_StoqAdminLink")]
