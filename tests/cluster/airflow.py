"""An Airflow cluster of real processes on loopback, with a sandbox shop as its only remote side."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stoq_provider.testing import Sandbox
from tests.cluster.database import Database
from tests.cluster.hostname import VARIABLE
from tests.cluster.processes import Component, kill_all, kill_process
from tests.cluster.rest import Api, Run
from tests.cluster.settings import environment
from tests.cluster.waiting import PATIENCE, until
from tests.services.postgres import Postgres
from tests.services.processes import children, free_port
from tests.services.redis import Redis

log = logging.getLogger(__name__)
DAGS = Path(__file__).parent / "dags"
# Log servers would listen on all addresses; here everybody reads the same disk.
TRIGGERER = ("triggerer", "--skip-serve-logs")
PARTS = {
    "api_server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag_processor": ("dag-processor",),
}


def _worker(name: str, home: Path) -> tuple[str, ...]:
    pid = home / f"{name}.pid"
    alone = ("--without-gossip", "--without-mingle")
    return ("celery", "worker", "--skip-serve-logs", "--celery-hostname", name, "--pid", str(pid), *alone)


class Cluster:
    """
    Api-server, scheduler, dag-processor, Celery workers and triggerers, with PostgreSQL and Redis.

    :param home: an empty folder; logs, files and process ids go there.
    :param sandbox: the shop, known as ``stoq_default``; ``connections`` adds others by key.
    :param dags: the folder of the DAGs.
    :param workers: how many; they are called ``worker_1`` and so on.
    :param triggerers: how many; they are called ``triggerer_1`` and so on.
    :param variables: of the environment of all components, beside those made here.
    """

    def __init__(
        self,
        home: Path,
        sandbox: Sandbox,
        *,
        dags: Path = DAGS,
        workers: int = 1,
        triggerers: int = 1,
        variables: Mapping[str, str] | None = None,
        **connections: str,
    ) -> None:
        self.home = home.resolve()
        self.sandbox = sandbox
        self.dags = dags
        # Not in the home: the user that runs PostgreSQL may not be allowed to enter it.
        self._folder = Path(tempfile.mkdtemp(prefix="cluster-"))
        self._folder.chmod(0o711)
        self.postgres = Postgres(self._folder, self.home, "airflow")
        self.redis = Redis(self.home, self.home)
        port = free_port()
        self.api = Api(f"http://127.0.0.1:{port}")
        self.environment = {
            **environment(self.home, dags, port, self.postgres.url, self.redis.url),
            **_connections(sandbox, connections),
            **(variables or {}),
        }
        self.database = Database(self.postgres.url, self.environment["AIRFLOW__CORE__FERNET_KEY"])
        self.workers = [f"worker_{number + 1}" for number in range(workers)]
        self.triggerers = [f"triggerer_{number + 1}" for number in range(triggerers)]
        commands = {
            **PARTS,
            **{name: _worker(name, self.home) for name in self.workers},
            **dict.fromkeys(self.triggerers, TRIGGERER),
        }
        self.parts = {
            name: Component(
                name, command, self.home, self.environment | {VARIABLE: name}, self.home / f"{name}.log"
            )
            for name, command in commands.items()
        }

    # -- life ---------------------------------------------------------------------------------------

    @contextmanager
    def running(self) -> Iterator[Cluster]:
        """Start everything, and stop it whatever happens."""
        try:
            self.postgres.start()
            self.redis.start()
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
        self.redis.stop()
        self.postgres.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def until_healthy(self) -> None:
        """Wait until each component has reported."""
        until("a healthy cluster", self._healthy, tell=self.api.health)

    def component_logs(self) -> dict[str, str]:
        """Return what each component wrote, by the name of its file."""
        return {file.name: file.read_text(errors="replace") for file in sorted(self.home.glob("*.log"))}

    # -- the processes of tasks ---------------------------------------------------------------------

    def kill_task(self, run: Run, try_number: int = 1) -> None:
        """Kill the process of a try that runs now; its supervisor reports that."""
        file = self.home / "processes" / f"{run.run_id}.{try_number}.json"
        until(f"the process of {run}", file.exists)
        kill_process(json.loads(file.read_text()), self.home)

    def kill_worker(self, run: Run, try_number: int = 1) -> None:
        """
        Kill the worker that runs a task, with all its processes, as when a machine goes down.

        Nobody is left to report the end of the task. Its silence counts at once, and another worker is there.
        """
        name = self.api.task(run)["hostname"]
        self.kill(name)
        until(f"the scheduler to miss {run}", lambda: not self.database.silence(run, try_number))
        self.start(name)

    def task_processes(self) -> tuple[list[int], list[int]]:
        """Return the supervisors of tasks on all workers, and the tasks' own processes."""
        parents = children()
        pools = [
            pid
            for name in self.workers
            if self.parts[name].runs
            for pid in parents.get(self.parts[name].pid, [])
        ]
        supervisors = [pid for pid in pools if parents.get(pid)]
        return supervisors, [pid for supervisor in supervisors for pid in parents[supervisor]]

    def triggerer(self, run: Run) -> str:
        """Return the name of the triggerer that waits for a deferred task."""
        name: str = until(
            f"a triggerer of {run}", lambda: (self.api.task(run)["triggerer_job"] or {}).get("hostname")
        )
        return name

    def move_triggers(self, run: Run) -> None:
        """Give the triggers to a triggerer that does not wait for a task yet."""
        others = {
            name: number
            for name, number in self.database.triggerers(PATIENCE).items()
            if name != self.triggerer(run)
        }
        self.database.move_triggers(next(iter(others.values())))

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

    def _healthy(self) -> bool:
        for name, part in self.parts.items():
            assert part.code is None, f"{name} ended with {part.code}"
        health = self.api.health() or {}
        names = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        seconds = float(self.environment["AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD"])
        return (
            all(health.get(name, {}).get("status") == "healthy" for name in names)
            and len(self.database.triggerers(seconds)) == len(self.triggerers)
            and all("ready." in self.parts[name].log.read_text() for name in self.workers)
        )

    def _all_parsed(self) -> bool:
        errors = self.api.call("GET", "/importErrors")["import_errors"]
        assert not errors, errors
        text = "".join(file.read_text() for file in self.dags.glob("*.py"))
        return len(self.api.call("GET", "/dags")["dags"]) == text.lower().count("with dag(")


def _connections(sandbox: Sandbox, keys: Mapping[str, str]) -> dict[str, str]:
    return {
        f"AIRFLOW_CONN_{name.upper()}": json.dumps(
            {"conn_type": system, "host": host, "password": key, "extra": {"timeout": PATIENCE}}
        )
        for name, system, host, key in (
            ("stoq_default", "stoq", sandbox.origin, sandbox.key),
            ("medusa_default", "medusa", sandbox.medusa_origin, sandbox.medusa_token),
            *((name, "stoq", sandbox.origin, key) for name, key in keys.items()),
        )
    }
