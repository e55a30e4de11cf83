"""An Airflow cluster of real processes on loopback, with a sandbox shop as its only remote side."""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from cryptography.fernet import Fernet

from stoq_provider.testing import Sandbox
from tests.cluster.processes import Component, kill_all, kill_process
from tests.cluster.rest import Api, Run
from tests.cluster.waiting import PATIENCE, until

log = logging.getLogger(__name__)
ROOT = Path(__file__).parents[2]
DAGS = Path(__file__).parent / "dags"
PARTS = {
    # Log servers would listen on all addresses; here everybody reads the same disk.
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "triggerer": ("triggerer", "--skip-serve-logs"),
    "dag_processor": ("dag-processor",),
    "api_server": ("api-server",),
}
SETTINGS = {
    "CORE__EXECUTOR": "LocalExecutor",
    "CORE__PARALLELISM": "6",
    "CORE__LOAD_EXAMPLES": "False",
    "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    "LOGGING__NAMESPACE_LEVELS": "stoq_provider=DEBUG",
    "API__HOST": "127.0.0.1",
    "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "SCHEDULER__JOB_HEARTBEAT_SEC": "1",
    # A scheduler that has not reported for so long counts as gone, even for itself, and tasks that it queued
    # begin a second try. None is killed here, and on a busy machine one can be late.
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "3600",
    # A task whose supervisor is gone is noticed by its silence. A shorter one than the usual would have live
    # tasks killed on a busy machine; :meth:`Cluster.kill_task` moves the last heartbeat instead.
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
    "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "WORKERS__EXECUTION_API_RETRY_WAIT_MIN": "0.2",
    "WORKERS__EXECUTION_API_TIMEOUT": "30",
    # Triggers of a triggerer that is gone go to another after this time.
    "TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "4",
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
    "DAG_PROCESSOR__PARSING_PROCESSES": "1",
    "STOQ__POLL_INTERVAL": "0.5",
    "STOQ__UNHEALTHY_AFTER": "60",
}


