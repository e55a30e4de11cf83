"""Over TLS: names in certificates, the check of the peer before the request, and broken transfers."""

from __future__ import annotations

import dataclasses
import logging
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from stoq_provider.download import responses, ssrf
from stoq_provider.download.download import download_files
from stoq_provider.download.options import DownloadOptions
from stoq_provider.download.resume import Source
from stoq_provider.exceptions import DownloadError
from tests.harness import wait_until

from .conftest import BODY, HANG_SECONDS, SECRET, break_off, chunked, files, serve, unframed


def secure_url(server):
    return f"https://localhost:{server.port}/x.csv?{SECRET}"


def test_certificate_of_the_right_name(tls, certificate, tmp_path):
    options = DownloadOptions(allow_loopback=True, verify=certificate)
    download_files(lambda: secure_url(tls), f"{tmp_path}/x.csv", file_name=None, options=options)
    assert (tmp_path / "x.csv").read_bytes() == BODY


@pytest.mark.parametrize("fault", ["unknown authority", "wrong name"])
def test_certificate_that_is_wrong(tls, certificate, tmp_path, fault):
    options = DownloadOptions(
        allow_loopback=True, verify=True if fault == "unknown authority" else certificate
    )
    url = (
        secure_url(tls) if fault == "unknown authority" else secure_url(tls).replace("localhost", "127.0.0.1")
    )
    asked = []
    with pytest.raises(DownloadError, match="TLS certificate was not accepted") as caught:
        download_files(lambda: asked.append(1) or url, f"{tmp_path}/x.csv", file_name=None, options=options)
    assert caught.value.__context__ is None
    assert "0 bytes had arrived" in str(caught.value)
    assert tls.requests == []
    assert asked == [1]


def test_peer_is_checked_before_the_request(tls, certificate, tmp_path, monkeypatch):
    monkeypatch.setattr(ssrf, "resolve", lambda host, port: ["93.184.216.34"])
    with pytest.raises(DownloadError, match="loopback"):
        download_files(
            lambda: secure_url(tls),
            f"{tmp_path}/x.csv",
            file_name=None,
            options=DownloadOptions(verify=certificate),
        )
    assert tls.requests == []


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_certificates_that_need_no_check(tls, fetch, tmp_path):
    fetch(lambda: secure_url(tls), verify=False)
    assert (tmp_path / "out/result.csv").read_bytes() == BODY


@pytest.mark.parametrize(
    ("how", "at"),
    [
        *(("fin", at) for at in (0, 1, 16_384, 500_000)),
        ("rst", 1),
        ("rst", 500_000),
        ("stall", 0),
        ("stall", 16_384),
    ],
)
def test_transfer_that_breaks(tls, certificate, fetch, tmp_path, how, at):
    tls.plan = [serve(stop_after=at, how=how)]
    fetch(lambda: secure_url(tls), verify=certificate)
    assert (tmp_path / "out/result.csv").read_bytes() == BODY
    assert len(tls.requests) == 2


@pytest.mark.parametrize("behaviour", [chunked(), unframed()], ids=["chunks", "the end of the connection"])
def test_body_without_a_length(tls, certificate, fetch, tmp_path, behaviour):
    tls.plan = [behaviour]
    fetch(lambda: secure_url(tls), verify=certificate)
    assert (tmp_path / "out/result.csv").read_bytes() == BODY
    assert len(tls.requests) == 1


def test_read_that_waits_ends_when_its_source_is_closed(tls, certificate, options):
    tls.plan = [serve(stop_after=100_000, how="hold")]
    source = Source(
        lambda: secure_url(tls),
        dataclasses.replace(options, verify=certificate),
        should_stop=lambda: False,
        log=logging.getLogger("test"),
    )
    with closing(source), ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: [len(chunk) for chunk in source.chunks()])
        tls.wait_until_it_holds()
        source.close()
        with pytest.raises(DownloadError, match="was stopped"):
            reading.result(timeout=HANG_SECONDS)


def test_end_that_a_stop_put_to_a_body_without_a_length_is_not_its_end(tls, certificate, fetch, tmp_path):
    def stalls(h):
        h.start(200, {"Connection": "close"})
        h.wfile.write(BODY[:100_000])
        break_off(h, "hold")

    tls.plan = [stalls]
    with pytest.raises(DownloadError, match="was stopped"):
        fetch(lambda: secure_url(tls), verify=certificate, should_stop=tls.holds)
    assert files(tmp_path) == []


def test_certificate_error_without_a_message():
    assert "no reason given" in responses.describe(ssl.SSLCertVerificationError("made by Python"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files can't be counted")
def test_sources_that_are_closed_hold_no_connection(server, options):
    def fetched():
        source = Source(server.url, options, should_stop=lambda: False, log=logging.getLogger("test"))
        with closing(source):
            for _ in source.chunks():
                pass
        return source

    def open_files():
        return len(list(Path("/proc/self/fd").iterdir()))

    first = fetched()
    before = open_files()
    kept = [first, *(fetched() for _ in range(20))]
    assert len(kept) == 21
    wait_until(lambda: open_files() < before + 5, HANG_SECONDS)
