"""How Airflow is set up in a cluster of the tests: what a site would set, and shorter times."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet

ROOT = Path(__file__).parents[2]

SETTINGS = {
    "CORE__EXECUTOR": "CeleryExecutor",
    # The page of a task then tells which component runs it.
    "CORE__HOSTNAME_CALLABLE": "tests.cluster.hostname.of_component",
    "CELERY__WORKER_CONCURRENCY": "4",
    "CELERY__SYNC_PARALLELISM": "1",
    "CORE__LOAD_EXAMPLES": "False",
    "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    "LOGGING__NAMESPACE_LEVELS": "stoq_provider=DEBUG",
    "API__HOST": "127.0.0.1",
    "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
    "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "SCHEDULER__JOB_HEARTBEAT_SEC": "1",
    # Who has not reported for so long counts as gone, and the tasks that it had begin another try. On a busy
    # machine one that lives can be late, so these are long, and whoever kills one in a test moves its last
    # heartbeat into the past.
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "3600",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
    # Redis keeps nothing over a restart, and what a lost worker had fetched goes to another after a day.
    "SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
    "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "2",
    "SCHEDULER__NUM_STUCK_IN_QUEUED_RETRIES": "100",
    "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "WORKERS__EXECUTION_API_RETRY_WAIT_MIN": "0.2",
    "WORKERS__EXECUTION_API_TIMEOUT": "30",
    # Triggers of a triggerer that is gone go to another after this time.
    "TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
    "DAG_PROCESSOR__PARSING_PROCESSES": "1",
    "STOQ__POLL_INTERVAL": "0.5",
    "STOQ__UNHEALTHY_AFTER": "60",
}


def environment(home: Path, dags: Path, port: int, database: str, broker: str) -> dict[str, str]:
    """
    Return the environment of all components.

    :param port: of the api-server, on loopback.
    :param database: address of an empty PostgreSQL database, ``postgres://...``.
    :param broker: address of a Redis.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    made = {
        "CORE__DAGS_FOLDER": str(dags),
        "CORE__FERNET_KEY": Fernet.generate_key().decode(),
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "DATABASE__SQL_ALCHEMY_CONN": database.replace("postgres://", "postgresql+psycopg2://"),
        "CELERY__BROKER_URL": broker,
        "API__PORT": str(port),
        "API__BASE_URL": f"http://127.0.0.1:{port}",
        "API__SECRET_KEY": secrets.token_hex(32),
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
    }
    return {
        **inherited,
        "AIRFLOW_HOME": str(home),
        "STOQ_CLUSTER_FOLDER": str(home),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
        "NO_PROXY": "127.0.0.1,localhost",
        **{f"AIRFLOW__{name}": value for name, value in {**SETTINGS, **made}.items()},
    }
