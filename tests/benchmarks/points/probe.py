"""What a client sent and got, noted at the client itself."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import httpx


class Call(NamedTuple):
    """One call; ``status`` is 0 where no answer came, and so are times that are not known."""

    sent_at: float
    answered_at: float = 0.0
    status: int = 0
    resets_at: float = 0.0
    retry_after: float = 0.0


class Probe:
    """
    Notes all calls of the clients that it is attached to.

    :param keep: whether each call is kept, or only counted, which takes no memory.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self.calls: list[Call] = []
        self.sent = 0
        self.throttled = 0
        self.clients = 0
        self._keep = keep

    def attach(self, client: httpx.AsyncClient) -> httpx.AsyncClient:
        self.clients += 1
        client.event_hooks = {"request": [self._sent], "response": [self._answered]}
        return client

    async def _sent(self, request: httpx.Request) -> None:
        self.sent += 1
        if self._keep:
            request.extensions["bench_number"] = len(self.calls)
            self.calls.append(Call(time.time()))

    async def _answered(self, response: httpx.Response) -> None:
        self.throttled += response.status_code == 429
        if not self._keep:
            return
        number = response.request.extensions["bench_number"]
        headers = response.headers
        self.calls[number] = Call(
            self.calls[number].sent_at,
            time.time(),
            response.status_code,
            float(headers.get("X-RateLimit-Reset", 0)),
            float(headers.get("Retry-After", 0)),
        )


def throttled(calls: list[Call]) -> int:
    return sum(call.status == 429 for call in calls)


def most_in_a_window(calls: list[Call], window: float = 60.0) -> int:
    """The most calls that were answered well in any stretch of that length; a poll is a point."""
    times = sorted(call.sent_at for call in calls if call.status == 200)
    most, first = 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - window:
            first += 1
        most = max(most, last - first + 1)
    return most


def sent_too_early(calls: list[Call]) -> int:
    """Calls that were sent although a 429 had asked the same process to wait."""
    refused = sorted((call.answered_at, call.retry_after) for call in calls if call.status == 429)
    closed_until, early = 0.0, 0
    for call in sorted(calls):
        while refused and refused[0][0] <= call.sent_at:
            at, seconds = refused.pop(0)
            closed_until = max(closed_until, at + seconds)
        early += call.sent_at < closed_until
    return early


def read_calls(rows: list[Any]) -> list[Call]:
    return [Call(*row) for row in rows]
