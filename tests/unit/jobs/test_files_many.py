"""The files of several jobs: stored at a time, named apart, noted for lineage."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from stoq_provider.core.models import JobHandle, JobState, JobStatus
from stoq_provider.download.options import DownloadOptions
from stoq_provider.download.verification import EmptyResult
from stoq_provider.exceptions import DownloadError, ValidationRejected
from stoq_provider.jobs import assets
from stoq_provider.jobs import files as module
from stoq_provider.jobs.files import FreshUrl, store_result
from tests.unit.download.conftest import BODY, PATIENCE, ROWS, Clock, answer, break_off, serve, server
from tests.unit.download.conftest import files as stored
from tests.unit.download.test_many import Interruption, never
from tests.unit.transport.silence import silence

__all__ = ["server", "silence"]


class Hook:
    """A shop whose jobs are all done."""

    system = SimpleNamespace(name="stoq", label="STOQ")
    settings = SimpleNamespace(
        origin="https://shop.test:8443",
        allow_http=False,
        on_loopback=True,
        verify=True,
        proxy=None,
        user_agent="tests/1",
    )
    allows_private = False

    def __init__(self, server):
        self.server, self.should_stop = server, never
        self.asked: list[str] = []
        self.names: dict[str, str | None] = {}
        self.rows = ROWS

    @property
    def stopped(self):
        return self.should_stop()

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
    hook = Hook(server)
    hook.read, hook.stored = [], []
    collector = SimpleNamespace(
        add_input_asset=lambda context, uri: hook.read.append(uri),
        add_output_asset=lambda context, uri: hook.stored.append(uri),
    )
    monkeypatch.setattr(assets, "get_hook_lineage_collector", lambda: collector)
    return hook


def handles(*job_ids, kind="export:revenue"):
    return [JobHandle("stoq", kind, job_id, f"https://x/exports/{job_id}") for job_id in job_ids]


def store_all(hook, jobs, destination, **options):
    return module.store_all(hook, jobs, destination, DownloadOptions(**options))


JOBS = tuple(f"j{n}" for n in range(9))


def test_files_are_listed_in_the_order_of_the_jobs(hook, tmp_path):
    found = store_all(hook, handles(*JOBS), f"{tmp_path}/")
    assert [file.file_name for file in found] == [f"{job}.csv" for job in JOBS]
    assert {frozenset(file.to_dict()) for file in found} == {
        frozenset({"uri", "file_name", "bytes", "rows", "sha256"})
    }
    assert hook.read == ["stoq://shop.test:8443/reports/revenue"]
    assert hook.stored == [file.uri for file in found]
    assert all((tmp_path / f"{job}.csv").read_bytes() == BODY for job in JOBS)
    assert hook.asked == list(JOBS)


def test_files_of_one_name_do_not_overwrite_each_other(hook, tmp_path):
    hook.names = {"j0": "same.csv", "j1": "same.csv", "j2": "same-j0.csv", "j3": "other.csv"}
    store_all(hook, handles("j0", "j1", "j2", "j3"), f"{tmp_path}/")
    assert stored(tmp_path) == ["other.csv", "same-j0-1.csv", "same-j0.csv", "same-j1.csv"]


def test_parquet_files_do_not_overwrite_each_other(hook, tmp_path):
    pytest.importorskip("pyarrow")
    hook.names = {"j0": "a.csv", "j1": "a", "j2": "b.csv"}
    store_all(hook, handles("j0", "j1", "j2"), f"{tmp_path}/", format="parquet")
    assert stored(tmp_path) == ["a-j0.parquet", "a-j1.parquet", "b.parquet"]


@pytest.mark.parametrize("key", ["{report}/{job_id}.csv", "x-{file_name}", "{job_id}/"])
def test_placeholders_can_tell_files_apart(hook, tmp_path, key):
    assert len(store_all(hook, handles("j0", "j1"), f"{tmp_path}/{key}")) == 2
    assert len(stored(tmp_path)) == 2


@pytest.mark.parametrize("key", ["one.csv", "{report}.csv", "{kind}-{system}"])
def test_several_files_of_one_place_are_refused(hook, tmp_path, key):
    with pytest.raises(ValidationRejected, match="can't all be stored"):
        store_all(hook, handles("j0", "j1"), f"{tmp_path}/{key}")
    assert stored(tmp_path) == []
    assert len(store_all(hook, handles("j0"), f"{tmp_path}/{key}")) == 1


@pytest.mark.parametrize(
    ("ids", "names", "key"),
    [
        (("x/1", "y/1"), ("a.csv", "b.csv"), "{job_id}.csv"),
        (("j" * 250, "j" * 251), ("a.csv", "b.csv"), "{job_id}.csv"),
        (("J", "j"), ("a.csv", "b.csv"), "{job_id}.csv"),
        (("u\u0308", "\u00fc"), ("a.csv", "b.csv"), "{job_id}.csv"),
        # A Parquet takes the place of .csv, and gzip that is kept gets .gz.
        (("j", "j.csv"), ("a.csv", "b.csv"), "{job_id}"),
        (("j", "j.gz"), ("a.csv", "b.csv"), "{job_id}"),
        (("j", "j.parquet"), ("a.csv", "b.csv"), "{job_id}"),
        (("a", "ab"), ("bc.csv", "c.csv"), "{job_id}{file_name}"),
    ],
)
def test_files_that_would_take_one_place_are_refused_before_any_is_downloaded(
    hook, tmp_path, ids, names, key
):
    hook.names = dict(zip(ids, names, strict=True))
    with pytest.raises(ValidationRejected, match="2 files can't all be stored"):
        store_all(hook, handles(*ids), f"{tmp_path}/{key}", format="parquet")
    assert stored(tmp_path) == []
    assert len(store_all(hook, handles(*ids), f"{tmp_path}/")) == len(stored(tmp_path)) == 2


@pytest.mark.parametrize("overwrite", [True, False, "if_different"])
def test_failure_of_one_leaves_the_others_for_a_retry(hook, server, tmp_path, overwrite):
    server.plan = [serve(), answer(404)]
    with pytest.raises(DownloadError, match=r"HTTP 404.*submits nothing\.$"):
        store_all(hook, handles("j0", "j1"), f"{tmp_path}/", at_once=1, overwrite=overwrite)
    assert stored(tmp_path) == ["j0.csv"]
    inode = (tmp_path / "j0.csv").stat().st_ino
    store_all(hook, handles("j0", "j1"), f"{tmp_path}/", at_once=1, overwrite=overwrite, retry=True)
    assert stored(tmp_path) == ["j0.csv", "j1.csv"]
    assert ((tmp_path / "j0.csv").stat().st_ino == inode) is (overwrite is not True)


def test_failure_of_one_leaves_nothing_half_done(hook, server, tmp_path):
    # The other of the two is kept busy: how far it would come otherwise is a matter of chance.
    server.plan = [serve(), serve(), answer(404), *[serve(stop_after=1000, how="hold")] * 9]
    with pytest.raises(DownloadError, match="HTTP 404"):
        store_all(hook, handles(*JOBS), f"{tmp_path}/", at_once=2)
    assert len(server.requests) <= 4
    assert all((tmp_path / name).read_bytes() == BODY for name in stored(tmp_path))


def silent(h):
    break_off(h, "hold")


@pytest.mark.parametrize(
    "behaviour", [serve(stop_after=1000, how="hold"), silent], ids=["in the body", "no answer"]
)
@pytest.mark.parametrize("jobs", [("j0",), ("j0", "j1", "j2")], ids=len)
def test_stop_wakes_downloads_that_wait_for_bytes(hook, server, tmp_path, behaviour, jobs):
    """
    A stalled connection would otherwise be waited for until ``stall_timeout``.

    Airflow kills a task five seconds after it was stopped.
    """
    server.plan = [behaviour] * 9
    hook.should_stop = lambda: server.holding == len(jobs)
    with pytest.raises(DownloadError, match="was stopped"):
        store_all(hook, handles(*jobs), f"{tmp_path}/", stall_timeout=PATIENCE)
    assert stored(tmp_path) == []


def test_stop_wakes_a_single_result(hook, server, tmp_path):
    server.plan = [serve(stop_after=1000, how="hold")]
    hook.should_stop = server.holds
    with pytest.raises(DownloadError, match="was stopped"):
        store_result(hook, handles("j0")[0], f"{tmp_path}/", DownloadOptions(stall_timeout=PATIENCE))


def test_refused_url_is_asked_for_again_for_that_job(hook, server, tmp_path):
    server.plan = [answer(403)]
    store_all(hook, handles("j0", "j1"), f"{tmp_path}/", at_once=1)
    assert hook.asked == ["j0", "j1", "j0"]


def test_url_is_asked_for_again_where_its_turn_comes_late(hook, server, tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)

    def slow(h):
        clock.sleep(module.FRESH_SECONDS / 2)
        serve()(h)

    server.plan = [slow] * 4
    store_all(hook, handles("j0", "j1", "j2", "j3"), f"{tmp_path}/", at_once=1)
    assert hook.asked == ["j0", "j1", "j2", "j3", "j2", "j3"]


@pytest.mark.parametrize("call", ["get_job", "file_url"])
def test_client_sends_one_request_after_the_other(hook, server, tmp_path, monkeypatch, call):
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.0)
    asks, busy, overlaps = getattr(hook, call), threading.Lock(), []

    def noted(given):
        alone = busy.acquire(blocking=False)
        overlaps.append(not alone)
        time.sleep(0.01)  # the others have time to come
        if alone:
            busy.release()
        return asks(given)

    monkeypatch.setattr(hook, call, noted)
    store_all(hook, handles(*JOBS), f"{tmp_path}/", at_once=4)
    assert not any(overlaps)
    assert len(hook.asked) == 2 * len(JOBS)


def test_files_without_rows_are_left_out(hook, server, tmp_path):
    def only_the_first(h):
        server.body = BODY if "job=j0" in h.path else b"id,note\n"
        serve()(h)

    hook.rows = None
    server.plan = [only_the_first] * 3
    found = store_all(hook, handles("j0", "j1", "j2"), f"{tmp_path}/", at_once=1, on_empty="skip")
    assert [file.file_name for file in found] == ["j0.csv"]
    with pytest.raises(EmptyResult):
        store_all(hook, handles("j1", "j2"), f"{tmp_path}/", on_empty="skip")
    assert stored(tmp_path) == ["j0.csv"]


def test_job_without_a_file(hook, tmp_path):
    hook.file_url = lambda status: None
    with pytest.raises(DownloadError, match="has no file to download"):
        store_result(hook, handles("j0")[0], f"{tmp_path}/")


def test_status_at_hand_gives_the_first_url_only(hook):
    fresh = FreshUrl(hook, handles("j0")[0])
    fresh()
    assert hook.asked == ["j0"]
    fresh()
    assert hook.asked == ["j0", "j0"]


def test_interruption_ends_a_single_download_that_waits_for_bytes(hook, server, tmp_path):
    server.plan = [serve(stop_after=1000, how="hold")]
    hook.should_stop = Interruption(server.holds)
    with pytest.raises(KeyboardInterrupt):
        store_all(hook, handles("j0"), f"{tmp_path}/", stall_timeout=PATIENCE)
    assert stored(tmp_path) == []
