"""A process that is interrupted in the middle of a download to a local disk."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import time

import pytest

from .conftest import BODY, files

PROCESS = """
import faulthandler, signal, sys, threading, time
from stoq_provider.storage.download import DownloadPolicy, download

class Killed(Exception): pass

def killed(*args): raise Killed

faulthandler.dump_traceback_later(30)  # to see where, if it hangs
{setup}
def run():
    download(lambda: {url!r}, {folder!r}, file_name="x.csv",
             policy=DownloadPolicy(allow_loopback=True, stall_timeout=60))
{run}
"""

MAIN = "run()"
IN_A_THREAD = """
threading.Thread(target=run, daemon=True).start()
try:
    for _ in range(600):
        time.sleep(0.1)
except Killed:
    sys.exit(7)
"""
ENDS = {
    "SIGTERM that a handler turns into an exception": (
        "signal.signal(signal.SIGTERM, killed)",
        MAIN,
        signal.SIGTERM,
        1,
    ),
    "SIGTERM that a handler turns into an exit": (
        "signal.signal(signal.SIGTERM, lambda *a: sys.exit(7))",
        MAIN,
        signal.SIGTERM,
        7,
    ),
    "KeyboardInterrupt": (
        "signal.signal(signal.SIGINT, signal.default_int_handler)",
        MAIN,
        signal.SIGINT,
        -signal.SIGINT,
    ),
    "end of the interpreter while a thread downloads": (
        "signal.signal(signal.SIGTERM, killed)",
        IN_A_THREAD,
        signal.SIGTERM,
        7,
    ),
}


def drip(h):
    """Send a little at a time, and never come to the end."""
    h.start(200, {"Content-Length": 10**9, "ETag": '"v1"'})
    while not h.owner.released.wait(0.02):
        h.wfile.write(BODY[:10_000])


def wait_for(condition, seconds=20):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.mark.parametrize("end", ENDS)
def test_interrupted_process_leaves_nothing_and_does_not_hang(server, tmp_path, end):
    (tmp_path / "x.csv").write_bytes(b"yesterday")
    server.plan = [drip] * 9
    setup, run, number, code = ENDS[end]
    text = PROCESS.format(setup=setup, run=run, url=server.url(), folder=f"{tmp_path}/")
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_for(lambda: any(name.startswith(".stoq-") for name in files(tmp_path)))
        process.send_signal(number)
        began = time.monotonic()
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert time.monotonic() - began < 20, said.decode()
    assert process.returncode == code, said.decode()
    assert files(tmp_path) == ["x.csv"]
    assert (tmp_path / "x.csv").read_bytes() == b"yesterday"


@pytest.mark.parametrize("moment", range(12))
def test_exception_of_a_signal_at_any_moment(fetch, server, tmp_path, moment):
    """The timer strikes wherever the main thread happens to be: reading, handing over, or waiting."""

    class Struck(Exception):
        pass

    def strike(*args):
        raise Struck

    def slowly(h):
        h.start(200, {"Content-Length": len(BODY), "ETag": '"v1"'})
        for start in range(0, len(BODY), 50_000):
            h.wfile.write(BODY[start : start + 50_000])
            time.sleep(0.003)

    server.plan = [slowly]
    old = signal.signal(signal.SIGALRM, strike)
    # What is raised while garbage is collected, in a callback of hypothesis, goes nowhere.
    gc.disable()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.004 * (moment + 1))
        with pytest.raises(Struck):
            fetch()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        gc.enable()
    assert files(tmp_path) in ([], ["out/result.csv"])
    if files(tmp_path):
        assert (tmp_path / "out/result.csv").read_bytes() == BODY
