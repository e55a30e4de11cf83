"""
``make demo``: a sandbox, an Airflow of its own, one day of reports, and a look at what came out.

Everything stays below the working directory: Airflow's database in ``.airflow-demo``, the files in
``demo-output``. The sandbox is started here, runs in this process, and ends with it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from stoq_provider.testing import Sandbox

DAY = "2026-05-28T00:00:00+02:00"
DAG_ID = "stoq_daily_reports"
TIME_SCALE = 30.0
"""Exports take half a minute at STOQ; here they take a second."""
ROWS_SHOWN = 5


def main() -> int:
    """Run the demo and return its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: _received.append(received))
    here = Path.cwd()
    output = here / "demo-output"
    shutil.rmtree(output, ignore_errors=True)
    with Sandbox(time_scale=TIME_SCALE) as sandbox:
        say(f"STOQ sandbox at {sandbox.origin}, its files at {sandbox.files_origin}")
        environment = airflow_environment(here, output, sandbox.origin, sandbox.key)
        home = Path(environment["AIRFLOW_HOME"])
        if not (home / "airflow.db").exists():
            say("Airflow's database, once (about 20 s)")
            run(["db", "migrate"], environment, quiet=True)
        say(f"airflow dags test {DAG_ID} {DAY}")
        run(["dags", "test", DAG_ID, DAY], environment)
        spent = sandbox.state["points_spent"]
    show(output, spent)
    return 0


def airflow_environment(here: Path, output: Path, origin: str, key: str) -> dict[str, str]:
    """Return the environment of an Airflow that knows the sandbox as ``stoq_default``."""
    ours = {
        "AIRFLOW_HOME": str(here / ".airflow-demo"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(here / "example_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "stoq_provider=INFO airflow.task.operators=INFO",
        "AIRFLOW__STOQ__POLL_INTERVAL": "0.3",
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
        "PYTHONWARNINGS": "ignore",
        "AIRFLOW_VAR_STOQ_REPORTS": output.as_uri(),
        "AIRFLOW_CONN_STOQ_DEFAULT": json.dumps({"conn_type": "stoq", "host": origin, "password": key}),
    }
    return {**os.environ, **ours}


def run(arguments: list[str], environment: Mapping[str, str], *, quiet: bool = False) -> None:
    """Run an Airflow command; its process ends with this one, also after Ctrl-C."""
    command = [sys.executable, "-m", "airflow", *arguments]
    target = subprocess.DEVNULL if quiet else None
    # Signals are looked for between two waits and raise nothing: one that came while the child was being
    # started would otherwise leave it without anybody who knows of it.
    process = subprocess.Popen(command, env=dict(environment), stdout=target, stderr=target)  # noqa: S603
    while (code := wait(process, 0.1)) is None:
        if _received:
            end(process)
            sys.exit(128 + _received[0])
    if code:
        say(f"'airflow {' '.join(arguments)}' ended with {code}")
        sys.exit(code)


def wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Return the exit code of a child, or ``None`` if it still runs after so many seconds."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def end(process: subprocess.Popen[bytes]) -> None:
    """End a child, by force where asking does not help."""
    process.terminate()
    if wait(process, 5.0) is None:
        process.kill()
        process.wait()


def show(output: Path, points: int) -> None:
    """Print the manifests and the first rows of one file."""
    found = sorted(output.glob("*/manifest.json"))
    if not found:
        say(f"no manifest below {output}: the run failed, see above")
        sys.exit(1)
    manifests = json.loads(found[0].read_text())
    files = [file for manifest in manifests for file in manifest["files"]]
    say(f"Manifest, {found[0].relative_to(output.parent)}")
    print(f"{'file':44} {'rows':>6} {'bytes':>8}  sha256")
    for file in files:
        print(f"{file['file_name']:44} {file['rows']:>6} {file['bytes']:>8}  {file['sha256'][:16]}...")
    spent = sum(manifest["points_spent"] for manifest in manifests)
    print(f"points spent by the exports: {spent}; by the whole run: {points}, of 360 a minute")
    first = _largest(files)
    say(f"First rows of {first.name}")
    with first.open(encoding="utf-8") as lines:
        for line in islice(lines, ROWS_SHOWN + 1):
            print(line.rstrip()[:110])


def _largest(files: list[dict[str, Any]]) -> Path:
    uri = max(files, key=lambda file: file["bytes"])["uri"]
    return Path(str(uri).removeprefix("file://"))


def say(text: str) -> None:
    """Print a line with the time since the start."""
    print(f"\n[demo {time.monotonic() - _STARTED:4.0f} s] {text}", flush=True)


_STARTED = time.monotonic()
_received: list[int] = []
"""Signals that end the demo."""

if __name__ == "__main__":
    sys.exit(main())
