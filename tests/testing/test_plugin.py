"""The pytest plugin, as users meet it: the project of docs/testing.md, and the scenarios of its sandbox."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
import requests

import stoq_provider.testing
from stoq_provider.testing import SANDBOX_KEY
from tests.documents import ROOT, blocks

PAGE = ROOT / "docs" / "testing.md"
BEFORE = """
import sys

def test_nothing_is_imported_for_a_test_that_uses_no_fixture():
    assert not {"airflow", "starlette", "stoq_provider.testing.server"} & set(sys.modules)
"""
AFTER = """
import os, threading

def test_nothing_is_left():
    assert not [name for name in os.environ if name.startswith(("AIRFLOW_CONN_", "AIRFLOW__"))]
    assert not [thread for thread in threading.enumerate() if thread.name == "stoq-sandbox"]
    from airflow import settings
    assert "run_dag" not in str(settings.engine and settings.engine.url)
"""
SYSTEMS = ("stoq", "medusa", "surecart", "printstudio")


def test_the_project_of_the_page(tmp_path):
    files = {"tests/test_a.py": BEFORE, "tests/test_z.py": AFTER}
    for source in blocks(PAGE, "python"):
        name = re.match(r"# ([\w/]+\.py)$", source.splitlines()[0])
        files[name[1] if name else "tests/test_other.py"] = source
    assert set(files) >= {"dags/nightly.py", "tests/test_nightly.py"}
    for name, source in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    home = tmp_path / "home"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment |= {"AIRFLOW_HOME": str(home), "PYTHONPATH": str(ROOT)}
    installed = any(point.name == "stoq" for point in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "stoq_provider.testing.plugin"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugin, "-p", "no:xdist", "--strict-markers", "-s", "-rP"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    expected = sum(source.count("\ndef test_") for source in files.values())
    assert f" {expected} passed" in done.stdout, (done.stdout.partition(" PASSES ")[0] + done.stderr)[-6000:]
    assert not (home / "airflow.db").exists()
    # What the tasks log; the server's own log has its links.
    output = [line for line in (done.stdout + done.stderr).splitlines() if "uvicorn" not in line]
    assert any("Stored file://" in line for line in output)
    assert any(
        re.match(r"revenue: failed, tries: 3, JobFailed\(.*The shop is frozen", line) for line in output
    )
    assert not [line for line in output if SANDBOX_KEY in line or "X-Amz-Signature" in line]


def test_importing_the_plugin_imports_nothing_else():
    script = (
        "import pytest, sys; before = set(sys.modules); import stoq_provider.testing.plugin;"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["stoq_provider"]


def test_a_missing_package_is_named(monkeypatch, request):
    monkeypatch.delitem(sys.modules, "stoq_provider.testing.scenarios", raising=False)
    monkeypatch.delattr(stoq_provider.testing, "scenarios", raising=False)
    monkeypatch.setattr(stoq_provider.testing, "_installed", lambda module: module != "uvicorn")
    with pytest.raises(ImportError, match=r"needs uvicorn.*airflow-provider-stoq\[sandbox\]"):
        request.getfixturevalue("stoq_sandbox")


@pytest.mark.stoq_sandbox(points_limit=50)
def test_the_marker_gives_options_of_the_server(stoq_sandbox):
    response = _call(stoq_sandbox, "stoq", "GET", "/api/v2/external/preorders/offers")
    assert response.headers["X-RateLimit-Limit"] == "50"


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_default_connection_leads_to_the_sandbox_whose_faults_are_of_one_system(stoq_sandbox, system):
    stoq_sandbox.rate_limit(1, retry_after=7, system=system)
    refused, again = (_call(stoq_sandbox, system, "GET", "/") for _ in range(2))
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "7")
    assert again.status_code != 429
    stoq_sandbox.lose_response("POST", "/there$", system=system)
    _call(stoq_sandbox, system, "POST", "/here")
    with pytest.raises(requests.ConnectionError):
        _call(stoq_sandbox, system, "POST", "/there")
    assert stoq_sandbox.submitted(system=system) == []


def test_submissions_by_kind(stoq_sandbox):
    for report in ("revenue", "customers"):
        path = f"/api/v2/external/preorders/reports/{report}/export"
        assert _call(stoq_sandbox, "stoq", "POST", path).status_code == 202
    body = {"order_ids": [1, 2]}
    _call(stoq_sandbox, "stoq", "POST", "/api/v2/external/preorders/orders/bulk_release", body)
    found = {
        kind: len(stoq_sandbox.submitted(kind))
        for kind in ("*", "export", "export:revenue", "export:*", "bulk_*", "bulk_orders_cancel")
    }
    assert found == {
        "*": 3,
        "export": 2,
        "export:revenue": 1,
        "export:*": 2,
        "bulk_*": 1,
        "bulk_orders_cancel": 0,
    }
    assert stoq_sandbox.submitted("bulk_*")[0]["ids"] == [1, 2]
    assert stoq_sandbox.submitted(system="medusa") == []


def _call(sandbox, system, method, path, body=None):
    connection = json.loads(os.environ[f"AIRFLOW_CONN_{system.upper()}_DEFAULT"])
    headers = {"X-Auth-Token": connection["password"]}
    return requests.request(method, connection["host"] + path, json=body or {}, headers=headers, timeout=60)
