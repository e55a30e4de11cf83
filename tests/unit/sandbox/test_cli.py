"""The console script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
import requests

from stoq_provider.sandbox import SANDBOX_KEY
from stoq_provider.sandbox.cli import is_loopback, main, parser

from .conftest import wait_until


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_script_serves_until_a_signal(tmp_path, number):
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "stoq_provider.sandbox.cli", "--port", "0", "--files-port", "0"]
    process = subprocess.Popen(
        [*command, "--points-limit", "50", "--ready-file", str(ready)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        wait_until(ready.exists, 15)
        facts = json.loads(ready.read_text())
        assert set(facts) == {"origin", "files_origin", "key"}
        answer = requests.get(
            facts["origin"] + "/api/v2/external/preorders/offers",
            headers={"X-Auth-Token": facts["key"]},
            timeout=5,
        )
        assert answer.status_code == 200
        assert answer.headers["X-RateLimit-Remaining"] == "49"
        assert requests.get(facts["files_origin"] + "/x", timeout=5).status_code == 403
        process.send_signal(number)
        output, errors = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == 0
    assert errors == ""
    line = next(line for line in output.splitlines() if "AIRFLOW_CONN_STOQ_DEFAULT" in line)
    connection = json.loads(line.partition("=")[2].strip("'"))
    assert connection == {"conn_type": "stoq", "host": facts["origin"], "password": SANDBOX_KEY}


def test_script_reports_a_taken_port(sandbox, capsys, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    port = sandbox.origin.rpartition(":")[2]
    assert main(["--port", port, "--files-port", "0"]) == 1
    assert "can't listen" in capsys.readouterr().err


def test_listens_on_loopback_unless_told():
    assert parser().parse_args([]).host == "127.0.0.1"
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost")] == [True] * 3
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("example.com")
