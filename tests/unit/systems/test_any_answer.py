"""No answer of a server ends in an error that nobody foresaw, nor takes memory and time without measure."""

from __future__ import annotations

import json
import tracemalloc
from time import thread_time

import pytest
from hypothesis import given

from stoq_provider.core.http import MOST_DEPTH, ProblemKind, Response, read
from tests.fuzz.answers import KEY, NOW, check_answer, check_carried
from tests.fuzz.strategies import responses

BYTES = 60_000


@given(responses)
def test_any_answer(response):
    check_answer(response)


def field(name, text):
    """A job whose ``name`` is a text, repeated until it is long."""
    job = {"job_id": "job_1", "id": "job_1", "status": "failed", name: text * (BYTES // len(text))}
    return json.dumps({**job, "batch_job": job}).encode()


def filled(begin, part, end=b""):
    return begin + part * (BYTES // len(part)) + end


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(200, filled(b"", b"["), id="lists without an end"),
        pytest.param(400, filled(b"", b'{"a":'), id="objects without an end"),
        pytest.param(200, filled(b'{"errors":[', b"[],", b"0]}"), id="many small errors"),
        pytest.param(200, filled(b'{"data":[', b'{"id":[]},', b"0]}"), id="many small jobs"),
        pytest.param(200, filled(b"", b"9"), id="a long number"),
        pytest.param(200, field("error", "http://"), id="URL in URL"),
        pytest.param(200, field("error", "x-amz-"), id="half names of signatures"),
        pytest.param(400, field("error", "https://a@b?"), id="logins"),
        pytest.param(200, field("errors", "\0 \ud83d"), id="what can't be written"),
        pytest.param(200, field("status", "http://a/"), id="a status of URLs"),
        pytest.param(400, filled(b"", b"<script "), id="scripts without an end"),
        pytest.param(400, filled(b"<pre>", b"<"), id="tags without an end"),
    ],
)
def test_a_hostile_body_costs_by_its_length(status, body):
    response = Response(status, {"content-type": "x" * 60_000, "retry-after": "9" * 60_000}, body)
    tracemalloc.start()
    # Seconds of this thread's own, whatever else the machine does: some tenths are usual. What goes through
    # the rest of a text from every place of it would take a hundred times as long.
    began = thread_time()
    check_answer(response)
    took, peak = thread_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert took < 5
    assert peak < 64 * len(body)


@pytest.mark.parametrize("depth", [MOST_DEPTH, MOST_DEPTH + 1, 5000])
@pytest.mark.parametrize("begin", ["[", '{"a":'])
def test_payload_is_nested_so_deep_and_no_deeper(begin, depth):
    end = "]" if begin == "[" else "}"
    body = (begin * depth + "0" + end * depth).encode()
    decoded = read(Response(200, {}, body), now=NOW)
    if depth == MOST_DEPTH:
        assert decoded.payload
    else:
        assert decoded.problem.kind is ProblemKind.PROTOCOL
        assert decoded.problem.text == "HTTP 200: the JSON holds more than 100 objects within each other"


@pytest.mark.parametrize(
    ("written", "carried"),
    [
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", "9223372036854775808"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("1e400", None),
        ("NaN", None),
        ("-Infinity", None),
        ("1.5", 1.5),
        ("true", True),
        ('"a\\u0000b"', "ab"),
        ('"\\ud83d"', "?"),
        ('"\\ud83d\\ude00"', "😀"),
        ('{"\\ud83d": [1e999]}', {"?": [None]}),
        (json.dumps(KEY).replace("-", "\\u002d"), "***"),
    ],
)
def test_payload_is_one_that_airflow_carries(written, carried):
    payload = read(Response(200, {}, written.encode()), now=NOW, secrets=(KEY,)).payload
    assert payload == carried
    assert type(payload) is type(carried)
    check_carried(payload)


def test_message_of_a_page_without_json_holds_no_nul():
    assert read(Response(401, {}, b"\xff\xfe{\0}\0"), now=NOW).problem.messages == ("\ufffd\ufffd{ }",)
