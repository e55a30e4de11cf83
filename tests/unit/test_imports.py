"""A DAG file is parsed every few seconds: importing the package must cost next to nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest

MODULES = (
    "stoq_provider.operators.reports",
    "stoq_provider.sensors.jobs",
    "stoq_provider.triggers.jobs",
)
HEAVY = {"httpx", "requests", "fsspec", "jsonschema", "tenacity", "pendulum", "starlette", "uvicorn", "s3fs"}
LIMIT = 0.06
"""Processor time of our imports, as a part of Airflow's own: both are slow where the machine is."""
BYTECODE = tempfile.TemporaryDirectory(prefix="stoq-bytecode-")
# What the package uses of Airflow. BaseHook and conf are attributes that are loaded when they are asked for.
AIRFLOW = """
from airflow.providers.common.compat.sdk import (
    AirflowException, AirflowFailException, AirflowSensorTimeout, AirflowSkipException,
    BaseHook, BaseOperator, BaseSensorOperator, PokeReturnValue, conf,
)
from airflow.triggers.base import BaseTrigger, TriggerEvent
import airflow
airflow.__version__
"""


def python(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith("COVERAGE") and k != "PYTHONDONTWRITEBYTECODE"
    }
    # Bytecode is kept, as where a package is installed; elsewhere than in the working copy.
    environment["PYTHONPYCACHEPREFIX"] = BYTECODE.name
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=environment,
    )


def loaded(code: str) -> set[str]:
    told = python(f"{code}\nimport sys\nprint('LOADED', *sorted(sys.modules))").stdout
    return set(told.partition("LOADED ")[2].split())


@pytest.fixture(scope="module")
def airflow_alone() -> set[str]:
    return loaded(AIRFLOW)


@pytest.mark.parametrize("module", MODULES)
def test_importing_loads_no_http_library_or_other_heavy_one(module, airflow_alone):
    more = loaded(f"{AIRFLOW}\nimport {module}") - airflow_alone
    assert module in more
    top = {name.partition(".")[0] for name in more}
    assert top & HEAVY == set()
    assert {name for name in more if name.startswith("stoq_provider.transport.")} <= {
        "stoq_provider.transport.settings"
    }
    assert "stoq_provider.storage.download" not in more


def test_provider_info_imports_nothing():
    code = "import stoq_provider.get_provider_info"
    more = loaded(code) - loaded("")
    assert {name for name in more if not name.startswith("stoq_provider")} <= {"typing", "__future__"} | (
        loaded("import typing")
    )


def test_import_time():
    """Processor time beside Airflow's own; best of some runs, the first of which compiles."""
    best = min(_part() for _ in range(3))
    for _ in range(3):
        if best <= LIMIT:
            break
        best = min(best, _part())
    assert best <= LIMIT


def _part() -> float:
    names = "; ".join(f"import {module}" for module in MODULES)
    measured = python(
        f"from time import process_time\nstarted = process_time()\n{AIRFLOW}\n"
        f"began = process_time()\n{names}\n"
        "print('TOOK', (process_time() - began) / (began - started))"
    )
    return float(measured.stdout.rpartition("TOOK ")[2])
