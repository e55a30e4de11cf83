"""The life of a request, step by step, with nothing that sends or sleeps."""

from __future__ import annotations

import json

import pytest

from stoq_provider.core.http import Problem, ProblemKind, Response
from stoq_provider.transport.auth import Login
from stoq_provider.transport.flow import RequestFlow, SignIn
from stoq_provider.transport.rate_limiter import WORKER, RateLimiter
from stoq_provider.transport.retry import RetryPolicy

from .conftest import GET, POST, STOQ, settings
from .login_server import READ, SYSTEM
from .login_server import settings as with_login

OK = Response(200, body=b"{}")
TOKEN = Response(200, body=json.dumps({"access_token": "token-1"}).encode())


def flow_of(clock, system=STOQ, given=None):
    login = Login(given or settings(), system)
    return RequestFlow(login, RateLimiter(system, 0.8, WORKER), clock)


def drive(flow, clock, *results):
    """Answer each request with the next result; return the steps, and what came out."""
    steps, result, results = [], None, list(results)
    while True:
        try:
            step = flow.send(result)
        except StopIteration as end:
            return steps, end.value
        steps.append(step)
        if isinstance(step, float):
            clock.sleep(step)
        result = None if isinstance(step, float) else results.pop(0)


def test_a_call_is_one_step(clock):
    steps, answer = drive(flow_of(clock).request_flow(GET, RetryPolicy()), clock, OK)
    assert (steps, answer.payload) == ([GET], {})


def test_a_429_is_slept_out_before_the_call_is_sent_again(clock):
    wait = Response(429, {"retry-after": "7"})
    steps, answer = drive(flow_of(clock).request_flow(POST, RetryPolicy()), clock, wait, OK)
    assert (steps[0], steps[-1], answer.problem) == (POST, POST, None)
    assert 7 <= sum(steps[1:-1]) <= 27


def test_no_answer_is_an_answer(clock):
    lost = Problem(ProblemKind.LOST_CONNECTION, ("reset",))
    steps, answer = drive(flow_of(clock).request_flow(POST, RetryPolicy()), clock, lost)
    assert (steps, answer.problem) == ([POST], lost)


def test_a_token_is_asked_for_first(clock):
    flow = flow_of(clock, SYSTEM, with_login())
    call = flow.login.pending_request
    steps, _ = drive(flow.sign_in_flow(), clock, TOKEN)
    assert steps == [call]
    assert drive(flow.sign_in_flow(), clock) == ([], None), "another user has one by now"
    assert drive(flow.request_flow(READ, RetryPolicy()), clock, OK)[0] == [READ]


def test_a_call_without_a_token_waits_for_one(clock):
    flow = flow_of(clock, SYSTEM, with_login())
    began = flow.request_flow(READ, RetryPolicy())
    assert isinstance(next(began), SignIn)
    drive(flow.sign_in_flow(), clock, TOKEN)
    assert began.send(None) == READ


@pytest.mark.parametrize("steps", [1, 2])
def test_a_driver_that_breaks_off_leaves_nothing_under_way(clock, steps):
    flow = flow_of(clock, SYSTEM, with_login())
    call, login = flow.request_flow(READ, RetryPolicy()), flow.sign_in_flow()
    next(call)
    if steps == 2:
        next(login)
    login.close()
    call.close()
    assert flow.limiter._under_way == 0
    assert flow.points_spent == 0
