"""The files of many jobs: a few at a time, each once, all of them in one manifest."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress

import pytest

from stoq_provider.download.options import DownloadOptions
from stoq_provider.exceptions import DownloadError, ValidationRejected
from stoq_provider.testing import ranges

from .conftest import SENSOR_MODES, fails

AT_ONCE = DownloadOptions().at_once


class Crowd:
    """
    Holds back the bytes of each file, while a file more than should be under way may still turn up.

    It runs in the event loop of the sandbox. ``most``: files under way at the same time.

    :param allowed: files that should be under way together.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
        self.most = self._now = 0
        self._more = asyncio.Condition()
        stream = ranges._stream

        async def held(content, span):
            self._now += 1
            self.most = max(self.most, self._now)
            await self._wait_for(allowed, 60.0)  # at once, unless too few ever come
            await self._wait_for(allowed + 1, 0.08)
            self._now -= 1
            async for piece in stream(content, span):
                yield piece

        monkeypatch.setattr(ranges, "_stream", held)

    async def _wait_for(self, together: int, seconds: float) -> None:
        async with self._more:
            self._more.notify_all()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._more.wait_for(lambda: self.most >= together), seconds)


@pytest.fixture
def submitted(bench, sandbox):
    """Submits that many exports of the same name, of 1, 2, 3, ... rows; their handles, as XCom holds them."""

    def submit(count):
        handles = []
        for number in range(count):
            sandbox.jobs("export", duration=0, rows=number + 1)
            handles += bench.submitted()
        return handles

    return submit


def check(bench, handles, manifest):
    """The manifest lists the file of each job once, in order, as it is in the folder."""
    ids = [handle["job_id"] for handle in handles]
    assert [(job["job_id"], job["outcome"]) for job in manifest["jobs"]] == [(i, "succeeded") for i in ids]
    assert len({file["uri"] for file in manifest["files"]}) == len(manifest["files"]) == len(ids)
    for number, (job_id, file) in enumerate(zip(ids, manifest["files"], strict=True), start=1):
        data = (bench.folder / file["file_name"]).read_bytes()
        assert file["uri"].endswith(f"/{file['file_name']}")
        assert job_id in file["file_name"]
        assert (file["bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert file["rows"] == data.count(b"\n") - 1 == number
    assert bench.files() == sorted(file["file_name"] for file in manifest["files"])
    totals = {name: manifest["totals"][name] for name in ("jobs", "files", "bytes", "rows")}
    assert totals == {
        "jobs": len(ids),
        "files": len(ids),
        "bytes": sum(file["bytes"] for file in manifest["files"]),
        "rows": sum(range(len(ids) + 1)),
    }


@pytest.mark.parametrize("mode", SENSOR_MODES)
@pytest.mark.parametrize("at_once", [1, 2])
def test_a_sensor_stores_all_files_and_no_more_at_a_time_than_at_once_allows(
    bench, sandbox, submitted, monkeypatch, mode, at_once
):
    handles = submitted(4)
    crowd = Crowd(monkeypatch, at_once)
    manifest = bench.sensor(mode, handles, download_options={"at_once": at_once}).execute()
    assert crowd.most == at_once
    check(bench, handles, manifest)
    downloads = [entry["path"] for entry in sandbox.state["downloads"]]
    assert len(downloads) == len(set(downloads)) == 4, "each file was fetched once"
    assert bench.submissions == 4


def test_a_sensor_without_at_once_stores_a_few_at_a_time(bench, submitted, monkeypatch):
    handles = submitted(2 * AT_ONCE)
    crowd = Crowd(monkeypatch, AT_ONCE)
    check(bench, handles, bench.sensor("worker", handles).execute())
    assert crowd.most == AT_ONCE


def test_one_file_that_breaks_fails_the_sensor_and_a_retry_stores_all(bench, sandbox, submitted):
    handles = submitted(3)
    sandbox.arm("status", origin="files", path=handles[1]["job_id"], status=404, times=1)
    run = bench.sensor("deferred", handles, download_options={"at_once": 1})
    error = fails(run.execute, DownloadError, "HTTP 404", "submits nothing")
    assert error.job_id == handles[1]["job_id"]
    assert len(bench.files()) == 1
    check(bench, handles, run.retry())


@pytest.mark.parametrize("at_once", [0, "4"])
def test_a_number_at_a_time_that_makes_no_sense(bench, sandbox, submitted, at_once):
    jobs = submitted(1)
    with pytest.raises(ValidationRejected, match="at least 1"):
        bench.sensor("worker", jobs, download_options={"at_once": at_once})
    assert sandbox.state["downloads"] == []
