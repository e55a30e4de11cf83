"""Airflow in a folder of its own, set up before anything imports it."""

from __future__ import annotations

import atexit
import gc
import os
import random
import shutil
import tempfile
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says nothing about the package, only about the machine; and a run that fails is
# to fail again.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
# Other examples each time, and so many that rare ones are among them: make test-properties.
settings.register_profile(
    "thorough", max_examples=100_000, deadline=timedelta(seconds=20), suppress_health_check=list(HealthCheck)
)
settings.load_profile("steady")

_HOME = tempfile.mkdtemp(prefix="stoq-airflow-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ.update(
    AIRFLOW_HOME=_HOME,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION="False",  # else no event of an asset is for them
    AIRFLOW__CORE__DAGS_FOLDER=f"{_HOME}/dags",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__LOGGING__LOGGING_LEVEL="INFO",
)
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
for _name in list(os.environ):
    if _name.startswith(("AIRFLOW_CONN_", "AIRFLOW__STOQ__")) or _name in _BUNDLES:
        del os.environ[_name]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", metavar="SEED", help="run modules, and the tests of each, in random order")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seed = config.getoption("--shuffle")
    if seed is None:
        # The longest: else one worker still has it when the others have nothing left to do.
        items.sort(key=lambda item: item.path.name != "test_dag.py")
        return
    shuffled = random.Random(seed)
    shuffled.shuffle(items)
    # The tests of a module stay together: they share servers.
    modules = {str(item.path): shuffled.random() for item in items}
    items.sort(key=lambda item: modules[str(item.path)])


def pytest_collection_finish() -> None:
    # The million objects of Airflow and of the tests stay to the end: no collection need look at them.
    gc.collect()
    gc.freeze()
    # Tests leave hundreds of thousands more that stay, for which the usual pace of collections is too fast.
    gc.set_threshold(10_000, 20, 50)
