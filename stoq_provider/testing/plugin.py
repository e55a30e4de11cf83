"""
The pytest plugin: fixtures for tests of your own DAGs, see ``docs/testing.md``.

Every pytest run in an environment with this package imports this module, so it imports nothing heavy: Airflow
and the server come with the first test that asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from stoq_provider.testing.dag_runs import RunDag
    from stoq_provider.testing.scenarios import ScenarioSandbox

SANDBOX_DEFAULTS: dict[str, Any] = {"time_scale": 200.0, "points_limit": 100_000}
"""Jobs take a tenth of a second; and no test waits for the minute in which there are points again."""

PAUSES = {
    "stoq_provider.core.polling.LONGEST_BACKOFF": 0.1,
    "stoq_provider.download.resume._MAX_BACKOFF_SECONDS": 0.1,
    "stoq_provider.transport.retry.LONGEST_PAUSE": 0.1,
    "stoq_provider.transport.retry.UNKNOWN_WAIT": 0.1,
}
"""Seconds to which pauses after errors grow."""

MARKER = "stoq_sandbox(**options): options of stoq_provider.testing.Sandbox for the fixture stoq_sandbox"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def stoq_sandbox(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ScenarioSandbox]:
    """
    A sandbox for the test alone; `stoq_default`, `medusa_default` and the other two connections lead to it.

    The marker ``@pytest.mark.stoq_sandbox(seed=8)`` gives options of `stoq_provider.testing.Sandbox`. Polls
    are 0.1 s apart, where the task gives no `poll_interval`; records of submissions last as long as the test.
    A secrets backend is not asked.
    """
    from airflow import configuration

    from stoq_provider.testing.cli import connections
    from stoq_provider.testing.scenarios import ScenarioSandbox

    marker = request.node.get_closest_marker("stoq_sandbox")
    sandbox = ScenarioSandbox(**{**SANDBOX_DEFAULTS, **(marker.kwargs if marker else {})})
    with sandbox, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__STOQ__POLL_INTERVAL", "0.1")
        patch.setenv("AIRFLOW__STOQ__STATE_PATH", tmp_path_factory.mktemp("stoq-records").as_uri())
        for name, value in connections(sandbox).items():
            patch.setenv(name, value)
        for section in ("SECRETS__", "WORKERS__SECRETS_"):
            patch.setenv(f"AIRFLOW__{section}BACKEND", "")  # it is asked first, and may know the real shop
        backends = configuration.initialize_secrets_backends()
        patch.setattr(configuration, "secrets_backend_list", backends)
        for name, seconds in PAUSES.items():
            patch.setattr(name, seconds)
        yield sandbox


@pytest.fixture(scope="session")
def _airflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the empty tables of Airflow, made once: that takes seconds."""
    from stoq_provider.testing.metadata import create_tables

    return create_tables(tmp_path_factory.mktemp("airflow") / "tables.db")


@pytest.fixture
def run_dag(
    _airflow_tables: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[RunDag]:
    """
    Run a DAG to its end and return the result, a `stoq_provider.testing.dag_runs.DagResult`.

    Airflow's metadata database is a file of its own for each test; yours is not touched.
    """
    from stoq_provider.testing.dag_runs import RunDag
    from stoq_provider.testing.metadata import metadata_database

    folder = tmp_path_factory.mktemp("run_dag")
    with metadata_database(folder, _airflow_tables):
        node = request.node
        yield RunDag(folder, request.config.rootpath, partial(node.add_report_section, "call", "run_dag"))
