"""One cluster for all tests of this folder, and its logs with each test that fails."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from stoq_provider.testing import Sandbox
from stoq_provider.testing.shop import ShopSize
from tests.cluster.airflow import Cluster
from tests.cluster.processes import missing
from tests.stores.running import running as running_store
from tests.stores.stores import S3Store

BUSY_KEY = "stoq_api_key_sandbox_busy00000000000000000000"
"""Key of a second shop, whose points are counted apart."""

WINDOW = 20.0
"""Seconds of a window of points, a third of the real one: who has spent all waits for the next."""

LOG_SHOWN = 6000
STORMS = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def signatures() -> set[str]:
    """Every signature that the sandbox puts into a download link."""
    return set()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seeds", default="1", help="storms: one seed, or first-last")
    parser.addoption("--storm-seconds", type=float, default=30.0, help="how long each storm blows")


@pytest.fixture(scope="session")
def store() -> Iterator[S3Store]:
    """A real S3 server."""
    with running_store("s3") as store:
        assert isinstance(store, S3Store)
        yield store


@pytest.fixture(scope="session")
def record_storm(request: pytest.FixtureRequest) -> list[str]:
    """Rows of the table of storms."""
    return request.config.stash.setdefault(STORMS, [])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if rows := config.stash.get(STORMS, []):
        head = ("seed", "runs", "kills", "faults", "repeats", "uncertain", "job gone", "uploads left", "time")
        terminalreporter.write_line(f"| {' | '.join(head)} |")
        terminalreporter.write_line("| ---: " * len(head) + "|")
        for row in rows:
            terminalreporter.write_line(row)


@pytest.fixture(scope="session")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, signatures: set[str], store: S3Store
) -> Iterator[Cluster]:
    size = ShopSize(orders=200, offers=4)
    with Sandbox(window_seconds=WINDOW, size=size, extra_keys=(BUSY_KEY,)) as sandbox:
        _note_signatures(sandbox, signatures)
        home = tmp_path_factory.mktemp("cluster")
        variables = {"STOQ_CLUSTER_LAKE": store.root, **store.connections}
        cluster = Cluster(home, sandbox, workers=2, triggerers=2, variables=variables, stoq_busy=BUSY_KEY)
        with running(cluster):
            yield cluster


@contextmanager
def running(cluster: Cluster) -> Iterator[None]:
    """Have a cluster run, where this system can."""
    if reason := _missing():
        pytest.skip(reason)
    # A signal that asks the tests to end has the same tidy end as with Ctrl-C.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with cluster.running():
            # Airflow has a say in it; a line for each request would hide all else where a test fails.
            logging.getLogger("uvicorn.access").disabled = True
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True)
def fresh(cluster: Cluster) -> Iterator[None]:
    """A shop in its seeded state; afterwards, no run goes on that could disturb the next test."""
    cluster.sandbox.reset()
    yield
    cluster.api.abandon()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    cluster = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and isinstance(cluster, Cluster):
        for name, text in cluster.component_logs().items():
            report.sections.append((f"{name}, its last lines", text[-LOG_SHOWN:]))
        report.sections.append(("sandbox", str(cluster.sandbox.state)[:LOG_SHOWN]))
    return report


def _missing() -> str | None:
    from airflow import __version__

    if tuple(map(int, __version__.split(".")[:2])) < (3, 3):
        return f"Airflow {__version__} has no task state store, which these tests are about"
    return missing()


def _note_signatures(sandbox: Sandbox, signatures: set[str]) -> None:
    sign = sandbox._world.signature

    def signature(*parts: str) -> str:
        made = sign(*parts)
        signatures.add(made)
        return made

    sandbox._world.signature = signature  # type: ignore[method-assign]
