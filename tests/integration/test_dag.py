"""A whole DAG in a real Airflow: rendering, XCom, mapping, deferring and resuming are Airflow's own."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from stoq_provider.testing import Sandbox

# Heavy; with ``--dist loadgroup`` it has a worker of its own.
pytestmark = pytest.mark.xdist_group("real-airflow")

REPOSITORY = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("dag_run.py")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> dict[str, str]:
    """Environment of an Airflow with a database of its own, which the script makes."""
    folder = tmp_path_factory.mktemp("airflow")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")}
    environment |= {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "PYTHONPATH": str(REPOSITORY),
    }
    (folder / "dags").mkdir()
    shutil.copy(SCRIPT, folder / "dags")
    return environment


@pytest.fixture
def sandbox():
    """Airflow's processes have real time, so this sandbox has it as well; an export takes 0.1 s."""
    with Sandbox(time_scale=200) as running:
        yield running


def check_events(database: Path, stored: dict[str, Path]) -> None:
    """Check that the event of each outlet tells of its file, and that the alias led to assets of files."""
    with closing(sqlite3.connect(database)) as connection:
        tables = {name for (name,) in connection.execute("select name from sqlite_master")}
        asset = "asset" if "asset" in tables else "dataset"
        found = connection.execute(
            f"select source_task_id, uri, event.extra from {asset}_event event "
            f"join {asset} on {asset}.id = event.{asset}_id"
        ).fetchall()
    extras = {(task, uri): json.loads(extra) for task, uri, extra in found}
    files = {name: path.as_uri() for name, path in stored.items()}
    expected = {("all_mapped", "all")}
    for task, name in {"deferred": "summary", "worker": "customers"}.items():
        expected |= {(task, name), (task, files[task])}
        assert extras[task, name] == extras[task, files[task]]
    expected |= {(task, files[task].rpartition("/")[0]) for task in ("pokes", "defers")}
    assert set(extras) == expected
    assert len(extras.pop(("all_mapped", "all"))["files"]) == 3
    for (task, _), extra in extras.items():
        content = stored[task].read_bytes()
        assert (extra["uri"], extra["bytes"]) == (files[task], len(content))
        assert extra["sha256"] == hashlib.sha256(content).hexdigest()
    of_summary = extras["deferred", "summary"]
    assert (of_summary["report"], of_summary["from"], of_summary["to"]) == (
        "summary",
        "2026-05-01",
        "2026-05-02",
    )


def test_dag_runs_through(home, sandbox, tmp_path):
    folder = tmp_path / "lake"
    connection = {"conn_type": "stoq", "host": sandbox.origin, "password": sandbox.key}
    environment = {**home, "AIRFLOW_CONN_STOQ_DEFAULT": json.dumps(connection), "STOQ_TEST_LAKE": str(folder)}
    done = subprocess.run(
        [sys.executable, str(Path(home["AIRFLOW__CORE__DAGS_FOLDER"]) / SCRIPT.name)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    output = done.stdout + done.stderr
    found = re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
    assert found, output[-4000:]
    result = json.loads(found[1])
    states = {name: state.rpartition(".")[2].lower() for name, state in result["tasks"].items()}
    assert set(states.values()) == {"success"}, output[-6000:]
    assert set(states) == {
        "deferred",
        "worker",
        "submit",
        "pokes",
        "defers",
        "mapped[0]",
        "mapped[1]",
        "mapped[2]",
        "all_mapped",
    }
    # Read from XCom, also of a task that Airflow 3 asks once more when it has ended.
    assert set(result["links"].values()) == {"https://admin.shopify.com/"}
    # Each export was submitted once, whichever task waited for it.
    assert len(sandbox.submissions) == 6
    assert [s["body"].get("from") for s in sandbox.submissions].count("2026-03-01") == 3
    stored = {path.parent.name: path for path in folder.rglob("*.csv")}
    assert set(stored) == {"deferred", "worker", "pokes", "defers", "mapped"}
    assert len(list((folder / "mapped").iterdir())) == 3
    assert stored["pokes"].read_bytes() == stored["defers"].read_bytes()
    check_events(Path(home["AIRFLOW_HOME"]) / "airflow.db", stored)
    # Airflow 3.0 itself prints what it asks its own supervisor to hide.
    assert sandbox.key not in "".join(line for line in output.splitlines() if "MaskSecret(" not in line)
    assert "X-Amz-Signature" not in output
