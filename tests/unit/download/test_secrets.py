"""The URL is a secret, and the worker is inside the user's network."""

from __future__ import annotations

import dataclasses
import logging
import pickle
import socket
import ssl
import traceback

import pytest

from stoq_provider.download import ssrf
from stoq_provider.download.download import download_files
from stoq_provider.download.options import DownloadOptions
from stoq_provider.exceptions import DownloadError

from .conftest import BODY, SECRET, answer, ignore_range, serve

VALUE = SECRET.partition("=")[2]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "result.csv"


def whole_chain(error):
    seen = []
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in seen:
            seen.append(one)
            waiting += [one.__cause__, one.__context__]
    return seen


def redirect(location):
    return answer(302, Location=location)


FAULTS = {
    "not found": [answer(404, VALUE.encode())] * 9,
    "forbidden": [answer(403, VALUE.encode())] * 9,
    "down": [answer(503)] * 9,
    "reset": [serve(stop_after=0, how="rst")] * 9,
    "reset later": [serve(stop_after=1000, how="rst")] * 9,
    "stall": [serve(stop_after=1000, how="stall")] * 9,
    "changed": [serve(stop_after=1000), ignore_range, serve(stop_after=0), answer(410)],
    "redirect": [redirect(f"https://elsewhere.example/?{SECRET}")],
    "bad redirect": [redirect(f"http://[{SECRET}")],
    "gzip": [serve(Content_Encoding="gzip")],
    "not http": [lambda h: h.wfile.write(b"gibberish\r\n\r\n")] * 9,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_secret_is_in_no_log_and_no_error(server, options, out, caplog, fault):
    server.plan = FAULTS[fault]
    options = dataclasses.replace(options, max_resumes=2)
    server.body = BODY if fault != "changed" else b'"'
    with caplog.at_level(logging.DEBUG), pytest.raises(DownloadError) as caught:
        download_files(server.url, str(out), file_name=None, options=options, job_id="j")
    error = caught.value
    assert server.requests
    assert VALUE in server.requests[0][0]
    printed = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    assert VALUE not in printed
    assert all(VALUE not in repr(one) + str(vars(one)) for one in whole_chain(error))
    assert whole_chain(error) == [error]
    assert VALUE not in pickle.dumps(error).decode("latin-1")
    assert VALUE not in caplog.text
    assert "urllib3" not in {record.name.partition(".")[0] for record in caplog.records}


def test_secret_is_in_no_log_of_a_success(server, options, out, caplog):
    with caplog.at_level(logging.DEBUG):
        download_files(server.url, str(out), file_name=None, options=options)
    assert out.read_bytes() == BODY
    assert VALUE not in caplog.text
    assert caplog.records


def test_request_carries_no_credentials(server, options, out, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    download_files(server.url, str(out), file_name=None, options=options)
    ((path, headers),) = server.requests
    assert path.endswith(SECRET)
    assert set(headers) <= {"host", "user-agent", "accept", "accept-encoding", "connection"}
    assert headers["accept-encoding"] == "identity"


# --- where it may go --------------------------------------------------------------------------------


def test_loopback_is_refused_by_default(server, out):
    for options in (DownloadOptions(), DownloadOptions(allow_http=True, allow_private=True)):
        with pytest.raises(DownloadError, match=r"plain http|loopback"):
            download_files(server.url, str(out), file_name=None, options=options)
    assert server.requests == []


def test_name_that_resolves_differently_the_second_time(server, out, monkeypatch):
    monkeypatch.setattr(ssrf, "resolve", lambda host, port: ["93.184.216.34"])
    url = server.url().replace("127.0.0.1", "localhost")
    with pytest.raises(DownloadError, match="loopback"):
        download_files(lambda: url, str(out), file_name=None, options=DownloadOptions(allow_http=True))
    assert server.requests == []


def test_address_is_checked_before_connecting(out, monkeypatch):
    connected = []
    monkeypatch.setattr(ssrf, "resolve", lambda host, port: ["93.184.216.34", "10.1.2.3"])
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: connected.append(a))
    monkeypatch.setattr("urllib3.util.connection.create_connection", lambda *a, **k: connected.append(a))
    with pytest.raises(DownloadError, match="allow_private"):
        download_files(lambda: f"https://files.example/?{SECRET}", str(out), file_name=None)
    assert connected == []


def resolver(known):
    """Resolve these names and addresses."""

    def resolve(host, port):
        addresses = [host] if ssrf._is_address(host) else known.get(host)
        if not addresses:
            raise socket.gaierror(-2, f"Name or service not known {VALUE}")
        return addresses

    return resolve


def test_name_that_does_not_resolve(out, monkeypatch):
    monkeypatch.setattr(ssrf, "resolve", resolver({}))
    with pytest.raises(DownloadError, match=r"files\.example: the host name could not be resolved") as caught:
        download_files(
            lambda: f"https://files.example/?{SECRET}",
            str(out),
            file_name=None,
            options=DownloadOptions(max_resumes=0),
        )
    assert whole_chain(caught.value) == [caught.value]


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://localhost:{port}/x", "another host"),
        ("http://127.0.0.1:1/x", "another port"),
        ("ftp://127.0.0.1/x", "neither"),
        ("", "redirects more than 3 times"),
        ("/again", "redirects more than 3 times"),
    ],
)
def test_redirects_that_are_not_followed(server, options, out, location, reason):
    server.plan = [redirect(location.format(port=server.port))] * 9
    with pytest.raises(DownloadError, match=reason):
        download_files(server.url, str(out), file_name=None, options=options)
    assert not out.exists()
    assert len(server.requests) == (4 if "more" in reason else 1)


