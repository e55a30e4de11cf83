"""What a connection may say, in each of the forms in which Airflow takes one."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from urllib.parse import quote

import airflow
import pytest
from certifi import where

from stoq_provider.exceptions import ValidationRejected
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.jobs.config import _MASKERS

from .conftest import CONN, KEY

BUNDLE = where()


def connect(monkeypatch, **fields) -> StoqHook:
    monkeypatch.setenv(CONN, json.dumps({"conn_type": "stoq", "password": KEY, **fields}))
    return StoqHook()


def test_only_the_key_is_needed(monkeypatch):
    settings = connect(monkeypatch).settings
    assert settings.origin == "https://app.stoqapp.com"
    assert (settings.key, settings.timeout, settings.verify) == (KEY, 30.0, True)
    assert (settings.proxy, settings.allow_http, settings.points_share) == (None, False, 0.8)
    assert settings.user_agent.startswith("airflow-provider-stoq/")
    assert KEY not in repr(settings)


@pytest.mark.parametrize(
    "uri",
    [
        f"stoq://:{KEY}@",
        f"stoq://:{KEY}@app.stoqapp.com",
        f"stoq://:{KEY}@app.stoqapp.com/https",
        f"stoq://:{KEY}@app.stoqapp.com:443/https",
    ],
)
def test_from_a_uri(monkeypatch, uri):
    monkeypatch.setenv(CONN, uri)
    settings = StoqHook().settings
    assert settings.origin.removesuffix(":443") == "https://app.stoqapp.com"
    assert settings.key == KEY


def test_from_a_uri_with_extra(monkeypatch):
    extra = quote(json.dumps({"timeout": 5, "points_share": 0.5}), safe="")
    monkeypatch.setenv(CONN, f"stoq://:{KEY}@?__extra__={extra}")
    settings = StoqHook().settings
    assert (settings.timeout, settings.points_share) == (5.0, 0.5)


@pytest.mark.parametrize(
    ("fields", "origin"),
    [
        ({"host": "https://app.stoqapp.com/"}, "https://app.stoqapp.com"),
        ({"host": "https://app.stoqapp.com/api/v2/external"}, "https://app.stoqapp.com"),
        ({"host": "shop.example"}, "https://shop.example"),
        ({"host": "shop.example", "port": 8443}, "https://shop.example:8443"),
        # So Airflow's Test button posts a form without a port.
        ({"host": "shop.example", "port": 0}, "https://shop.example"),
        ({"host": "https://shop.example", "port": 0}, "https://shop.example"),
        ({"host": "", "port": 0}, "https://app.stoqapp.com"),
        ({"host": "localhost", "port": 8080}, "http://localhost:8080"),
        ({"host": "http://127.0.0.1:9000"}, "http://127.0.0.1:9000"),
        ({"host": "http://[::1]:9000"}, "http://[::1]:9000"),
        ({"host": "http://test.example", "extra": {"allow_http": True}}, "http://test.example"),
        ({"host": "http://test.example", "extra": {"allow_http": "true"}}, "http://test.example"),
        ({"host": ""}, "https://app.stoqapp.com"),
    ],
)
def test_host(monkeypatch, fields, origin):
    assert connect(monkeypatch, **fields).settings.origin == origin


@pytest.mark.parametrize(
    ("extra", "name", "value"),
    [
        ({"timeout": "12.5"}, "timeout", 12.5),
        ({"timeout": ""}, "timeout", 30.0),
        ({"timeout": None}, "timeout", 30.0),
        ({"verify": "false"}, "verify", False),
        ({"verify": False}, "verify", False),
        ({"verify": "true"}, "verify", True),
        ({"verify": ""}, "verify", True),
        ({"verify": None}, "verify", True),
        ({"verify": BUNDLE}, "verify", BUNDLE),
        ({"proxy": "http://proxy:3128"}, "proxy", "http://proxy:3128"),
        ({"proxy": ""}, "proxy", None),
        ({"allow_http": "no"}, "allow_http", False),
        ({"points_share": 1}, "points_share", 1.0),
    ],
)
def test_extra(monkeypatch, extra, name, value):
    assert getattr(connect(monkeypatch, extra=extra).settings, name) == value


FOUND = pytest.mark.skipif(
    airflow.__version__.startswith(("3.0.", "3.1.")),
    reason="this Airflow finds no connection with such an extra",
)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"password": ""}, "no API key"),
        ({"password": None}, "no API key"),
        ({"password": "  "}, "no API key"),
        ({"password": "a\u20acb"}, "characters that no header can carry"),
        ({"host": "http://test.example"}, "plain http"),
        ({"host": "ftp://test.example"}, "no http"),
        ({"host": "https://user:pw@test.example"}, "must be an origin"),
        ({"host": "https://test.example/?a=b"}, "must be an origin"),
        ({"host": "https://test.example/path"}, "only the origin"),
        ({"extra": {"timeout": 0}}, "'timeout'"),
        pytest.param({"extra": '["timeout"]'}, "must be a JSON object, not list", marks=FOUND),
        pytest.param({"extra": "7"}, "must be a JSON object, not int", marks=FOUND),
        ({"extra": {"timeout": "soon"}}, "'timeout'"),
        ({"extra": {"points_share": 2}}, "'points_share'"),
        ({"extra": {"verify": "/no/such/ca.pem"}}, "'verify'"),
        ({"extra": {"proxy": "foo://me:pw@proxy"}}, "the scheme 'foo'"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_sent(monkeypatch, fields, words):
    hook = connect(monkeypatch, **fields)
    with pytest.raises(ValidationRejected, match=words) as caught:
        _ = hook.settings
    assert "Nothing was sent; the connection is 'stoq_default'" in str(caught.value)
    assert KEY not in str(caught.value)
    assert "pw@" not in str(caught.value)


def test_a_connection_that_does_not_exist_is_airflows_own_error():
    with pytest.raises(Exception, match="no_such_conn"):
        _ = StoqHook("no_such_conn").settings
    assert StoqHook("no_such_conn").test_connection()[0] is False


def test_the_triggers_way_to_the_connection_gives_the_same(monkeypatch):
    hook = connect(monkeypatch, host="shop.example", extra={"timeout": 5, "points_share": 0.3})
    assert asyncio.run(StoqHook().asettings()) == hook.settings


def test_session_carries_tls_and_proxy_settings(monkeypatch):
    session = connect(monkeypatch, extra={"verify": BUNDLE, "proxy": "http://proxy:1"}).get_conn()
    given = session.merge_environment_settings("https://app.stoqapp.com/x", {}, None, None, None)
    assert given["verify"] == BUNDLE
    assert given["proxies"] == {"http": "http://proxy:1", "https": "http://proxy:1"}
    assert session.trust_env is False
    assert KEY not in str(vars(session))


def test_what_a_caller_of_the_session_says_counts(monkeypatch):
    session = connect(monkeypatch, extra={"verify": BUNDLE, "proxy": "http://proxy:1"}).get_conn()
    mine = {"https": "http://mine:1"}
    given = session.merge_environment_settings("https://app.stoqapp.com/x", mine, None, False, None)
    assert (given["verify"], given["proxies"]) == (False, mine)


def test_the_password_of_a_proxy_is_masked_in_logs(monkeypatch):
    masked = []
    for module in _MASKERS:
        with suppress(ImportError, AttributeError):  # another version's
            monkeypatch.setattr(f"{module}.mask_secret", masked.append)
    hook = connect(monkeypatch, extra={"proxy": "http://me:p%40ss-w0rd@proxy:1"})
    assert hook.settings.proxy == "http://me:p%40ss-w0rd@proxy:1"
    assert {"p%40ss-w0rd", "p@ss-w0rd"} <= {secret for secret in masked if isinstance(secret, str)}


def test_get_conn_is_one_session_and_close_ends_it(monkeypatch):
    hook = connect(monkeypatch)
    hook.close()  # nothing is open yet
    assert hook.get_conn() is hook.get_conn()
    closed = []
    monkeypatch.setattr(hook.get_conn(), "close", lambda: closed.append(True))
    hook.close()
    assert closed == [True]
