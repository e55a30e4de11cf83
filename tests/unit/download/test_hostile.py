"""A stop, the deadline and the time-out for a silent line are heard whatever the server does."""

from __future__ import annotations

import itertools
import threading
from contextlib import closing
from types import SimpleNamespace

import pytest
import urllib3.util.connection

from stoq_provider.download import pipeline, resume
from stoq_provider.exceptions import DownloadError
from stoq_provider.transport import connections
from tests.harness import wait_until
from tests.unit.transport.hostile import DRIPS, HostileServer

from .conftest import HANG_SECONDS, files

SENDS_BODY = ("in a body", "in a body without a length", "in a chunk")
CASES = [
    *((drip, "stop", r"was stopped") for drip in DRIPS),
    *((drip, "deadline", r"not done within the deadline of 999 s") for drip in DRIPS),
    *((drip, "stall", r"timed out; gave up after 1 tries") for drip in DRIPS if drip not in SENDS_BODY),
]


@pytest.fixture
def hostile(request, monkeypatch):
    monkeypatch.setattr(pipeline, "_TICK_SECONDS", 0.02)
    monkeypatch.setattr(connections, "_TICK_SECONDS", 0.01)
    with closing(HostileServer(*DRIPS[request.param])) as server:
        yield server


def download(fetch, hostile, drip, **given):
    scheme = "https" if drip in ("in a handshake", "in the answer of a proxy") else "http"
    proxy = f"http://{hostile.origin}" if "proxy" in drip else None
    return fetch(lambda: f"{scheme}://{hostile.origin}/x.csv", proxy=proxy, max_resumes=0, **given)


@pytest.mark.parametrize(
    ("hostile", "drip", "end", "error"),
    [pytest.param(drip, drip, end, error, id=f"{end}: {drip}") for drip, end, error in CASES],
    indirect=["hostile"],
)
def test_server_that_drips(fetch, hostile, monkeypatch, tmp_path, drip, end, error):
    """Time flies as soon as it drips, and only the time that the case is about."""
    given = {"should_stop": hostile.drips.is_set} if end == "stop" else {"deadline": 999.0}
    hours = itertools.count(3600.0, 3600.0)
    time = SimpleNamespace(monotonic=lambda: next(hours) if hostile.drips.is_set() else 0.0)
    if end == "deadline":
        monkeypatch.setattr(resume, "time", time)
    elif end == "stall":
        monkeypatch.setattr(connections, "monotonic", time.monotonic)
    with pytest.raises(DownloadError, match=error):
        download(fetch, hostile, drip, **given)
    assert hostile.ended.wait(HANG_SECONDS)
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("hostile", "drip"),
    [(drip, drip) for drip in DRIPS if drip not in (*SENDS_BODY, "in the length of a chunk")],
    indirect=["hostile"],
)
def test_time_for_a_connection_is_none_for_a_response(fetch, hostile, monkeypatch, drip):
    looks = itertools.count()
    late = SimpleNamespace(monotonic=lambda: 61.0 if hostile.drips.is_set() and next(looks) else 0.0)
    monkeypatch.setattr(connections, "monotonic", late.monotonic)
    with pytest.raises(DownloadError, match="timed out; gave up"):
        download(fetch, hostile, drip, stall_timeout=60.0, should_stop=lambda: next(looks) > 1000)


@pytest.mark.parametrize("hostile", ["in a header"], indirect=True)
def test_nothing_is_asked_on_a_connection_that_comes_about_after_the_stop(fetch, hostile, monkeypatch):
    connect = urllib3.util.connection.create_connection
    connecting, go_on = threading.Event(), threading.Event()

    def connect_late(*args, **given):
        connecting.set()
        assert go_on.wait(HANG_SECONDS)
        return connect(*args, **given)

    monkeypatch.setattr(urllib3.util.connection, "create_connection", connect_late)
    monkeypatch.setattr(pipeline, "_PATIENCE_SECONDS", 0.0)
    with pytest.raises(DownloadError, match="was stopped"):
        download(fetch, hostile, "", should_stop=connecting.is_set)
    go_on.set()
    wait_until(lambda: hostile.received)
    assert hostile.received == [b""]
