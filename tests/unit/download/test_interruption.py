"""A download to a local disk that is interrupted: at one point after the other, and with its process."""

from __future__ import annotations

import http.client
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3.util.connection

from stoq_provider.download import many, resume
from stoq_provider.download.many import DownloadPool
from stoq_provider.download.resume import CHUNK_BYTES
from stoq_provider.download.verification import CsvRecordCounter
from stoq_provider.download.writers import LocalWriter
from tests.harness import wait_until
from tests.unit.transport.silence import PROCESS_SECONDS

from .conftest import BODY, files, serve

# --- a signal whose handler raises -------------------------------------------------------------------


class Struck(BaseException):
    """What the handler of a signal raises, as that of Airflow's task timeout does."""


@pytest.fixture
def strikes() -> Iterator[None]:
    """Let SIGALRM raise, during one test."""

    def strike(*_: Any) -> None:
        raise Struck

    before = signal.signal(signal.SIGALRM, strike)
    yield
    signal.signal(signal.SIGALRM, before)


# What starts a thread within threading.Thread.start, from Python 3.13 on and before.
START = next(name for name in ("_start_joinable_thread", "_start_new_thread") if hasattr(threading, name))
POINTS: list[tuple[str, Any, str, int, str, bool]] = [
    # what the download is about, a function that it calls then, at which of its calls, when, is it published
    ("starting", threading.Thread, "start", 1, "before", False),
    ("in the midst of starting", threading, START, 1, "after", False),
    ("having started", threading.Thread, "start", 1, "after", False),
    ("connecting", urllib3.util.connection, "create_connection", 1, "before", False),
    ("connected", urllib3.util.connection, "create_connection", 1, "after", False),
    ("asking", http.client.HTTPConnection, "endheaders", 1, "before", False),
    ("waiting for the answer", http.client.HTTPConnection, "getresponse", 1, "before", False),
    ("having the answer", http.client.HTTPConnection, "getresponse", 1, "after", False),
    ("starting the reader", threading.Thread, "start", 2, "before", False),
    ("having started the reader", threading.Thread, "start", 2, "after", False),
    ("reading the first bytes", resume, "_next_chunk", 1, "before", False),
    ("reading on", resume, "_next_chunk", 2, "after", False),
    ("making the file", LocalWriter, "__init__", 1, "after", False),
    ("writing", LocalWriter, "write", 2, "before", False),
    ("having written", LocalWriter, "write", 3, "after", False),
    ("all is verified", CsvRecordCounter, "rows", 1, "before", False),
    ("publishing", LocalWriter, "commit", 1, "before", True),
    ("published", LocalWriter, "commit", 1, "after", True),
]


@pytest.mark.usefixtures("strikes")
@pytest.mark.parametrize(
    ("owner", "name", "number", "when", "published"),
    [pytest.param(*point, id=about) for about, *point in POINTS],
)
def test_exception_of_a_signal(fetch, tmp_path, monkeypatch, owner, name, number, when, published):
    """It is raised in the thread that waits; the download ends by itself, and no call of it is cut in two."""
    monkeypatch.setattr(resume, "CHUNK_BYTES", 100_000)
    monkeypatch.setattr(many, "_TICK_SECONDS", 0.05)
    pool: DownloadPool[Any] = DownloadPool(lambda: False)
    real = getattr(owner, name)
    main = threading.current_thread()
    calls = 0

    def strike() -> None:
        signal.raise_signal(signal.SIGALRM)
        if threading.current_thread() is not main:
            wait_until(pool.stopped)  # the main thread has heard it

    def struck(*args: Any, **given: Any) -> Any:
        nonlocal calls
        calls += 1
        now = calls == number
        if now and when == "before":
            strike()
        result = real.fget(*args) if isinstance(real, property) else real(*args, **given)
        if now and when == "after":
            strike()
        return result

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, property(struck) if isinstance(real, property) else struck)
        with pytest.raises(Struck):
            pool.run([lambda: fetch(should_stop=pool.stopped)], 1)
    wait_until(lambda: not any(thread.is_alive() for thread in pool.threads))
    assert files(tmp_path) == (["out/result.csv"] if published else [])
    assert not published or (tmp_path / "out/result.csv").read_bytes() == BODY


# --- a process that has to end  -------------------------------------------------------------------

PROCESS = """
import faulthandler, signal, sys, threading, time
from stoq_provider.download import many
from stoq_provider.download.download import DownloadOptions, download_files

faulthandler.dump_traceback_later({seconds} / 2)  # to see where, if it hangs
many._EXIT_PATIENCE_SECONDS = {seconds}
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
pool = many.DownloadPool(lambda: False)

def download():
    download_files(lambda: {url!r}, {folder!r}, file_name="x.csv", should_stop=pool.stopped,
             options=DownloadOptions(allow_loopback=True, stall_timeout=2 * {seconds}))

def run():
    pool.run([download], 1)
{run}
"""

# A thread that is just starting may take the signal in the main thread's stead; Python runs the handler once
# the main thread runs again, so it may not wait without an end.
ENDS = {
    "while it downloads": "run()",
    "while a thread downloads": """
threading.Thread(target=run, daemon=True).start()
while True:
    time.sleep(0.1)
""",
}


@pytest.mark.parametrize("end", ENDS)
def test_process_that_ends_leaves_nothing_and_does_not_hang(server, tmp_path, start_program, end):
    (tmp_path / "x.csv").write_bytes(b"yesterday")
    server.body = bytes(3 * CHUNK_BYTES)
    server.plan = [serve(stop_after=2 * CHUNK_BYTES, how="hold")]
    server.patience = 3 * PROCESS_SECONDS
    text = PROCESS.format(run=ENDS[end], url=server.url(), folder=f"{tmp_path}/", seconds=PROCESS_SECONDS)
    process = start_program(text)

    def it_writes_or_is_dead():
        return not process.alive or any(name.startswith(".stoq-") for name in files(tmp_path))

    wait_until(it_writes_or_is_dead, PROCESS_SECONDS)
    process.send(signal.SIGTERM)  # nothing happens where it is dead
    assert process.wait() == 7, process.stderr
    assert files(tmp_path) == ["x.csv"]
    assert (tmp_path / "x.csv").read_bytes() == b"yesterday"
