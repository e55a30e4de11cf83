"""
Runs DAGs, one after another, in a process that has loaded Airflow once.

Airflow takes longer to load than most DAGs take to run. So one process serves all tests: it makes the
database, and runs a DAG by ``dag.test()`` for each line of its input. What a run prints goes into a file of
its own.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import traceback
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 300.0
"""Only a run that hangs takes as long; it ends together with the process."""

_SHOWN = 4000


@dataclass(frozen=True)
class Run:
    """
    What is run.

    :param file: the file with the DAG.
    :param output: takes what the run prints.
    :param run_after: of a run without a logical date.
    :param mark_success: regular expression of the tasks that succeed without being run.
    :param by_assets: whether the scheduler makes the run, of the events of assets.
    """

    dag_id: str
    file: str
    output: str
    logical_date: str | None = None
    run_after: str | None = None
    conf: dict[str, Any] | None = None
    mark_success: str | None = None
    by_assets: bool = False


class Runner:
    """
    The process, as the tests see it.

    :param dags: the folder of the DAGs.
    :param output: an empty folder for what the runs print.
    """

    def __init__(self, dags: Path, output: Path, environment: Mapping[str, str]) -> None:
        self._dags = dags
        self._output = output
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._runs = 0

    def run(self, dag_id: str, *, file: str | None = None, **options: Any) -> None:
        """
        Run a DAG to its end; one that does not succeed fails the test, with the run's own output.

        :param file: without its ending; ``None``: the file has the name of the DAG.
        """
        self._runs += 1
        output = self._output / f"{self._runs}-{dag_id}.log"
        path = self._dags / f"{file or dag_id}.py"
        state = self._ask(Run(dag_id, str(path), str(output), **options))
        assert state == "success", f"{dag_id} ended as {state}:\n{self._shown(output)}"

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _ask(self, run: Run) -> str:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(asdict(run)).encode() + b"\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], LIMIT_SECONDS)
        answer = process.stdout.readline().decode().strip() if ready else ""
        if not answer:
            # Whatever it hangs in, the next test is not to meet it.
            self._end()
        return answer or (f"nothing, as the process {'died' if ready else 'hung'}")

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            with (self._output / "process.log").open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", __name__],
                    cwd=ROOT,
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _shown(self, output: Path) -> str:
        # A process that did not get as far as the run has its reasons elsewhere.
        found = output if output.exists() else self._output / "process.log"
        return found.read_text(errors="replace")[-_SHOWN:]


# --- in the process that runs them --------------------------------------------------------------------


def main() -> None:
    """Run a DAG for every line of the input, and answer with the state of its run."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _make_database()
    while line := sys.stdin.readline():
        run = Run(**json.loads(line))
        with Path(run.output).open("wb") as output:
            _print_into(output.fileno())
        print(_state_after(run), file=answers, flush=True)


def _make_database() -> None:
    from airflow.utils.db import initdb

    initdb()


def _print_into(descriptor: int) -> None:
    # Loggers hold the streams they found, so the files below them are exchanged.
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def _state_after(run: Run) -> str:
    try:
        return str(_run(run))
    except Exception:
        traceback.print_exc()
        return "an error"
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _run(run: Run) -> Any:
    from airflow.utils.state import DagRunState

    dag = _load(run)
    for task in dag.tasks:
        # A task that fails has failed the test; its retry might come half an hour later.
        task.retries = 0
    dates: dict[str, Any] = {}
    if run.logical_date is not None:
        dates = {"logical_date": datetime.fromisoformat(run.logical_date)}
    elif run.run_after is not None:
        dates = {"logical_date": None, "run_after": datetime.fromisoformat(run.run_after)}
    with patch("airflow.models.dagrun.get_or_create_dagrun", _by_assets) if run.by_assets else nullcontext():
        done = dag.test(run_conf=run.conf, mark_success_pattern=run.mark_success, **dates)
    return DagRunState(done.state).value


def _by_assets(*, dag: Any, session: Any, **_: Any) -> Any:
    """Return the run that the scheduler makes of events, in place of the one that a test would make."""
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import DagRunState
    from sqlalchemy import select

    models = [DagModel.get_current(dag.dag_id, session=session)]
    SchedulerJobRunner(Job())._create_dag_runs_asset_triggered(dag_models=models, session=session)
    made = session.scalars(
        select(DagRun).where(DagRun.dag_id == dag.dag_id).order_by(DagRun.id.desc())
    ).first()
    assert made is not None, "no event asks for a run"
    made.state = DagRunState.RUNNING
    session.commit()  # the events too: what is not written is forgotten by the loop that runs the tasks
    return made


def _load(run: Run) -> Any:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow before 3.2
        from airflow.models.dagbag import DagBag
    bag = DagBag(dag_folder=run.file)
    assert not bag.import_errors, bag.import_errors
    return bag.dags[run.dag_id]


if __name__ == "__main__":
    main()
