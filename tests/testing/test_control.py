"""The control endpoint, and the Python methods beside it."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from stoq_provider.testing import Sandbox

from .conftest import PATIENCE, address, wait_until

EXPORT = "/preorders/reports/revenue/export"


def test_state_is_the_same_both_ways(client, sandbox):
    client.post(EXPORT, json={"from": "2026-01-01"})
    over_http = client.control("GET", "state").json()
    in_python = sandbox.state
    assert over_http.pop("now") <= in_python.pop("now")
    assert over_http == in_python
    assert over_http["requests"] == {"POST /preorders/reports/revenue/export": 1}
    assert over_http["points_spent"] == 2
    assert over_http["submissions"][0]["body"] == {"from": "2026-01-01"}


def test_control_needs_no_key_costs_no_points_and_meets_no_fault(client, sandbox):
    sandbox.arm("status", status=500, times=None)
    state = client.control("GET", "state")
    assert state.status_code == 200
    assert state.json()["points_spent"] == 0


def test_faults(client):
    armed = client.control(
        "POST",
        "faults",
        json={"match": {"method": "GET", "path": "offers$"}, "fault": "status", "status": 503},
    )
    assert armed.json()["times"] == 1
    assert client.get("/preorders/offers").status_code == 503
    client.control("POST", "faults", json={"fault": "status", "times": None})
    client.control("DELETE", "faults")
    assert client.get("/preorders/offers").status_code == 200


def test_clock(client):
    submitted = client.post(EXPORT)
    assert client.control("POST", "clock", json={"advance": 20}).status_code == 200
    assert client.poll(submitted).json()["status"] == "ready"


def test_settings_of_jobs(client):
    setting = {"kind": "export", "duration": 0, "outcome": "failed", "error": "no", "times": 1}
    assert client.control("POST", "jobs", json=setting).json() == {"ok": True}
    assert client.poll(client.post(EXPORT)).json()["error"] == "no"
    assert client.poll(client.post(EXPORT)).json()["status"] == "running"


def test_one_job(client):
    submitted = client.post(EXPORT)
    path = f"jobs/{submitted.json()['job_id']}"
    assert client.control("POST", path, json={"status_word": "paused"}).status_code == 200
    assert client.poll(submitted).json()["status"] == "paused"
    ended = client.control("POST", path, json={"end": "failed", "error": "stopped"})
    assert ended.json()["status"] == "failed"
    assert client.poll(submitted).json()["error"] == "stopped"
    assert client.control("POST", path, json={"end": "ready"}).status_code == 422
    client.control("POST", path, json={"forget": True})
    assert client.poll(submitted).status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("faults", {"fault": "nonsense"}, 422),
        ("faults", [], 422),
        ("clock", {"advance": "soon"}, 422),
        ("clock", {"advance": -1}, 422),
        ("jobs", {"outcome": "lost"}, 422),
        ("jobs/none", {"end": "ready"}, 404),
    ],
)
def test_what_nobody_knows_is_refused(client, path, body, status):
    answer = client.control("POST", path, json=body)
    assert answer.status_code == status
    assert answer.json()["errors"]


def test_reset_brings_back_the_seeded_state(client, sandbox):
    first = client.get("/preorders/orders?per_page=200").json()
    client.post(f"/preorders/orders/{first['orders'][0]['shopify_order_id']}/tags", json={"tags": ["x"]})
    client.post(EXPORT)
    sandbox.arm("status", times=None)
    assert client.control("POST", "reset").status_code == 200
    state = sandbox.state
    assert (state["jobs"], state["submissions"], state["faults"], state["points_spent"]) == ({}, [], [], 0)
    assert client.get("/preorders/orders?per_page=200").json() == first


def test_a_stopped_sandbox_says_so_and_can_start_again():
    sandbox = Sandbox()
    with pytest.raises(RuntimeError, match="not running"):
        _ = sandbox.origin
    for _ in range(2):
        with sandbox:
            assert sandbox.state["submissions"] == []
            with pytest.raises(RuntimeError, match="running already"):
                sandbox.start()
    sandbox.stop()
    with pytest.raises(RuntimeError, match="not running"):
        sandbox.advance(1)


def test_a_taken_port_is_an_error_and_leaves_nothing_behind(sandbox):
    taken = int(sandbox.origin.rpartition(":")[2])
    second = Sandbox(port=taken)
    with pytest.raises(OSError, match="use"):
        second.start()
    with pytest.raises(RuntimeError, match="not running"):
        _ = second.origin


@pytest.mark.parametrize("seconds", [10_000, None])
def test_stopping_ends_requests_that_hang(caplog, seconds):
    before = set(threading.enumerate())
    with Sandbox() as hanging, socket.create_connection(address(hanging.origin)) as connection:
        hanging.arm("delay", seconds=seconds)
        connection.sendall(b"GET /api/v2/external/help HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: hanging.state["faults"][0]["fired"] == 1)
        hanging.stop()
        assert ended(connection)
    assert set(threading.enumerate()) <= before
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def ended(connection):
    """Whether the peer has ended a connection, in whatever way."""
    connection.settimeout(PATIENCE)
    with suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import stoq_provider.testing", ("starlette", "uvicorn", "airflow", "jsonschema")),
        ("from stoq_provider.testing import Sandbox", ("airflow",)),
    ],
)
def test_imports_stay_light(statement, forbidden):
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert [name for name in forbidden if name in loaded] == []


def test_missing_extra_is_named():
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "try:\n from stoq_provider.testing import Sandbox\nexcept ImportError as error:\n print(error)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "airflow-provider-stoq[sandbox]" in printed
    assert "uvicorn" in printed
