"""Worker, triggerer and downloads go the same way: one table, run by all three."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from stoq_provider.core.http import Request
from stoq_provider.core.validation import InvalidInput
from stoq_provider.transport import route
from stoq_provider.transport.client_pool import make_client
from stoq_provider.transport.route import Route, find_route
from tests.certificates import self_signed, serving

from .conftest import settings
from .drivers import Download, Triggerer, Worker
from .silence import PATIENCE

DRIVERS = pytest.mark.parametrize("driver", [Worker, Triggerer, Download])
PROXY = "http://127.0.0.1:{proxy}"

# id, environment, extra, whether it goes through the proxy; {proxy} and {shop} are ports
WAYS = [
    ("nothing is set", {}, {}, False),
    ("a proxy", {"HTTP_PROXY": PROXY}, {}, True),
    ("in lower case", {"http_proxy": PROXY, "HTTP_PROXY": "http://127.0.0.1:1"}, {}, True),
    ("without a scheme", {"HTTP_PROXY": "127.0.0.1:{proxy}"}, {}, True),
    ("for all schemes", {"ALL_PROXY": PROXY}, {}, True),
    ("for the other scheme", {"HTTPS_PROXY": PROXY}, {}, False),
    ("an address and IPv6 networks", {"HTTP_PROXY": PROXY, "NO_PROXY": "127.0.0.1,fe80::/10"}, {}, False),
    ("an IPv6 address in brackets", {"HTTP_PROXY": PROXY, "NO_PROXY": "[::1]"}, {}, True),
    ("SOCKS for others", {"ALL_PROXY": "socks5h://127.0.0.1:1", "NO_PROXY": "127.0.0.1"}, {}, False),
    ("an unknown one for others", {"ALL_PROXY": "foo://127.0.0.1:1", "NO_PROXY": "127.0.0.1"}, {}, False),
    ("a network", {"HTTP_PROXY": PROXY, "NO_PROXY": "127.0.0.0/8"}, {}, False),
    ("another network", {"HTTP_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, {}, True),
    ("no network", {"HTTP_PROXY": PROXY, "NO_PROXY": "127.0.0.0/99"}, {}, True),
    ("a wildcard", {"HTTP_PROXY": PROXY, "NO_PROXY": "*"}, {}, False),
    ("a part of the name", {"HTTP_PROXY": PROXY, "NO_PROXY": "27.0.0.1"}, {}, True),
    ("a wildcard of names", {"HTTP_PROXY": PROXY, "NO_PROXY": "*.example"}, {}, True),
    ("blanks", {"HTTP_PROXY": PROXY, "NO_PROXY": " a.example , 127.0.0.1 "}, {}, False),
    ("empty", {"HTTP_PROXY": PROXY, "NO_PROXY": ""}, {}, True),
    ("in lower case too", {"HTTP_PROXY": PROXY, "no_proxy": "127.0.0.1"}, {}, False),
    ("of the connection", {}, {"proxy": PROXY}, True),
    ("of the connection, without a scheme", {}, {"proxy": "localhost:{proxy}"}, True),
    ("of the connection, whatever else", {"NO_PROXY": "*"}, {"proxy": PROXY}, True),
    ("of the connection, and another", {"HTTP_PROXY": "http://127.0.0.1:1"}, {"proxy": PROXY}, True),
]


@DRIVERS
@pytest.mark.parametrize(("env", "extra", "proxied"), [way[1:] for way in WAYS], ids=[way[0] for way in WAYS])
def test_the_way(raw_server, monkeypatch, driver, env, extra, proxied):
    shop, proxy = raw_server("ok"), raw_server("ok")
    ports = {"proxy": port(proxy), "shop": port(shop)}
    for name, value in env.items():
        monkeypatch.setenv(name, value.format(**ports))
    extra = {name: value.format(**ports) for name, value in extra.items()}
    given = settings(shop.origin, timeout=PATIENCE, **extra)
    assert driver(given).send(Request("GET", f"{shop.origin}/x")) == [None]
    assert (len(proxy.heads), len(shop.heads)) == ((1, 0) if proxied else (0, 1))
    assert (find_route(shop.origin, given.verify, given.proxy).proxy is not None) == proxied


@DRIVERS
@pytest.mark.parametrize("entry", ["localhost:{shop}", "localhost", ".localhost"])
def test_names_without_a_proxy_may_have_a_port(raw_server, monkeypatch, driver, entry):
    shop, proxy = raw_server("ok"), raw_server("ok")
    monkeypatch.setenv("HTTP_PROXY", proxy.origin)
    monkeypatch.setenv("NO_PROXY", entry.format(shop=port(shop)))
    origin = f"http://localhost:{port(shop)}"
    assert driver(settings(origin, timeout=PATIENCE)).send(Request("GET", f"{origin}/x")) == [None]
    assert (len(proxy.heads), len(shop.heads)) == (0, 1)


@DRIVERS
@pytest.mark.parametrize("where", ["environment", "connection"])
def test_the_credentials_of_a_proxy_go_to_the_proxy_and_a_netrc_is_not_asked(
    raw_server, monkeypatch, tmp_path, driver, where
):
    proxy = raw_server("ok")
    (tmp_path / "netrc").write_text("default login me password fr0m-netrc\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    url = proxy.origin.replace("http://", "http://me:p%40ss%2F@")
    if where == "environment":
        monkeypatch.setenv("HTTP_PROXY", url)
    given = settings(
        "http://shop.test", timeout=PATIENCE, **({"proxy": url} if where == "connection" else {})
    )
    assert driver(given).send(Request("GET", "http://shop.test/x")) == [None]
    (head,) = proxy.heads
    assert re.findall(rb"(?i)authorization: *basic (\S+)", head) == [base64.b64encode(b"me:p@ss/")]


# -- what is no proxy -----------------------------------------------------------------------------------

NO_PROXIES = [
    ("foo://me:s3cret@127.0.0.1:1", "has the scheme 'foo'; known are http, https, socks5, socks5h"),
    ("socks4://127.0.0.1:1", "has the scheme 'socks4'"),
    ("ftp://127.0.0.1:1", "has the scheme 'ftp'"),
    ("http://", "is no URL with a host"),
    ("http:///s3cret", "is no URL with a host"),
    ("http://me:s3cret@", "is no URL with a host"),
    ("http://me:s3cret@proxy:port", "is no URL with a host"),
    ("http://me:s3cret@proxy:99999", "is no URL with a host"),
    ("http://me:12/s3cret@proxy:1", "is no URL with a host"),
    ("me:12#s3cret@proxy:1", "is no URL with a host"),
    ("me:12?s3cret@proxy:1", "is no URL with a host"),
    ("http://[::1", "is no URL with a host"),
    ("http://me:s3cret@pro xy:1", "is no URL with a host"),
    ("socks5://me:s3cret@127.0.0.1:1", r"airflow-provider-stoq\[socks\]"),
    ("socks5h://127.0.0.1:1", "PySocks and socksio must be installed"),
]


@pytest.mark.parametrize("where", ["environment", "connection"])
@pytest.mark.parametrize(("proxy", "words"), NO_PROXIES, ids=[proxy for proxy, _ in NO_PROXIES])
def test_what_is_no_proxy(monkeypatch, where, proxy, words):
    monkeypatch.setattr(route, "find_spec", lambda name: None)
    if where == "environment":
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(InvalidInput, match=words) as caught:
        find_route("https://shop.test/x", proxy=proxy if where == "connection" else None)
    assert "s3cret" not in str(caught.value)
    assert ("connection's extra" in str(caught.value)) == (where == "connection")


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_with_its_packages(monkeypatch, scheme):
    monkeypatch.setattr(route, "find_spec", lambda name: True)
    assert find_route("https://shop.test", proxy=f"{scheme}://p:1").proxy == f"{scheme}://p:1"


def test_the_credentials_of_a_proxy_are_in_no_repr():
    way = Route(True, "http://me:s3cret@proxy:3128")
    assert way.through == " through the proxy http://proxy:3128"
    assert "s3cret" not in repr(way)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_client_can_be_made_for_each_kind_of_proxy(scheme):
    assert make_client(settings(proxy=f"{scheme}://me:s3cret@proxy:1"))


# -- authorities ----------------------------------------------------------------------------------------


class TlsShop:
    """Responds to every request over TLS."""

    def __init__(self, raw, certificate: str) -> None:
        self.raw = raw
        self.origin = f"https://localhost:{port(raw)}"
        self.context = serving(certificate)
        take = raw._take

        def over_tls(connection):
            with suppress(OSError), self.context.wrap_socket(connection, server_side=True) as tls:
                take(tls)

        raw._take = over_tls


@pytest.fixture
def certificate(tmp_path):
    return self_signed(tmp_path / "shop.pem", "localhost")


@pytest.fixture
def shop(raw_server, certificate):
    return TlsShop(raw_server("ok"), certificate)


@pytest.fixture
def other(tmp_path):
    return self_signed(tmp_path / "other.pem", "localhost")


# id, environment, extra, whether the certificate is accepted
BUNDLES = [
    ("none", {}, {}, False),
    ("of the connection", {}, {"verify": "right"}, True),
    ("not checked", {}, {"verify": False}, True),
    ("of requests", {"REQUESTS_CA_BUNDLE": "right"}, {}, True),
    ("of curl", {"CURL_CA_BUNDLE": "right"}, {}, True),
    ("of OpenSSL", {"SSL_CERT_FILE": "right"}, {}, True),
    ("a folder of OpenSSL", {"SSL_CERT_DIR": "folder"}, {}, False),
    ("the first counts", {"REQUESTS_CA_BUNDLE": "other", "SSL_CERT_FILE": "right"}, {}, False),
    ("empty is not set", {"REQUESTS_CA_BUNDLE": "", "SSL_CERT_FILE": "right"}, {}, True),
    ("of the connection, and others", {"REQUESTS_CA_BUNDLE": "other"}, {"verify": "right"}, True),
    ("another of the connection", {"REQUESTS_CA_BUNDLE": "right"}, {"verify": "other"}, False),
    ("not checked, and others", {"REQUESTS_CA_BUNDLE": "other"}, {"verify": False}, True),
    ("a folder", {}, {"verify": "folder"}, True),
    ("a folder of the environment", {"REQUESTS_CA_BUNDLE": "folder"}, {}, True),
]


@DRIVERS
@pytest.mark.parametrize(("env", "extra", "accepted"), [b[1:] for b in BUNDLES], ids=[b[0] for b in BUNDLES])
def test_authorities(shop, certificate, other, tmp_path, monkeypatch, driver, env, extra, accepted):
    paths = {"right": certificate, "other": other, "folder": str(tmp_path / "folder")}
    if "folder" in (*env.values(), *extra.values()):
        fill_folder(Path(paths["folder"]), certificate)
    for name, value in env.items():
        monkeypatch.setenv(name, paths.get(value, value))
    extra = {name: paths.get(value, value) for name, value in extra.items()}
    given = settings(shop.origin, timeout=PATIENCE, **extra)
    (problem,) = driver(given).send(Request("GET", f"{shop.origin}/x"))
    assert (problem is None) == accepted, problem
    assert len(shop.raw.heads) == accepted


@DRIVERS
@pytest.mark.parametrize("where", ["environment", "connection"])
def test_a_renewed_bundle_is_seen_by_who_is_at_work(
    shop, certificate, other, tmp_path, monkeypatch, driver, where
):
    bundle = tmp_path / "bundle.pem"
    shutil.copy(other, bundle)
    if where == "environment":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    given = settings(
        shop.origin, timeout=PATIENCE, **({"verify": str(bundle)} if where == "connection" else {})
    )

    def renew(number):
        if number == 1:
            bundle.write_text("half of a bun")
        elif number == 2:
            Path(shutil.copy(certificate, tmp_path / "new.pem")).replace(bundle)

    problems = driver(given).send(*[Request("GET", f"{shop.origin}/x")] * 4, before=renew)
    assert [problem is None for problem in problems][:2] == [False, False]
    assert problems[3] is None


def test_a_renewed_bundle_is_seen_by_the_next_client(shop, certificate, other, tmp_path):
    bundle = tmp_path / "bundle.pem"
    given = settings(shop.origin, timeout=PATIENCE, verify=str(bundle))
    for content, accepted in ((other, False), (certificate, True), (other, False)):
        shutil.copy(content, bundle)
        (problem,) = Triggerer(given).send(Request("GET", f"{shop.origin}/x"))
        assert (problem is None) == accepted


@pytest.mark.parametrize("name", [*route.BUNDLES, "connection"])
@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "no such file or directory"), ("", "no certificate"), ("no PEM", "no certificate")],
)
def test_what_is_no_bundle(monkeypatch, tmp_path, name, content, words):
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    if name != "connection":
        monkeypatch.setenv(name, str(bundle))
    verify = find_route("https://shop.test", str(bundle) if name == "connection" else True).verify
    with pytest.raises(InvalidInput, match=words) as caught:
        route.tls_context(verify)
    named = "'verify' in the connection's extra" if name == "connection" else f"{name} of the environment"
    assert str(caught.value).startswith(f"{named} is neither")


def test_one_context_serves_all_until_the_bundle_is_renewed(certificate, other):
    first = route.tls_context(certificate)
    assert route.tls_context(certificate) is first
    shutil.copy(other, certificate)
    assert route.tls_context(certificate) is not first


def fill_folder(folder: Path, certificate: str) -> None:
    """Put a certificate where OpenSSL looks for it."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to hash the subject")
    shown = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", certificate],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    folder.mkdir()
    shutil.copy(certificate, folder / f"{shown.stdout.strip()}.0")


def port(server) -> int:
    return int(server.origin.rpartition(":")[2])
