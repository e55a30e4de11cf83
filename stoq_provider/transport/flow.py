"""
The life of one request, without input or output.

Sign in where a token is needed, wait for the points, send, decode, learn what the shop has left, renew a
token that has expired, and send again where that is safe: this is decided here, for workers and triggers.

A flow is a generator. It yields a step, and is sent the result of that step:

- a number: sleep for so many seconds;
- a :class:`~stoq_provider.core.http.Request`: send it once, with the headers of the login; the result is a
  ``Response``, or the ``Problem`` that there is none;
- :class:`SignIn`: run :meth:`RequestFlow.sign_in_flow`, one user of a login at a time; the result is what it
  returns.

A driver that breaks off closes the generator; what the call had booked is settled then.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from math import inf
from typing import Any, TypeVar

from stoq_provider.core.http import Decoded, Problem, ProblemKind, Request, Response, read
from stoq_provider.transport.auth import Login, LoginFailed
from stoq_provider.transport.rate_limiter import RateLimiter
from stoq_provider.transport.retry import Retries, RetryPolicy

T = TypeVar("T")


class SignIn:
    """The step of a call that needs a token first."""


Flow = Generator[float | Request | SignIn, Any, T]

_COSTS_NOTHING = (ProblemKind.NOT_SENT, ProblemKind.RATE_LIMITED)


class RequestFlow:
    """
    The requests of one user of a shop. Base of the drivers.

    Problems are values: nothing is raised for what the server or the network does.

    :param login: the credentials, perhaps shared with other users.
    :param limiter: says when a call may go out, perhaps shared as well.
    :param clock: gives Unix seconds.
    """

    def __init__(self, login: Login, limiter: RateLimiter, clock: Callable[[], float]) -> None:
        self.login = login
        self.limiter = limiter
        self.points_spent = 0
        self._clock = clock

    def request_flow(self, request: Request, policy: RetryPolicy) -> Flow[Decoded]:
        """Send a request, again where the policy allows it, and return the last answer."""
        retries = Retries(policy, request)
        while True:
            yield from self.wait_flow(request)
            answer = yield from self.paid_flow(request, self.limiter.spend(request, self._clock()))
            pause = retries.pause_after(answer)
            if pause is None:
                return answer
            yield pause

    def wait_flow(self, request: Request, until: float = inf) -> Flow[bool]:
        """
        Sleep until the points are there for a request; nothing is spent.

        :param until: Unix seconds beyond which it is not waited.
        :return: whether the request may go out now.
        """
        waited = 0.0
        while (wait := self.limiter.wait(request, self._clock())) > 0 and (left := until - self._clock()) > 0:
            nap = min(wait, left)
            yield nap
            waited += nap
        if waited:
            self.limiter.meter.waited(waited)
        return wait <= 0

    def paid_flow(self, request: Request, cost: int) -> Flow[Decoded]:
        """
        Send a request whose points the limiter has booked already.

        Where a token has expired, so that the call did nothing, it is sent once more with a new one.
        """
        answer, token = yield from self._call(request, cost)
        if self.login.discard_if_refused(answer, token):
            yield from self.wait_flow(request)
            answer, _ = yield from self._call(request, self.limiter.spend(request, self._clock()))
        return answer

    def sign_in_flow(self) -> Flow[Decoded | None]:
        """Fetch a token, unless another user has; return the answer for the call where none could be had."""
        request = self.login.pending_request
        if request is None:
            return None
        self.limiter.spend(request, self._clock())
        try:
            answer = yield from self._answer(request)
            self.login.accept_token(answer)
        except LoginFailed as error:
            return error.answer
        finally:
            self.limiter.settle(request)
        return None

    def _call(self, request: Request, cost: int) -> Flow[tuple[Decoded, str | None]]:
        """Return the answer, and the token that the request carried."""
        token = None
        try:
            answer: Decoded | None = (yield SignIn()) if self.login.pending_request else None
            if answer is None:
                token = self.login.token
                answer = yield from self._answer(request)
            else:
                cost = 0
        finally:
            self.limiter.settle(request)
        if answer.problem is None or answer.problem.kind not in _COSTS_NOTHING:
            self.points_spent += cost
        self.limiter.update(request, answer, self._clock())
        return answer, token

    def _answer(self, request: Request) -> Flow[Decoded]:
        result: Response | Problem = yield request
        return read(result, now=self._clock(), secrets=self.login.secrets)
