"""A metadata database of Airflow for each test: a SQLite file that takes the place of the configured one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from airflow import settings
from airflow.utils.db import initdb

_OF_DATABASE = ("engine", "Session", "NonScopedSession", "async_engine", "AsyncSession")
"""What `airflow.settings` makes of the addresses of the database."""


def create_tables(file: Path) -> Path:
    """Make Airflow's tables in a file; return it."""
    with _connected(file):
        initdb()
    return file


@contextmanager
def metadata_database(folder: Path, tables: Path) -> Iterator[None]:
    """
    Let Airflow use a copy of the tables, below a folder, until the context ends.

    The folder of DAGs is an empty one meanwhile: a run would parse all that are in it.
    """
    file, dags = folder / "airflow.db", folder / "dags"
    shutil.copyfile(tables, file)
    dags.mkdir()
    bundle = {
        "name": "dags-folder",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(dags)},
    }
    with _connected(file) as patch:
        patch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
        yield


@contextmanager
def _connected(file: Path) -> Iterator[pytest.MonkeyPatch]:
    addresses = {
        "SQL_ALCHEMY_CONN": f"sqlite:///{file}",
        "SQL_ALCHEMY_CONN_ASYNC": f"sqlite+aiosqlite:///{file}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, address in addresses.items():
            patch.setenv(f"AIRFLOW__DATABASE__{name}", address)
            patch.setattr(settings, name, address, raising=False)
        patch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_ENABLED", "False")  # no connection outlives its use
        patch.setenv("AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS", "False")
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        for name in _OF_DATABASE:
            if hasattr(settings, name):
                patch.setattr(settings, name, getattr(settings, name))  # puts it back at the end
        settings.configure_orm()
        try:
            yield patch
        finally:
            settings.Session.remove()
            settings.engine.dispose()
