"""Both drivers, and a download, as one function each: what is sent to a URL, and what comes of it."""

from __future__ import annotations

from stoq_provider.core.http import Problem, Request
from stoq_provider.download.options import DownloadOptions
from stoq_provider.download.responses import Trouble
from stoq_provider.download.session import GuardedSession
from stoq_provider.download.ssrf import parse_url
from stoq_provider.transport.client_pool import shared_transport
from stoq_provider.transport.retry import NO_RETRY
from stoq_provider.transport.session import ShopSession
from stoq_provider.transport.settings import ConnectionSettings
from stoq_provider.transport.sync import SyncTransport

from . import silence
from .conftest import STOQ


class Worker:
    """Sends requests one after the other over one session."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self._transport = SyncTransport(ShopSession(settings, STOQ), settings, STOQ)

    def send(self, *requests: Request, before=lambda number: None) -> list[Problem | None]:
        problems = []
        for number, request in enumerate(requests):
            before(number)
            problems.append(self._transport.send(request, NO_RETRY).problem)
        return problems


class Triggerer:
    """The same over a client that is shared in an event loop."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings

    def send(self, *requests: Request, before=lambda number: None) -> list[Problem | None]:
        async def run():
            problems = []
            async with shared_transport(self.settings, STOQ) as transport:
                for number, request in enumerate(requests):
                    before(number)
                    problems.append((await transport.send(request, NO_RETRY)).problem)
            return problems

        return silence.run(run())


class Download:
    """The same as the download of a file does it; only reads."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._options = DownloadOptions(
            allow_http=True,
            allow_loopback=True,
            verify=settings.verify,
            proxy=settings.proxy,
            user_agent=settings.user_agent,
            connect_timeout=settings.timeout,
            stall_timeout=settings.timeout,
        )

    def send(self, *requests: Request, before=lambda number: None) -> list[Trouble | None]:
        troubles = []
        for number, request in enumerate(requests):
            before(number)
            session = GuardedSession(self._options, check=lambda: None)
            response = session.get(parse_url(request.url), {})
            troubles.append(response if isinstance(response, Trouble) else None)
            session.close()
        return troubles
