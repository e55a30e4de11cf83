"""A whole DAG in a real Airflow: rendering, XCom, mapping, deferring and resuming are Airflow's own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
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


def test_dag_runs_through(home, sandbox, tmp_path):
    folder = tmp_path / "lake"
    connection = {"conn_type": "stoq", "host": sandbox.origin, "password": sandbox.key}
    environment = {**home, "AIRFLOW_CONN_STOQ_DEFAULT": json.dumps(connection), "STOQ_TEST_LAKE": str(folder)}
    done = subprocess.run(
        [sys.executable, str(Path(home["AIRFLOW__CORE__DAGS_FOLDER"]) / SCRIPT.name)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
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
    # Airflow 3.0 itself prints what it asks its own supervisor to hide.
    assert sandbox.key not in "".join(line for line in output.splitlines() if "MaskSecret(" not in line)
    assert "X-Amz-Signature" not in output
