"""A DAG file is parsed every few seconds: importing the package must cost next to nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import stoq_provider
from tests.interpreter import Child

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


def telling(*steps: str) -> str:
    """Return a program that tells what is loaded after each step."""
    return "import sys\n" + "\n".join(f"{step}\nprint('LOADED', *sorted(sys.modules))" for step in steps)


def loaded(printed: str) -> list[set[str]]:
    """Read what such a program printed."""
    return [set(line.split()[1:]) for line in printed.splitlines() if line.startswith("LOADED ")]


def test_importing_loads_no_http_library_or_other_heavy_one(start_program):
    child = start_program(telling(AIRFLOW, *(f"import {module}" for module in MODULES)))
    assert child.wait() == 0, child.stderr
    airflow_alone, *_, all_of_them = loaded(child.stdout)
    more = all_of_them - airflow_alone
    assert more > set(MODULES)
    top = {name.partition(".")[0] for name in more}
    assert top & HEAVY == set()
    ours = {name for name in more if name.startswith("stoq_provider.")}
    late = ("hooks", "systems", "transport", "jobs.submit", "jobs.wait", "download.download", "core.polling")
    assert not [name for name in ours for part in late if f"{name}.".startswith(f"stoq_provider.{part}.")]


def test_provider_info_imports_nothing():
    program = telling("import typing, __future__", "import stoq_provider.get_provider_info")
    ended = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    before, after = loaded(ended.stdout)
    assert {name.partition(".")[0] for name in after - before} == {"stoq_provider"}


def test_import_time(start_program):
    """Processor time beside Airflow's own; best of some runs, the first of which may compile."""
    parts: list[float] = []
    while len(parts) < 6 and min(parts, default=1.0) > LIMIT:
        parts.append(_part(start_program))
    assert min(parts) <= LIMIT


def _part(start_program: Callable[[str], Child]) -> float:
    names = "; ".join(f"import {module}" for module in MODULES)
    child = start_program(
        f"started = time.process_time()\n{AIRFLOW}\n"
        f"began = time.process_time()\n{names}\n"
        "print('TOOK', (time.process_time() - began) / (began - started + AIRFLOW_SECONDS))"
    )
    assert child.wait() == 0, child.stderr
    return float(child.stdout.rpartition("TOOK ")[2])


def test_nothing_is_unpickled_or_evaluated():
    """What comes from a database, a store or a server is data."""
    runs_code = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "yaml", "eval", "exec"}
    package = Path(stoq_provider.__file__).parent
    sources = [path for path in package.rglob("*.py") if path.parent.name != "testing"]
    assert len(sources) > 80
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.id] if isinstance(node, ast.Name) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not runs_code & {name.partition(".")[0] for name in names}, path.name
