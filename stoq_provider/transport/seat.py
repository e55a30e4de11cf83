"""The place of one waiting task at the board of its shop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoq_provider.core.http import RateLimit
from stoq_provider.core.lifecycle import Sight
from stoq_provider.core.models import JobHandle
from stoq_provider.core.polling import PollWish

if TYPE_CHECKING:
    from stoq_provider.transport.aio import AsyncTransport
    from stoq_provider.transport.board import PollBoard

Key = tuple[str, str]


def key_of(handle: JobHandle) -> Key:
    """Name what is polled: what the answer means depends on what was asked of the job."""
    return handle.status_url, handle.kind


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one poll brought of one job."""

    handle: JobHandle
    sight: Sight
    rate_limit: RateLimit


class Seat:
    """The place of one waiting task. Made by :meth:`PollBoard.seat`."""

    __slots__ = ("_board", "_error", "_inbox", "_waiting", "keys", "transport")

    def __init__(self, board: PollBoard, transport: AsyncTransport) -> None:
        self._board = board
        self.transport = transport
        self.keys: list[Key] = []
        self._inbox: list[Sighting] = []
        self._waiting: asyncio.Future[None] | None = None
        self._error: BaseException | None = None

    def ask(self, wish: PollWish) -> None:
        """
        Let a job be polled; once, so ask again after each sighting.

        :raises InvalidInput: where its status URL leads to another origin.
        """
        self._board.enter(self, wish)

    def drop(self, handle: JobHandle) -> None:
        """Wait for a job no longer."""
        self._board.forget(self, key_of(handle))

    async def next(self, until: float) -> list[Sighting]:
        """
        Return what has come; wait for something until that time, in seconds of the board's clock.

        :raises Exception: what went wrong in us while we polled; servers and networks raise nothing.
        """
        if not self._inbox and self._error is None:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            timer = loop.call_later(max(0.0, until - self._board.clock()), self._wake)
            try:
                await self._waiting
            finally:
                timer.cancel()
                self._waiting = None
        if self._error is not None:
            raise self._error
        come, self._inbox = self._inbox, []
        return come

    def give(self, sighting: Sighting) -> None:
        """Hand over what came."""
        self._inbox.append(sighting)
        self._wake()

    def fail(self, error: BaseException) -> None:
        """Hand over what went wrong in us."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
