"""The Test button of the connection's form: words for the person there, of all systems."""

from __future__ import annotations

import json
import socket
import threading

import pytest
import requests
import requests_mock

from stoq_provider.hooks.medusa import MedusaHook
from stoq_provider.hooks.printstudio import PrintStudioHook
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.hooks.surecart import SureCartHook

from .conftest import KEY

HOOKS = (StoqHook, MedusaHook, SureCartHook, PrintStudioHook)
GOOD = {
    "stoq": {"reports": [{"name": "revenue"}]},
    "medusa": {"batch_jobs": [], "count": 3},
    "surecart": {"data": []},
    "printstudio": {"orders": []},
}
TEMPORARY = "a1b2c3d4"
"""Airflow's Test button makes up an id."""


def tried(monkeypatch, cls, **fields) -> tuple[bool, str]:
    about = {"conn_type": cls.conn_type, "host": "https://shop.example", "password": KEY, "port": 0, **fields}
    monkeypatch.setenv(f"AIRFLOW_CONN_{TEMPORARY.upper()}", json.dumps(about))
    ok, text = cls(TEMPORARY).test_connection()
    for word in (TEMPORARY, "task", "retr", "remote job", "goes on", KEY):
        assert word not in text.lower()
    assert not text[0].islower()
    assert text.endswith(".")
    assert not text.endswith("..")
    return ok, text


@pytest.mark.parametrize("cls", HOOKS)
def test_a_good_connection_names_the_shop_and_the_points_left(monkeypatch, api, cls):
    headers = {"X-RateLimit-Limit": "360", "X-RateLimit-Remaining": "348"}
    api.get(requests_mock.ANY, json=GOOD[cls.conn_type], headers=headers)
    ok, text = tried(monkeypatch, cls)
    assert ok
    assert text.startswith(f"{cls.system.label} at https://shop.example accepted the key; 348 of 360 points")


RESPONSES = {
    "wrong key": ({"status_code": 401, "json": {"errors": ["No."]}}, "refused the key (HTTP 401: No."),
    "no right": ({"status_code": 403, "json": {"errors": ["No."]}}, "refused the key (HTTP 403: No."),
    "wrong host": ({"status_code": 404, "text": "<h1>Not found</h1>"}, "has no such API; is the host right?"),
    "a redirect": ({"status_code": 302, "headers": {"Location": "/login"}}, "not as its API does"),
    "a web page": ({"text": "<html>Welcome</html>"}, "not as its API does; is the host right?"),
    "down": ({"status_code": 503, "text": ""}, "is not available now (HTTP 503"),
    "no points": ({"status_code": 429, "headers": {"Retry-After": "60"}}, "has no points left for now"),
    "no address": ({"exc": requests.exceptions.ConnectTimeout("x")}, "can't be reached"),
    "broken": ({"exc": requests.exceptions.ReadTimeout("x")}, "gave no response (no response within 30 s)"),
}


@pytest.mark.parametrize("cls", HOOKS)
@pytest.mark.parametrize("what", RESPONSES)
def test_what_the_host_said_or_did_not(monkeypatch, api, cls, what):
    response, says = RESPONSES[what]
    api.get(requests_mock.ANY, **response)
    ok, text = tried(monkeypatch, cls)
    assert not ok
    assert text.startswith(f"{cls.system.label} at https://shop.example")
    assert says in text
    assert api.call_count == 1


@pytest.mark.parametrize("cls", HOOKS)
@pytest.mark.parametrize("listens", [False, True], ids=["nobody listens", "a server without TLS"])
def test_a_host_that_is_no_shop(monkeypatch, cls, listens):
    server = socket.create_server(("127.0.0.1", 0))
    origin = f"https://127.0.0.1:{server.getsockname()[1]}"
    if listens:
        threading.Thread(target=_speak_plainly, args=[server], daemon=True).start()
    else:
        server.close()
    ok, text = tried(monkeypatch, cls, host=origin)
    server.close()
    assert not ok
    assert text.startswith(f"{cls.system.label} at {origin} can't be reached (")


def _speak_plainly(server: socket.socket) -> None:
    connection, _ = server.accept()
    connection.recv(1)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    connection.close()


@pytest.mark.parametrize("cls", [StoqHook, MedusaHook, SureCartHook])
def test_another_api_is_not_taken_for_the_shop(monkeypatch, api, cls):
    api.get(requests_mock.ANY, json={"products": []})
    ok, text = tried(monkeypatch, cls)
    assert not ok
    assert "not as its API does; is the host right?" in text


@pytest.mark.parametrize("cls", HOOKS)
@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"password": ""}, "The connection has no API key"),
        ({"host": "http://shop.example"}, "plain http"),
        ({"host": "https://shop.example/admin"}, "only the origin belongs there"),
        ({"extra": '["x"]'}, "The extra of the connection must be a JSON object, not list"),
        ({"extra": {"verify": "/no/such/bundle.pem"}}, "/no/such/bundle.pem"),
        ({"extra": {"timeout": "soon"}}, "'timeout' in the connection's extra must be a number"),
        ({"extra": {"points_share": 2}}, "'points_share' in the connection's extra must be a number"),
    ],
)
def test_a_form_that_is_wrong_sends_nothing(monkeypatch, api, cls, fields, says):
    ok, text = tried(monkeypatch, cls, **fields)
    assert not ok
    assert says in text
    assert api.call_count == 0


def test_a_system_without_a_probe_has_its_settings_checked(monkeypatch, api):
    monkeypatch.setattr(StoqHook, "probe", None)
    assert tried(monkeypatch, StoqHook) == (
        True,
        "The settings are valid; nothing was sent to https://shop.example.",
    )
    assert api.call_count == 0


def test_a_login_that_is_refused(monkeypatch, api):
    api.post("https://shop.example/admin/auth/token", status_code=401, text="Unauthorized")
    ok, text = tried(monkeypatch, MedusaHook, login="a@shop.example")
    assert not ok
    assert "refused the key (HTTP 401: the login failed: HTTP 401: Unauthorized)" in text
