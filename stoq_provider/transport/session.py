"""The ``requests`` session of a connection: what it carries, and what becomes of one call over it."""

from __future__ import annotations

import time
from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

from requests import Session, exceptions
from requests.auth import AuthBase
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from stoq_provider.core.http import Decoded, Problem, ProblemKind, Request, Response, read
from stoq_provider.systems.base import System
from stoq_provider.systems.payload import origin_of
from stoq_provider.transport.auth import Login
from stoq_provider.transport.log_filter import quietly
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
        """Show no secret."""
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
    session = ShopSession(settings, login)

    def fetch(request: Request) -> Decoded:
        result = exchange(session, request, settings.timeout, auth=NoAuth())
        if isinstance(result, Problem):
            return Decoded(problem=result)
        return read(result, now=time.time(), secrets=login.secrets)

    session.auth = KeyAuth(login, fetch)
    return session


def exchange(session: Session, request: Request, timeout: float, **options: Any) -> Response | Problem:
    """
    Send a request once; that it got no answer is a value.

    :param options: more for ``session.request``.
    """
    try:
        response = quietly(
            session.request,
            request.method,
            request.url,
            params=dict(request.params) if request.params else None,
            json=request.json,
            timeout=timeout,
            allow_redirects=False,
            **options,
        )
    except exceptions.RequestException as error:
        return describe_failure(error, timeout)
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Response(response.status_code, headers, response.content)


def describe_failure(error: exceptions.RequestException, timeout: float) -> Problem:
    """
    Return why a request has no answer, and whether it may have left.

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
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    original = getattr(reason, "original_error", reason)
    if isinstance(original, (NewConnectionError, ConnectTimeoutError)):
        return True
    return isinstance(original, OSError) and "Tunnel connection failed" in str(original)


def _name(error: BaseException) -> str:
    return type(error).__name__
