"""
The driver of triggers, over ``httpx``.

All triggers of one shop in one event loop share a client, a rate limiter and a poll scheduler; the last one
closes the client.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from weakref import WeakKeyDictionary

import httpx
from tenacity import AsyncRetrying

from stoq_provider.core.http import Decoded, Problem, ProblemKind, Request, Response, read
from stoq_provider.systems.base import System
from stoq_provider.transport.auth import Login, LoginFailed
from stoq_provider.transport.log_filter import quietly
from stoq_provider.transport.poll_scheduler import PollScheduler
from stoq_provider.transport.rate_limiter import TRIGGERER, Meter, RateLimiter
from stoq_provider.transport.retry import RetryLoop, RetryPolicy
from stoq_provider.transport.settings import ConnectionSettings

MAX_CONNECTIONS = 8
"""Connections to one shop: the points allow six calls a second, so a few carry them all."""


@dataclass
class Client:
    """A client that several users share, and the login that goes with it."""

    http: httpx.AsyncClient
    login: Login
    logging_in: asyncio.Lock = field(default_factory=asyncio.Lock)


class AsyncTransport:
    """
    Sends requests for one user of a shop, keeping to the shop's points.

    :param client: shared by all users of the shop in this event loop, as are ``limiter`` and ``scheduler``.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        system: System,
        *,
        client: Client,
        limiter: RateLimiter,
        scheduler: PollScheduler | None = None,
        clock: Callable[[], float] = lambda: time.time(),
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._sleep = sleep
        self.limiter = limiter
        self.scheduler = scheduler or PollScheduler(system, limiter, clock=clock)
        self.points_spent = 0

    @property
    def origin(self) -> str:
        """The shop's origin."""
        return self._settings.origin

    async def send(self, request: Request, policy: RetryPolicy | None = None) -> Decoded:
        """
        Send a request, again where the policy says so, and return the last answer.

        Problems are values: nothing is raised for what the server or the network does.
        """
        loop = RetryLoop(policy or RetryPolicy(), request)
        retrying = AsyncRetrying(sleep=self._sleep, **loop.arguments())
        answer: Decoded = await retrying(self._once, request)
        return answer

    async def _once(self, request: Request) -> Decoded:
        waited = 0.0
        while (wait := self.limiter.wait(request, self._clock())) > 0:
            await self._sleep(wait)
            waited += wait
        if waited:
            self.limiter.meter.waited(waited)
        return await self.send_paid(request, self.limiter.spend(request, self._clock()))

    async def send_paid(self, request: Request, cost: int) -> Decoded:
        """
        Send a request at once whose points the limiter has booked already.

        Where a token has expired, so that the call did nothing, it is sent once more with a new one.
        """
        answer, token = await self._exchange(request, cost)
        if self._client.login.refused(answer, token):
            cost = self.limiter.spend(request, self._clock())
            answer, _ = await self._exchange(request, cost)
        return answer

    async def _exchange(self, request: Request, cost: int) -> tuple[Decoded, str | None]:
        """Send a request, and return the answer with the token that it carried."""
        token = None
        try:
            await self._log_in()
            token = self._client.login.token
            answer = await self._ask(request, self._client.login.headers(request.url))
        except LoginFailed as error:
            answer, cost = error.answer, 0
        finally:
            self.limiter.settle(request)
        kind = answer.problem.kind if answer.problem else None
        if kind not in (ProblemKind.REFUSED_CONNECTION, ProblemKind.RATE_LIMITED):
            self.points_spent += cost
        self.limiter.update(request, answer, self._clock())
        return answer, token

    async def _log_in(self) -> None:
        login = self._client.login
        if not login.missing:
            return
        async with self._client.logging_in:
            if login.missing and login.request is not None:
                self.limiter.spend(login.request, self._clock())
                try:
                    login.take(await self._ask(login.request, {}))
                finally:
                    self.limiter.settle(login.request)

    async def _ask(self, request: Request, credentials: dict[str, str]) -> Decoded:
        try:
            response = await quietly(
                asyncio.ensure_future,
                self._client.http.request(
                    request.method,
                    request.url,
                    params=request.params,
                    json=request.json,
                    headers={"User-Agent": self._settings.user_agent, **credentials},
                ),
            )
        except httpx.HTTPError as error:
            return Decoded(problem=describe_failure(error, self._settings.timeout))
        except httpx.InvalidURL:
            return Decoded(problem=Problem(ProblemKind.PROTOCOL, ("the address is none that can be used",)))
        whole = Response(response.status_code, dict(response.headers), response.content)
        return read(whole, now=self._clock(), secrets=self._client.login.secrets)


