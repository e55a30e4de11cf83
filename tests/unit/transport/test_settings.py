"""What a connection says, and what it must not say."""

from __future__ import annotations

import dataclasses
import logging
from types import SimpleNamespace

import pytest
from certifi import where

from stoq_provider.core.validation import InvalidInput
from stoq_provider.get_provider_info import CONN_FIELDS
from stoq_provider.systems.stoq.system import Stoq
from stoq_provider.transport.settings import EXTRA, ConnectionSettings, is_loopback, read_settings

from .conftest import STOQ

KEY = "stoq_api_key_0123456789abcdef"
BUNDLE = where()
DEFAULT = "https://app.stoqapp.com"


class Somewhere(Stoq):
    """A system that is found at no address by itself."""

    default_origin = None


def read(host=None, port=None, scheme=None, key=KEY, system=STOQ, **extra):
    connection = SimpleNamespace(host=host, port=port, schema=scheme, password=key, login=None)
    return read_settings(connection, extra, system, "tests/1")


@pytest.mark.parametrize(
    ("host", "port", "scheme", "origin"),
    [
        pytest.param(None, None, None, DEFAULT, id="empty"),
        pytest.param("", None, None, DEFAULT, id="empty text"),
        pytest.param("  ", None, "https", DEFAULT, id="blanks"),
        pytest.param("shop.example", None, None, "https://shop.example", id="bare"),
        pytest.param(" Shop.Example/ ", None, None, "https://shop.example", id="bare, untidy"),
        pytest.param("shop.example:8443", None, None, "https://shop.example:8443", id="bare with port"),
        pytest.param("shop.example", 8443, "https", "https://shop.example:8443", id="port field"),
        pytest.param("https://shop.example", None, None, "https://shop.example", id="URL"),
        pytest.param("HTTPS://shop.example/", None, None, "https://shop.example", id="URL, untidy"),
        pytest.param("https://shop.example", None, "http", "https://shop.example", id="URL wins over scheme"),
        pytest.param(
            "https://shop.example:1", 2, None, "https://shop.example:1", id="URL wins over port field"
        ),
        pytest.param(
            "https://shop.example/api/v2/external", None, None, "https://shop.example", id="base path"
        ),
        pytest.param(
            "https://shop.example/api/v2/external/", None, None, "https://shop.example", id="base path/"
        ),
        pytest.param(
            "shop.example/api/v2/external", None, None, "https://shop.example", id="bare, base path"
        ),
        pytest.param("localhost", 8080, None, "http://localhost:8080", id="loopback"),
        pytest.param("localhost", 8443, "https", "https://localhost:8443", id="loopback, https"),
        pytest.param("sandbox.localhost:1", None, None, "http://sandbox.localhost:1", id="below localhost"),
        pytest.param("http://127.0.0.1:8080", None, None, "http://127.0.0.1:8080", id="IPv4 loopback"),
        pytest.param("http://[::1]:8080", None, None, "http://[::1]:8080", id="IPv6 loopback"),
        pytest.param("[::1]", 8080, None, "http://[::1]:8080", id="IPv6 loopback, bare"),
        pytest.param("https://[2001:DB8::1]", None, None, "https://[2001:db8::1]", id="IPv6"),
    ],
)
def test_host(host, port, scheme, origin):
    assert read(host, port, scheme).origin == origin


