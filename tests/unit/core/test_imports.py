"""The core, the systems and the transports work without Airflow, and know nothing of what stands on them."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import stoq_provider

ROOT = Path(stoq_provider.__file__).parent
MAY_USE = {
    "core": {"core"},
    "systems": {"core", "systems"},
    "transport": {"core", "systems", "transport"},
}


def modules_of(part):
    package = import_module(f"stoq_provider.{part}")
    names = (m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}."))
    return [package.__name__, *names]


@pytest.mark.parametrize("part", MAY_USE)
def test_it_is_imported_without_airflow(part):
    code = "import sys; sys.modules['airflow'] = None; import importlib\n" + "\n".join(
        f"importlib.import_module({name!r})" for name in modules_of(part)
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT.parent
    )
    assert done.returncode == 0, done.stderr


def test_airflow_is_really_blocked():
    code = "import sys; sys.modules['airflow'] = None; import stoq_provider.exceptions"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT.parent
    )
    assert "airflow" in done.stderr


FILES = [path for part in MAY_USE for path in sorted((ROOT / part).glob("*.py"))]


def imported_by(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_imports_never_point_backwards(path):
    for name in imported_by(path):
        parts = name.split(".")
        assert parts[0] != "airflow"
        if parts[0] == "stoq_provider" and len(parts) > 1:
            assert parts[1] in MAY_USE[path.parent.name], f"{path.name} imports {name}"


NETWORK_AND_CLOCK = {"socket", "ssl", "requests", "httpx", "urllib3", "time", "asyncio", "threading"}


@pytest.mark.parametrize("path", sorted((ROOT / "core").glob("*.py")), ids=lambda p: p.name)
def test_the_core_has_neither_network_nor_clock(path):
    text = path.read_text()
    assert not NETWORK_AND_CLOCK & {name.partition(".")[0] for name in imported_by(path)}
    assert "datetime.now(" not in text
    assert "utcnow(" not in text