def describe_failure(error: httpx.HTTPError, timeout: float) -> Problem:
    """
    Tell what became of a request that has no answer.

    The text names no URL: the error's own text might.
    """
    name = type(error).__name__
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)):
        return Problem(ProblemKind.REFUSED_CONNECTION, (f"no connection came about ({name})",))
    if isinstance(error, httpx.TimeoutException):
        return Problem(ProblemKind.LOST_CONNECTION, (f"no answer within {timeout:g} s",))
    return Problem(
        ProblemKind.LOST_CONNECTION, (f"the connection broke before the answer was whole ({name})",)
    )


def make_client(settings: ConnectionSettings) -> httpx.AsyncClient:
    """
    Return a client without a key, which goes on each request, and without cookies.

    Takes some hundredths of a second where authorities are loaded: not in an event loop.
    """
    client = httpx.AsyncClient(
        headers={"Accept": "application/json"},
        timeout=settings.timeout,
        verify=_verify(settings.verify),
        proxy=settings.proxy,
        limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
    )
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return client


@lru_cache(maxsize=8)
def _verify(setting: bool | str) -> bool | ssl.SSLContext:
    """
    Take a bundle of authorities, a file or a folder; httpx is about to take no path any more.

    One context serves all shops: each would hold half a megabyte of authorities.
    """
    if setting is False:
        return False
    if setting is True:
        return httpx.create_ssl_context()
    if os.path.isdir(setting):  # noqa: PTH112
        return ssl.create_default_context(capath=setting)
    return ssl.create_default_context(cafile=setting)


@dataclass
class _SharedClient:
    made: asyncio.Future[Client]
    users: int = 0


@dataclass
class _Shop:
    limiter: RateLimiter
    scheduler: PollScheduler


@dataclass
class _Loop:
    """
    What one event loop holds.

    Ledgers stay when their last user leaves: what a shop said of its points is still true then.
    """

    clients: dict[str, _SharedClient] = field(default_factory=dict)
    shops: dict[str, _Shop] = field(default_factory=dict)


_LOOPS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = WeakKeyDictionary()


@asynccontextmanager
async def shared_transport(
    settings: ConnectionSettings, system: System, *, meter: Meter | None = None
) -> AsyncIterator[AsyncTransport]:
    """
    Lend a transport on the client, rate limiter and poll scheduler of this shop in the running event loop.

    A shop is an origin, a user name and a key. Connections to it that differ in TLS, proxy or time-out have
    clients of their own, and still one limiter; the first of them says how large its share is.

    :param meter: what the first user of a shop gives counts.
    """
    loop = _LOOPS.setdefault(asyncio.get_running_loop(), _Loop())
    key = _digest(system.name, settings.origin, settings.login or "", settings.key)
    shop = loop.shops.get(key)
    if shop is None:
        limiter = RateLimiter(system, settings.points_share, TRIGGERER, meter=meter)
        shop = loop.shops[key] = _Shop(limiter, PollScheduler(system, limiter))
    name = _digest(key, str(settings.verify), str(settings.proxy), str(settings.timeout))
    shared = loop.clients.get(name)
    if shared is None:
        made = asyncio.ensure_future(_make(settings, system))
        shared = loop.clients[name] = _SharedClient(made)
    shared.users += 1
    try:
        # Shielded: others may wait for the same client.
        client = await asyncio.shield(shared.made)
        yield AsyncTransport(settings, system, client=client, limiter=shop.limiter, scheduler=shop.scheduler)
    finally:
        shared.users -= 1
        if shared.users == 0:
            del loop.clients[name]
            await _close(shared.made)


async def _make(settings: ConnectionSettings, system: System) -> Client:
    return Client(await asyncio.to_thread(make_client, settings), Login(settings, system))


async def _close(made: asyncio.Future[Client]) -> None:
    if not made.done():
        made.cancel()
    (client,) = await asyncio.gather(made, return_exceptions=True)
    if isinstance(client, Client):
        await client.http.aclose()


def _digest(*parts: str) -> str:
    """Name something without holding its parts: who sees the registry should not see the key."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
