"""``StoqHook.request``: what goes out, and the typed error of everything that may come back."""

from __future__ import annotations

import pickle

import pytest
import requests
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from stoq_provider.exceptions import (
    ActionRejected,
    AuthenticationError,
    ProtocolError,
    RateLimited,
    ServiceUnavailable,
    StoqProviderError,
    ValidationRejected,
)
from stoq_provider.hooks.stoq import StoqHook

from .conftest import API, KEY

REFUSED = (400, 401, 403, 404, 409, 422)
HTML = "<html><head><title>Bad</title><style>x{}</style></head><body>Bad <b>gateway</b></body></html>"
ANSWERS = [
    pytest.param({"status_code": 400, "json": {"errors": ["no"]}}, ValidationRejected, "no", id="400"),
    pytest.param(
        {"status_code": 401, "json": {"errors": ["Unauthorized"]}}, AuthenticationError, "Unauth", id="401"
    ),
    pytest.param(
        {"status_code": 403, "json": {"error": "Forbidden"}}, AuthenticationError, "Forbidden", id="403"
    ),
    pytest.param({"status_code": 404, "json": {"errors": ["gone"]}}, ValidationRejected, "gone", id="404"),
    pytest.param({"status_code": 409, "json": {"errors": ["busy"]}}, ActionRejected, "busy", id="409"),
    pytest.param(
        {"status_code": 422, "json": {"errors": ["a is bad", "b too"]}},
        ValidationRejected,
        "a is bad; b too",
        id="422",
    ),
    pytest.param({"status_code": 500, "json": {"errors": ["oops"]}}, ServiceUnavailable, "oops", id="500"),
    pytest.param({"status_code": 502, "text": HTML}, ServiceUnavailable, "Bad gateway", id="502-html"),
    pytest.param({"status_code": 503, "text": ""}, ServiceUnavailable, "unavailable", id="503-empty"),
    pytest.param({"status_code": 200, "text": HTML}, ProtocolError, "not JSON", id="200-html"),
    pytest.param({"status_code": 200, "text": ""}, ProtocolError, "body is empty", id="200-empty"),
    pytest.param({"status_code": 202, "text": '{"job_id": "exp'}, ProtocolError, "not JSON", id="202-cut"),
    pytest.param({"status_code": 204, "text": ""}, ProtocolError, "body is empty", id="204"),
    pytest.param(
        {"status_code": 302, "headers": {"Location": "https://evil.example/"}},
        ProtocolError,
        "redirects are not followed",
        id="302",
    ),
    pytest.param({"exc": requests.ConnectTimeout}, ServiceUnavailable, "came about: timed out", id="connect"),
    pytest.param({"exc": requests.ReadTimeout}, ServiceUnavailable, "no response within 30 s", id="timeout"),
    pytest.param({"exc": requests.ConnectionError("x")}, ServiceUnavailable, "connection broke", id="reset"),
    pytest.param(
        {"exc": requests.exceptions.ChunkedEncodingError("x")},
        ServiceUnavailable,
        "connection broke",
        id="chunks",
    ),
]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("answer", "error", "words"), ANSWERS)
def test_typed_error_with_the_servers_words_and_never_the_key(hook, api, method, answer, error, words):
    api.request(method, f"{API}/things", **answer)
    with pytest.raises(error) as caught:
        hook.request(method, "/things", params={"q": "secret-query"})
    raised = caught.value
    assert type(raised) is error
    assert words in str(raised)
    assert f"{method} /api/v2/external/things at STOQ" in str(raised)
    assert "secret-query" not in str(raised)
    assert KEY not in f"{raised} {raised!r} {raised.details()}"
    assert raised.http_status == answer.get("status_code")
    assert raised.system == "stoq"
    assert isinstance(raised, AirflowException)
    fate = str(raised)
    if method == "GET":
        assert "nothing was changed" in fate
        retried = not isinstance(raised, AirflowFailException)
        assert ("a retry reads again" if retried else "The task is not retried") in fate
    elif answer.get("exc") is requests.ConnectTimeout:
        assert "It was not sent; a retry sends it again" in fate
    elif answer.get("status_code") in REFUSED:
        assert "It did not take effect" in fate
    else:
        assert "Whether it took effect is unknown; it was not sent again" in fate


