"""What the hook lets a download do: only what its connection allows."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import airflow
import pytest
from certifi import where

from stoq_provider import __version__
from stoq_provider.core.models import JobHandle
from stoq_provider.download import ssrf
from stoq_provider.exceptions import DownloadError, VerificationError
from stoq_provider.hooks.medusa import MedusaHook
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.jobs.files import store_result
from tests.unit.hooks.conftest import API, CONN, KEY

PUBLIC = "93.184.215.14"
FILE = "https://files.example/exports/x.csv?X-Amz-Signature=5ecre7"
HANDLE = JobHandle("stoq", "export:revenue", "exp_1", f"{API}/preorders/reports/exports/exp_1")
BODY = b"id\n1\n2\n"
BUNDLE = where()
PROXY = "http://proxy.example:3128"


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """Neither name servers nor proxies nor authorities of this machine have a say."""
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    for name in (*names, *map(str.lower, names), "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    known = {"files.example": PUBLIC, "inside.example": "10.20.30.40", "localhost": "127.0.0.1"}
    monkeypatch.setattr(ssrf, "resolve", lambda host, port: [known.get(host, host.strip("[]"))])


@pytest.fixture
def store(monkeypatch, api, tmp_path):
    """Stores the file of a job, which is at ``url``; more keys are those of the connection's extra."""

    def run(url=FILE, *, host=None, **extra):
        connection = {"conn_type": "stoq", "password": KEY, "host": host, "extra": extra}
        monkeypatch.setenv(CONN, json.dumps(connection))
        handle = HANDLE
        if host:
            handle = JobHandle("stoq", HANDLE.kind, "exp_1", HANDLE.status_url.replace(origin_of(API), host))
        job = {"job_id": "exp_1", "status": "ready", "row_count": 2, "download_url": url}
        api.get(handle.status_url, json=job)
        api.get(url, content=BODY, headers={"Content-Length": str(len(BODY))})
        return store_result(StoqHook(), handle, f"{tmp_path}/lake/")

    return run


def origin_of(url):
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def asked_for_files(api):
    return [request for request in api.request_history if "/exports/exp_1" not in request.path]


def files(tmp_path):
    return [path for path in (tmp_path / "lake").rglob("*") if path.is_file()]


def test_a_file_at_a_public_https_address_is_stored(store, api, tmp_path):
    stored = store()
    assert (stored.rows, stored.bytes) == (2, len(BODY))
    (path,) = files(tmp_path)
    assert path.read_bytes() == BODY
    (request,) = asked_for_files(api)
    assert "x-auth-token" not in request.headers
    assert KEY not in str(request.headers)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://files.example/x.csv", "plain http to files.example is not allowed"),
        (f"http://{PUBLIC}/x.csv", "plain http"),
        ("http://127.0.0.1:8080/x.csv", "plain http"),
        ("http://localhost/x.csv", "plain http"),
        ("https://127.0.0.1:8443/x.csv", "the worker itself"),
        ("https://localhost/x.csv", "the worker itself"),
        ("https://[::1]/x.csv", "the worker itself"),
        ("https://inside.example/x.csv", "private"),
        ("https://192.168.1.1/x.csv", "private"),
        ("https://169.254.1.1/x.csv", "private"),
        ("https://169.254.169.254/latest", "metadata"),
    ],
)
@pytest.mark.parametrize("host", [None, "https://shop.example"])
def test_an_https_connection_asks_no_unsafe_address(store, api, tmp_path, url, words, host):
    with pytest.raises(DownloadError, match=words) as caught:
        store(url, host=host)
    assert asked_for_files(api) == []
    assert files(tmp_path) == []
    assert caught.value.job_id == "exp_1"
    assert "submits nothing" in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/x.csv", "https://localhost/x.csv"])
def test_a_connection_to_loopback_leads_to_loopback(store, url):
    assert store(url, host="http://127.0.0.1:9000").rows == 2


@pytest.mark.parametrize(
    ("url", "words"), [("http://files.example/x.csv", "plain http"), ("https://10.0.0.1/x.csv", "private")]
)
def test_a_connection_to_loopback_leads_nowhere_else(store, api, url, words):
    with pytest.raises(DownloadError, match=words):
        store(url, host="http://127.0.0.1:9000")
    assert asked_for_files(api) == []


@pytest.mark.parametrize("url", ["http://files.example/x.csv", "http://10.0.0.1/x.csv"])
def test_allow_http_of_the_connection_holds_for_its_files(store, url):
    assert store(url, host="http://shop.example", allow_http=True).rows == 2


def test_allow_http_opens_no_way_to_loopback(store, api):
    with pytest.raises(DownloadError, match="the worker itself"):
        store("http://127.0.0.1/x.csv", host="http://shop.example", allow_http=True)
    assert asked_for_files(api) == []


@pytest.mark.parametrize("verify", [True, False, BUNDLE])
def test_verify_of_the_connection_holds_for_its_files(store, api, verify):
    store(verify=verify)
    (request,) = asked_for_files(api)
    assert request.verify == verify


def test_the_store_is_told_the_versions_of_package_and_airflow(store, api):
    store()
    (request,) = asked_for_files(api)
    assert request.headers["User-Agent"].startswith(
        f"airflow-provider-stoq/{__version__} apache-airflow/{airflow.__version__}"
    )


def test_proxy_of_the_connection_is_that_of_its_files(store, api, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://other.example:1")
    store(proxy=PROXY)
    (request,) = asked_for_files(api)
    assert request.proxies["https"] == PROXY


def test_without_a_proxy_of_its_own_that_of_the_environment_counts(store, api, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://other.example:1")
    store()
    (request,) = asked_for_files(api)
    assert request.proxies["https"] == "http://other.example:1"


# -- the size that a job announces ----------------------------------------------------------------------

MEDUSA = "https://medusa.example"


@pytest.fixture
def medusa(monkeypatch, api, tmp_path):
    """Stores the file of an export that announces a size."""
    connection = {"conn_type": "medusa", "host": MEDUSA, "password": "medusa-api-token-0123456789"}
    monkeypatch.setenv("AIRFLOW_CONN_MEDUSA_DEFAULT", json.dumps(connection))

    def run(size):
        result = {"file_key": "exports/x.csv", "file_size": size}
        job = {"id": "batch_1", "status": "completed", "result": result}
        api.get(f"{MEDUSA}/admin/batch-jobs/batch_1", json={"batch_job": job})
        api.post(f"{MEDUSA}/admin/uploads/download-url", json={"download_url": FILE})
        api.get(FILE, content=BODY, headers={"Content-Length": str(len(BODY))})
        handle = JobHandle("medusa", "product-export", "batch_1", f"{MEDUSA}/admin/batch-jobs/batch_1")
        return store_result(MedusaHook(), handle, f"{tmp_path}/lake/")

    return run


@pytest.mark.parametrize("size", [len(BODY) - 1, len(BODY) + 1, 0])
def test_a_file_of_another_size_than_its_job_announced_is_not_stored(medusa, tmp_path, size):
    with pytest.raises(VerificationError, match=f"announced a file of {size} bytes, but {len(BODY)} arrived"):
        medusa(size)
    assert files(tmp_path) == []


@pytest.mark.parametrize("size", [len(BODY), None])
def test_a_file_of_the_size_that_its_job_announced_is_stored(medusa, tmp_path, size):
    assert medusa(size).bytes == len(BODY)
    assert len(files(tmp_path)) == 1
