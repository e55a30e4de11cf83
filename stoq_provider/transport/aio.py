"""
The driver of triggers, over ``httpx``.

All triggers of one shop in one event loop share a client and a budget; the last one closes them.
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
from typing import Any
from weakref import WeakKeyDictionary

import httpx
from tenacity import AsyncRetrying

from stoq_provider.core.budget import PointsBudget
from stoq_provider.core.http import Answer, Problem, ProblemKind, Request, Response, read
from stoq_provider.systems.base import System, origin_of
from stoq_provider.transport.quiet import quiet_http_logs
from stoq_provider.transport.retrying import RetryLoop, RetryPolicy
from stoq_provider.transport.settings import ShopSettings

MAX_CONNECTIONS = 8
"""Connections to one shop: the points allow six calls a second, so a few carry them all."""


class AsyncTransport:
    """
    Sends requests for one user of a shop, keeping to the shop's points.

    :param client: shared by all users of the shop in this event loop, as is ``budget``.
    """

    def __init__(
        self,
        settings: ShopSettings,
        system: System,
        *,
        client: httpx.AsyncClient,
        budget: PointsBudget,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._system = system
        self._client = client
        self._clock = clock
        self._sleep = sleep
        self.budget = budget
        self.points_spent = 0

    async def send(self, request: Request, policy: RetryPolicy | None = None) -> Answer:
        """
        Send a request, again where the policy says so, and return the last answer.

        Problems are values: nothing is raised for what the server or the network does.
        """
        loop = RetryLoop(policy or RetryPolicy(), request)
        retrying = AsyncRetrying(sleep=self._sleep, **loop.arguments())
        answer: Answer = await retrying(self._once, request)
        return answer

    async def _once(self, request: Request) -> Answer:
        cost = self._system.points.price(reads_only=request.reads_only)
        while (wait := self.budget.wait(cost, self._clock())) > 0:
            await self._sleep(wait)
        self.budget.spend(cost, self._clock())
        answer = await self._exchange(request)
        kind = answer.problem.kind if answer.problem else None
        if kind not in (ProblemKind.REFUSED_CONNECTION, ProblemKind.RATE_LIMITED):
            self.points_spent += cost
        self.budget.learn(answer.rate_limit, self._clock())
        return answer

    async def _exchange(self, request: Request) -> Answer:
        try:
            with quiet_http_logs():
                response = await self._client.request(
                    request.method,
                    request.url,
                    params=request.params,
                    json=request.json,
                    headers={
                        "User-Agent": self._settings.user_agent,
                        **self._key_for(request.url),
                    },
                )
        except httpx.HTTPError as error:
            return Answer(problem=describe_failure(error, self._settings.timeout))
        except httpx.InvalidURL:
            return Answer(problem=Problem(ProblemKind.PROTOCOL, ("the address is none that can be used",)))
        whole = Response(response.status_code, dict(response.headers), response.content)
        return read(whole, now=self._clock(), secrets=(self._settings.key,))

    def _key_for(self, url: str) -> dict[str, str]:
        """Return the headers with the key, for the shop's own origin and no other."""
        if origin_of(url) != origin_of(self._settings.origin):
            return {}
        return self._system.auth_headers(self._settings.key)


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


def make_client(settings: ShopSettings) -> httpx.AsyncClient:
    """Return a client without a key; the key goes on each request."""
    return httpx.AsyncClient(
        headers={"Accept": "application/json"},
        timeout=settings.timeout,
        verify=_verify(settings.verify),
        proxy=settings.proxy,
        limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
    )


def _verify(setting: bool | str) -> bool | ssl.SSLContext:
    """Take a bundle of authorities, a file or a folder; httpx is about to take no path any more."""
    if isinstance(setting, bool):
        return setting
    if os.path.isdir(setting):  # noqa: PTH112
        return ssl.create_default_context(capath=setting)
    return ssl.create_default_context(cafile=setting)


@dataclass
class _SharedClient:
    client: httpx.AsyncClient
    users: int = 0


@dataclass
class _Loop:
    """
    What one event loop holds.

    Budgets stay when their last user leaves: what a shop said of its points is still true then.
    """

    clients: dict[str, _SharedClient] = field(default_factory=dict)
    budgets: dict[str, PointsBudget] = field(default_factory=dict)


_LOOPS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = WeakKeyDictionary()


@asynccontextmanager
async def shared_transport(
    settings: ShopSettings, system: System, *, jobs: int = 0
) -> AsyncIterator[AsyncTransport]:
    """
    Lend a transport on the one client and the one budget of this shop in the running event loop.

    A shop is an origin and a key. Connections to it that differ in TLS, proxy or time-out have clients of
    their own, and still one budget; the first of them says how large its share is.

    :param jobs: how many jobs the user polls; all jobs of a shop share the pace of its budget.
    """
    loop = _LOOPS.setdefault(asyncio.get_running_loop(), _Loop())
    shop = _digest(system.name, settings.origin, settings.key)
    budget = loop.budgets.setdefault(shop, PointsBudget(system.points, settings.points_share))
    name = _digest(shop, str(settings.verify), str(settings.proxy), str(settings.timeout))
    shared = loop.clients.get(name)
    if shared is None:
        shared = loop.clients[name] = _SharedClient(make_client(settings))
    shared.users += 1
    budget.waiting += jobs
    try:
        yield AsyncTransport(settings, system, client=shared.client, budget=budget)
    finally:
        budget.waiting -= jobs
        shared.users -= 1
        if shared.users == 0:
            del loop.clients[name]
            await shared.client.aclose()


def _digest(*parts: str) -> str:
    """Name something without holding its parts: who sees the registry should not see the key."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
