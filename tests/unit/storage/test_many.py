"""Several downloads at a time."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from stoq_provider.core.jobs import JobHandle, JobState, JobStatus, Outcome
from stoq_provider.exceptions import DownloadError, ValidationRejected
from stoq_provider.hooks import storing
from stoq_provider.hooks.storing import FreshUrl, store_all, store_result
from stoq_provider.storage.download import EmptyResult
from stoq_provider.storage.many import DownloadPool, distinct_names

from .conftest import BODY, ROWS, answer, files, serve


def never():
    return False


# --- the pool -----------------------------------------------------------------------------------------


def test_results_are_in_the_order_of_the_downloads():
    def download(number):
        time.sleep(0.05 if number % 2 else 0)
        return number

    downloads = [lambda n=n: download(n) for n in range(20)]
    assert DownloadPool(never).run(downloads, 4) == list(range(20))


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_no_more_than_so_many_at_a_time(at_once):
    running, most, lock = 0, 0, threading.Lock()

    def download():
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    DownloadPool(never).run([download] * 12, at_once)
    assert most == at_once


def test_first_failure_stops_the_others_and_is_the_one_that_is_raised(caplog):
    begun = []
    pool = DownloadPool(never)

    def fails():
        time.sleep(0.05)
        raise DownloadError("the first to fail")

    def waits():
        begun.append(1)
        while not pool.stopped():
            time.sleep(0.005)
        raise DownloadError("told to stop")

    with pytest.raises(DownloadError, match="the first to fail"):
        pool.run([waits, fails, waits, waits, waits], 2)
    assert len(begun) == 1
    assert "told to stop" in caplog.text


def test_stop_ends_all():
    stop = threading.Event()
    pool = DownloadPool(stop.is_set)

    def waits():
        while not pool.stopped():
            time.sleep(0.005)
        raise DownloadError("told to stop")

    threading.Timer(0.1, stop.set).start()
    with pytest.raises(DownloadError, match="told to stop"):
        pool.run([waits] * 6, 3)


def test_stop_between_two_downloads_is_no_success():
    stop = threading.Event()
    with pytest.raises(DownloadError, match=r"told to stop before all files.*Nothing"):
        DownloadPool(stop.is_set).run([stop.set] * 6, 1)


def test_interruption_of_the_main_thread_ends_all_threads(monkeypatch):
    pool = DownloadPool(never)
    ended = []

    def waits():
        while not pool.stopped():
            time.sleep(0.005)
        ended.append(1)

    def interrupt(threads):
        time.sleep(0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr(pool, "_wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pool.run([waits] * 6, 3)
    assert len(ended) == 3
    assert not [t for t in threading.enumerate() if t.name.startswith("stoq-download")]


def test_single_download_stays_in_the_calling_thread():
    assert DownloadPool(never).run([threading.current_thread], 4) == [threading.current_thread()]
    assert DownloadPool(never).run([], 4) == []


# --- names --------------------------------------------------------------------------------------------


def test_files_of_one_name_get_their_job_ids():
    given = [("a.csv", "j1"), ("b.csv", "j2"), ("A.csv", "j3"), (None, "j4"), ("x/a.csv", "j5"), ("a", "j6")]
    assert distinct_names(given) == ["a-j1.csv", "b.csv", "A-j3.csv", "j4.csv", "a-j5.csv", "a"]


def test_long_names_of_one_name_stay_apart():
    names = distinct_names([("n" * 300 + ".csv", f"job-{n}") for n in range(3)])
    assert len(set(names)) == 3
    assert all(name.endswith(f"-job-{n}.csv") for n, name in enumerate(names))


# --- the files of jobs --------------------------------------------------------------------------------


class Hook:
    """A shop whose jobs are all done."""

    system = SimpleNamespace(name="stoq", label="STOQ")
    settings = SimpleNamespace(allow_http=False, on_loopback=True, verify=True, proxy=None)
    allows_private = False

    def __init__(self, server):
        self.server, self.stopped = server, False
        self.asked: list[str] = []
        self.names: dict[str, str | None] = {}
        self.rows = ROWS

    def get_job(self, handle):
        self.asked.append(handle.job_id)
        name = self.names.get(handle.job_id, f"{handle.job_id}.csv")
        return JobStatus(
            handle.job_id, "ready", JobState.SUCCEEDED, file_name=name, row_count=self.rows, download_url="x"
        )

    def file_url(self, status):
        return status.download_url and self.server.url(f"job={status.job_id}")


@pytest.fixture
def hook(server, monkeypatch):
    from airflow.providers.common.compat.lineage import hook as lineage

    hook = Hook(server)
    hook.assets = []
    collector = SimpleNamespace(add_output_asset=lambda context, uri: hook.assets.append(uri))
    monkeypatch.setattr(lineage, "get_hook_lineage_collector", lambda: collector)
    return hook


def ended(*job_ids, kind="export:revenue"):
    handles = [JobHandle("stoq", kind, job_id, f"https://x/exports/{job_id}") for job_id in job_ids]
    return SimpleNamespace(ends=[SimpleNamespace(handle=h, outcome=Outcome.SUCCEEDED) for h in handles])


JOBS = tuple(f"j{n}" for n in range(9))


def test_files_are_listed_in_the_order_of_the_jobs(hook, tmp_path):
    found = store_all(hook, ended(*JOBS), f"{tmp_path}/")
    assert [entry["file_name"] for entry in found] == [f"{job}.csv" for job in JOBS]
    assert {frozenset(entry) for entry in found} == {
        frozenset({"uri", "file_name", "bytes", "rows", "sha256"})
    }
    assert hook.assets == [entry["uri"] for entry in found]
    assert all((tmp_path / f"{job}.csv").read_bytes() == BODY for job in JOBS)
    assert hook.asked == list(JOBS)


def test_files_of_one_name_do_not_overwrite_each_other(hook, tmp_path):
    hook.names = {"j0": "same.csv", "j1": "same.csv", "j2": "other.csv"}
    store_all(hook, ended("j0", "j1", "j2"), f"{tmp_path}/")
    assert files(tmp_path) == ["other.csv", "same-j0.csv", "same-j1.csv"]


@pytest.mark.parametrize("key", ["{report}/{job_id}.csv", "x-{file_name}", "{job_id}/"])
def test_placeholders_can_tell_files_apart(hook, tmp_path, key):
    assert len(store_all(hook, ended("j0", "j1"), f"{tmp_path}/{key}")) == 2
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("key", ["one.csv", "{report}.csv", "{kind}-{system}"])
def test_several_files_of_one_place_are_refused(hook, tmp_path, key):
    with pytest.raises(ValidationRejected, match="can't all be stored"):
        store_all(hook, ended("j0", "j1"), f"{tmp_path}/{key}")
    assert hook.asked == []
    assert len(store_all(hook, ended("j0"), f"{tmp_path}/{key}")) == 1


def test_failure_of_one_leaves_nothing_half_done(hook, server, tmp_path):
    server.plan = [serve(), serve(), answer(404)]
    with pytest.raises(DownloadError, match="HTTP 404"):
        store_all(hook, ended(*JOBS), f"{tmp_path}/", at_once=2)
    assert len(server.requests) < len(JOBS)
    assert all((tmp_path / name).read_bytes() == BODY for name in files(tmp_path))


def test_stop_wakes_downloads_that_wait_for_bytes(hook, server, tmp_path):
    """A stalled connection would otherwise be waited for until ``stall_timeout``."""
    server.plan = [serve(stop_after=1000, how="stall")] * 9
    threading.Timer(0.4, setattr, (hook, "stopped", True)).start()
    began = time.monotonic()
    with pytest.raises(DownloadError, match="told to stop"):
        store_all(hook, ended("j0", "j1", "j2"), f"{tmp_path}/")
    assert time.monotonic() - began < 5
    assert files(tmp_path) == []


def test_refused_url_is_asked_for_again_for_that_job(hook, server, tmp_path):
    server.plan = [answer(403)]
    store_all(hook, ended("j0", "j1"), f"{tmp_path}/", at_once=1)
    assert hook.asked == ["j0", "j1", "j0"]


def test_files_without_rows_are_left_out(hook, server, tmp_path):
    def only_the_first(h):
        server.body = BODY if "job=j0" in h.path else b"id,note\n"
        serve()(h)

    hook.rows = None
    server.plan = [only_the_first] * 3
    found = store_all(hook, ended("j0", "j1", "j2"), f"{tmp_path}/", at_once=1, on_empty="skip")
    assert [entry["file_name"] for entry in found] == ["j0.csv"]
    with pytest.raises(EmptyResult):
        store_all(hook, ended("j1", "j2"), f"{tmp_path}/", on_empty="skip")
    assert files(tmp_path) == ["j0.csv"]


@pytest.mark.parametrize("at_once", [0, -1, 1.5, True, "4"])
def test_number_at_a_time_must_make_sense(hook, tmp_path, at_once):
    with pytest.raises(ValidationRejected, match="at least 1"):
        store_all(hook, ended("j0"), f"{tmp_path}/", at_once=at_once)


def test_job_without_a_file(hook, tmp_path):
    hook.file_url = lambda status: None
    with pytest.raises(DownloadError, match="has no file to download"):
        store_result(hook, ended("j0").ends[0].handle, f"{tmp_path}/")


def test_status_at_hand_gives_the_first_url_only(hook):
    fresh = FreshUrl(hook, ended("j0").ends[0].handle)
    fresh()
    assert hook.asked == ["j0"]
    fresh()
    assert hook.asked == ["j0", "j0"]


def test_policy_reaches_the_download(hook, tmp_path, monkeypatch):
    seen = []
    real = storing.store_files
    monkeypatch.setattr(storing, "store_files", lambda *a, **k: seen.append(k) or real(*a, **k))
    store_all(hook, ended("j0"), f"{tmp_path}/", overwrite="if_different", min_rows=3)
    assert (seen[0]["overwrite"], seen[0]["min_rows"]) == ("if_different", 3)
