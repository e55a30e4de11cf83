"""``overwrite=False`` after a try that published files and did not succeed: its own files count as done."""

from __future__ import annotations

import json

import pytest

from stoq_provider.exceptions import DownloadError, ValidationRejected
from tests.harness import Killed

from .conftest import MODES, SENSOR_MODES, fails, in_turn

BOTH = {"format": "parquet", "download_options": {"keep_csv": True}}
FORMS = [
    pytest.param({}, id="csv"),
    pytest.param({"format": "parquet"}, id="parquet"),
    pytest.param(BOTH, id="both"),
    pytest.param({"download_options": {"on_empty": "empty"}}, id="on-empty"),
]
PLACES = ("", "there.csv", "{job_id}.csv")


@pytest.fixture(autouse=True)
def small(sandbox):
    """All exports are of the same content, and ready at once."""
    sandbox.jobs("export", times=None, duration=0, rows=5)


def identities(bench):
    """Tell one version of each file from the next, be the content the same."""
    return {path.name: path.stat().st_ino for path in bench.folder.iterdir()}


def killed_before_success(run):
    """Run a try whose worker is killed when all files are published."""

    def die(*arguments, **options):
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stoq_provider.jobs.results.manifest", die)
        with pytest.raises(Killed):
            run.execute()


def sensor(bench, mode, jobs=1, **options):
    handles = [handle for _ in range(jobs) for handle in bench.submitted()]
    return bench.sensor(mode, handles, **{"overwrite": False, **options})


@pytest.mark.parametrize(("form", "place", "mode"), in_turn([*FORMS, *FORMS], PLACES, MODES))
def test_an_export_whose_worker_is_killed_before_its_success(bench, form, place, mode):
    run = bench.export(mode, destination=f"{bench.folder}/{place}", overwrite=False, **form)
    killed_before_success(run)
    before = identities(bench)
    assert before
    manifest = run.retry()
    assert {file["file_name"] for file in manifest["files"]} == set(before)
    assert (identities(bench), bench.submissions) == (before, 1)


@pytest.mark.parametrize(("form", "place", "mode"), in_turn([*FORMS, *FORMS], PLACES, SENSOR_MODES))
def test_a_sensor_whose_worker_is_killed_before_its_success(bench, form, place, mode):
    run = sensor(bench, mode, destination=f"{bench.folder}/{place}", **form)
    killed_before_success(run)
    before = identities(bench)
    run.retry()
    assert identities(bench) == before


@pytest.mark.parametrize("place", ["there.csv", ""])
def test_without_a_record_another_job_of_the_same_content_is_as_good(bench, place):
    run = bench.export(store=False, destination=f"{bench.folder}/{place}", overwrite=False)
    killed_before_success(run)
    before = identities(bench)
    run.retry()
    assert (identities(bench), bench.submissions) == (before, 2)


@pytest.mark.parametrize("mode", SENSOR_MODES)
@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_was_published_before_another_failed(bench, sandbox, mode, form):
    options = {**form, "download_options": {**form.get("download_options", {}), "at_once": 1}}
    run = sensor(bench, mode, jobs=2, **options)
    sandbox.arm("truncated", origin="files", after=10, skip=1, times=None)
    with pytest.raises(DownloadError):
        run.execute()
    before = identities(bench)
    assert before
    sandbox.disarm()
    manifest = run.retry()
    after = identities(bench)
    assert {name: after[name] for name in before} == before
    assert len(after) == 2 * len(before) == len(manifest["files"])


@pytest.mark.parametrize("mode", MODES)
def test_a_mapped_task_of_which_each_has_its_own_tries(bench, mode):
    runs = [bench.export(mode, destination=f"{bench.folder}/{{job_id}}.csv", overwrite=False) for _ in "ab"]
    for index, run in enumerate(runs):
        run.ti.map_index = index
        killed_before_success(run)
    before = identities(bench)
    manifests = [run.retry() for run in runs]
    assert len({file["uri"] for manifest in manifests for file in manifest["files"]}) == 2
    assert (identities(bench), bench.submissions) == (before, 2)


@pytest.mark.parametrize("place", ["there.csv", ""])
@pytest.mark.parametrize("mode", MODES)
def test_what_somebody_else_put_there_is_not_replaced(bench, mode, place):
    run = bench.export(mode, destination=f"{bench.folder}/{place}", overwrite=False)
    killed_before_success(run)
    (path,) = bench.folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole.swapcase())
    says = ("holds something else", "Nothing was published", "not retried")
    fails(run.retry, ValidationRejected, *says, final=True)
    assert (path.read_bytes(), bench.files()) == (whole.swapcase(), [path.name])
    path.unlink()
    run.clear()
    manifest = json.loads(json.dumps(run.execute()))
    assert (path.read_bytes(), len(manifest["files"]), bench.submissions) == (whole, 1, 1)


@pytest.mark.parametrize("place", ["there.csv", ""])
def test_a_first_try_refuses_what_holds_the_same(bench, sandbox, place):
    bench.export(destination=f"{bench.folder}/{place}").execute()
    asked = len(sandbox.state["downloads"])
    run = bench.export(destination=f"{bench.folder}/{place}", overwrite=False)
    fails(run.execute, ValidationRejected, "exists already", final=True)
    assert (len(sandbox.state["downloads"]), bench.submissions) == (asked, 1 if place else 2)


def test_a_file_that_goes_while_it_is_compared_with(bench, monkeypatch):
    from stoq_provider.download import pipeline

    run = bench.export(destination=f"{bench.folder}/there.csv", overwrite=False)
    killed_before_success(run)
    finish = pipeline.check_rows

    def goes(*arguments):
        (bench.folder / "there.csv").unlink()
        finish(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "check_rows", goes)
        fails(run.retry, DownloadError, "has gone during the download", "only downloads its result again")
    assert len(run.retry()["files"]) == bench.submissions == 1
