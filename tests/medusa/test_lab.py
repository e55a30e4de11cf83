"""The lab itself: nothing outlives its tests, and every run starts from the same shop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.medusa import seed
from tests.medusa.client import Client
from tests.medusa.lab import SOURCES
from tests.medusa.servers import PATIENCE
from tests.services.processes import Guarded, ServiceError, free_port

STARTER = """
import signal, sys, time
from pathlib import Path
from tests.services.processes import Guarded

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
folder = Path(sys.argv[1])
sleeper = [sys.executable, "-c", "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"]
program = Guarded("sleeper", sleeper, folder.parent / "log", cwd=folder, folder=folder)
program.start(lambda: bool((folder / "pid").exists() and (folder / "pid").read_text()))
print((folder / "pid").read_text(), flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def soon(look: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not look() and time.monotonic() < deadline:
        time.sleep(0.05)
    return look()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_program_and_its_folder_end_with_the_process_that_started_it(
    tmp_path: Path, sign: signal.Signals
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder)],
        cwd=SOURCES.parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    assert alive(pid)
    starter.send_signal(sign)
    starter.communicate()
    assert soon(lambda: not alive(pid))
    assert soon(lambda: not folder.exists())


def test_a_program_that_does_not_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    program = Guarded(
        "crasher", [sys.executable, "-c", "raise OSError('no disk')"], tmp_path / "log", cwd=tmp_path
    )
    with pytest.raises(ServiceError, match=r"(?s)crasher ended while it started:.*no disk"):
        program.start(lambda: False)
    assert not program.running


def test_a_free_port_is_free() -> None:
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{free_port()}", timeout=5)


@pytest.mark.usefixtures("only_real")
@pytest.mark.parametrize(
    ("what", "number"), [("products", seed.PRODUCTS), ("variants", seed.VARIANTS), ("orders", seed.ORDERS)]
)
def test_the_real_shop_is_seeded(client: Client, what: str, number: int) -> None:
    listing = client.get(f"/admin/{what}", params={"limit": 1000}).json()
    seeded = [entry for entry in listing[what] if "lamp" in str(entry).lower() or what == "orders"]
    assert len([entry for entry in seeded if not is_imported(entry)]) == number


def is_imported(entry: dict[str, object]) -> bool:
    """Whether another test made it: those that do so add a mark to what they copy."""
    name = str(entry.get("handle") or entry.get("sku") or "")
    return len(name.rpartition("-")[2]) == 8
