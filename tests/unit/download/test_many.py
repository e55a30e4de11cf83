"""Several downloads at a time."""

from __future__ import annotations

import threading

import pytest

from stoq_provider.download import many
from stoq_provider.download.many import DownloadPool
from stoq_provider.exceptions import DownloadError
from tests.harness import wait_until
from tests.unit.transport.silence import HANG_SECONDS

from .conftest import Clock


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(many, "_TICK_SECONDS", 0.05)


def never():
    return False


# --- the pool -----------------------------------------------------------------------------------------


def waits_for_stop(pool):
    wait_until(pool.stopped, HANG_SECONDS)
    raise DownloadError("was stopped")


def test_results_are_in_the_order_of_the_downloads():
    later_is_done = threading.Event()

    def first():
        assert later_is_done.wait(HANG_SECONDS)
        return "first"

    def later():
        later_is_done.set()
        return "later"

    assert DownloadPool(never).run([first, later, later], 2) == ["first", "later", "later"]


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_so_many_at_a_time_and_no_more(at_once):
    running, most, lock = 0, 0, threading.Lock()
    all_have_come = threading.Barrier(at_once)

    def download():
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        all_have_come.wait(HANG_SECONDS)
        with lock:
            running -= 1

    DownloadPool(never).run([download] * 12, at_once)
    assert most == at_once


def test_first_failure_stops_the_others_and_is_the_one_that_is_raised(caplog):
    begun = []
    one_waits = threading.Event()
    pool = DownloadPool(never)

    def fails():
        assert one_waits.wait(HANG_SECONDS)
        raise DownloadError("the first to fail")

    def waits():
        begun.append(1)
        one_waits.set()
        waits_for_stop(pool)

    with pytest.raises(DownloadError, match="the first to fail"):
        pool.run([waits, fails, waits, waits, waits], 2)
    assert len(begun) == 1
    assert "was stopped" in caplog.text


def test_stop_ends_all():
    all_wait = threading.Barrier(3)
    stop = threading.Event()
    pool = DownloadPool(stop.is_set)

    def waits():
        all_wait.wait(HANG_SECONDS)
        stop.set()
        waits_for_stop(pool)

    with pytest.raises(DownloadError, match="was stopped"):
        pool.run([waits] * 6, 3)


def test_stop_between_two_downloads_is_no_success():
    stop = threading.Event()
    with pytest.raises(DownloadError, match=r"was stopped before all files.*published before stay"):
        DownloadPool(stop.is_set).run([stop.set] * 6, 1)


def test_download_that_ends_well_after_a_stop_is_good():
    stop = threading.Event()
    pool = DownloadPool(stop.is_set)

    def published():
        stop.set()
        wait_until(pool.stopped, HANG_SECONDS)
        return "published"

    assert pool.run([published], 1) == ["published"]


def test_download_that_hears_no_stop_is_left_behind(monkeypatch, caplog):
    monkeypatch.setattr(many, "_TICK_SECONDS", 0.01)
    monkeypatch.setattr(
        many, "_PATIENCE_SECONDS", 0.001
    )  # not 0: it counts from the first look, not the last
    begun, returns = threading.Event(), threading.Event()
    pool = DownloadPool(begun.is_set)

    def stuck():
        begun.set()
        assert returns.wait(HANG_SECONDS)

    try:
        with pytest.raises(DownloadError, match="not published or there as a whole"):
            pool.run([stuck] * 2, 1)
        assert "stuck in a call" in caplog.text
    finally:
        returns.set()


def test_download_that_is_stuck_does_not_outlive_its_deadline(monkeypatch):
    monkeypatch.setattr(many, "_PATIENCE_SECONDS", 0.0)
    returns = threading.Event()
    pool = DownloadPool(never, deadline=0.1)
    try:
        with pytest.raises(DownloadError, match="not published or there as a whole"):
            pool.run([lambda: returns.wait(HANG_SECONDS)], 1)
        assert pool.stopped()
    finally:
        returns.set()


