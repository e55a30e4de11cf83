"""Over TLS: names in certificates, the check of the peer before the request, and broken transfers."""

from __future__ import annotations

import dataclasses
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from stoq_provider.exceptions import DownloadError
from stoq_provider.storage import wire
from stoq_provider.storage.download import download
from stoq_provider.storage.policy import DownloadPolicy
from stoq_provider.storage.source import Source

from .conftest import BODY, SECRET, chunked, serve, unframed


def secure_url(server):
    return f"https://localhost:{server.port}/x.csv?{SECRET}"


def test_certificate_of_the_right_name(tls, certificate, tmp_path):
    policy = DownloadPolicy(allow_loopback=True, verify=certificate)
    download(lambda: secure_url(tls), f"{tmp_path}/x.csv", file_name=None, policy=policy)
    assert (tmp_path / "x.csv").read_bytes() == BODY


@pytest.mark.parametrize("fault", ["unknown authority", "wrong name"])
def test_certificate_that_is_wrong(tls, certificate, tmp_path, fault):
    policy = DownloadPolicy(allow_loopback=True, verify=True if fault == "unknown authority" else certificate)
    url = (
        secure_url(tls) if fault == "unknown authority" else secure_url(tls).replace("localhost", "127.0.0.1")
    )
    asked = []
    with pytest.raises(DownloadError, match="TLS certificate was not accepted") as caught:
        download(lambda: asked.append(1) or url, f"{tmp_path}/x.csv", file_name=None, policy=policy)
    assert caught.value.__context__ is None
    assert "0 bytes had arrived" in str(caught.value)
    assert tls.requests == []
    assert asked == [1]


def test_peer_is_checked_before_the_request(tls, certificate, tmp_path, monkeypatch):
    monkeypatch.setattr(wire, "resolve", lambda host, port: ["93.184.216.34"])
    with pytest.raises(DownloadError, match="loopback"):
        download(
            lambda: secure_url(tls),
            f"{tmp_path}/x.csv",
            file_name=None,
            policy=DownloadPolicy(verify=certificate),
        )
    assert tls.requests == []


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_certificates_that_need_no_check(tls, fetch, tmp_path):
    fetch(lambda: secure_url(tls), verify=False)
    assert (tmp_path / "out/result.csv").read_bytes() == BODY


@pytest.mark.parametrize("at", [0, 1, 16_384, 500_000])
@pytest.mark.parametrize("how", ["fin", "rst", "stall"])
def test_transfer_that_breaks(tls, certificate, fetch, tmp_path, how, at):
    tls.plan = [serve(stop_after=at, how=how)]
    fetch(lambda: secure_url(tls), verify=certificate, stall_timeout=0.5)
    assert (tmp_path / "out/result.csv").read_bytes() == BODY
    assert len(tls.requests) == 2


@pytest.mark.parametrize("behaviour", [chunked(), unframed()], ids=["chunks", "the end of the connection"])
def test_body_without_a_length(tls, certificate, fetch, tmp_path, behaviour):
    tls.plan = [behaviour]
    fetch(lambda: secure_url(tls), verify=certificate)
    assert (tmp_path / "out/result.csv").read_bytes() == BODY
    assert len(tls.requests) == 1


def test_read_that_waits_hears_a_stop(tls, certificate, policy):
    tls.plan = [serve(stop_after=100_000, how="stall")]
    stopped = threading.Event()
    source = Source(
        lambda: secure_url(tls),
        dataclasses.replace(policy, verify=certificate, stall_timeout=30),
        should_stop=stopped.is_set,
        log=logging.getLogger("test"),
    )
    with closing(source), ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: [len(chunk) for chunk in source.chunks()])
        with pytest.raises(TimeoutError):
            reading.result(timeout=1.5)
        stopped.set()
        source.wake()
        with pytest.raises(DownloadError, match="told to stop"):
            reading.result(timeout=5)
