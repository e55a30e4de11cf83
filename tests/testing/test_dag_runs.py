"""Whole runs by the fixture `run_dag`, on every version of Airflow that is supported."""

from __future__ import annotations

import json
import os
import signal
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from airflow import configuration, settings
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    BaseOperator,
    BaseSensorOperator,
)

from stoq_provider.operators.reports import StoqReportExportOperator
from stoq_provider.testing.dag_runs import AIRFLOW, RunDag, get_listener_manager

DAY = datetime(2026, 5, 28, tzinfo=timezone.utc)
TWO_DAGS = """
from airflow.providers.common.compat.sdk import DAG, BaseOperator

class Person(BaseOperator):
    def execute(self, context):
        raise RuntimeError("asks a person")

for name in ("one", "two"):
    with DAG(name, schedule=None) as dag:
        Person(task_id="approve")
"""


class Flaky(BaseOperator):
    """Fails at its first try."""

    template_fields = ("text",)

    def __init__(self, *, text: str = "", **kwargs):
        super().__init__(**kwargs)
        self.text = text

    def execute(self, context):
        if context["ti"].try_number == 1:
            raise AirflowException(f"not yet: {self.text}")
        context["ti"].xcom_push(key="other", value=[1, {"a": None}])
        return self.text


class Raises(BaseOperator):
    def __init__(self, *, error: type[Exception], **kwargs):
        super().__init__(**kwargs)
        self.error = error

    def execute(self, context):
        raise self.error("as told")


class SecondPoke(BaseSensorOperator):
    pokes = 0

    def poke(self, context):
        self.pokes += 1
        return self.pokes == 2


@pytest.fixture
def real_shop(tmp_path, monkeypatch):
    """Make a secrets backend known and a place of records that are not the sandbox's."""
    known = tmp_path / "connections.json"
    known.write_text(json.dumps({"stoq_default": {"conn_type": "stoq", "host": "http://real.invalid"}}))
    backend = {
        "BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "BACKEND_KWARGS": json.dumps({"connections_file_path": str(known)}),
    }
    for section in ("SECRETS__", "WORKERS__SECRETS_"):
        for name, value in backend.items():
            monkeypatch.setenv(f"AIRFLOW__{section}{name}", value)
    monkeypatch.setattr(configuration, "secrets_backend_list", configuration.initialize_secrets_backends())
    monkeypatch.setenv("AIRFLOW__STOQ__STATE_PATH", (tmp_path / "records").as_uri())


@pytest.fixture
def dag():
    patient = {"retries": 2, "retry_delay": timedelta(hours=1)}
    with DAG("kinds", schedule=None, start_date=datetime(2026, 5, 1, tzinfo=timezone.utc)) as made:
        Flaky(task_id="flaky", text="{{ ds }} {{ dag_run.conf['n'] }}", **patient)
        broken = Raises(task_id="broken", error=AirflowFailException, **patient)
        broken >> Flaky(task_id="after")
        Raises(task_id="skipped", error=AirflowSkipException)
        SecondPoke(task_id="sensor", poke_interval=3600)
        Flaky.partial(task_id="mapped", **patient).expand(text=["a", "b"])
    return made


def test_states_errors_and_results_of_every_kind_of_task(run_dag, dag):
    before, engine = dict(os.environ), settings.engine
    on_term, listeners = signal.getsignal(signal.SIGTERM), get_listener_manager().pm.get_plugins()
    result = run_dag(dag, logical_date=DAY, conf={"n": 3})
    assert result.state == "failed"
    assert result.states == {
        "flaky": "success",
        "broken": "failed",
        "after": "upstream_failed",
        "skipped": "skipped",
        "sensor": "success",
        "mapped[0]": "success",
        "mapped[1]": "success",
    }
    assert {name: task.tries for name, task in result.tasks.items() if task.tries != 1} == {
        "flaky": 2,
        "mapped[0]": 2,
        "mapped[1]": 2,
        "after": 0,
    }
    assert result["flaky"].return_value == "2026-05-28 3"
    assert result["flaky"].xcom("other") == [1, {"a": None}]
    assert result["flaky"].xcom("nothing") is None
    assert str(result["flaky"].error) == "not yet: 2026-05-28 3"
    assert [result[f"mapped[{n}]"].return_value for n in (0, 1)] == ["a", "b"]
    assert isinstance(result["broken"].error, AirflowFailException)
    assert result["skipped"].error is None
    with pytest.raises(KeyError, match=r"no such task; .*mapped"):
        result["no such task"]
    # The DAG, the process and the database that Airflow is connected to are as they were.
    assert dag.get_task("flaky").retry_delay == timedelta(hours=1)
    assert dag.get_task("sensor").poke_interval == 3600
    assert dag.get_task("mapped").partial_kwargs["retry_delay"] == timedelta(hours=1)
    assert dict(os.environ) == before
    assert signal.getsignal(signal.SIGTERM) == on_term
    assert get_listener_manager().pm.get_plugins() == listeners
    assert settings.engine is engine


def test_a_task_of_ours_meets_the_sandbox_alone_and_polls_often(real_shop, run_dag, stoq_sandbox, tmp_path):
    lake = tmp_path / "lake"
    with DAG("slow", schedule=None, default_args={"poll_interval": 3600.0}) as dag:
        StoqReportExportOperator(task_id="here", report="revenue", destination=f"{lake}/a.csv")
        StoqReportExportOperator(
            task_id="deferred", report="customers", destination=f"{lake}/b.csv", deferrable=True
        )
        StoqReportExportOperator.partial(task_id="mapped", poll_interval=3600.0).expand(
            report=["summary"], destination=[f"{lake}/c.csv"]
        )
    stoq_sandbox.lose_response("GET", "/exports/")
    assert run_dag(dag).states == {"here": "success", "deferred": "success", "mapped[0]": "success"}
    assert sorted(path.name for path in lake.iterdir()) == ["a.csv", "b.csv", "c.csv"]
    assert not (tmp_path / "records").exists()


def test_one_dag_of_a_file_with_a_task_that_a_person_does(run_dag, tmp_path):
    file = tmp_path / "two.py"
    file.write_text(TWO_DAGS)
    when = {"logical_date": DAY} if AIRFLOW < (3, 0) else {"run_after": DAY}
    result = run_dag(file, "two", mark_success="app.*", **when)
    assert (result.state, result.states) == ("success", {"approve": "success"})
    assert "asks a person" in str(run_dag(file, "one")["approve"].error)


@pytest.mark.parametrize(
    ("source", "dag_id", "says"),
    [
        pytest.param(TWO_DAGS, None, r"dag_id is needed.*\['one', 'two'\]", id="none named"),
        pytest.param(TWO_DAGS, "three", r"no DAG 'three'.*\['one', 'two'\]", id="unknown"),
        pytest.param(None, None, "There is no file dags.py", id="no file"),
        pytest.param("import no_such_module", None, "no_such_module", id="broken"),
    ],
)
def test_a_dag_that_is_not_there(source, dag_id, says, tmp_path):
    if source is not None:
        Path(tmp_path, "dags.py").write_text(source)
    with pytest.raises(ValueError, match=says):
        RunDag(tmp_path, tmp_path, print)("dags.py", dag_id)
