"""The ``requests`` session of a connection: what it carries, and what becomes of one call over it."""

from __future__ import annotations

import time
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

from requests import Session
from requests.exceptions import ConnectTimeout, ReadTimeout
from urllib3.exceptions import HTTPError, ReadTimeoutError

from stoq_provider.core.http import Problem, Request, Response, read
from stoq_provider.systems.base import System
from stoq_provider.systems.payload import origin_of
from stoq_provider.transport.adapter import ShopAdapter
from stoq_provider.transport.auth import Login
from stoq_provider.transport.connections import TimeLimit
from stoq_provider.transport.flow import Stage, no_response
from stoq_provider.transport.limits import ACCEPT_ENCODING, Body, whole_call
from stoq_provider.transport.log_filter import quietly
from stoq_provider.transport.route import find_route
from stoq_provider.transport.settings import ConnectionSettings

if TYPE_CHECKING:
    from requests import PreparedRequest
    from requests import Response as RequestsResponse


CHUNK_BYTES = 64 * 1024


class ShopSession(Session):
    """
    A session that carries the key, the user agent, TLS and proxy settings of a connection.

    The connection has the last word, also where its user follows redirects. No cookies are kept: some
    servers set one with every response, and would take it for a login.
    """

    def __init__(self, settings: ConnectionSettings, system: System) -> None:
        super().__init__()
        self.login = Login(settings, system)
        self.auth = self._sign
        self.settings = settings
        # The environment is asked in merge_environment_settings(), and for nothing else.
        self.trust_env = False
        self.adapter = ShopAdapter()
        self.mount("https://", self.adapter)
        self.mount("http://", self.adapter)
        self.headers.update({"User-Agent": settings.user_agent, "Accept": "application/json"})
        self.headers["Accept-Encoding"] = ACCEPT_ENCODING
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def _sign(self, request: PreparedRequest) -> PreparedRequest:
        """
        Put the key, or the token of a login, on a request to the shop's own origin, and on no other.

        :raises LoginFailed: where the token that it needs could not be had.
        """
        call = self.login.pending_request
        if call is not None:
            result = exchange(self, call, auth=sign_nothing)
            self.login.accept_token(read(result, now=time.time(), secrets=self.login.secrets))
        request.headers.update(self.login.headers(request.url or ""))
        return request

    def rebuild_auth(self, prepared_request: PreparedRequest, response: RequestsResponse) -> None:
        """Take the key off a request that is redirected to another origin; ``.netrc`` is not asked."""
        if origin_of(prepared_request.url or "") != origin_of(self.settings.origin):
            for name in self.login.header_names:
                prepared_request.headers.pop(name, None)

    def resolve_redirects(self, *args: Any, yield_requests: bool = False, **options: Any) -> Any:
        """Look at no ``Location`` that is not followed: requests would, and raise where it is no URL."""
        return iter(()) if yield_requests else super().resolve_redirects(*args, **options)

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Take what the caller gave, else the way that :mod:`~stoq_provider.transport.route` finds."""
        route = find_route(url, self.settings.verify, self.settings.proxy)
        verify = route.verify if verify is None else verify
        return super().merge_environment_settings(url, proxies or route.proxies, stream, verify, cert)

    def rebuild_proxies(self, prepared_request: PreparedRequest, proxies: Any) -> Any:
        """Find the way to where a redirect leads."""
        route = find_route(prepared_request.url or "", self.settings.verify, self.settings.proxy)
        return super().rebuild_proxies(prepared_request, route.proxies)  # type: ignore[no-untyped-call]


def sign_nothing(request: PreparedRequest) -> PreparedRequest:
    """Leave a request as it is; given as ``auth``, also without what a ``.netrc`` says."""
    return request


def exchange(
    session: ShopSession, request: Request, *, upload: int = 0, **options: Any
) -> Response | Problem:
    """
    Send a request once; that it got no response is a value.

    :param upload: bytes of a body that is a file.
    :param options: more for ``session.request``.
    """
    session.adapter.stage = None
    try:
        with TimeLimit(whole_call(session.settings.timeout, upload), session.close):
            return quietly(_receive, session, request, timeout=session.settings.timeout, **options)
    except (OSError, HTTPError, ValueError) as error:  # those of requests are an OSError, not all are theirs
        stage = session.adapter.stage
        if stage is None:  # it did not get to the adapter
            stage = Stage.CONNECTING if isinstance(error, (ConnectTimeout, ValueError)) else Stage.SENT
        return no_response(error, session.settings, stage)


def _receive(session: Session, request: Request, **options: Any) -> Response:
    with session.request(
        request.method,
        request.url,
        params=dict(request.params) if request.params else None,
        json=request.json,
        allow_redirects=False,
        stream=True,
        **options,
    ) as response:
        body = Body(response.status_code, response.headers)
        try:
            # Not stream(), which takes a line between two chunks however long it is.
            while not body.flaw and (chunk := response.raw.read(CHUNK_BYTES, decode_content=False)):
                body.feed(chunk)
        except ReadTimeoutError:
            raise ReadTimeout from None
        if body.flaw:
            session.close()  # a server would go on sending the rest
        return body.response()