class Cluster:
    """
    Api-server, scheduler with its workers, dag-processor and triggerer.

    :param home: an empty folder; database, logs, files and process ids go there.
    :param sandbox: the shop, known as ``stoq_default``; ``connections`` adds others by key.
    :param dags: the folder of the DAGs.
    :param environment: variables of all processes, beside those made here.
    """

    def __init__(
        self,
        home: Path,
        sandbox: Sandbox,
        *,
        dags: Path = DAGS,
        environment: Mapping[str, str] | None = None,
        **connections: str,
    ) -> None:
        self.home = home.resolve()
        self.sandbox = sandbox
        self.dags = dags
        port = _free_port()
        self.api = Api(f"http://127.0.0.1:{port}")
        self.environment = _environment(self.home, dags, port) | {
            f"AIRFLOW_CONN_{name.upper()}": json.dumps(
                {"conn_type": system, "host": host, "password": key, "extra": {"timeout": PATIENCE}}
            )
            for name, system, host, key in (
                ("stoq_default", "stoq", sandbox.origin, sandbox.key),
                ("medusa_default", "medusa", sandbox.medusa_origin, sandbox.medusa_token),
                *((name, "stoq", sandbox.origin, key) for name, key in connections.items()),
            )
        }
        self.environment |= environment or {}
        self.parts = {
            name: Component(name, arguments, self.home, self.environment, self.home / f"{name}.log")
            for name, arguments in PARTS.items()
        }

    # -- life ---------------------------------------------------------------------------------------

    @contextmanager
    def running(self) -> Iterator[Cluster]:
        """Start everything, and stop it whatever happens."""
        try:
            self._migrate()
            for name in self.parts:
                self.start(name)
            self.until_healthy()
            self.api.sign_in()
            until("the DAGs", self._all_parsed)
            yield self
        except BaseException:
            for name, text in self.component_logs().items():
                log.error("last lines of %s:\n%s", name, text[-3000:])
            raise
        finally:
            self.stop()

    def start(self, name: str) -> None:
        """Start one component."""
        self.parts[name].start()

    def kill(self, name: str, sign: signal.Signals = signal.SIGKILL) -> None:
        """End one component with all its processes: at once, or by a signal that it may obey in order."""
        self.parts[name].kill(sign)

    def stop(self) -> None:
        """End all processes, at once: nothing of this cluster is worth an orderly end."""
        for part in self.parts.values():
            part.kill()
        kill_all(self.home)

    def until_healthy(self) -> None:
        """Wait until each component has reported."""
        until("a healthy cluster", self._healthy)

    def component_logs(self) -> dict[str, str]:
        """Return what each component wrote, by the name of its file."""
        return {file.name: file.read_text(errors="replace") for file in sorted(self.home.glob("*.log"))}

    # -- the processes of tasks ---------------------------------------------------------------------

    def kill_task(self, run: Run, *, supervisor: bool = False, try_number: int = 1) -> None:
        """
        Kill the process of a try that runs now.

        :param supervisor: kill its supervisor too, and first, as when a machine goes down: nobody is left to
            report the end of the task.
        """
        file = self.home / "processes" / f"{run.run_id}.{try_number}.json"
        until(f"the process of {run}", file.exists)
        pids = json.loads(file.read_text())
        for name in ("supervisor", "task") if supervisor else ("task",):
            kill_process(pids[name], self.home)
        if supervisor:
            self._let_silence_count(run, try_number)

    # -- what the API does not show -----------------------------------------------------------------

    def triggers(self) -> list[str]:
        """Return the arguments of all triggers, as JSON."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            rows = database.execute("select kwargs from trigger").fetchall()
        return [self._plain(arguments) for (arguments,) in rows]

    @contextmanager
    def triggers_elsewhere(self) -> Iterator[None]:
        """Give all triggers to another triggerer, which seems to be alive and does nothing."""
        columns = "job_type, state, hostname, start_date, unixname"
        begin = (
            f"insert into job ({columns}, latest_heartbeat) select {columns}, '2999-01-01 00:00:00.000000' "
            "from job where job_type = 'TriggererJob' and state = 'running' order by id desc limit 1"
        )
        with closing(sqlite3.connect(self.database, timeout=PATIENCE)) as database:
            with database:
                other = database.execute(begin).lastrowid
                database.execute("update trigger set triggerer_id = ?", (other,))
            try:
                yield
            finally:
                with database:
                    database.execute("delete from job where id = ?", (other,))

    @property
    def database(self) -> Path:
        """The database file; what was written last stands in a second one beside it."""
        return self.home / "airflow.db"

    def _let_silence_count(self, run: Run, try_number: int) -> None:
        """Move the last heartbeat of a try into the past, until the scheduler has taken note of it."""
        move = (
            "update task_instance set last_heartbeat_at = '2000-01-01 00:00:00.000000' "
            "where dag_id = ? and run_id = ? and try_number = ? and state = 'running'"
        )

        def noticed() -> bool:
            with closing(sqlite3.connect(self.database, timeout=PATIENCE)) as database, database:
                return database.execute(move, (run.dag_id, run.run_id, try_number)).rowcount == 0

        until(f"the scheduler to miss {run}", noticed)

    # -- steps --------------------------------------------------------------------------------------

    def _migrate(self) -> None:
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        with (self.home / "migrate.log").open("wb") as output:
            subprocess.run(
                command,
                cwd=self.home,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE,
                check=True,
            )

    def _plain(self, arguments: str) -> str:
        """Airflow encrypts what the scheduler writes, and leaves what a worker sends as it is."""
        if arguments.startswith("{"):
            return arguments
        return Fernet(self.environment["AIRFLOW__CORE__FERNET_KEY"]).decrypt(arguments).decode()

    def _healthy(self) -> bool:
        for name, part in self.parts.items():
            assert part.code is None, f"{name} ended with {part.code}"
        health = self.api.health() or {}
        names = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all(health.get(name, {}).get("status") == "healthy" for name in names)

    def _all_parsed(self) -> bool:
        errors = self.api.call("GET", "/importErrors")["import_errors"]
        assert not errors, errors
        text = "".join(file.read_text() for file in self.dags.glob("*.py"))
        return len(self.api.call("GET", "/dags")["dags"]) == text.lower().count("with dag(")


def _environment(home: Path, dags: Path, port: int) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    made = {
        "CORE__DAGS_FOLDER": str(dags),
        "CORE__FERNET_KEY": Fernet.generate_key().decode(),
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
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


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