@pytest.mark.parametrize(
    ("host", "scheme", "message"),
    [
        pytest.param("https://me:s3cret@shop.example", None, "without user", id="user and password"),
        pytest.param("https://s3cret@shop.example", None, "without user", id="user"),
        pytest.param("https://shop.example?token=s3cret", None, "query", id="query"),
        pytest.param("https://shop.example#s3cret", None, "fragment", id="fragment"),
        pytest.param("https://shop.example/api/v1", None, "has the path '/api/v1'", id="another path"),
        pytest.param("http://shop.example", None, "plain http", id="http"),
        pytest.param("shop.example", "http", "plain http", id="http in the scheme"),
        pytest.param("http://10.0.0.7", None, "plain http", id="http, private address"),
        pytest.param("http://localhost.evil.example", None, "plain http", id="http, nearly localhost"),
        pytest.param("http://0.0.0.0:80", None, "plain http", id="http, any address"),
        pytest.param("ftp://shop.example", None, "no http", id="another scheme"),
        pytest.param("shop.example", "s3", "no http", id="another scheme in the field"),
        pytest.param("https://", None, "no http", id="no host"),
        pytest.param("https://:8080", None, "no http", id="a port without host"),
        pytest.param("https://shop.example:99999", None, "host of the connection", id="no such port"),
        pytest.param("shop.example:s3cret", None, "host of the connection", id="a port that is none"),
        pytest.param("https://[::1", None, "host of the connection", id="broken brackets"),
        pytest.param("[s3cret", None, "host of the connection", id="broken brackets, bare"),
    ],
)
def test_what_is_no_host(host, scheme, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        read(host, scheme=scheme)
    assert "s3cret" not in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("host", ["http://shop.example:8080", "http://10.0.0.7:8080"])
def test_plain_http_when_asked_for(host):
    got = read(host, allow_http=True)
    assert (got.origin, got.allow_http, got.on_loopback) == (host, True, False)


def test_without_any_host():
    with pytest.raises(InvalidInput, match="no host"):
        read(system=Somewhere())


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (None, "no API key"),
        ("", "no API key"),
        (" \n ", "no API key"),
        ("s3cret\nX", "no header"),
        ("s3crét", "no header"),
        ("s3\x00", "no header"),
    ],
)
def test_what_is_no_key(key, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        read(key=key)
    assert "s3c" not in str(caught.value)


def test_blanks_around_the_key_do_not_count():
    assert read(key=f" {KEY}\n").key == KEY


EXTRAS = [
    ({}, "timeout", 30.0),
    ({"timeout": 5}, "timeout", 5.0),
    ({"timeout": "2.5"}, "timeout", 2.5),
    ({"timeout": None}, "timeout", 30.0),
    ({"timeout": ""}, "timeout", 30.0),
    ({}, "points_share", 0.8),
    ({"points_share": "0.5"}, "points_share", 0.5),
    ({"points_share": 1}, "points_share", 1.0),
    ({}, "verify", True),
    ({"verify": None}, "verify", True),
    ({"verify": "true"}, "verify", True),
    ({"verify": " "}, "verify", True),
    ({"verify": False}, "verify", False),
    ({"verify": "False"}, "verify", False),
    ({"verify": "0"}, "verify", False),
    ({"verify": "off"}, "verify", False),
    ({"verify": f" {BUNDLE} "}, "verify", BUNDLE),
    ({}, "allow_http", False),
    ({"allow_http": "yes"}, "allow_http", True),
    ({"allow_http": "false"}, "allow_http", False),
    ({"allow_http": None}, "allow_http", False),
    ({}, "proxy", None),
    ({"proxy": ""}, "proxy", None),
    ({"proxy": False}, "proxy", None),
    ({"proxy": "http://proxy:3128"}, "proxy", "http://proxy:3128"),
]


@pytest.mark.parametrize(("extra", "name", "value"), EXTRAS, ids=lambda v: str(v))
def test_extra(extra, name, value):
    got = getattr(read(**extra), name)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("timeout", value) for value in ("soon", 0, -1, "nan", "inf", 1e9, [], {}, "1,5")),
        *(("points_share", value) for value in ("soon", 0, 1.5)),
    ],
)
def test_a_number_that_is_none(name, value):
    with pytest.raises(InvalidInput, match=f"'{name}' in the connection's extra must be a number from"):
        read(**{name: value})


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (
            {"verify": "/no/such/ca.pem"},
            r"'verify' in the connection's extra is neither .*'/no/such/ca\.pem'",
        ),
        ({"verify": "disabled"}, "'verify' in the connection's extra is neither true nor false nor a bundle"),
        ({"verify": __file__}, "no certificate"),
        ({"proxy": "foo://me:s3cret@proxy:1"}, "has the scheme 'foo'"),
        ({"proxy": "socks4://me:s3cret@proxy:1"}, "has the scheme 'socks4'"),
        ({"proxy": "http://me:s3cret@"}, "no URL with a host"),
    ],
)
def test_what_no_request_could_be_sent_with(extra, words):
    with pytest.raises(InvalidInput, match=words) as caught:
        read(**extra)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [("REQUESTS_CA_BUNDLE", "/no/such/ca.pem"), ("HTTPS_PROXY", "foo://me:s3cret@proxy:1")]
)
def test_the_same_of_the_environment(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput, match="environment") as caught:
        read()
    assert "s3cret" not in str(caught.value)


@pytest.fixture
def warnings(caplog):
    def texts():
        return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]

    return texts


def test_keys_of_the_extra_without_effect_are_named_with_near_misses_and_without_values(warnings):
    read(time_out="s3cret-1", allow_htp="s3cret-2", sidecar={"token": "s3cret-3"}, timeout=5)
    (text,) = warnings()
    assert "no effect here: 'time_out' (did you mean 'timeout'?), 'allow_htp' (did you mean 'allow" in text
    assert ", 'sidecar'. Those that have: timeout, verify" in text
    assert "s3cret" not in text


def test_a_slip_is_told_where_the_connection_is_refused_because_of_it(warnings):
    with pytest.raises(InvalidInput, match="plain http"):
        read("http://shop.example", allow_htp=True)
    assert "did you mean 'allow_http'" in warnings()[0]


@pytest.mark.parametrize(
    "extra", [{}, dict.fromkeys(("timeout", "verify", "proxy", "points_share")), {"allow_private": True}]
)
def test_keys_that_are_read_are_not_warned_of(warnings, extra):
    read(**extra)
    assert warnings() == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://admin.shopify.com/store/eu/apps/x", True),
        ("http://127.0.0.1:7001", True),
        ("javascript:alert(1)", False),
        ("admin.shopify.com", False),
        ("https://me:s3cret@shop.example/", False),
        ("https://:s3cret@shop.example/", False),
        ("https://shop.example/?token=s3cret", False),
        ("https://[", False),
    ],
)
def test_an_admin_page_that_is_none_only_costs_the_link(warnings, given, kept):
    assert read(admin_url=given).admin_url == (given if kept else None)
    assert ["admin_url" in text for text in warnings()] == [True] * (not kept)
    assert "s3cret" not in str(warnings())


@pytest.mark.parametrize(("verify", "silent"), [(True, True), ("true", True), (False, False), ("off", False)])
def test_certificates_are_not_left_unchecked_in_silence(warnings, verify, silent):
    read(verify=verify)
    assert ["TLS certificates are not checked" in text for text in warnings()] == [True] * (not silent)
    assert KEY not in str(warnings())


def test_every_field_of_the_connection_forms_is_known():
    assert set(CONN_FIELDS) <= set(EXTRA)


def test_nothing_secret_in_a_repr():
    text = repr(read(proxy="http://me:s3cret@proxy:3128"))
    assert KEY not in text
    assert "s3cret" not in text
    assert DEFAULT in text


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        read().origin = "https://evil.example"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost.example", False),
        ("evil-localhost", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("127.0.0.1.example", False),
        ("", False),
    ],
)
def test_loopback(host, loopback):
    assert is_loopback(host) is loopback


def test_on_loopback():
    assert ConnectionSettings("http://[::1]:80", KEY).on_loopback
    assert not ConnectionSettings(DEFAULT, KEY).on_loopback
