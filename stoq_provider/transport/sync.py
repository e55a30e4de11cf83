"""The driver of workers, over ``requests``."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from math import inf

from stoq_provider.core.http import Decoded, Problem, Request, Response
from stoq_provider.systems.base import System
from stoq_provider.transport.flow import RequestFlow, run_blocking
from stoq_provider.transport.rate_limiter import WORKER, Meter, RateLimiter
from stoq_provider.transport.retry import RetryPolicy
from stoq_provider.transport.session import ShopSession, exchange, sign_nothing
from stoq_provider.transport.settings import ConnectionSettings
from stoq_provider.transport.upload import Upload


class SyncTransport(RequestFlow):
    """
    Sends requests one after the other, keeping to the shop's points.

    :param sleep: waits the given seconds; may raise to end the wait.
    """

    def __init__(
        self,
        session: ShopSession,
        settings: ConnectionSettings,
        system: System,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = lambda: time.time(),
        meter: Meter | None = None,
    ) -> None:
        super().__init__(
            session.login, RateLimiter(system, settings.points_share, WORKER, meter=meter), clock
        )
        self._session = session
        self._sleep = sleep

    def send(self, request: Request, policy: RetryPolicy | None = None) -> Decoded:
        """
        Send a request, again where the policy says so, and return the last response.

        Problems are values: nothing is raised for what the server or the network does.
        """
        return run_blocking(self._send(request, policy or RetryPolicy()))

    def wait_for_points(self, request: Request, until: float = inf) -> bool:
        """
        Sleep until the points are there for a request. Nothing is sent, and nothing is spent.

        :param until: Unix seconds beyond which it is not waited.
        :return: whether the request may go out now.
        """
        return run_blocking(self._wait(request, until))

    async def _pause(self, seconds: float) -> None:
        self._sleep(seconds)

    async def _exchange(self, request: Request) -> Response | Problem:
        if not request.reads_only:
            # On a new connection: a server may be closing a kept one this very moment, and whether it has
            # taken a write before nobody could tell.
            self._session.close()
        send = partial(exchange, self._session, request, auth=sign_nothing)
        headers = self.login.headers(request.url)
        if not isinstance(request, Upload):
            return send(headers=headers)
        form = request.form()
        headers = {**headers, "Content-Type": form.content_type}
        return send(headers=headers, data=form, upload=form.len)
