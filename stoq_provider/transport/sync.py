"""The driver of workers, over ``requests``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from requests import Session, exceptions
from requests.auth import AuthBase
from tenacity import Retrying

from stoq_provider.core.budget import PointsBudget
from stoq_provider.core.http import Answer, Problem, ProblemKind, Request, Response, read
from stoq_provider.systems.base import System, origin_of
from stoq_provider.transport.quiet import quiet_http_logs
from stoq_provider.transport.retrying import RetryLoop, RetryPolicy
from stoq_provider.transport.settings import ShopSettings

if TYPE_CHECKING:
    from requests import PreparedRequest
    from requests import Response as RequestsResponse


class KeyAuth(AuthBase):
    """
    Puts the key on requests to the shop's own origin, and on no others.

    Being set, it also keeps ``requests`` from looking for other credentials in a ``.netrc``.
    """

    def __init__(self, settings: ShopSettings, system: System) -> None:
        self._settings = settings
        self._system = system

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the headers."""
        if origin_of(request.url or "") == origin_of(self._settings.origin):
            request.headers.update(self._system.auth_headers(self._settings.key))
        return request

    def __repr__(self) -> str:
        """Tell nothing."""
        return "KeyAuth(***)"


class ShopSession(Session):
    """A session in which the connection has the last word, also where its user follows redirects."""

    def __init__(self, settings: ShopSettings, system: System) -> None:
        super().__init__()
        self._settings = settings
        self._system = system

    def rebuild_auth(self, prepared_request: PreparedRequest, response: RequestsResponse) -> None:
        """Take the key off a request that is redirected to another origin; ``.netrc`` is not asked."""
        if origin_of(prepared_request.url or "") != origin_of(self._settings.origin):
            for name in self._system.auth_headers(self._settings.key):
                prepared_request.headers.pop(name, None)

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Let ``REQUESTS_CA_BUNDLE`` count only where the connection does not say how to verify."""
        if verify is None and self.verify is not True:
            verify = self.verify
        return super().merge_environment_settings(url, proxies, stream, verify, cert)


def make_session(settings: ShopSettings, system: System) -> Session:
    """Return a session that carries the key, the user agent, TLS and proxy settings."""
    session = ShopSession(settings, system)
    session.auth = KeyAuth(settings, system)
    session.headers.update({"User-Agent": settings.user_agent, "Accept": "application/json"})
    session.verify = settings.verify
    if settings.proxy:
        session.proxies.update({"http": settings.proxy, "https": settings.proxy})
        # The environment's NO_PROXY and proxies would otherwise win over the connection's.
        session.trust_env = False
    return session


class SyncTransport:
    """
    Sends requests one after the other, keeping to the shop's points.

    :param sleep: waits the given seconds; may raise to end the wait.
    """

    def __init__(
        self,
        session: Session,
        settings: ShopSettings,
        system: System,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._session = session
        self._settings = settings
        self._system = system
        self._sleep = sleep
        self._clock = clock
        self.budget = PointsBudget(system.points, settings.points_share)
        self.points_spent = 0

    def send(self, request: Request, policy: RetryPolicy | None = None) -> Answer:
        """
        Send a request, again where the policy says so, and return the last answer.

        Problems are values: nothing is raised for what the server or the network does.
        """
        loop = RetryLoop(policy or RetryPolicy(), request)
        answer: Answer = Retrying(sleep=self._sleep, **loop.arguments())(self._once, request)
        return answer

    def _once(self, request: Request) -> Answer:
        cost = self._system.points.price(reads_only=request.reads_only)
        while (wait := self.budget.wait(cost, self._clock())) > 0:
            self._sleep(wait)
        self.budget.spend(cost, self._clock())
        answer = self._exchange(request)
        kind = answer.problem.kind if answer.problem else None
        if kind not in (ProblemKind.REFUSED_CONNECTION, ProblemKind.RATE_LIMITED):
            self.points_spent += cost
        self.budget.learn(answer.rate_limit, self._clock())
        return answer

    def _exchange(self, request: Request) -> Answer:
        try:
            with quiet_http_logs():
                response = self._session.request(
                    request.method,
                    request.url,
                    params=dict(request.params) if request.params else None,
                    json=request.json,
                    timeout=self._settings.timeout,
                    allow_redirects=False,
                )
                whole = Response(
                    response.status_code,
                    {name.lower(): value for name, value in response.headers.items()},
                    response.content,
                )
        except exceptions.RequestException as error:
            return Answer(problem=describe_failure(error, self._settings.timeout))
        return read(whole, now=self._clock(), secrets=(self._settings.key,))


def describe_failure(error: exceptions.RequestException, timeout: float) -> Problem:
    """
    Tell what became of a request that has no answer.

    The text names no URL: the error's own text would.
    """
    if isinstance(error, exceptions.ConnectTimeout) or _never_connected(error):
        return Problem(ProblemKind.REFUSED_CONNECTION, (f"no connection came about ({_name(error)})",))
    if isinstance(error, exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Problem(ProblemKind.REFUSED_CONNECTION, ("the server's TLS certificate was not accepted",))
    if isinstance(error, exceptions.Timeout):
        return Problem(ProblemKind.LOST_CONNECTION, (f"no answer within {timeout:g} s",))
    return Problem(
        ProblemKind.LOST_CONNECTION, (f"the connection broke before the answer was whole ({_name(error)})",)
    )


def _never_connected(error: exceptions.RequestException) -> bool:
    """
    Whether the request surely never left.

    Behind a proxy that takes a look at the original error: a connection that breaks after the request was
    sent is reported as a proxy error too.
    """
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    original = getattr(reason, "original_error", reason)
    if isinstance(original, (NewConnectionError, ConnectTimeoutError)):
        return True
    return isinstance(original, OSError) and "Tunnel connection failed" in str(original)


def _name(error: BaseException) -> str:
    return type(error).__name__
