"""Airflow in a folder of its own, set up before anything imports it."""

from __future__ import annotations

import os
import tempfile

_HOME = tempfile.mkdtemp(prefix="stoq-airflow-")
os.environ.update(
    AIRFLOW_HOME=_HOME,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=f"{_HOME}/dags",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__LOGGING__LOGGING_LEVEL="INFO",
)
for _name in list(os.environ):
    if _name.startswith(("AIRFLOW_CONN_", "AIRFLOW__STOQ__")):
        del os.environ[_name]
