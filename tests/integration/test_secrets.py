"""No key and no pre-signed URL anywhere: logs, XComs, triggers, events, reprs, errors, records, manifests."""

from __future__ import annotations

import itertools
import json
import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset, TaskDeferred

from stoq_provider.core.models import JobHandle
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.testing import Sandbox
from tests.harness import make_trigger, recorded_logs

from .conftest import MODES, POLL, SENSOR_MODES, SUBMIT, VirtualTime, connect

# The server's own log lines are the remote side.
SERVER_LOGGERS = ("uvicorn", "uvicorn.access", "uvicorn.error", "asyncio")


class Haul:
    """Everything that a scenario leaves behind, as text."""

    def __init__(self, secrets: set[str]) -> None:
        self.secrets = secrets
        self.show_locals = True
        self.texts: list[tuple[str, str]] = []

    def add(self, where: str, thing: Any) -> None:
        self.texts.append((where, thing if isinstance(thing, str) else repr(thing)))
        with suppress(TypeError):
            self.texts.append((where, json.dumps(thing, default=repr)))

    def add_error(self, error: BaseException) -> None:
        for one in chain(error):
            self.add("error", f"{one} {one!r} {one.args!r} {getattr(one, '__dict__', {})!r}")
            for name in ("request", "response"):
                assert not hasattr(one, name), f"{type(one)} holds the {name}"
        frames = traceback.TracebackException.from_exception(error, capture_locals=self.show_locals)
        self.add("traceback", "".join(frames.format()))

    def check(self) -> None:
        assert len(self.texts) > 3
        for where, text in self.texts:
            for secret in self.secrets:
                at = text.find(secret)
                assert at < 0, f"{where}: ...{text[max(0, at - 300) : at]}<the secret>"
            assert "X-Amz-Signature" not in text, where


def chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    todo = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [one.__cause__, one.__context__]


@pytest.fixture
def haul(sandbox: Sandbox, clock: VirtualTime, monkeypatch: pytest.MonkeyPatch) -> Iterator[Haul]:
    """Record everything at DEBUG, also what the HTTP libraries log, and every signature that was made."""
    clock.ends_stalls = True
    haul = Haul({sandbox.key})
    sign = sandbox._world.signature

    def signature(*parts: str) -> str:
        made = sign(*parts)
        haul.secrets.add(made)
        return made

    monkeypatch.setattr(sandbox._world, "signature", signature)
    root = logging.getLogger()
    loggers = [logger for logger in root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    # The others take the level of these. Each change makes all loggers forget what they have found out.
    before = [
        (logger, logger.level)
        for logger in (root, *loggers)
        if logger.level != logging.NOTSET or logger.name in SERVER_LOGGERS
    ]
    for logger, _ in before:
        logger.setLevel(logging.DEBUG)
    for name in SERVER_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with recorded_logs() as logs:
            logging.getLogger("urllib3.connectionpool").debug("the recorder hears urllib3")
            logging.getLogger("httpcore.http11").debug("the recorder hears httpcore")
            yield haul
        assert "hears urllib3" in logs.text
        assert "hears httpcore" in logs.text
        haul.add("log", logs.text)
        haul.check()
    finally:
        for logger, level in before:
            logger.setLevel(level)


def collect(haul: Haul, run: Any, step: Any = None) -> None:
    """Run a task and take in all that it leaves."""
    try:
        haul.add("result", (step or run.execute)())
    except TaskDeferred:
        raise
    except Exception as error:
        haul.add_error(error)
    haul.add("xcom", {**run.ti.xcoms, **run.ti.links})
    haul.add("trigger row", run.triggers)
    haul.add("event", run.events)
    for row in run.triggers:
        haul.add("trigger", make_trigger(*row))
        haul.add("trigger", vars(make_trigger(*row)))
    if run.store:
        haul.add("record", run.store.rows)
    haul.add("operator", run.task)
    haul.add("hook", run.task.__dict__.get("hook"))
    if "hook" in run.task.__dict__:
        hook = run.task.hook
        for name in ("settings", "transport", "_session"):
            haul.add(f"hook.{name}", hook.__dict__.get(name))
        if "_session" in hook.__dict__:
            haul.add("auth", hook.get_conn().auth)


FAULTS = {
    "none": [],
    "401 at submit": [("status", {"status": 401, "path": SUBMIT})],
    "key echoed": [("status", {"status": 422, "path": SUBMIT, "body": {"errors": ["bad token {key}"]}})],
    "key echoed as html": [("status", {"status": 500, "path": POLL, "body": "<p>{key}</p>", "times": 3})],
    "403 at poll": [("status", {"status": 403, "path": POLL})],
    "404": [("status", {"status": 404, "path": POLL, "times": 2})],
    "429": [("status", {"status": 429, "path": POLL, "headers": {"Retry-After": "0"}, "times": 2})],
    "submit lost": [("reset_after", {"path": SUBMIT, "times": 3})],
    "submit refused": [("status", {"status": 409, "path": SUBMIT})],
    "poll reset": [("reset_before", {"path": POLL, "times": 2})],
    "unhealthy": [("status", {"status": 500, "path": POLL, "times": None})],
    "poll garbage": [("garbage", {"path": POLL, "times": 2})],
    "download cut": [("truncated", {"origin": "files", "after": 200})],
    "download reset for good": [("truncated", {"origin": "files", "after": 0, "reset": True, "times": None})],
    "download stalls for good": [("stall", {"origin": "files", "after": 10, "seconds": None, "times": None})],
    "download refused at once": [("reset_before", {"origin": "files", "times": None})],
    "download url expired": [("expired_url", {"times": None})],
    "download 500": [("status", {"origin": "files", "status": 500, "times": None})],
    "download 404": [("status", {"origin": "files", "status": 404, "times": None})],
    "download redirected": [
        ("status", {"origin": "files", "status": 302, "headers": {"Location": "http://elsewhere/x"}})
    ],
}


def arm(sandbox: Sandbox, name: str) -> None:
    for fault, options in FAULTS[name]:
        text = json.dumps(options).replace("{key}", sandbox.key)
        sandbox.arm(fault, **json.loads(text))


def cases(modes, names):
    """What is sent, and what is fetched, by the worker alone meets one mode each; what a wait meets, all."""
    waits = [name for name in names if name == "none" or POLL in str(FAULTS[name])]
    return [
        *itertools.product(waits, modes),
        *zip([name for name in names if name not in waits], itertools.cycle(modes), strict=False),
    ]


@pytest.mark.parametrize(("name", "mode"), cases(MODES, FAULTS))
def test_operator_leaves_no_secret(bench, sandbox, haul, mode, name):
    arm(sandbox, name)
    run = bench.export(mode, unhealthy_after=0.15, outlets=[Asset("revenue")])
    event = SimpleNamespace(extra={})
    run.extra["outlet_events"] = {Asset("revenue"): event}
    collect(haul, run)
    collect(haul, run, run.retry)
    haul.add("asset event", event.extra)
    if name == "none":
        assert len(haul.secrets) > 1, "no signature was made"
        assert event.extra


@pytest.mark.parametrize(
    ("name", "mode"), cases(SENSOR_MODES, [name for name in FAULTS if SUBMIT not in str(FAULTS[name])])
)
def test_sensor_leaves_no_secret(bench, sandbox, haul, mode, name):
    handles = bench.submitted()
    arm(sandbox, name)
    run = bench.sensor(mode, handles, unhealthy_after=0.15, timeout=0.5)
    collect(haul, run)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("outcome", ["failed", "cancelled", "forever"])
def test_bad_ends_leave_no_secret(bench, sandbox, haul, mode, outcome):
    sandbox.jobs("export", outcome=outcome, error=f"token {sandbox.key} is bad")
    run = bench.export(mode, timeout=0.3)
    collect(haul, run)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "host", ["http://127.0.0.1:9", "http://localhost:1/api/v2/external", "https://127.0.0.1:9"]
)
def test_server_out_of_reach_leaves_no_secret(bench, sandbox, haul, monkeypatch, mode, host):
    run = bench.export("deferred")
    deferred = run.start()
    monkeypatch.setenv(
        "AIRFLOW_CONN_STOQ_DEFAULT",
        json.dumps({"conn_type": "stoq", "host": host, "password": sandbox.key, "extra": {"timeout": 1}}),
    )
    run.changes = {"deferrable": mode == "deferred", "unhealthy_after": 0.1, "timeout": 1}
    collect(haul, run, run.retry)
    for row in run.triggers:
        row[1]["unhealthy_after"] = 0.1
    deferred.trigger.unhealthy_after = 0.1
    collect(haul, run, lambda: run.resume(deferred))


