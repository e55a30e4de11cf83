"""
An interpreter that has loaded Airflow, and forks a child for each program.

Loading Airflow takes seconds, which is nearly all that a program of a few lines would take. A child is run by
the main module itself, so it ends as any interpreter does. Of this package nothing is loaded before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.unit.transport.silence import PROCESS_SECONDS

ROOT = Path(__file__).parents[1]

# A program finds AIRFLOW_SECONDS, the processor time that Airflow took. Stream 1 of the parent is a pipe to
# the tests, which no child may hold.
PARENT = """
import gc, json, os, signal, sys, time
began = time.process_time()
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
AIRFLOW_SECONDS = time.process_time() - began
gc.freeze()  # else each child looks through all of it
for line in sys.stdin:
    job = json.loads(line)
    sys.stdout.flush()  # else a child prints that too
    child = os.fork()
    if child == 0:
        break
    print("CHILD", child, flush=True)
    print("ENDED", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
signal.alarm(job["seconds"])  # it may hang, or outlive the tests, but not for long
for stream, path in enumerate((os.devnull, job["stdout"], job["stderr"])):
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    os.dup2(file, stream)
    os.close(file)
exec(compile(job["program"], "program", "exec"))
"""


class Interpreter:
    """The process that forks, one child after the other."""

    def __init__(self) -> None:
        dropped = ("COVERAGE", "PYTHONDONTWRITEBYTECODE")
        self._process = subprocess.Popen(
            [sys.executable, "-c", PARENT],
            cwd=ROOT,
            # Bytecode is kept, as where a package is installed.
            env={name: value for name, value in os.environ.items() if not name.startswith(dropped)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, program: str, folder: Path) -> Child:
        """Run a program; what it prints goes into the folder, which exists."""
        printed = {name: str(folder / name) for name in ("stdout", "stderr")}
        assert self._process.stdin is not None
        self._process.stdin.write(
            json.dumps({"program": program, "seconds": int(PROCESS_SECONDS), **printed}) + "\n"
        )
        self._process.stdin.flush()
        return Child(self, folder)

    def told(self, what: str) -> int:
        """Return the number after a word that the process prints next; Airflow may print lines of its own."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, _, number = line.partition(" ")
            if word == what:
                return int(number)
        raise AssertionError("the interpreter is gone")

    def stop(self) -> None:
        self._process.communicate()


class Child:
    """A program under way, or ended."""

    def __init__(self, interpreter: Interpreter, folder: Path) -> None:
        self._interpreter = interpreter
        self._folder = folder
        self.pid = interpreter.told("CHILD")
        self.status: int | None = None

    def wait(self) -> int:
        """Return the exit status, negative where a signal ended it."""
        if self.status is None:
            self.status = self._interpreter.told("ENDED")
        return self.status

    @property
    def alive(self) -> bool:
        return self.send(0)

    def send(self, number: int) -> bool:
        """Send a signal; return whether there was a process to get it."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    @property
    def stdout(self) -> str:
        return (self._folder / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self._folder / "stderr").read_text()
