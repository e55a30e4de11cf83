"""A DAG file is parsed every few seconds: importing the package must cost next to nothing."""

from __future__ import annotations

import os
import subprocess
import sys

MODULES = (
    "stoq_provider.operators.reports",
    "stoq_provider.sensors.jobs",
    "stoq_provider.triggers.jobs",
)
HEAVY = {"httpx", "requests", "fsspec", "jsonschema", "tenacity", "pendulum", "starlette", "uvicorn", "s3fs"}
LIMIT = 0.06
"""Processor time of our imports, as a part of Airflow's own: both are slow where the machine is."""
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
    # Bytecode is kept, as where a package is installed.
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith("COVERAGE") and k != "PYTHONDONTWRITEBYTECODE"
    }
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=environment,
    )


def loaded(*steps: str) -> list[set[str]]:
    """Return what is loaded after each step of one process."""
    code = "\n".join(f"{step}\nprint('LOADED', *sorted(sys.modules))" for step in steps)
    printed = python(f"import sys\n{code}").stdout
    return [set(line.split()[1:]) for line in printed.splitlines() if line.startswith("LOADED ")]


def test_importing_loads_no_http_library_or_other_heavy_one():
    airflow_alone, *_, all_of_them = loaded(AIRFLOW, *(f"import {module}" for module in MODULES))
    more = all_of_them - airflow_alone
    assert more > set(MODULES)
    top = {name.partition(".")[0] for name in more}
    assert top & HEAVY == set()
    ours = {name for name in more if name.startswith("stoq_provider.")}
    late = ("hooks", "systems", "transport", "jobs.submit", "jobs.wait", "download.download", "core.polling")
    assert not [name for name in ours for part in late if f"{name}.".startswith(f"stoq_provider.{part}.")]


def test_provider_info_imports_nothing():
    before, after = loaded("import typing, __future__", "import stoq_provider.get_provider_info")
    assert {name.partition(".")[0] for name in after - before} == {"stoq_provider"}


def test_import_time():
    """Processor time beside Airflow's own; best of some runs, the first of which may compile."""
    parts: list[float] = []
    while len(parts) < 6 and min(parts, default=1.0) > LIMIT:
        parts.append(_part())
    assert min(parts) <= LIMIT


def _part() -> float:
    names = "; ".join(f"import {module}" for module in MODULES)
    measured = python(
        f"from time import process_time\nstarted = process_time()\n{AIRFLOW}\n"
        f"began = process_time()\n{names}\n"
        "print('TOOK', (process_time() - began) / (began - started))"
    )
    return float(measured.stdout.rpartition("TOOK ")[2])
