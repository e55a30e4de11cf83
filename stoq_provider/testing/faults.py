"""Faults: what can be made to go wrong, and when."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

Origin = Literal["api", "files", "medusa", "surecart", "printstudio"]

# Kind of fault, and the options it takes.
KINDS: dict[str, frozenset[str]] = {
    "refuse": frozenset({"seconds"}),
    "reset_before": frozenset(),
    "reset_after": frozenset(),
    "delay": frozenset({"seconds", "processed"}),
    "status": frozenset({"status", "body", "headers", "processed"}),
    "garbage": frozenset({"status", "headers", "processed"}),
    "html": frozenset({"status", "body", "headers", "processed"}),
    "empty": frozenset({"status", "headers", "processed"}),
    "json": frozenset({"status", "body", "headers", "processed"}),
    "truncated": frozenset({"after", "reset"}),
    "stall": frozenset({"after", "seconds"}),
    "expired_url": frozenset(),
    "changed_etag": frozenset(),
    "ignore_range": frozenset(),
}
OF_FILES = frozenset({"expired_url", "changed_etag", "ignore_range"})
# Responses that look like success come after the request was really processed, unless a test asks otherwise.
LOOKS_LIKE_SUCCESS = frozenset({"garbage", "html", "empty", "json"})


@dataclass
class Fault:
    """One armed fault."""

    kind: str
    origin: Origin
    method: str | None = None
    path: str | None = None
    times: int | None = 1
    skip: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    fired: int = 0

    @property
    def processed(self) -> bool:
        """Whether the request is carried out although its response is replaced."""
        return bool(self.options.get("processed", self.kind in LOOKS_LIKE_SUCCESS))

    @property
    def seconds(self) -> float | None:
        """How long a fault lasts that lasts; `None`: until the faults are disarmed."""
        seconds = self.options.get("seconds", 1.0)
        return None if seconds is None else float(seconds)

    def fits(self, origin: str, method: str, path: str) -> bool:
        """Whether a request is meant."""
        return (
            origin == self.origin
            and self.times != 0
            and self.method in {None, method}
            and (self.path is None or re.search(self.path, path) is not None)
        )

    def view(self) -> dict[str, Any]:
        """For the control endpoint."""
        return {
            "fault": self.kind,
            "origin": self.origin,
            "method": self.method,
            "path": self.path,
            "times": self.times,
            "skip": self.skip,
            "fired": self.fired,
            **self.options,
        }


def make_fault(
    kind: str,
    *,
    method: str | None = None,
    path: str | None = None,
    origin: str | None = None,
    times: int | None = 1,
    skip: int = 0,
    **options: Any,
) -> Fault:
    """Check and build a fault; whatever nobody knows is refused."""
    if kind not in KINDS:
        raise ValueError(f"fault must be one of: {', '.join(KINDS)}")
    unknown = set(options) - KINDS[kind]
    if unknown:
        raise ValueError(f"{kind} takes no {', '.join(sorted(unknown))}")
    if kind == "refuse" and (method or path):
        raise ValueError("refuse closes the listening socket at once, for every request")
    where = origin or ("files" if kind in OF_FILES else "api")
    if where not in get_args(Origin):
        raise ValueError(f"origin must be one of: {', '.join(get_args(Origin))}")
    if path is not None:
        re.compile(path)
    return Fault(kind, cast("Origin", where), method.upper() if method else None, path, times, skip, options)


class FaultBook:
    """All faults of a sandbox, in the order in which they were armed."""

    def __init__(self) -> None:
        self.held = 0
        """How many requests were left without a response until now."""
        self.stalled = 0
        """How many responses stopped in the middle until now."""
        self._faults: list[Fault] = []
        self._disarmed = asyncio.Event()

    def arm(self, fault: Fault) -> None:
        """Add a fault."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Disarm all; requests that are held are dropped."""
        self._faults.clear()
        self._disarmed.set()
        self._disarmed = asyncio.Event()

    async def hold(self, fault: Fault) -> None:
        """Leave a request without a response, or the rest of it, until the faults are disarmed."""
        disarmed = self._disarmed
        if fault.kind == "stall":
            self.stalled += 1
        else:
            self.held += 1
        await disarmed.wait()

    def take(self, origin: str, method: str, path: str) -> Fault | None:
        """The first armed fault that fits, used up once."""
        for fault in self._faults:
            if not fault.fits(origin, method, path):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.fired += 1
            if fault.times is not None:
                fault.times -= 1
            return fault
        return None

    def state(self) -> list[dict[str, Any]]:
        """All faults, the used-up ones included."""
        return [fault.view() for fault in self._faults]
