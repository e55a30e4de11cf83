"""What an answer means: kind, the server's words, whether the request may have been acted on."""

from __future__ import annotations

import json

import pytest

from stoq_provider.core.error_text import MESSAGE_LENGTH
from stoq_provider.core.http import (
    MESSAGES,
    Decoded,
    Problem,
    ProblemKind,
    Request,
    Response,
    read,
)

NOW = 1_780_000_000.0
KEY = "stoq_api_key_0123456789abcdefghijklmnopqrstuv"


def answer(status, body=b"", headers=None, secrets=()):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read(Response(status, headers or {}, raw), now=NOW, secrets=secrets)


@pytest.mark.parametrize(
    ("status", "payload"),
    [
        pytest.param(200, {"reports": []}, id="200 a read"),
        pytest.param(202, {"job_id": "x", "status_url": "/y"}, id="202 a job"),
        pytest.param(202, {"id": "offer"}, id="202 a finished write"),
        pytest.param(201, [1, 2], id="201 a list"),
        pytest.param(200, "text", id="200 a JSON string"),
        pytest.param(200, None, id="200 null"),
    ],
)
def test_a_success_is_its_bare_payload(status, payload):
    assert answer(status, payload) == Decoded(payload=payload)


ERRORS = [
    # id, status, body, kind, messages, maybe_processed
    ("400", 400, {"error": "mode is missing"}, "validation", ("mode is missing",), False),
    ("401", 401, {"errors": ["Invalid token"]}, "authentication", ("Invalid token",), False),
    ("402 not listed", 402, {"errors": ["upgrade"]}, "validation", ("upgrade",), False),
    ("403", 403, {"errors": ["Plan"]}, "authentication", ("Plan",), False),
    (
        "404 no action",
        404,
        {"errors": ["No v2 action registered for POST /x"]},
        "not_found",
        ("No v2 action registered for POST /x",),
        False,
    ),
    ("404 v1 style", 404, {"error": "Not found"}, "not_found", ("Not found",), False),
    ("408", 408, b"", "unavailable", (), True),
    (
        "409 with a hint",
        409,
        {"errors": ["collect the balance"]},
        "conflict",
        ("collect the balance",),
        False,
    ),
    ("410", 410, b"", "not_found", (), False),
    ("413", 413, b"too large", "validation", ("too large",), False),
    ("422 several", 422, {"errors": ["a is bad", "b is bad"]}, "validation", ("a is bad", "b is bad"), False),
    ("422 errors as text", 422, {"errors": "a is bad"}, "validation", ("a is bad",), False),
    ("422 errors of numbers", 422, {"errors": [7, None]}, "validation", ("7", "None"), False),
    ("422 no errors", 422, {"errors": []}, "validation", ('{"errors": []}',), False),
    (
        "422 errors before error",
        422,
        {"error": "v1", "errors": ["v2"], "message": "m"},
        "validation",
        ("v2",),
        False,
    ),
    ("425", 425, b"", "unavailable", (), True),
    (
        "429 as documented",
        429,
        {"error": "Rate limit exceeded", "retry_after": 24, "message": "You have exceeded"},
        "rate_limited",
        ("Rate limit exceeded", "You have exceeded"),
        False,
    ),
    ("429 of a proxy", 429, b"slow down", "rate_limited", ("slow down",), False),
    ("500", 500, {"error": "boom"}, "unavailable", ("boom",), True),
    (
        "502 HTML",
        502,
        b"<html><style>p {color: red}</style><h1>Bad\n Gateway</h1><script>alert(1)</script></html>",
        "unavailable",
        ("Bad Gateway",),
        True,
    ),
    ("503 not UTF-8", 503, b"\xff\xfe down", "unavailable", ("\ufffd\ufffd down",), True),
    ("504 empty", 504, b"", "unavailable", (), True),
    (
        "301",
        301,
        b"",
        "protocol",
        ("redirects are not followed, because the key would go along",),
        True,
    ),
    ("304 with a text", 304, b"not modified", "protocol", ("not modified",), True),
    ("404 a JSON list", 404, ["gone"], "not_found", ('["gone"]',), False),
    ("500 a JSON number", 500, 7, "unavailable", ("7",), True),
]


@pytest.mark.parametrize(
    ("status", "body", "kind", "messages", "maybe"), [pytest.param(*e[1:], id=e[0]) for e in ERRORS]
)
def test_a_refusal_has_a_kind_and_the_servers_words(status, body, kind, messages, maybe):
    got = answer(status, body)
    assert got.payload is None
    assert got.problem == Problem(ProblemKind(kind), messages, status)
    assert got.problem.maybe_processed is maybe