@pytest.mark.parametrize(
    ("answer", "sent_get", "sent_post"),
    [
        ({"status_code": 500}, 4, 1),
        ({"status_code": 422, "json": {"errors": ["x"]}}, 1, 1),
        ({"status_code": 401, "json": {"errors": ["x"]}}, 1, 1),
        ({"exc": requests.ReadTimeout}, 4, 1),
        ({"exc": requests.ConnectTimeout}, 4, 4),
        ({"status_code": 200, "text": "<html>"}, 4, 1),
        ({"status_code": 200, "text": ""}, 4, 1),
        ({"status_code": 200, "text": '{"a": '}, 4, 1),
        ({"status_code": 302, "text": ""}, 1, 1),
    ],
)
def test_a_read_is_sent_again_and_a_write_only_where_it_surely_did_nothing(
    hook, api, answer, sent_get, sent_post
):
    api.request("GET", f"{API}/x", **answer)
    api.request("POST", f"{API}/y", **answer)
    with pytest.raises(StoqProviderError):
        hook.request("GET", "/x")
    assert api.call_count == sent_get
    with pytest.raises(StoqProviderError):
        hook.request("POST", "/y")
    assert api.call_count == sent_get + sent_post


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_429_is_waited_out_as_told(hook, api, method):
    api.request(
        method,
        f"{API}/x",
        [
            {"status_code": 429, "headers": {"Retry-After": "7"}, "json": {"error": "Rate limit exceeded"}},
            {"status_code": 200, "json": {"ok": 1}},
        ],
    )
    assert hook.request(method, "/x") == {"ok": 1}
    assert api.call_count == 2
    assert max(hook.waits) >= 7


def test_429_for_longer_than_one_may_wait_is_an_error(hook, api):
    body = {"error": "Rate limit exceeded", "message": "Slow down", "retry_after": 3000}
    api.get(f"{API}/x", status_code=429, json=body)
    with pytest.raises(RateLimited, match="Rate limit exceeded; Slow down") as caught:
        hook.request("GET", "/x")
    assert not isinstance(caught.value, AirflowFailException)
    assert caught.value.retry_after == 3000
    assert api.call_count == 1


def test_the_request_carries_key_agent_query_and_body(hook, api, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "nightly/exp\u00f6rt")
    hook = StoqHook()
    api.post(f"{API}/things", json={"ok": True})
    params = {"state": "placed", "ids": [1, 2], "flag": True, "none": None}
    assert hook.request("post", "/things", params=params, json={"a": 1}) == {"ok": True}
    sent = api.last_request
    assert sent.headers["X-Auth-Token"] == KEY
    assert sent.headers["User-Agent"].startswith("airflow-provider-stoq/")
    assert "apache-airflow/" in sent.headers["User-Agent"]
    assert sent.headers["User-Agent"].endswith("(dag nightly_exp_rt)")
    assert sent.qs == {"state": ["placed"], "ids[]": ["1", "2"], "flag": ["true"]}
    assert sent.json() == {"a": 1}
    assert sent.timeout == 30.0


def test_no_dag_is_no_part_of_the_user_agent(hook, api, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CTX_DAG_ID", raising=False)
    api.get(f"{API}/x", json=1)
    hook.request("GET", "/x")
    assert "dag" not in api.last_request.headers["User-Agent"]


def test_the_key_goes_to_its_own_origin_only(hook, api):
    api.get("https://elsewhere.example/x", text="")
    hook.get_conn().get("https://elsewhere.example/x")
    assert "X-Auth-Token" not in api.last_request.headers
    assert KEY not in str(api.last_request.headers)


@pytest.mark.parametrize("path", ["orders", "//evil.example/x", "https://evil.example/x"])
def test_a_path_that_is_none_is_refused_before_sending(hook, api, path):
    with pytest.raises(ValidationRejected, match="a path starts with one slash"):
        hook.request("GET", path)
    assert api.call_count == 0


def test_an_echoed_key_is_struck_out(hook, api):
    api.get(f"{API}/x", status_code=422, json={"errors": [f"token {KEY} may not"]})
    with pytest.raises(ValidationRejected, match=r"token \*\*\* may not") as caught:
        hook.request("GET", "/x")
    assert caught.value.server_messages == ("token *** may not",)


def test_an_error_keeps_its_fields_between_processes(hook, api):
    headers = {"X-RateLimit-Remaining": "12"}
    api.get(f"{API}/x", status_code=409, json={"errors": ["busy"]}, headers=headers)
    with pytest.raises(ActionRejected) as caught:
        hook.request("GET", "/x")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert type(copy) is ActionRejected
    assert (str(copy), copy.details()) == (str(caught.value), caught.value.details())
    assert copy.points_left == 12
