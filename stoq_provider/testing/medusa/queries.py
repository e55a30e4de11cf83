"""What may be asked for: bodies of a creation and queries of a list, checked as the server does (M)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from stoq_provider.testing.medusa.basics import invalid, iso_ms
from stoq_provider.testing.medusa.catalogue import COMPARE, within
from stoq_provider.testing.medusa.jobs import DATES, BatchJob


def check_create(body: dict[str, Any]) -> None:
    """Body of a creation; the inside of `context` is not looked at."""
    found = [
        f"property {name} should not exist" for name in body if name not in {"type", "context", "dry_run"}
    ]
    if not isinstance(body.get("type"), str):
        found.append("type must be a string")
    if not isinstance(body.get("context"), dict):
        found.append("context must be an object")
    if not isinstance(body.get("dry_run", False), bool):
        found.append("dry_run must be a boolean value")
    if found:
        raise invalid(", ".join(found))


@dataclass
class ListQuery:
    """What a list is asked for. `expand` and `fields` are taken, and change nothing."""

    numbers: dict[str, int] = field(default_factory=lambda: {"limit": 10, "offset": 0})
    lists: dict[str, list[str]] = field(default_factory=dict)
    bounds: dict[str, dict[str, str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    order: str = "-created_at"

    @classmethod
    def parse(cls, query: str) -> ListQuery:
        """Read and check. Raises `MedusaError`."""
        made = cls()
        found = [made._take(name, value) for name, value in parse_qsl(query)]
        if any(found):
            raise invalid(", ".join(filter(None, found)))
        return made

    def _take(self, name: str, value: str) -> str | None:
        """Take one parameter; what is wrong with it."""
        head, _, inner = name.rstrip("]").partition("[")
        if head in {"id", "type"}:
            self.lists.setdefault(head, []).append(value)
            return f"{head} must be an array" if name == head else None
        if name in {"limit", "offset"}:
            if not value.isdecimal():
                return f"{name} must be a number conforming to the specified constraints"
            self.numbers[name] = int(value)
        elif head in DATES and inner in COMPARE:
            self.bounds.setdefault(head, {})[inner] = value
        elif name in DATES and value == "null":
            self.missing.append(name)
        elif name == "order" and value.lstrip("-") in DATES:
            self.order = value
        elif name not in {"expand", "fields"}:
            return f"property {head} should not exist"
        return None

    def answer(self, jobs: Sequence[BatchJob]) -> dict[str, Any]:
        """One page."""
        found = [job for job in jobs if self._fits(job)]
        name = self.order.lstrip("-")
        # Jobs of the same millisecond keep their order of creation.
        found.sort(key=lambda job: job.moment(name) or 0.0)
        if self.order.startswith("-"):
            found.reverse()
        limit, offset = self.numbers["limit"], self.numbers["offset"]
        page = [job.view(listed=True) for job in found[offset : offset + limit]]
        return {"batch_jobs": page, "count": len(found), **self.numbers}

    def _fits(self, job: BatchJob) -> bool:
        return (
            all(getattr(job, name) in wanted for name, wanted in self.lists.items())
            and all(within(iso_ms(job.moment(name)), bounds) for name, bounds in self.bounds.items())
            and all(job.moment(name) is None for name in self.missing)
        )
