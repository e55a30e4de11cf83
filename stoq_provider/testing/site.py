"""What the other systems of the sandbox have in common: a log, controls, and a way to be switched off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from stoq_provider.testing.clock import JobClock

Controls = dict[str, Callable[..., Any]]
Power = Callable[[float | None], None]
"""Closes the listening socket of a site for so many real seconds; `None`: until it is reopened."""


@dataclass
class SiteLog:
    """What was asked of one system."""

    requests: Counter[str] = field(default_factory=Counter)
    unauthorized: int = 0
    rate_limited: int = 0
    submissions: list[dict[str, Any]] = field(default_factory=list)
    downloads: list[dict[str, Any]] = field(default_factory=list)

    def view(self) -> dict[str, Any]:
        """For the control endpoint."""
        return {
            "requests": dict(self.requests),
            "unauthorized": self.unauthorized,
            "rate_limited": self.rate_limited,
            "submissions": list(self.submissions),
            "downloads": list(self.downloads),
        }


class Site(Protocol):
    """One system: its records, its clockwork, and what bends it."""

    log: SiteLog

    def settle(self) -> None:
        """Do what is due by now."""

    def state(self) -> dict[str, Any]:
        """Counters and the true lives of its jobs."""

    def controls(self) -> Controls:
        """What can be done to it by name, with keyword options."""

    def retire(self) -> None:
        """A reset has put another one in its place."""


@dataclass(frozen=True)
class SiteSetup:
    """What a site is made from."""

    clock: JobClock
    seed: str
    power: Power


def control(site: Site, action: str, options: Mapping[str, Any]) -> Any:
    """
    Run a control of a site.

    :raises ValueError: no such control, or options it does not take
    """
    known = site.controls()
    if action not in known:
        raise ValueError(f"control must be one of: {', '.join(known)}")
    try:
        done = known[action](**options)
    except TypeError as error:
        raise ValueError(f"{action}: {error}") from error
    site.settle()
    return done
