"""The driver of workers, over ``requests``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from http.cookiejar import DefaultCookiePolicy
from math import inf
from typing import TYPE_CHECKING, Any

from requests import Session, exceptions
from requests.auth import AuthBase
from tenacity import Retrying

from stoq_provider.core.http import Decoded, Problem, ProblemKind, Request, Response, read
from stoq_provider.systems.base import System
from stoq_provider.systems.payload import origin_of
from stoq_provider.transport.auth import Login, LoginFailed
from stoq_provider.transport.log_filter import quietly
from stoq_provider.transport.rate_limiter import WORKER, Meter, RateLimiter
from stoq_provider.transport.retry import RetryLoop, RetryPolicy
from stoq_provider.transport.settings import ConnectionSettings

if TYPE_CHECKING:
    from requests import PreparedRequest
    from requests import Response as RequestsResponse


class KeyAuth(AuthBase):
    """
    Puts the key, or the token of a login, on requests to the shop's own origin, and on no others.

    Being set, it also keeps ``requests`` from looking for other credentials in a ``.netrc``.
    """

    def __init__(self, login: Login, fetch: Callable[[Request], Decoded]) -> None:
        self.login = login
        self._fetch = fetch

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """
        Add the headers.

        :raises LoginFailed: where the token that they need could not be had.
        """
        if self.login.missing and self.login.request is not None:
            self.login.take(self._fetch(self.login.request))
        request.headers.update(self.login.headers(request.url or ""))
        return request

    def __repr__(self) -> str:
        """Tell nothing."""
        return "KeyAuth(***)"


class NoAuth(AuthBase):
    """Adds nothing, and keeps ``requests`` from looking into a ``.netrc``."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Leave the request as it is."""
        return request


class ShopSession(Session):
    """
    A session in which the connection has the last word, also where its user follows redirects.

    It keeps no cookies: some servers set one with every answer, and would take it for a login.
    """

    def __init__(self, settings: ConnectionSettings, login: Login) -> None:
        super().__init__()
        self._settings = settings
        self._login = login
        self.headers.update({"User-Agent": settings.user_agent, "Accept": "application/json"})
        self.verify = settings.verify
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        if settings.proxy:
            self.proxies.update({"http": settings.proxy, "https": settings.proxy})
            # The environment's NO_PROXY and proxies would otherwise win over the connection's.
            self.trust_env = False

    def rebuild_auth(self, prepared_request: PreparedRequest, response: RequestsResponse) -> None:
        """Take the key off a request that is redirected to another origin; ``.netrc`` is not asked."""
        if origin_of(prepared_request.url or "") != origin_of(self._settings.origin):
            for name in self._login.names:
                prepared_request.headers.pop(name, None)

    def resolve_redirects(self, *args: Any, yield_requests: bool = False, **options: Any) -> Any:
        """Look at no ``Location`` that is not followed: requests would, and raise where it is no URL."""
        return iter(()) if yield_requests else super().resolve_redirects(*args, **options)

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Let ``REQUESTS_CA_BUNDLE`` count only where the connection does not say how to verify."""
        if verify is None and self.verify is not True:
            verify = self.verify
        return super().merge_environment_settings(url, proxies, stream, verify, cert)


def make_session(settings: ConnectionSettings, system: System) -> Session:
    """Return a session that carries the key, the user agent, TLS and proxy settings."""
    login = Login(settings, system)

    def fetch(request: Request) -> Decoded:
        with ShopSession(settings, login) as anonymous:
            anonymous.auth = NoAuth()
            return exchange(anonymous, request, settings, (settings.key,), lambda: time.time())

    session = ShopSession(settings, login)
    session.auth = KeyAuth(login, fetch)
    return session


def exchange(
    session: Session,
    request: Request,
    settings: ConnectionSettings,
    secrets: Sequence[str],
    clock: Callable[[], float],
) -> Decoded:
    """
    Send a request once; what goes wrong is a value.

    :raises LoginFailed: where the token that it needs could not be had, so that it was not sent.
    """
    try:
        response = quietly(
            session.request,
            request.method,
            request.url,
            params=dict(request.params) if request.params else None,
            json=request.json,
            timeout=settings.timeout,
            allow_redirects=False,
        )
        whole = Response(
            response.status_code,
            {name.lower(): value for name, value in response.headers.items()},
            response.content,
        )
    except exceptions.RequestException as error:
        return Decoded(problem=describe_failure(error, settings.timeout))
    return read(whole, now=clock(), secrets=secrets)


class SyncTransport:
    """
    Sends requests one after the other, keeping to the shop's points.

    :param sleep: waits the given seconds; may raise to end the wait.
    """

    def __init__(
        self,
        session: Session,
        settings: ConnectionSettings,
        system: System,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = lambda: time.time(),
        meter: Meter | None = None,
    ) -> None:
        self._session = session
        self._settings = settings
        self._sleep = sleep
        self._clock = clock
        self.limiter = RateLimiter(system, settings.points_share, WORKER, meter=meter)
        self.points_spent = 0

    def send(self, request: Request, policy: RetryPolicy | None = None) -> Decoded:
        """
        Send a request, again where the policy says so, and return the last answer.

        Problems are values: nothing is raised for what the server or the network does.
        """
        loop = RetryLoop(policy or RetryPolicy(), request)
        answer: Decoded = Retrying(sleep=self._sleep, **loop.arguments())(self._once, request)
        return answer

    def _once(self, request: Request) -> Decoded:
        answer = self._paid(request)
        auth = self._session.auth
        if isinstance(auth, KeyAuth) and auth.login.refused(answer, auth.login.token):
            # The token has expired, so the call did nothing; with a new one it is sent once more.
            return self._paid(request)
        return answer

    def await_turn(self, request: Request, until: float = inf) -> bool:
        """
        Sleep until the points are there for a request. Nothing is sent, and nothing is spent.

        :param until: Unix seconds beyond which it is not waited.
        :return: whether the request may go out now.
        """
        waited = 0.0
        while (wait := self.limiter.wait(request, self._clock())) > 0 and (left := until - self._clock()) > 0:
            nap = min(wait, left)
            self._sleep(nap)
            waited += nap
        if waited:
            self.limiter.meter.waited(waited)
        return wait <= 0

    def _paid(self, request: Request) -> Decoded:
        self.await_turn(request)
        cost = self.limiter.spend(request, self._clock())
        try:
            answer = self._exchange(request)
        except LoginFailed as error:
            answer, cost = error.answer, 0
        finally:
            self.limiter.settle(request)
        kind = answer.problem.kind if answer.problem else None
        if kind not in (ProblemKind.REFUSED_CONNECTION, ProblemKind.RATE_LIMITED):
            self.points_spent += cost
        self.limiter.update(request, answer, self._clock())
        return answer

    def _exchange(self, request: Request) -> Decoded:
        auth = self._session.auth
        secrets = auth.login.secrets if isinstance(auth, KeyAuth) else (self._settings.key,)
        return exchange(self._session, request, self._settings, secrets, self._clock)


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
