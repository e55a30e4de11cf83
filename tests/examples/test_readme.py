"""The first export of README.md, from its first line to the file; only the installation was made before."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.documents import README, ROOT, blocks
from tests.services.processes import free_port

INSTALLED = f"""
PATH={Path(sys.executable).parent}:$PATH
pip() {{ :; }}
trap 'kill $(jobs -p)' EXIT
"""
"""Stands where a reader has the environment that the first lines make."""


def test_first_export(tmp_path: Path) -> None:
    install, start = (
        script for script in blocks(README, "sh") if re.search("first-export|stoq-sandbox", script)
    )
    (program,) = [block for block in blocks(README, "python") if 'DAG("revenue"' in block]
    activate = tmp_path / "first-export" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text(INSTALLED)
    port, lake = free_port(), tmp_path / "lake"
    start = start.replace("8640", str(port))
    start = start.replace("stoq-sandbox", f"stoq-sandbox --port {port} --files-port 0")
    save = f"cat >~/first-export/airflow/dags/revenue.py <<'END'\n{program}END\n"
    script = "\n".join(["python3() { :; }", install, save, start]).replace("/tmp/lake", str(lake))
    # None of this run's own settings.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=ROOT,
        env={**inherited, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = lake.rglob("*.csv")
    assert file.parent.name == "2026-05-27"
    assert file.name in done.stdout.splitlines()
