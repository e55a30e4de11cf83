"""Several downloads at a time."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoq_provider.core.lifecycle import Outcome
from stoq_provider.core.models import JobHandle, JobState, JobStatus
from stoq_provider.download.destination import MAX_BYTES, clean_file_name
from stoq_provider.download.download import EmptyResult
from stoq_provider.download.many import DownloadPool, distinct_names
from stoq_provider.download.parquet import parquet
from stoq_provider.exceptions import DownloadError, ValidationRejected
from stoq_provider.jobs import results
from stoq_provider.jobs.results import FreshUrl, _without_conn_id, store_all, store_result
from tests.harness import wait_until

from .conftest import BODY, HANG_SECONDS, PATIENCE, ROWS, answer, break_off, files, serve


def never():
    return False


# --- the pool -----------------------------------------------------------------------------------------


def waits_for_stop(pool):
    wait_until(pool.stopped, HANG_SECONDS)
    raise DownloadError("told to stop")


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
    assert "told to stop" in caplog.text


def test_stop_ends_all():
    all_wait = threading.Barrier(3)
    stop = threading.Event()
    pool = DownloadPool(stop.is_set)

    def waits():
        all_wait.wait(HANG_SECONDS)
        stop.set()
        waits_for_stop(pool)

    with pytest.raises(DownloadError, match="told to stop"):
        pool.run([waits] * 6, 3)


def test_stop_between_two_downloads_is_no_success():
    stop = threading.Event()
    with pytest.raises(DownloadError, match=r"told to stop before all files.*Nothing"):
        DownloadPool(stop.is_set).run([stop.set] * 6, 1)


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
    assert [thread.is_alive() for thread in threads] == [False] * 3


def test_interruption_ends_a_single_download_that_waits_for_bytes(hook, server, tmp_path):
    server.plan = [serve(stop_after=1000, how="hold")]
    hook.should_stop = Interruption(server.holds)
    with pytest.raises(KeyboardInterrupt):
        store_all(hook, ended("j0"), f"{tmp_path}/", stall_timeout=PATIENCE)
    assert files(tmp_path) == []


# --- names --------------------------------------------------------------------------------------------


def test_files_of_one_name_get_their_job_ids():
    given = [("a.csv", "j1"), ("b.csv", "j2"), ("A.csv", "j3"), (None, "j4"), ("x/a.csv", "j5"), ("c", "j6")]
    assert distinct_names(given) == ["a-j1.csv", "b.csv", "A-j3.csv", "j4.csv", "a-j5.csv", "c"]


@pytest.mark.parametrize(
    ("given_files", "expected"),
    [
        (
            [("same.csv", "j0"), ("same.csv", "j1"), ("same-j0.csv", "j2")],
            ["same-j0-1.csv", "same-j1.csv", "same-j0.csv"],
        ),
        ([("a.csv", "J"), ("a.csv", "j")], ["a-J.csv", "a-j-1.csv"]),
        ([("a.csv", "x/1"), ("a.csv", "y/1")], ["a-1.csv", "a-1-1.csv"]),
        ([("a.csv", "j"), ("a.csv", "j"), ("a.csv", "j")], ["a-j.csv", "a-j-1.csv", "a-j-2.csv"]),
        ([("a.csv", ""), ("a.csv", None), ("a.csv", "..")], ["a.csv", "a-1.csv", "a-2.csv"]),
        ([(None, None), (None, "")], ["export.csv", "export-1.csv"]),
        ([("STRASSE.csv", "1"), ("straße.csv", "2")], ["STRASSE-1.csv", "straße-2.csv"]),
    ],
)
def test_names_that_ids_do_not_tell_apart_get_a_number(given_files, expected):
    assert distinct_names(given_files) == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("a.csv", "a", ["a-1.csv", "a-2"]),
        ("a.CSV", "a", ["a-1.CSV", "a-2"]),
        ("A.CSV", "a.csv.csv", ["A-1.CSV", "a.csv-2.csv"]),
        ("a.csv", "a.csv.gz", ["a-1.csv", "a.csv-2.gz"]),
        ("a.csv", "a.parquet", ["a-1.csv", "a-2.parquet"]),
        ("a.csv", "a.txt", ["a.csv", "a.txt"]),
    ],
)
def test_files_made_of_others_stay_apart_too(first, second, expected):
    assert distinct_names([(first, "1"), (second, "2")]) == expected


@pytest.mark.parametrize("character", ["n", "é", "日", "😀"])
def test_long_names_keep_the_whole_id(character):
    ids = [f"0190a5b2-0001-7000-8000-{end * 12}" for end in "ab"]
    names = distinct_names([(character * 300 + ".csv", job_id) for job_id in ids])
    assert [name.endswith(f"{character}-{ids[n]}.csv") for n, name in enumerate(names)] == [True, True]
    assert {len(name.encode()) > MAX_BYTES - 4 for name in names} == {True}


def test_number_is_never_cut_off():
    names = distinct_names([("😀" * 300 + ".csv", "j" * 300 + end) for end in "ab"])
    assert [name[-8:] for name in names] == ["jjjj.csv", "jj-1.csv"]


LENGTHENED = st.builds(
    lambda text, times, end: text * times + end,
    st.text(max_size=4) | st.text(alphabet="aAßé日😀-.", max_size=4),
    st.sampled_from([1, 2, 60, 300]),
    st.sampled_from(["", ".csv", ".CSV", ".csv.csv", ".csv.gz", "-a.csv", "-a-1.csv", "-1", ".txt"]),
)
IDS = (
    st.sampled_from(["a", "A", "a-1", "1", "a.csv", "x/a", "", "j" * 300, "J" * 301, "日" * 90]) | LENGTHENED
)
NAMED = st.tuples(st.none() | st.sampled_from(["a.csv", "a", "A.CSV", "a-a.csv"]) | LENGTHENED, IDS)


def check_distinct(names):
    assert len({name.casefold().removesuffix(".csv") for name in names}) == len(names)
    assert all(len(name.encode()) <= MAX_BYTES for name in names)
    # The download cleans them once more.
    assert [clean_file_name(name) for name in names] == names


@given(st.lists(NAMED, unique_by=lambda pair: pair[1]))
def test_any_names_become_distinct_whatever_their_order(given_files):
    names = distinct_names(given_files)
    check_distinct(names)
    assert distinct_names(given_files[::-1]) == names[::-1]


@given(st.lists(st.tuples(NAMED.map(lambda pair: pair[0]), st.none() | st.sampled_from(["", "a", "a-1"]))))
def test_any_names_become_distinct_without_ids_that_differ(given_files):
    check_distinct(distinct_names(given_files))


# --- the files of jobs --------------------------------------------------------------------------------


class Hook:
    """A shop whose jobs are all done."""

    system = SimpleNamespace(name="stoq", label="STOQ")
    settings = SimpleNamespace(allow_http=False, on_loopback=True, verify=True, proxy=None)
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


@pytest.mark.parametrize(
    ("uri", "asset"),
    [
        ("s3://lake@bucket/a/b.csv", "s3://bucket/a/b.csv"),
        ("s3://bucket/mail/me@home.csv", "s3://bucket/mail/me@home.csv"),
        ("s3://lake@bucket/mail/me@home.csv", "s3://bucket/mail/me@home.csv"),
        ("file:///data/day@2026/x.csv", "file:///data/day@2026/x.csv"),
        ("/data/x@y.csv", "/data/x@y.csv"),
    ],
)
def test_lineage_names_the_object_without_the_connection(uri, asset):
    assert _without_conn_id(uri) == asset


def test_files_of_one_name_do_not_overwrite_each_other(hook, tmp_path):
    hook.names = {"j0": "same.csv", "j1": "same.csv", "j2": "same-j0.csv", "j3": "other.csv"}
    store_all(hook, ended("j0", "j1", "j2", "j3"), f"{tmp_path}/")
    assert files(tmp_path) == ["other.csv", "same-j0-1.csv", "same-j0.csv", "same-j1.csv"]


def test_parquet_files_do_not_overwrite_each_other(hook, tmp_path):
    pytest.importorskip("pyarrow")
    hook.names = {"j0": "a.csv", "j1": "a", "j2": "b.csv"}
    store_all(hook, ended("j0", "j1", "j2"), f"{tmp_path}/", also=[parquet()], store=False)
    assert files(tmp_path) == ["a-j0.parquet", "a-j1.parquet", "b.parquet"]


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


@pytest.mark.parametrize(("overwrite", "said"), [(False, True), (True, False), ("if_different", False)])
def test_failure_of_one_says_what_is_in_the_way_of_a_retry(hook, server, tmp_path, overwrite, said):
    server.plan = [serve(), answer(404)]
    with pytest.raises(DownloadError, match="HTTP 404") as caught:
        store_all(hook, ended("j0", "j1"), f"{tmp_path}/", at_once=1, overwrite=overwrite)
    assert ("overwrite=False refuses them on a retry" in str(caught.value)) is said
    assert files(tmp_path) == ["j0.csv"]


def test_failure_of_one_leaves_nothing_half_done(hook, server, tmp_path):
    # The other of the two is kept busy: how far it would come otherwise is a matter of chance.
    server.plan = [serve(), serve(), answer(404), *[serve(stop_after=1000, how="hold")] * 9]
    with pytest.raises(DownloadError, match="HTTP 404"):
        store_all(hook, ended(*JOBS), f"{tmp_path}/", at_once=2)
    assert len(server.requests) <= 4
    assert all((tmp_path / name).read_bytes() == BODY for name in files(tmp_path))


def silent(h):
    break_off(h, "hold")


@pytest.mark.parametrize(
    "behaviour", [serve(stop_after=1000, how="hold"), silent], ids=["in the body", "no answer"]
)
@pytest.mark.parametrize("jobs", [("j0",), ("j0", "j1", "j2")], ids=len)
def test_stop_wakes_downloads_that_wait_for_bytes(hook, server, tmp_path, behaviour, jobs):
    """
    A stalled connection would otherwise be waited for until ``stall_timeout``.

    Airflow kills a task five seconds after it was told to stop.
    """
    server.plan = [behaviour] * 9
    hook.should_stop = lambda: server.holding == len(jobs)
    with pytest.raises(DownloadError, match="told to stop"):
        store_all(hook, ended(*jobs), f"{tmp_path}/", stall_timeout=PATIENCE)
    assert files(tmp_path) == []


def test_stop_wakes_a_single_result(hook, server, tmp_path):
    server.plan = [serve(stop_after=1000, how="hold")]
    hook.should_stop = server.holds
    with pytest.raises(DownloadError, match="told to stop"):
        store_result(hook, ended("j0").ends[0].handle, f"{tmp_path}/", stall_timeout=PATIENCE)


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
    real = results.store_files
    monkeypatch.setattr(results, "store_files", lambda *a, **k: seen.append(k) or real(*a, **k))
    store_all(hook, ended("j0"), f"{tmp_path}/", overwrite="if_different", min_rows=3)
    assert (seen[0]["overwrite"], seen[0]["min_rows"]) == ("if_different", 3)