def test_deadline_is_that_of_each_download(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(many, "time", clock)
    monkeypatch.setattr(many, "_PATIENCE_SECONDS", 0.0)
    assert DownloadPool(never, deadline=5).run([lambda: clock.sleep(4)] * 5, 1) == [None] * 5


class Interruption:
    """As Airflow's task timeout: the thread that runs the task gets an exception, here where it is asked."""

    def __init__(self, when):
        self.when, self.thread = when, threading.current_thread()

    def __call__(self):
        if threading.current_thread() is self.thread and self.when():
            raise KeyboardInterrupt
        return False


def test_interruption_of_the_thread_that_waits_ends_all_downloads():
    threads = []
    pool = DownloadPool(Interruption(lambda: len(threads) == 3))

    def waits():
        threads.append(threading.current_thread())
        waits_for_stop(pool)

    with pytest.raises(KeyboardInterrupt):
        pool.run([waits] * 6, 3)
    assert not pool._begun
    wait_until(lambda: not any(thread.is_alive() for thread in threads))


# --- the end of the interpreter -----------------------------------------------------------------------

EXIT = """
import concurrent.futures.thread, sys, threading
from concurrent.futures import ThreadPoolExecutor
from stoq_provider.download import many
exiting = threading.Event()
threading._register_atexit(exiting.set)  # the last one in is the first one out: as the exit begins
many._EXIT_PATIENCE_SECONDS = {patience}
begun = threading.Event()
pool = many.DownloadPool(lambda: False)
def download():
    print("begun", flush=True)
    begun.set()
    {download}
    print({result}, flush=True)
def run():
    pool.run([download], 1)
{start}
begun.wait()
sys.exit(3)
"""
DAEMON = "threading.Thread(target=run, daemon=True).start()"
GIVES_UP = """
many._PATIENCE_SECONDS = 0.0
threading.Thread(target=lambda: begun.wait() and pool.stop()).start()
try:
    run()
except Exception as error:
    assert "has not returned" in str(error)
"""
STOPPED = "while not pool.stopped(): exiting.wait(0.01)"


@pytest.fixture
def at_exit(start_program):
    def run(start, download, result="'ended'", *, patience=HANG_SECONDS):
        code = EXIT.format(start=start, download=download, result=result, patience=patience)
        child = start_program(code)
        assert child.wait() == 3, child.stderr
        return child.stdout.split()

    return run


def test_interpreter_that_exits_ends_what_it_does_not_wait_for(at_exit):
    assert at_exit(DAEMON, STOPPED) == ["begun", "ended"]


def test_at_the_exit_stores_can_still_look_up_names(at_exit):
    """Their event loops use threads of a pool for that; pools are shut before exit handlers run."""
    lookup = "ThreadPoolExecutor(1).submit(lambda: 'looked-up').result()"
    assert at_exit(DAEMON, STOPPED, lookup) == ["begun", "looked-up"]


def test_download_that_was_given_up_may_still_end_at_the_exit(at_exit):
    printed = at_exit(GIVES_UP, "exiting.wait()")  # with a warning in between
    assert (printed[0], printed[-1]) == ("begun", "ended")


def test_exit_does_not_hang_where_a_call_never_returns(at_exit):
    assert at_exit(DAEMON, "threading.Event().wait()", patience=0.1) == ["begun"]


@pytest.mark.parametrize(
    "start", ["threading.Thread(target=run).start()", "ThreadPoolExecutor(1).submit(run)"]
)
@pytest.mark.parametrize("result", ["pool.stopped()", "ThreadPoolExecutor(1).submit(pool.stopped).result()"])
def test_download_that_the_interpreter_waits_for_is_done_to_its_end(at_exit, start, result):
    assert at_exit(start, "exiting.wait()", result) == ["begun", "False"]
