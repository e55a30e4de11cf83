"""Trying a connection out: one small read, and what it showed in words for the person at the form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stoq_provider.core.error_text import sentences
from stoq_provider.core.http import MalformedResponse, ProblemKind, Request

if TYPE_CHECKING:
    from stoq_provider.systems.base import System
    from stoq_provider.transport.sync import SyncTransport

_SAYS = {
    ProblemKind.AUTHENTICATION: "refused the key",
    ProblemKind.NOT_FOUND: "responded, but has no such API; is the host right?",
    ProblemKind.CONFLICT: "refused the request",
    ProblemKind.VALIDATION: "refused the request",
    ProblemKind.RATE_LIMITED: "has no points left for now",
    ProblemKind.UNAVAILABLE: "is not available now",
    ProblemKind.PROTOCOL: "responded, but not as its API does; is the host right?",
    ProblemKind.NOT_SENT: "can't be reached",
    ProblemKind.LOST_CONNECTION: "gave no response",
}
"""What a problem means for a connection. There is no task and no job then, so no fate of one."""


@dataclass(frozen=True, slots=True)
class Probe:
    """
    A small read that needs the key.

    :param path: relative to the API's base path.
    :param read: returns what the response shows of the shop, in words; a
        :class:`~stoq_provider.core.http.MalformedResponse` where another system responded.
    """

    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    read: Callable[[Any], str] = lambda payload: ""

    def run(self, transport: SyncTransport, system: System, origin: str) -> tuple[bool, str]:
        """Send it, once; return whether the connection is good, and the words."""
        from stoq_provider.transport.retry import NO_RETRY  # parsing a DAG needs no retries

        shop = f"{system.label} at {origin}"
        decoded = transport.send(Request("GET", system.url(origin, self.path), self.params), NO_RETRY)
        if decoded.problem is not None:
            return False, sentences(f"{shop} {_SAYS[decoded.problem.kind]} ({decoded.problem.text})")
        try:
            shown = self.read(decoded.payload)
        except MalformedResponse as error:
            return False, sentences(f"{shop} {_SAYS[ProblemKind.PROTOCOL]} ({error})")
        limit = decoded.rate_limit
        points = f"{limit.remaining} of {limit.limit} points are left" if limit.remaining is not None else ""
        return True, sentences("; ".join(filter(None, (f"{shop} accepted the key", points, shown))))
