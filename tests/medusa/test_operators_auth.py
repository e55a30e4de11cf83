"""Who asks: a token, a login, somebody else; a refusal is reported at once, and the job is not lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from stoq_provider.exceptions import AuthenticationError
from tests.integration.conftest import fails
from tests.medusa.bench import MODES, Bench, Crew, desk, job_of, new_handle
from tests.medusa.client import JOBS
from tests.medusa.proxy import Proxy
from tests.medusa.servers import Server

LOGIN, UPLOAD, SUBMIT = "^POST /admin/auth/token$", "^POST /admin/uploads/protected$", f"^POST {JOBS}$"
POLL = f"^GET {JOBS}/"
FAULTS = {"login": "", "poll refused": POLL, "submission refused": SUBMIT, "upload refused": UPLOAD}
# Uploads and submissions are the worker's, however it waits.
LOGINS = [
    *(("login", mode) for mode in MODES),
    *(("poll refused", mode) for mode in MODES),
    ("submission refused", "worker"),
    ("upload refused", "worker"),
]
TOKENS = [("product-export", "worker"), ("product-import", "deferred")]


class Scenes:
    """Logins whose token is refused at one call, and tokens that are wrong while polling; all at once."""

    def __init__(self, bench: Bench, crew: Crew, server: Server, stack: ExitStack) -> None:
        self.bench, self.crew = bench, crew
        self.proxies: dict[str, Proxy] = {}
        for fault, mode in LOGINS:
            proxy = self._proxy(f"{fault} {mode}", server, stack)
            if FAULTS[fault]:
                proxy.spoil(FAULTS[fault])
            conn_id = bench.connect(proxy.origin, login=server.email)
            crew.start(f"{fault} {mode}", bench.imports(desk(new_handle()), mode, medusa_conn_id=conn_id))
        for kind, mode in TOKENS:
            proxy = self._proxy(f"{kind} {mode}", server, stack)
            proxy.spoil(POLL, times=float("inf"))
            options = {"medusa_conn_id": bench.connect(proxy.origin)}
            exports = kind == "product-export"
            run = (
                bench.export(mode, **options)
                if exports
                else bench.imports(desk(new_handle()), mode, **options)
            )
            crew.start(f"{kind} {mode}", run)
        crew.wait()

    def _proxy(self, name: str, server: Server, stack: ExitStack) -> Proxy:
        proxy = self.proxies[name] = stack.enter_context(Proxy(server.origin))
        return proxy


@pytest.fixture(scope="module")
def scenes(bench: Bench, crew: Crew, server: Server) -> Iterator[Scenes]:
    with ExitStack() as stack:
        yield Scenes(bench, crew, server, stack)


@pytest.mark.parametrize(("fault", "mode"), LOGINS)
def test_a_login_does_what_a_token_does_and_is_renewed_when_it_is_refused(
    scenes: Scenes, fault: str, mode: str
) -> None:
    name = f"{fault} {mode}"
    assert job_of(scenes.crew.end(name))["outcome"] == "succeeded"
    (made,) = scenes.bench.made(scenes.crew.runs[name])
    assert made["status"] == "completed"
    refused, proxy = (0 if fault == "login" else 1), scenes.proxies[name]
    assert proxy.fired == refused
    # The triggerer is a process of its own, and logs in itself.
    assert proxy.count(LOGIN) == (1 if mode == "worker" else 2) + refused
    assert proxy.count(UPLOAD) == (2 if fault == "upload refused" else 1)
    assert proxy.count(SUBMIT) == (2 if fault == "submission refused" else 1)


@pytest.mark.parametrize(("kind", "mode"), TOKENS)
def test_a_token_that_is_refused_fails_at_once_and_a_clear_finds_the_same_job(
    scenes: Scenes, kind: str, mode: str
) -> None:
    name = f"{kind} {mode}"
    run, proxy = scenes.crew.runs[name], scenes.proxies[name]
    says = ("Unauthorized", "goes on", "not retried")
    fails(lambda: scenes.crew.end(name), AuthenticationError, *says, final=True)
    assert proxy.count(POLL) == 1
    proxy.mend()
    run.clear()
    job = job_of(run.execute())
    assert [made["id"] for made in scenes.bench.made(run)] == [job["job_id"]]
    assert (job["outcome"], proxy.count(SUBMIT)) == ("succeeded", 1)


def test_a_wrong_token_starts_no_job_and_a_clear_submits(bench: Bench) -> None:
    conn_id = bench.connect(token="wrong-token")
    run = bench.export("deferred", medusa_conn_id=conn_id)
    fails(run.execute, AuthenticationError, "Unauthorized", "No remote job was started", final=True)
    assert bench.made(run) == []
    bench.connect(conn_id=conn_id)
    run.clear()
    job = job_of(run.execute())
    assert [made["id"] for made in bench.made(run)] == [job["job_id"]]


def test_a_wrong_password_starts_no_job(bench: Bench, server: Server) -> None:
    run = bench.export(medusa_conn_id=bench.connect(login=server.email, password="wrong-password"))
    fails(run.execute, AuthenticationError, "the login failed", "No remote job was started", final=True)
    assert bench.made(run) == []


def test_a_job_of_somebody_else_is_called_one(bench: Bench, server: Server) -> None:
    run = bench.imports(desk(new_handle()), dry_run=True)
    manifest = run.execute()
    other = {"medusa_conn_id": bench.connect(login=server.other_email)}
    says = ("does not belong to the logged in user", "not retried")
    for mode in MODES:
        for task in (bench.sensor(manifest, mode, **other), bench.confirm(manifest, mode, **other)):
            fails(task.execute, AuthenticationError, *says, final=True)
    assert [job["status"] for job in bench.made(run)] == ["pre_processed"], "nobody decided"
