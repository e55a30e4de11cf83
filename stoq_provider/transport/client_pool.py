"""
What users of a shop share in one event loop: a client, a rate limiter and a poll scheduler.

The last user closes the client.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx
from requests.utils import get_auth_from_url

from stoq_provider.systems.base import System
from stoq_provider.transport.aio import AsyncTransport, Client
from stoq_provider.transport.auth import Login
from stoq_provider.transport.limits import ACCEPT_ENCODING
from stoq_provider.transport.poll_scheduler import PollScheduler
from stoq_provider.transport.rate_limiter import TRIGGERER, Meter, RateLimiter
from stoq_provider.transport.route import bundle_version, find_route, tls_context
from stoq_provider.transport.settings import ConnectionSettings

MAX_CONNECTIONS = 8
"""Connections to one shop: the points allow six calls a second, so a few carry them all."""


def make_client(settings: ConnectionSettings) -> httpx.AsyncClient:
    """
    Return a client without a key, which goes on each request, and without cookies.

    Takes some hundredths of a second where authorities are loaded: not in an event loop.
    """
    route = find_route(settings.origin, settings.verify, settings.proxy)
    tls = tls_context(route.verify)
    client = httpx.AsyncClient(
        headers={"Accept": "application/json", "Accept-Encoding": ACCEPT_ENCODING},
        timeout=settings.timeout,
        verify=tls,
        proxy=_proxy(route.proxy, tls),
        trust_env=False,
        limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
    )
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return client


def _make(settings: ConnectionSettings, system: System) -> Client:
    verify = find_route(settings.origin, settings.verify, settings.proxy).verify
    version = bundle_version(verify)

    def renew() -> httpx.AsyncClient | None:
        nonlocal version
        now = bundle_version(verify)
        if now == version:
            return None
        http = make_client(settings)
        version = now
        return http

    return Client(make_client(settings), Login(settings, system), renew)


def _proxy(url: str | None, tls: ssl.SSLContext) -> httpx.Proxy | None:
    """Return a proxy, read as requests reads its URL."""
    if url is None:
        return None
    parts = urlsplit(url)
    # httpx resolves no name itself before it asks a SOCKS proxy, and called that so only from 0.28 on.
    scheme = parts.scheme.replace("socks5h", "socks5")
    user, password = get_auth_from_url(url)
    return httpx.Proxy(
        f"{scheme}://{parts.netloc.rpartition('@')[2]}",
        auth=(user, password) if user else None,
        ssl_context=tls if scheme == "https" else None,
    )


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
    clients of their own, and so has one after its bundle of authorities was renewed. There is still one
    limiter; the first user says how large its share is.

    :param meter: what the first user of a shop gives counts.
    """
    loop = _LOOPS.setdefault(asyncio.get_running_loop(), _Loop())
    key = _digest(system.name, settings.origin, settings.login or "", settings.key)
    scheduler = loop.schedulers.get(key)
    if scheduler is None:
        limiter = RateLimiter(system, settings.points_share, TRIGGERER, meter=meter)
        scheduler = loop.schedulers[key] = PollScheduler(system, limiter)
    route = find_route(settings.origin, settings.verify, settings.proxy)
    bundle = bundle_version(route.verify)
    name = _digest(key, str(route.verify), str(bundle), str(route.proxy), str(settings.timeout))
    shared = loop.clients.setdefault(name, _SharedClient())
    shared.users += 1
    try:
        async with shared.making:
            if shared.client is None:
                shared.client = await asyncio.to_thread(_make, settings, system)
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
