"""The driver of triggers, over ``httpx``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from stoq_provider.core.http import Decoded, Problem, Request, Response
from stoq_provider.core.validation import InvalidInput
from stoq_provider.transport.auth import Login
from stoq_provider.transport.causes import certificate_flaw
from stoq_provider.transport.flow import RequestFlow, Stage, no_response
from stoq_provider.transport.limits import Body, whole_call
from stoq_provider.transport.log_filter import quietly
from stoq_provider.transport.poll_scheduler import PollScheduler
from stoq_provider.transport.retry import RetryPolicy
from stoq_provider.transport.settings import ConnectionSettings

ERRORS = (httpx.HTTPError, httpx.InvalidURL, OSError)
NOT_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.InvalidURL)
"""Errors of a request that did not get so far that its stage is known, and surely never left."""


@dataclass
class Client:
    """
    A client that several users share, and the login that goes with it.

    :param renew: makes another one where its bundle of authorities was renewed; may block.
    """

    http: httpx.AsyncClient
    login: Login
    renew: Callable[[], httpx.AsyncClient | None] = lambda: None
    signing_in: asyncio.Lock = field(default_factory=asyncio.Lock)


class AsyncTransport(RequestFlow):
    """
    Sends requests for one user of a shop, keeping to the shop's points.

    :param client: shared by all users of the shop in this event loop, as is ``scheduler`` with its rate
        limiter and its clock.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        *,
        client: Client,
        scheduler: PollScheduler,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(client.login, scheduler.limiter, scheduler.clock)
        self.origin = settings.origin
        self.scheduler = scheduler
        self._settings = settings
        self._client = client
        self._sleep = sleep

    async def send(self, request: Request, policy: RetryPolicy | None = None) -> Decoded:
        """
        Send a request, again where the policy says so, and return the last response.

        Problems are values: nothing is raised for what the server or the network does.
        """
        return await self._send(request, policy or RetryPolicy())

    async def send_now(self, request: Request) -> Decoded:
        """Send a request at once, and only once, for a caller that has asked the limiter."""
        return await self._send_now(request)

    async def _pause(self, seconds: float) -> None:
        await self._sleep(seconds)

    async def _sign_in(self) -> Decoded | None:
        async with self._client.signing_in:
            return await super()._sign_in()

    async def _exchange(self, request: Request) -> Response | Problem:
        # The client is shared, also by users of other names.
        headers = {"User-Agent": self._settings.user_agent, **self.login.headers(request.url)}
        trace, limit = _Trace(), whole_call(self._settings.timeout)
        # Not wait_for(): before Python 3.12 it can swallow a cancellation.
        call = quietly(asyncio.ensure_future, self._receive(request, headers, trace))
        try:
            done, _ = await asyncio.wait({call}, timeout=limit)
        finally:
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        try:
            if not done:
                raise TimeoutError(f"not done within {limit:g} s")
            return call.result()
        except Exception as error:
            # What a SOCKS proxy does wrong comes as what its package raises.
            if trace.stage is not Stage.HANDSHAKE and not isinstance(error, ERRORS):
                raise
            return await self._no_response(error, trace.stage)

    async def _receive(self, request: Request, headers: dict[str, str], trace: _Trace) -> Response:
        async with self._client.http.stream(
            request.method,
            request.url,
            params=request.params,
            json=request.json,
            headers=headers,
            extensions={"trace": trace},
        ) as response:
            body = Body(response.status_code, response.headers)
            assert isinstance(response.stream, httpx.AsyncByteStream)
            # As it comes: httpx would decode a chunk in one step, whatever becomes of it.
            async for chunk in response.stream:
                body.feed(chunk)
                if body.flaw:
                    break
            return body.response()

    async def _no_response(self, error: Exception, stage: Stage | None) -> Problem:
        if stage is None:
            stage = Stage.CONNECTING if isinstance(error, NOT_CONNECTED) else Stage.SENT
        if certificate_flaw(error):
            # This client may serve for days: perhaps its bundle of authorities was renewed meanwhile.
            with suppress(InvalidInput):  # it is being written
                fresh = await asyncio.to_thread(self._client.renew)
                if fresh is not None:
                    old, self._client.http = self._client.http, fresh
                    await old.aclose()
        return no_response(error, self._settings, stage)


class _Trace:
    """
    Notes how far a request got, by the events of httpcore.

    One counts as sent from the first step on that is not known to come before. So a step of another name, as
    a later httpcore may have, means at the worst that the request perhaps was sent.

    ``stage``: ``None`` until there is a connection, old or new.
    """

    stage: Stage | None = None

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        step, state = event.split(".")[-2:]
        to_proxy = "request" in info and info["request"].method == b"CONNECT"
        if self.stage is Stage.SENT:
            return
        if step == "connect_tcp":
            self.stage = Stage.HANDSHAKE if state == "complete" else Stage.CONNECTING
        elif state == "started" and step not in _BEFORE_SENDING and not to_proxy:
            self.stage = Stage.SENT


_BEFORE_SENDING = ("setup_socks5_connection", "start_tls", "response_closed")
"""Steps of httpcore that come before, besides those of the request to a proxy, whose end is the last one."""