def test_redirect_on_the_same_host_is_followed(server, options, out):
    server.plan = [redirect("/moved?key=1"), redirect(server.url("key=2"))]
    download_files(server.url, str(out), file_name=None, options=options)
    assert out.read_bytes() == BODY
    assert [path for path, _ in server.requests][1:] == ["/moved?key=1", "/exports/result.csv?key=2"]


def test_redirect_is_checked_like_the_first_url(server, options, out, monkeypatch):
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    monkeypatch.setattr(ssrf, "resolve", lambda host, port: next(answers))
    server.plan = [redirect("/moved")]
    with pytest.raises(DownloadError, match="allow_private"):
        download_files(server.url, str(out), file_name=None, options=options)
    assert len(server.requests) == 1


def behind(server):
    return DownloadOptions(allow_http=True, proxy=f"http://127.0.0.1:{server.port}")


@pytest.mark.parametrize("addresses", [["93.184.216.34"], None], ids=["public", "not known here"])
def test_proxy_gets_the_request(server, out, monkeypatch, addresses):
    monkeypatch.setattr(ssrf, "resolve", resolver({"files.example": addresses}))
    download_files(lambda: "http://files.example/x.csv", str(out), file_name=None, options=behind(server))
    assert server.requests[0][0] == "http://files.example/x.csv"


@pytest.mark.parametrize("host", ["files.example", "10.0.0.1", "169.254.169.254", "minio", "db.internal"])
def test_proxy_does_not_get_what_would_be_refused_without_it(server, out, monkeypatch, host):
    monkeypatch.setattr(ssrf, "resolve", resolver({"files.example": ["93.184.216.34", "10.0.0.1"]}))
    with pytest.raises(DownloadError, match=r"metadata|allow_private"):
        download_files(lambda: f"http://{host}/x.csv", str(out), file_name=None, options=behind(server))
    assert server.requests == []


def test_proxy_of_the_environment(server, out, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
    download_files(
        lambda: "http://files.example/x.csv",
        str(out),
        file_name=None,
        options=DownloadOptions(allow_http=True),
    )
    assert server.requests[0][0] == "http://files.example/x.csv"


def test_certificate_that_is_not_accepted_is_final(server, options, out, monkeypatch):
    import requests

    calls = []

    def fail(*args, **kwargs):
        calls.append(args)
        cause = ssl.SSLCertVerificationError(1, f"certificate verify failed {VALUE}")
        cause.verify_message = "self-signed certificate"
        raise requests.exceptions.SSLError(f"https://h/?{SECRET}") from cause

    monkeypatch.setattr(requests.Session, "get", fail)
    with pytest.raises(DownloadError, match=r"not accepted \(self-signed certificate\)") as caught:
        download_files(lambda: server.url(scheme="https"), str(out), file_name=None, options=options)
    assert len(calls) == 1
    assert whole_chain(caught.value) == [caught.value]


def test_tls_to_a_plain_server(server, options, out):
    options = dataclasses.replace(options, max_resumes=0)
    with pytest.raises(DownloadError) as caught:
        download_files(lambda: server.url(scheme="https"), str(out), file_name=None, options=options)
    assert VALUE not in str(caught.value)
    assert server.requests == []


def test_verify_and_environment_bundle_reach_the_request(server, options, out, monkeypatch):
    import requests

    seen = []
    real = requests.Session.get

    def spy(self, url, **kwargs):
        seen.append((kwargs["verify"], self.trust_env))
        return real(self, url, **kwargs)

    monkeypatch.setattr(requests.Session, "get", spy)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/env/bundle.pem")
    for verify in (True, False, "/my/bundle.pem"):
        download_files(
            server.url, str(out), file_name=None, options=dataclasses.replace(options, verify=verify)
        )
    assert seen == [("/env/bundle.pem", False), (False, False), ("/my/bundle.pem", False)]


def test_url_that_is_no_url(out):
    with pytest.raises(DownloadError, match="gave no download URL"):
        download_files(lambda: None, str(out), file_name=None)  # type: ignore[arg-type, return-value]
    with pytest.raises(DownloadError, match="user-info") as caught:
        download_files(lambda: f"https://me:{VALUE}@h/x", str(out), file_name=None)
    assert whole_chain(caught.value) == [caught.value]
    assert VALUE not in str(caught.value)


def test_resolve_gives_all_addresses():
    assert "127.0.0.1" in ssrf.resolve("localhost", 80)
