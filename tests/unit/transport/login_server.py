"""A shop with a user name and password, and the two drivers at it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import requests
import requests_mock

from stoq_provider.core.http import Request
from stoq_provider.systems.payload import require
from stoq_provider.systems.stoq.system import Stoq
from stoq_provider.transport.aio import AsyncTransport, Client
from stoq_provider.transport.auth import Login
from stoq_provider.transport.poll_scheduler import PollScheduler
from stoq_provider.transport.rate_limiter import TRIGGERER, RateLimiter
from stoq_provider.transport.retry import RetryPolicy
from stoq_provider.transport.session import ShopSession
from stoq_provider.transport.settings import ConnectionSettings
from stoq_provider.transport.sync import SyncTransport

ORIGIN = "https://medusa.example"
PASSWORD = "correct-horse-battery"
READ = Request("GET", f"{ORIGIN}/admin/batch-jobs")
WRITE = Request("POST", f"{ORIGIN}/admin/batch-jobs", json={"type": "product-export"})
ONCE = RetryPolicy(attempts=1)


class WithLogin(Stoq):
    """A made-up system that trades a password for a token."""

    name = "with_login"

    def login_request(self, origin, login, key):
        return Request("POST", f"{origin}/login", json={"email": login, "password": key}, safe=True)

    def read_login(self, payload):
        return require(payload, "access_token", "the answer to the login")


SYSTEM = WithLogin()


def settings(origin=ORIGIN, **more):
    return ConnectionSettings(origin, PASSWORD, user_agent="tests/1", **{"login": "me@example.com", **more})


@dataclass
class Server:
    """
    Gives tokens ``token-1``, ``token-2`` and so on; only the last one that it gave is good.

    :param logins: what it says to logins instead, one after the other.
    :param calls: what it says to other calls instead.
    """

    logins: list[Any] = field(default_factory=list)
    calls: list[Any] = field(default_factory=list)
    seen: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    given: int = 0
    good: str = ""

    def answer(self, method: str, url: str, headers: dict[str, str], body: Any) -> tuple[int, dict, Any]:
        path = httpx.URL(url).path
        headers = {name.lower(): value for name, value in headers.items()}
        self.seen.append((f"{method} {path}", headers, body))
        instead = self.logins if path == "/login" else self.calls
        if instead:
            reply = instead.pop(0)
            if isinstance(reply, Exception):
                raise reply
            if reply is not None:
                return reply
        if path == "/login":
            self.given += 1
            self.good = f"token-{self.given}"
            return 200, {}, {"access_token": self.good}
        if headers.get("authorization") != f"Bearer {self.good}":
            return 401, {}, {"errors": ["the token is no good"]}
        return 200, {}, {"done": True}

    def expire(self) -> None:
        self.good = "none"

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _ in self.seen]

    @property
    def logged_in(self) -> int:
        return self.paths.count("POST /login")


def over_requests(server: Server, clock: Any) -> Callable[..., Any]:
    session = ShopSession(settings(), SYSTEM)

    def answer(sent: requests.PreparedRequest, context: Any) -> Any:
        body = json.loads(sent.body) if sent.body else None
        context.status_code, context.headers, payload = server.answer(
            sent.method, sent.url, dict(sent.headers), body
        )
        return payload

    def send(*sent: Request, policy: RetryPolicy = ONCE) -> list[Any]:
        with requests_mock.Mocker() as mocker:
            mocker.register_uri(requests_mock.ANY, requests_mock.ANY, json=answer)
            return [transport.send(request, policy) for request in sent]

    transport = SyncTransport(session, settings(), SYSTEM, sleep=clock.sleep, clock=clock)
    send.limiter = transport.limiter  # type: ignore[attr-defined]
    send.transport = transport  # type: ignore[attr-defined]
    send.login = session.login  # type: ignore[attr-defined]
    return send


def over_httpx(server: Server, clock: Any) -> Callable[..., Any]:
    def answer(sent: httpx.Request) -> httpx.Response:
        body = json.loads(sent.content) if sent.content else None
        status, headers, payload = server.answer(sent.method, str(sent.url), dict(sent.headers), body)
        return httpx.Response(status, headers=headers, json=payload)

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    login = Login(settings(), SYSTEM)
    transport = AsyncTransport(
        settings(),
        client=Client(http, login),
        scheduler=PollScheduler(SYSTEM, RateLimiter(SYSTEM, 0.8, TRIGGERER), clock=clock),
        sleep=clock.asleep,
    )

    def send(*sent: Request, policy: RetryPolicy = ONCE) -> list[Any]:
        async def one_by_one() -> list[Any]:
            return [await transport.send(request, policy) for request in sent]

        return asyncio.run(one_by_one())

    send.limiter, send.transport, send.login = transport.limiter, transport, login  # type: ignore[attr-defined]
    return send
