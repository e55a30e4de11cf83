"""
The life of one request, the same for workers and triggers.

Wait for the points, sign in where a token is needed, send, decode, learn what the shop has left, renew a
token that has expired, and send again where that is safe: this is decided here, in coroutines. The drivers
add how a request is sent and how time passes. That of a worker blocks where that of a trigger awaits, and
runs the coroutines by :func:`run_blocking`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from enum import Enum
from math import inf
from typing import Any, TypeVar

from stoq_provider.core.http import Decoded, Problem, ProblemKind, Request, Response, read
from stoq_provider.core.validation import InvalidInput
from stoq_provider.transport.auth import Login, LoginFailed
from stoq_provider.transport.causes import cause_of
from stoq_provider.transport.rate_limiter import RateLimiter
from stoq_provider.transport.retry import Retries, RetryPolicy
from stoq_provider.transport.route import find_route
from stoq_provider.transport.settings import ConnectionSettings

T = TypeVar("T")

_COSTS_NOTHING = (ProblemKind.NOT_SENT, ProblemKind.RATE_LIMITED)


class RequestFlow(ABC):
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

    @abstractmethod
    async def _exchange(self, request: Request) -> Response | Problem:
        """Send a request once, with the headers of the login; return the problem where none came."""

    @abstractmethod
    async def _pause(self, seconds: float) -> None:
        """Let time pass."""

    async def _send(self, request: Request, policy: RetryPolicy) -> Decoded:
        """Send a request, again where the policy allows it, and return the last response."""
        retries = Retries(policy, request)
        while True:
            await self._wait(request)
            response = await self._send_now(request)
            pause = retries.pause_after(response)
            if pause is None:
                return response
            await self._pause(pause)

    async def _wait(self, request: Request, until: float = inf) -> bool:
        """
        Pause until the points are there for a request; nothing is spent.

        :param until: Unix seconds beyond which it is not waited.
        :return: whether the request may go out now.
        """
        waited = 0.0
        while (wait := self.limiter.wait(request, self._clock())) > 0 and (left := until - self._clock()) > 0:
            nap = min(wait, left)
            await self._pause(nap)
            waited += nap
        if waited:
            self.limiter.meter.waited(waited)
        return wait <= 0

    async def _send_now(self, request: Request) -> Decoded:
        """
        Send a request, whether or not there are points for it.

        Where a token has expired, so that the call did nothing, it is sent once more with a new one, as soon
        as there are points for it.
        """
        response, token = await self._call(request)
        if self.login.discard_if_refused(response, token):
            await self._wait(request)
            response, _ = await self._call(request)
        return response

    async def _sign_in(self) -> Decoded | None:
        """Fetch a token, unless another user has; return what the call gets where none could be had."""
        request = self.login.pending_request
        if request is None:
            return None
        self.limiter.spend(request, self._clock())
        try:
            self.login.accept_token(await self._response(request))
        except LoginFailed as error:
            return error.response
        finally:
            self.limiter.finish(request)
        return None

    async def _call(self, request: Request) -> tuple[Decoded, str | None]:
        """Return the response, and the token that the request carried."""
        cost = self.limiter.spend(request, self._clock())
        token = None
        try:
            response = await self._sign_in() if self.login.pending_request else None
            if response is None:
                token = self.login.token
                response = await self._response(request)
            else:
                cost = 0
        finally:
            self.limiter.finish(request)
        if response.problem is None or response.problem.kind not in _COSTS_NOTHING:
            self.points_spent += cost
        self.limiter.update(request, response, self._clock())
        return response, token

    async def _response(self, request: Request) -> Decoded:
        return read(await self._exchange(request), now=self._clock(), secrets=self.login.secrets)


class Stage(Enum):
    """How far a request got. One that was not sent, for a handshake or a proxy failed, surely did nothing."""

    CONNECTING = "connecting"
    HANDSHAKE = "handshake"
    SENT = "sent"


def no_response(error: Exception, settings: ConnectionSettings, stage: Stage) -> Problem:
    """
    Return why a request has no response, and whether it may have left.

    The text names no URL and no credentials: the error's own text might.
    """
    name = type(error).__name__
    cause = cause_of(error) or name
    if stage is Stage.SENT:
        text = f"the connection broke before the response was whole ({cause})"
        if isinstance(error, TimeoutError):
            text = f"the call was {error}"
        elif name.endswith("Timeout"):  # as both libraries call it
            text = f"no response within {settings.timeout:g} s"
        return Problem(ProblemKind.LOST_CONNECTION, (text,))
    if isinstance(error, InvalidInput):
        return Problem(ProblemKind.VALIDATION, (str(error),))
    if isinstance(error, ValueError) or name == "InvalidURL":
        return Problem(ProblemKind.VALIDATION, (f"the request can't be sent as it is ({name})",))
    through = find_route(settings.origin, settings.verify, settings.proxy).through
    if stage is Stage.HANDSHAKE and not cause.startswith(("the ", "TLS ")):
        cause += " in the TLS handshake" + (" or at the proxy" if through else "")
    named = f" (connection {settings.conn_id!r})" if settings.conn_id else ""
    text = f"no connection to {settings.origin}{named}{through} came about: {cause}"
    return Problem(ProblemKind.NOT_SENT, (text,))


def run_blocking(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits for an event loop: it blocks, and ends in one go."""
    try:
        work.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise RuntimeError("this needs an event loop")