@pytest.mark.parametrize(
    ("status", "body", "content_type", "message"),
    [
        pytest.param(204, b"", None, "the body is empty where JSON was expected", id="204 empty"),
        pytest.param(200, b" \r\n ", None, "the body is empty where JSON was expected", id="200 blank"),
        pytest.param(
            200,
            b"<html><body>Sign in</body></html>",
            "text/html",
            "the body is not JSON (text/html, 33 bytes): Sign in",
            id="200 HTML",
        ),
        pytest.param(
            200, b'{"a": ', None, 'the body is not JSON (no content type, 6 bytes): {"a":', id="200 cut short"
        ),
        pytest.param(
            202,
            b"\xff\xff",
            "application/json",
            "the body is not JSON (application/json, 2 bytes)",
            id="202 bytes",
        ),
    ],
)
def test_a_success_that_cannot_be_read_is_no_success(status, body, content_type, message):
    got = answer(status, body, {"content-type": content_type} if content_type else {})
    assert got.problem.kind is ProblemKind.PROTOCOL
    assert got.problem.maybe_processed
    assert got.problem.messages[0].startswith(message)


@pytest.mark.parametrize("status", [200, 500])
def test_deeply_nested_json_is_an_answer_too(status):
    depth = 200_000
    got = answer(status, b"[" * depth + b"]" * depth)
    assert got.problem.kind is (ProblemKind.PROTOCOL if status == 200 else ProblemKind.UNAVAILABLE)


class TestWordsAreKeptShort:
    @pytest.mark.parametrize("status", [200, 404, 500])
    def test_huge_text(self, status):
        (message,) = answer(status, b"x" * 5_000_000).problem.messages
        assert 0 < len(message) <= MESSAGE_LENGTH

    def test_huge_errors(self):
        messages = answer(422, {"errors": ["y" * 10_000] * 1000}).problem.messages
        assert [len(m) for m in messages] == [MESSAGE_LENGTH] * MESSAGES

    @pytest.mark.parametrize("body", [{"errors": ["one\ntwo\r\n  three"]}, b"one\ntwo\r\n  three"])
    def test_on_one_line(self, body):
        assert answer(422, body).problem.text == "HTTP 422: one two three"


class TestTheKeyIsStruckOut:
    @pytest.mark.parametrize(
        ("status", "body"),
        [
            pytest.param(401, {"errors": [f"bad token {KEY}!"]}, id="errors"),
            pytest.param(401, {"error": KEY, "message": f"{KEY}{KEY}"}, id="error and message"),
            pytest.param(502, f"<p>X-Auth-Token: {KEY}</p>".encode(), id="HTML"),
            pytest.param(200, f"<p>X-Auth-Token: {KEY}</p>".encode(), id="2xx HTML"),
            pytest.param(422, {"errors": ["x" * (MESSAGE_LENGTH - 20) + KEY]}, id="at the cut"),
            pytest.param(200, ("x" * 60 + KEY).encode(), id="at the cut of a 2xx"),
            pytest.param(500, ("<i>" * 1995 + KEY).encode(), id="at the cut of a long body"),
        ],
    )
    def test_wherever_it_stands(self, status, body):
        text = answer(status, body, {"content-type": f"text/{KEY}"}, secrets=(KEY,)).problem.text
        assert KEY[:15] not in text

    def test_other_words_stay(self):
        assert answer(401, {"errors": [f"bad {KEY}"]}, secrets=("", KEY)).problem.messages == ("bad ***",)


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem(ProblemKind.LOST_CONNECTION), "lost connection"),
        (Problem(ProblemKind.UNAVAILABLE, (), 503), "HTTP 503: unavailable"),
        (Problem(ProblemKind.VALIDATION, ("a", "b"), 422), "HTTP 422: a; b"),
    ],
)
def test_a_problem_in_words(problem, text):
    assert problem.text == text


@pytest.mark.parametrize(
    ("kind", "maybe"),
    [(ProblemKind.NOT_SENT, False), (ProblemKind.LOST_CONNECTION, True)],
)
def test_a_lost_request_may_have_been_acted_on(kind, maybe):
    assert Problem(kind).maybe_processed is maybe


@pytest.mark.parametrize(
    ("method", "reads_only"),
    [("GET", True), ("HEAD", True), ("POST", False), ("PATCH", False), ("DELETE", False), ("PUT", False)],
)
def test_a_request_in_messages_has_no_query(method, reads_only):
    request = Request(method, "https://app.stoqapp.com/api/x?email=someone%40example.com")
    assert request.target == f"{method} /api/x"
    assert request.reads_only is reads_only


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        (b'{"error": "cut \\ud83d", "n": [1, "\\udc00"]}', {"error": "cut ?", "n": [1, "?"]}),
        (b'{"file_name": "a\\u0000b"}', {"file_name": "ab"}),
        (b'"\xed\xa0\xbd"', "?"),
        (b'{"whole": "\\ud83d\\ude00"}', {"whole": "\U0001f600"}),
        (b'{"path": "C:\\\\x", "none": null}', {"path": "C:\\x", "none": None}),
    ],
)
def test_texts_that_no_event_could_hold_are_made_whole(body, payload):
    assert answer(200, body).payload == payload
    json.dumps(answer(200, body).payload, ensure_ascii=False).encode()