@pytest.mark.parametrize(
    "extra",
    [{"proxy": "http://user:p4ssw0rd@127.0.0.1:9"}, {"verify": "/no/such/bundle.pem"}, {"timeout": "x"}],
)
def test_wrong_connections_leave_no_secret(bench, sandbox, haul, monkeypatch, extra):
    haul.secrets.add("p4ssw0rd")
    haul.show_locals = False  # Airflow's own Connection shows its password in its repr
    connect(monkeypatch, sandbox, **extra)
    run = bench.export("worker")
    collect(haul, run)
    haul.add("test_connection", StoqHook().test_connection())


def test_wrong_characters_in_the_key_leave_no_secret(bench, sandbox, haul, monkeypatch):
    odd = sandbox.key[:-3] + "\n\u20ac!"
    haul.secrets.add(odd[:-3])
    haul.show_locals = False  # as above
    connect(monkeypatch, sandbox, key=odd)
    collect(haul, bench.export("worker"))


def test_hook_methods_leave_no_secret(bench, sandbox, haul):
    hook = StoqHook()
    handle = JobHandle.from_dict(bench.submitted()[0])
    sandbox.advance(60)
    status = hook.get_job(handle)
    assert status.download_url is not None
    assert re.search(r"X-Amz-Signature=\w+", status.download_url)
    for name, thing in {
        "status": status,
        "status.to_dict": status.to_dict(),
        "handle": handle,
        "settings": hook.settings,
        "stored": hook.download(handle, f"{bench.folder}/"),
        "test": hook.test_connection(),
        "session": hook.get_conn().headers,
        "orders": next(hook.iter_orders()),
        "manifest": hook.manifest("/preorders/offers"),
    }.items():
        haul.add(name, thing)
    for call in (
        lambda: hook.request("GET", "/nowhere"),
        lambda: hook.request("POST", "/preorders/nowhere", json={"token": "x"}),
        lambda: hook.submit_orders("release", []),
        lambda: hook.call("POST /no/such"),
    ):
        with pytest.raises(Exception) as caught:
            call()
        haul.add_error(caught.value)
