"""The console script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
import requests

from stoq_provider.testing import MEDUSA_EMAIL, SANDBOX_KEY
from stoq_provider.testing.cli import SITES, is_loopback, main, parser, site_port

from .conftest import PATIENCE, wait_until


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_script_serves_until_a_signal(tmp_path, number):
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "stoq_provider.testing.cli", "--port", "0", "--files-port", "0"]
    process = subprocess.Popen(
        [*command, "--points-limit", "50", "--ready-file", str(ready)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        wait_until(ready.exists)
        facts = json.loads(ready.read_text())
        assert {"origin", "files_origin", "key"} <= set(facts)
        assert facts["medusa_email"] == MEDUSA_EMAIL
        answer = requests.get(
            facts["origin"] + "/api/v2/external/preorders/offers",
            headers={"X-Auth-Token": facts["key"]},
            timeout=PATIENCE,
        )
        assert answer.status_code == 200
        assert answer.headers["X-RateLimit-Remaining"] == "49"
        assert requests.get(facts["files_origin"] + "/x", timeout=PATIENCE).status_code == 403
        for url, headers in (
            (facts["medusa_origin"] + "/admin/batch-jobs", {"x-medusa-access-token": facts["medusa_token"]}),
            (
                facts["surecart_origin"] + "/v1/customers",
                {"Authorization": f"Bearer {facts['surecart_key']}"},
            ),
            (facts["printstudio_origin"] + "/api/skus", {"X-API-Key": facts["printstudio_key"]}),
        ):
            assert requests.get(url, headers=headers, timeout=PATIENCE).status_code == 200
        process.send_signal(number)
        output, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0
    assert errors == ""
    printed = dict(
        line.removeprefix("export ").split("=", 1) for line in output.splitlines() if "AIRFLOW_CONN" in line
    )
    settings = {name: json.loads(value.strip("'")) for name, value in printed.items()}
    assert settings["AIRFLOW_CONN_STOQ_DEFAULT"] == {
        "conn_type": "stoq",
        "host": facts["origin"],
        "password": SANDBOX_KEY,
    }
    assert {name: (found["conn_type"], found["host"]) for name, found in settings.items()} == {
        "AIRFLOW_CONN_STOQ_DEFAULT": ("stoq", facts["origin"]),
        "AIRFLOW_CONN_MEDUSA_DEFAULT": ("medusa", facts["medusa_origin"]),
        "AIRFLOW_CONN_SURECART_DEFAULT": ("surecart", facts["surecart_origin"]),
        "AIRFLOW_CONN_PRINTSTUDIO_DEFAULT": ("printstudio", facts["printstudio_origin"]),
    }


def test_script_reports_a_taken_port(sandbox, capsys, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    port = sandbox.origin.rpartition(":")[2]
    free = [part for name in SITES for part in (f"--{name}-port", "0")]
    assert main(["--port", port, "--files-port", "0", *free]) == 1
    printed_errors = capsys.readouterr().err
    assert f"can't listen on 127.0.0.1 at port {port} (--port): [Errno" in printed_errors
    assert "0 takes a free port" in printed_errors


def test_script_names_every_taken_port_with_its_option(sandbox, capsys, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    port, files = (origin.rpartition(":")[2] for origin in (sandbox.surecart_origin, sandbox.files_origin))
    assert main(["--port", "0", "--files-port", files, "--surecart-port", port]) == 1
    assert f"at port {files} (--files-port), {port} (--surecart-port): " in capsys.readouterr().err


def test_script_does_not_blame_a_port_for_a_ready_file_that_can_not_be_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert main(["--port", "0", "--files-port", "0", "--ready-file", str(tmp_path / "no" / "ready")]) == 1
    printed_errors = capsys.readouterr().err
    assert "can't start: " in printed_errors
    assert "port" not in printed_errors


def test_listens_on_loopback_by_default():
    assert parser().parse_args([]).host == "127.0.0.1"
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost")] == [True] * 3
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("example.com")


@pytest.mark.parametrize(
    ("arguments", "ports"),
    [
        ([], [8642, 8643, 8644]),
        (["--port", "0"], [0, 0, 0]),
        (["--port", "9100", "--medusa-port", "9000"], [9000, 9103, 9104]),
    ],
)
def test_ports_of_other_systems_follow_the_first_by_default(arguments, ports):
    read = parser().parse_args(arguments)
    assert [site_port(read, name) for name in ("medusa", "surecart", "printstudio")] == ports
