"""``make demo`` ends its children, also after Ctrl-C. That it works is seen in CI, which runs it whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def until(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for child processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_the_demo_takes_its_children_with_it(number: int, tmp_path: Path) -> None:
    (tmp_path / "example_dags").symlink_to(ROOT / "example_dags")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "stoq_provider.testing.demo"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as demo:
        try:
            assert until(lambda: children_of(demo.pid), 20), "the demo never started Airflow"
            airflow = children_of(demo.pid)
            demo.send_signal(number)
            assert demo.wait(15) != 0
            assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in airflow), 5)
        finally:
            demo.kill()
