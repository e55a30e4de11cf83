"""The life of a request, step by step, with nothing that sends or sleeps."""

from __future__ import annotations

import asyncio
import json

import pytest

from stoq_provider.core.http import Problem, ProblemKind, Response
from stoq_provider.transport.auth import Login
from stoq_provider.transport.flow import RequestFlow, run_blocking
from stoq_provider.transport.rate_limiter import WORKER, RateLimiter
from stoq_provider.transport.retry import RetryPolicy

from .conftest import GET, POST, STOQ, settings
from .login_server import READ, SYSTEM
from .login_server import settings as with_login

OK = Response(200, body=b"{}")
TOKEN = Response(200, body=json.dumps({"access_token": "token-1"}).encode())


class Scripted(RequestFlow):
    """Answers each request with the next result, and writes down its steps."""

    def __init__(self, clock, *results, system=STOQ, given=None):
        super().__init__(Login(given or settings(), system), RateLimiter(system, 0.8, WORKER), clock)
        self.steps = []
        self._results = list(results)

    async def _exchange(self, request):
        self.steps.append(request)
        result = self._results.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result

    async def _pause(self, seconds):
        self.steps.append(seconds)
        self._clock.sleep(seconds)

    def send(self, request):
        return run_blocking(self._send(request, RetryPolicy()))


def signing_in(clock, *results):
    return Scripted(clock, *results, system=SYSTEM, given=with_login())


def test_a_call_is_one_step(clock):
    flow = Scripted(clock, OK)
    assert (flow.send(GET).payload, flow.steps) == ({}, [GET])


def test_a_429_is_slept_out_before_the_call_is_sent_again(clock):
    flow = Scripted(clock, Response(429, {"retry-after": "7"}), OK)
    answer = flow.send(POST)
    assert (flow.steps[0], flow.steps[-1], answer.problem) == (POST, POST, None)
    assert 7 <= sum(flow.steps[1:-1]) <= 27


def test_no_answer_is_an_answer(clock):
    lost = Problem(ProblemKind.LOST_CONNECTION, ("reset",))
    flow = Scripted(clock, lost)
    assert (flow.send(POST).problem, flow.steps) == (lost, [POST])


def test_a_token_is_asked_for_first_and_once(clock):
    flow = signing_in(clock, TOKEN, OK, OK)
    login = flow.login.pending_request
    flow.send(READ)
    flow.send(READ)
    assert flow.steps == [login, READ, READ]


@pytest.mark.parametrize("results", [[KeyboardInterrupt()], [TOKEN, KeyboardInterrupt()]], ids=len)
def test_a_driver_that_breaks_off_leaves_nothing_under_way(clock, results):
    flow = signing_in(clock, *results)
    with pytest.raises(KeyboardInterrupt):
        flow.send(READ)
    assert flow.limiter._under_way == 0
    assert flow.points_spent == 0


def test_what_waits_for_an_event_loop_does_not_run_on_a_worker():
    with pytest.raises(RuntimeError, match="event loop"):
        run_blocking(asyncio.sleep(0))
