"""Logins that fail, and tokens that expire while many calls are under way."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
import requests

from stoq_provider.core.http import ProblemKind, Request
from stoq_provider.transport.aio import AsyncTransport, Client
from stoq_provider.transport.auth import Login
from stoq_provider.transport.poll_scheduler import PollScheduler
from stoq_provider.transport.rate_limiter import TRIGGERER, RateLimiter
from stoq_provider.transport.retry import NO_RETRY, RetryPolicy

from .login_server import PASSWORD, READ, SYSTEM, WRITE, Server, over_httpx, over_requests, settings
from .virtual import clock, run


@pytest.fixture(params=[over_requests, over_httpx], ids=["sync", "async"])
def driver(request):
    return request.param


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def send(driver, server, clock):
    return driver(server, clock)


NO_ANSWER = {
    "sync": [requests.exceptions.ReadTimeout(), requests.exceptions.ConnectionError("reset")],
    "async": [httpx.ReadTimeout("x"), httpx.ReadError("x")],
}


class TestALoginThatFails:
    @pytest.mark.parametrize("token", ["töken", "€", "two\nlines", "\x7f"])
    @pytest.mark.parametrize("call", [READ, WRITE])
    def test_a_token_that_no_header_can_carry(self, send, server, token, call):
        server.logins += [(200, {}, {"access_token": token})] * 9
        (answer,) = send(call, policy=NO_RETRY)
        assert answer.problem.kind is ProblemKind.NOT_SENT
        assert answer.problem.text.startswith("the login gave no token")
        assert server.paths == ["POST /login"]

    @pytest.mark.parametrize(
        ("status", "call"), [(400, READ), (401, WRITE), (403, WRITE), (404, READ), (422, WRITE)]
    )
    def test_a_wrong_password_is_an_authentication_problem_and_nothing_else_is_sent(
        self, send, server, status, call
    ):
        server.logins += [(status, {}, {"errors": [f"wrong password {PASSWORD}"]})] * 9
        (answer,) = send(call, policy=RetryPolicy())
        assert answer.problem.kind is ProblemKind.AUTHENTICATION
        assert not answer.problem.maybe_processed
        assert "the login failed" in answer.problem.text
        assert PASSWORD not in answer.problem.text
        assert server.paths == ["POST /login"]

    @pytest.mark.parametrize(
        ("failure", "call"),
        [
            *((failure, WRITE) for failure in (500, 503, 0, 1, 302, "no token", "no JSON")),
            *((failure, READ) for failure in (502, 1)),
        ],
    )
    def test_whatever_else_it_is_the_call_behind_it_surely_was_not_sent(
        self, driver, server, clock, failure, call
    ):
        reply = {
            "no token": (200, {}, {"user": 1}),
            "no JSON": (200, {"Content-Type": "text/html"}, "hello"),
        }.get(failure) or (failure, {}, {})
        if failure in (0, 1):
            reply = NO_ANSWER["sync" if driver is over_requests else "async"][failure]
        server.logins.append(reply)
        (answer,) = driver(server, clock)(call, policy=NO_RETRY)
        assert answer.problem.kind is ProblemKind.NOT_SENT
        assert not answer.problem.maybe_processed
        assert "the login" in answer.problem.text
        assert server.paths == ["POST /login"]

    @pytest.mark.parametrize("call", [READ, WRITE], ids=["read", "write"])
    def test_so_the_call_is_tried_again(self, send, server, call):
        server.logins += [(503, {}, {}), (500, {}, {})]
        (answer,) = send(call, policy=RetryPolicy())
        assert answer.problem is None
        assert server.paths == [*["POST /login"] * 3, f"{call.method} /admin/batch-jobs"]

    @pytest.mark.parametrize("call", [READ, WRITE], ids=["read", "write"])
    def test_a_renewal_that_fails_is_told_so_too(self, send, server, call):
        send(READ)
        server.expire()
        server.logins.append((503, {}, {}))
        (answer,) = send(call, policy=NO_RETRY)
        assert answer.problem.kind is ProblemKind.NOT_SENT
        assert server.paths[2:] == [f"{call.method} /admin/batch-jobs", "POST /login"]

    @pytest.mark.parametrize("status", [401, 429, 503])
    def test_a_call_that_was_not_sent_is_not_on_the_bill(self, send, server, status):
        server.logins.append((status, {}, {}))
        assert send(WRITE, policy=NO_RETRY)[0].problem is not None
        assert server.paths == ["POST /login"]
        assert send.transport.points_spent == 0

    def test_a_429_is_waited_out(self, send, server, clock, no_random_backoff):
        server.logins.append((429, {}, {}))
        (answer,) = send(WRITE, policy=RetryPolicy())
        assert answer.problem is None
        assert clock.waited >= 5
        assert server.paths == ["POST /login", "POST /login", "POST /admin/batch-jobs"]

    def test_a_429_that_says_for_how_long_is_waited_out_for_as_long(self, send, server, clock):
        server.logins.append((429, {"Retry-After": "200"}, {}))
        (answer,) = send(WRITE, policy=RetryPolicy())
        assert answer.problem is None
        assert clock.waited >= 200

    def test_after_a_429_of_a_login_the_next_call_waits_too(self, send, server, clock):
        server.logins.append((429, {"Retry-After": "24"}, {}))
        (first,) = send(READ, policy=NO_RETRY)
        assert first.problem.kind is ProblemKind.RATE_LIMITED
        send(READ, policy=NO_RETRY)
        assert clock.waited >= 23


class TestManyAtOnce:
    """All users of a client, in one event loop, in virtual time."""

    def gather(self, server, *calls, cancel=(), before=()):
        async def answer(sent):
            await asyncio.sleep(0.005)
            body = json.loads(sent.content) if sent.content else None
            status, headers, payload = server.answer(sent.method, str(sent.url), dict(sent.headers), body)
            await asyncio.sleep(0.05 if sent.url.query == b"late" else 0.005)
            return httpx.Response(status, headers=headers, json=payload)

        async def all_at_once():
            async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
                client, limiter = Client(http, Login(settings(), SYSTEM)), RateLimiter(SYSTEM, 0.8, TRIGGERER)
                scheduler = PollScheduler(SYSTEM, limiter, clock=clock)

                def user():
                    return AsyncTransport(settings(), client=client, scheduler=scheduler)

                for call in before:
                    await user().send(call)
                    server.expire()
                tasks = [asyncio.ensure_future(user().send_now(call)) for call in calls]
                await asyncio.sleep(0.007)
                for number in cancel:
                    tasks[number].cancel()
                answers = await asyncio.gather(*tasks, return_exceptions=True)
                return answers, limiter

        answers, limiter = run(all_at_once())
        assert limiter._under_way == 0, "whatever became of a call, it is finished"
        return answers

    def test_first_calls_log_in_once(self, server):
        answers = self.gather(server, *[READ, WRITE] * 10)
        assert [answer.problem for answer in answers] == [None] * 20
        assert server.paths[0] == "POST /login"
        assert server.logged_in == 1

    def test_where_the_one_that_logs_in_is_cancelled_the_next_does(self, server):
        answers = self.gather(server, READ, READ, READ, cancel=[0])
        assert isinstance(answers[0], asyncio.CancelledError)
        assert [answer.problem for answer in answers[1:]] == [None, None]
        assert server.paths.count("GET /admin/batch-jobs") == 2

    def test_an_expired_token_is_renewed_for_all_who_meet_it(self, server):
        answers = self.gather(server, READ, WRITE, READ, READ, before=[READ])
        assert [answer.problem for answer in answers] == [None] * 4

    def test_and_renewed_once_though_some_hear_of_it_late(self, server):
        late = Request("GET", f"{READ.url}?late")
        answers = self.gather(server, READ, late, before=[READ])
        assert [answer.problem for answer in answers] == [None] * 2
        assert server.given == 2, "one at first, one instead of the expired"
