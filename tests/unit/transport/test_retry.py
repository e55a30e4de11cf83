"""Which calls are sent again, and after how long; one table for both drivers."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
import requests
import requests_mock

from stoq_provider.core.http import Decoded, Problem, ProblemKind
from stoq_provider.transport.aio import AsyncTransport, Client
from stoq_provider.transport.auth import Login
from stoq_provider.transport.poll_scheduler import PollScheduler
from stoq_provider.transport.rate_limiter import TRIGGERER, RateLimiter
from stoq_provider.transport.retry import NO_RETRY, RetryPolicy
from stoq_provider.transport.session import ShopSession
from stoq_provider.transport.sync import SyncTransport

from .conftest import GET, POST, STOQ, settings

# What comes back: a status with headers, or the name of a failure.
REFUSED, LOST, SLOW = "refused", "lost", "slow"
SYNC = {
    REFUSED: requests.exceptions.ConnectTimeout("x"),
    LOST: requests.exceptions.ConnectionError("reset"),
    SLOW: requests.exceptions.ReadTimeout("x"),
}
ASYNC = {REFUSED: httpx.ConnectError("x"), LOST: httpx.ReadError("x"), SLOW: httpx.ReadTimeout("x")}


def by_sync(clock, plan, request, policy):
    session = ShopSession(settings(), STOQ)
    adapter = requests_mock.Adapter()
    session.mount("https://", adapter)
    adapter.register_uri(
        requests_mock.ANY,
        re.compile(".*"),
        [
            {"exc": SYNC[what]}
            if isinstance(what, str)
            else {"status_code": what[0], "json": {}, "headers": what[1]}
            for what in plan
        ],
    )
    transport = SyncTransport(session, settings(), STOQ, sleep=clock.sleep, clock=clock)
    return transport.send(request, policy), adapter.call_count, transport.points_spent


def by_async(clock, plan, request, policy):
    calls = []

    def handler(sent):
        what = plan[min(len(calls), len(plan) - 1)]
        calls.append(sent)
        if isinstance(what, str):
            raise ASYNC[what]
        return httpx.Response(what[0], json={}, headers=what[1])

    async def run():
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            transport = AsyncTransport(
                settings(),
                client=Client(client, Login(settings(), STOQ)),
                scheduler=PollScheduler(STOQ, RateLimiter(STOQ, 0.8, TRIGGERER), clock=clock),
                sleep=clock.asleep,
            )
            return await transport.send(request, policy), len(calls), transport.points_spent

    return asyncio.run(run())


@pytest.fixture(params=[by_sync, by_async], ids=["sync", "async"])
def send(request, clock):
    def run(plan, call, policy=None):
        return request.param(clock, plan, call, policy)

    return run


def status(code, **headers):
    return code, {name.replace("_", "-"): str(value) for name, value in headers.items()}


OK = status(200)
TABLE = [
    # id, what comes back, calls of a GET, calls of a POST
    ("200", OK, 1, 1),
    ("202", status(202), 1, 1),
    ("301", status(301, Location="https://evil.example/"), 1, 1),
    # One of each kind of problem; which status is of which kind stands in the test of `core.http`.
    ("401", status(401), 1, 1),
    ("404", status(404), 1, 1),
    ("409", status(409), 1, 1),
    ("422", status(422), 1, 1),
    ("408", status(408), 4, 1),
    ("500", status(500), 4, 1),
    ("503", status(503), 4, 1),
    ("no connection", REFUSED, 4, 4),
    ("connection lost", LOST, 4, 1),
    ("no answer in time", SLOW, 4, 1),
]


@pytest.mark.parametrize(("what", "reads", "writes"), [pytest.param(*row[1:], id=row[0]) for row in TABLE])
def test_how_often(send, what, reads, writes):
    for call, calls in ((GET, reads), (POST, writes)):
        answer, made, _ = send([what], call)
        assert made == calls
        assert (answer.problem is None) is (what in (OK, status(202)))


@pytest.mark.parametrize(
    ("plan", "made"),
    [
        pytest.param([status(429, Retry_After=7), OK], 2, id="429 then fine"),
        pytest.param([*[status(429, Retry_After=7)] * 9, OK], 10, id="nine 429 then fine"),
        pytest.param([REFUSED, REFUSED, REFUSED, OK], 4, id="refused three times"),
        pytest.param(
            [status(429, Retry_After=1), REFUSED, status(429, Retry_After=1), REFUSED, OK], 5, id="both"
        ),
    ],
)
def test_what_surely_was_not_done_is_sent_again(send, plan, made):
    for call in (GET, POST):
        answer, calls, _ = send(plan, call)
        assert (answer, calls) == (Decoded({}), made)


def test_a_write_that_may_have_been_done_is_not_sent_again_after_a_429_either(send):
    answer, calls, _ = send([status(429, Retry_After=1), status(503), OK], POST)
    assert (answer.problem.http_status, calls) == (503, 2)


# How long is waited goes by the answer alone; that a GET and a POST alike are sent again stands above.
class TestWaiting:
    @pytest.mark.parametrize(("seconds", "call"), [(1, GET), (24, POST), (300, POST)])
    def test_retry_after_is_obeyed(self, send, clock, call, seconds):
        send([status(429, Retry_After=seconds), OK], call)
        assert seconds <= clock.waited <= seconds + 20

    def test_without_it_the_rest_of_the_window_passes(self, send, clock):
        answer, calls, _ = send([status(429), OK], GET)
        assert (answer.problem, calls) == (None, 2)
        assert clock.waited == pytest.approx(60, abs=0.01)

    def test_patience_is_bounded(self, send, clock):
        answer, calls, _ = send([status(429, Retry_After=50)], POST, RetryPolicy(patience=200.0))
        assert answer.problem.kind is ProblemKind.RATE_LIMITED
        assert clock.waited <= 200
        assert 3 <= calls <= 4

    def test_a_wait_beyond_patience_is_not_begun(self, send, clock):
        answer, calls, _ = send([status(429, Retry_After=700), OK], POST)
        assert (answer.problem.kind, calls, clock.slept) == (ProblemKind.RATE_LIMITED, 1, [])

    def test_a_poll_is_never_sent_again(self, send, clock):
        for what in (status(429, Retry_After=1), status(429, Retry_After=0), status(503), REFUSED, LOST):
            _, calls, _ = send([what, OK], GET, NO_RETRY)
            assert (calls, clock.slept) == (1, [])


def test_backoff_grows(send, clock, no_random_backoff):
    send([status(503)], GET)
    assert clock.slept == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("plan", "call", "spent"),
    [
        pytest.param([OK], GET, 1, id="a read"),
        pytest.param([status(202)], POST, 2, id="a write"),
        pytest.param([status(404)], GET, 1, id="a read that finds nothing"),
        pytest.param([status(503), status(503), OK], GET, 3, id="a read three times"),
        pytest.param([status(429, Retry_After=1), OK], POST, 2, id="429 costs nothing"),
        pytest.param([REFUSED, OK], POST, 2, id="no connection costs nothing"),
        pytest.param([LOST], POST, 2, id="a lost write may have cost"),
    ],
)
def test_points_spent(send, plan, call, spent):
    assert send(plan, call)[2] == spent


def test_attempts_are_the_callers_to_set(send):
    assert send([status(503)], GET, RetryPolicy(attempts=2))[1] == 2
    assert send([REFUSED], POST, RetryPolicy(attempts=1))[1] == 1


@pytest.mark.parametrize("kind", ProblemKind)
def test_policy(kind):
    answer = Decoded(problem=Problem(kind))
    read_again = {"rate_limited", "not_sent", "unavailable", "lost_connection"}
    assert RetryPolicy().again(GET, answer) is (kind.value in read_again)
    assert RetryPolicy().again(POST, answer) is (kind.value in {"rate_limited", "not_sent"})
    assert not RetryPolicy().again(GET, Decoded({}))
