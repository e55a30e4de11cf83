"""Answers that get lost and workers that are killed: the server has one job in the end, never two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from math import inf

import pytest

from stoq_provider.exceptions import SubmissionUncertain
from stoq_provider.jobs import lookup
from stoq_provider.systems.medusa.submission import CORRELATION
from tests.harness import Killed, recorded_logs
from tests.integration.conftest import fails
from tests.integration.medusa_bench import die_at
from tests.medusa.bench import MODES, NOTHING, Bench, Crew, Run, desk, job_of, new_handle
from tests.medusa.client import JOBS
from tests.medusa.proxy import Proxy
from tests.medusa.servers import Server

SUBMIT, UPLOAD, CONFIRM = f"^POST {JOBS}$", "^POST /admin/uploads/protected$", "/confirm$"
# Each two of moment, kind and way of waiting meet once.
SUBMITS = [("product-export", "worker"), ("product-import", "deferred")]
BEFORE = [("product-export", "deferred"), ("product-import", "worker")]
AFTER = [("product-export", "worker"), ("product-import", "deferred")]


class Scenes:
    """Every way to lose an answer, each behind a connection of its own, all under way at once."""

    def __init__(self, bench: Bench, crew: Crew, server: Server, stack: ExitStack) -> None:
        self.bench, self.crew, self.server, self.stack = bench, crew, server, stack
        self.proxies: dict[str, Proxy] = {}
        self.handles: dict[str, str] = {}
        self.marks: dict[str, str] = {}
        # What kills a worker would reach into tasks beside it, so that comes first.
        killed = [self._killed("before", *scene) for scene in BEFORE]
        killed += [self._killed("after", *scene) for scene in AFTER]
        for name, run in killed:
            crew.start(name, run, run.retry)
        for kind, mode in SUBMITS:
            run, proxy = self._task(f"submit {kind} {mode}", kind, mode)
            proxy.cut(SUBMIT)
            crew.start(f"submit {kind} {mode}", run)
        # An upload is the worker's, however it waits.
        for name, line in {**{f"confirm {mode}": CONFIRM for mode in MODES}, "upload worker": UPLOAD}.items():
            run, proxy = self._task(name, "product-import", name.split()[1], confirm=True)
            proxy.cut(line)
            crew.start(name, run)
        crew.wait()
        for proxy in self.proxies.values():
            proxy.mend()
        self.shop = bench.rows(list(self.handles.values()))

    def _task(self, name: str, kind: str, mode: str, *, confirm: bool = False) -> tuple[Run, Proxy]:
        proxy = self.proxies[name] = self.stack.enter_context(Proxy(self.server.origin))
        conn_id = self.bench.connect(proxy.origin)
        if kind == "product-export":
            return self.bench.export(mode, context=NOTHING, medusa_conn_id=conn_id), proxy
        handle = self.handles[name] = new_handle()
        decision = {"dry_run": True, "confirm": "always"} if confirm else {}
        return self.bench.imports(desk(handle), mode, medusa_conn_id=conn_id, **decision), proxy

    def _killed(self, point: str, kind: str, mode: str) -> tuple[str, Run]:
        """Kill its worker around the POST."""
        name = f"{point} {kind} {mode}"
        run, _ = self._task(name, kind, mode)
        with pytest.MonkeyPatch.context() as patch:
            die_at(patch, JOBS, after=point == "after")
            with pytest.raises(Killed):
                run.execute()
        assert len(self.bench.made(run)) == (1 if point == "after" else 0)
        (record,) = [row for row in run.store.records() if "intent_at" in row]
        assert record["handle"] is None
        self.marks[name] = record["correlation"]
        return name, run


@pytest.fixture(scope="module")
def scenes(bench: Bench, crew: Crew, server: Server, patch: pytest.MonkeyPatch) -> Iterator[Scenes]:
    # A job that was never sent is looked for three times; nothing is on its way here, so not for 10 s.
    patch.setattr(lookup, "LOOKS", (0.0, server.step / 6, server.step / 6))
    with ExitStack() as stack:
        yield Scenes(bench, crew, server, stack)


def check_one_job(scenes: Scenes, name: str, *, posts: int = 1) -> None:
    """Check that the task ended well, with one job on the server, and that a retry makes no other."""
    job, run = job_of(scenes.crew.end(name)), scenes.crew.runs[name]
    assert job["outcome"] == "succeeded"
    again = job_of(run.retry())
    (made,) = scenes.bench.made(run)
    assert (made["id"], made["status"]) == (job["job_id"], "completed") == (again["job_id"], "completed")
    assert scenes.proxies[name].count(SUBMIT) == posts
    if name in scenes.handles:
        assert [row["Variant Title"] for row in scenes.shop[scenes.handles[name]]] == ["S", "M"]


@pytest.mark.parametrize(("kind", "mode"), SUBMITS)
def test_a_submission_whose_answer_is_lost_is_found_in_the_list(scenes: Scenes, kind: str, mode: str) -> None:
    name = f"submit {kind} {mode}"
    check_one_job(scenes, name)
    assert scenes.proxies[name].fired == 1
    assert scenes.proxies[name].count(UPLOAD) == (1 if kind == "product-import" else 0)


@pytest.mark.parametrize(("kind", "mode"), AFTER)
def test_a_worker_killed_after_the_post_has_its_job_adopted(scenes: Scenes, kind: str, mode: str) -> None:
    name = f"after {kind} {mode}"
    check_one_job(scenes, name)
    (made,) = scenes.bench.made(scenes.crew.runs[name])
    assert made["context"][CORRELATION] == scenes.marks[name]


@pytest.mark.parametrize(("kind", "mode"), BEFORE)
def test_a_worker_killed_before_the_post_has_it_sent_under_the_same_mark(
    scenes: Scenes, kind: str, mode: str
) -> None:
    name = f"before {kind} {mode}"
    check_one_job(scenes, name)
    (made,) = scenes.bench.made(scenes.crew.runs[name])
    assert made["context"][CORRELATION] == scenes.marks[name]


@pytest.mark.parametrize("name", ["before product-import worker", "after product-import deferred"])
def test_a_retry_of_an_import_uploads_nothing_again(scenes: Scenes, name: str) -> None:
    scenes.crew.end(name)
    assert scenes.proxies[name].count(UPLOAD) == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_confirmation_whose_answer_is_lost_is_given_once(scenes: Scenes, mode: str) -> None:
    check_one_job(scenes, f"confirm {mode}")
    proxy = scenes.proxies[f"confirm {mode}"]
    assert (proxy.fired, proxy.count(CONFIRM)) == (1, 1)


def test_an_upload_whose_answer_is_lost_is_made_again_and_imported_once(scenes: Scenes) -> None:
    check_one_job(scenes, "upload worker")
    assert scenes.proxies["upload worker"].count(UPLOAD) == 2


def test_a_lost_submission_whose_list_can_not_be_read_is_not_repeated_and_found_later(
    bench: Bench, server: Server
) -> None:
    with Proxy(server.origin) as proxy, recorded_logs() as logs:
        run = bench.imports(desk(new_handle()), medusa_conn_id=bench.connect(proxy.origin))
        proxy.cut(SUBMIT)
        proxy.spoil(rf"^GET {JOBS}\?", times=inf)
        says = ("its list of jobs could not be read (HTTP 401", "perhaps runs", "is not sent again")
        fails(run.execute, SubmissionUncertain, *says, final=True)
        assert len(bench.made(run)) == 1
        proxy.mend()
        manifest = run.retry()
    assert [job["id"] for job in bench.made(run)] == [job_of(manifest)["job_id"]]
    assert (proxy.count(SUBMIT), proxy.count(UPLOAD)) == (1, 1)
    assert "was found in the list" in logs.text
