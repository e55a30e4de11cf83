"""
What users of a shop share in one event loop: a client, a rate limiter and a poll scheduler.

The last user closes the client.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from weakref import WeakKeyDictionary

import httpx

from stoq_provider.systems.base import System
from stoq_provider.transport.aio import AsyncTransport, Client
from stoq_provider.transport.auth import Login
from stoq_provider.transport.poll_scheduler import PollScheduler
from stoq_provider.transport.rate_limiter import TRIGGERER, Meter, RateLimiter
from stoq_provider.transport.settings import ConnectionSettings

MAX_CONNECTIONS = 8
"""Connections to one shop: the points allow six calls a second, so a few carry them all."""


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
def _verify(setting: bool | str) -> ssl.SSLContext:
    """
    Take a bundle of authorities, a file or a folder; httpx is about to take no path any more.

    One context serves all shops: each would hold half a megabyte of authorities.
    """
    if isinstance(setting, bool):
        return httpx.create_ssl_context(verify=setting)
    if os.path.isdir(setting):  # noqa: PTH112
        return ssl.create_default_context(capath=setting)
    return ssl.create_default_context(cafile=setting)


@dataclass
class _SharedClient:
    making: asyncio.Lock = field(default_factory=asyncio.Lock)
    client: Client | None = None
    users: int = 0


@dataclass
class _Loop:
    """
    What one event loop holds.

    Schedulers stay when their last user leaves: what a shop reported of its points is still true then. They
    must not hold the loop, though, or it would never be freed.
    """

    clients: dict[str, _SharedClient] = field(default_factory=dict)
    schedulers: dict[str, PollScheduler] = field(default_factory=dict)


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
    scheduler = loop.schedulers.get(key)
    if scheduler is None:
        limiter = RateLimiter(system, settings.points_share, TRIGGERER, meter=meter)
        scheduler = loop.schedulers[key] = PollScheduler(system, limiter)
    name = _digest(key, str(settings.verify), str(settings.proxy), str(settings.timeout))
    shared = loop.clients.setdefault(name, _SharedClient())
    shared.users += 1
    try:
        async with shared.making:
            if shared.client is None:
                http = await asyncio.to_thread(make_client, settings)
                shared.client = Client(http, Login(settings, system))
        yield AsyncTransport(settings, client=shared.client, scheduler=scheduler)
    finally:
        shared.users -= 1
        if shared.users == 0:
            del loop.clients[name]
            if shared.client is not None:
                await shared.client.http.aclose()


def _digest(*parts: str) -> str:
    """Name something without holding its parts: who sees the registry should not see the key."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
