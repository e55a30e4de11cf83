"""What may be asked for: bodies of a creation and queries of a list, checked as the server does (M)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from stoq_provider.testing.medusa.auth import User
from stoq_provider.testing.medusa.basics import invalid, iso_ms, unknown_error
from stoq_provider.testing.medusa.catalogue import within
from stoq_provider.testing.medusa.jobs import DATES, STAMPS, BatchJob

_SINGLE = ("limit", "offset", "expand", "fields", "order")
_LISTS = ("id", "type")
_NULLABLE = tuple(name for name in DATES if name not in {"created_at", "updated_at", "processing_at"})
_RANGED = (*_NULLABLE, "created_at", "updated_at")


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


def nested(query: str) -> dict[str, Any]:
    """A query as Express reads it: `a[]=1` is a list, `a[b]=1` an object, `a=1&a=2` a list."""
    read: dict[str, Any] = {}
    # S: its parser takes in no more than a thousand parameters.
    for name, value in parse_qsl(query, keep_blank_values=True)[:1000]:
        parts = re.fullmatch(r"([^\[]+)\[(\w*)\]", name)
        if parts and parts[2] and not parts[2].isdigit():
            bounds = read.setdefault(parts[1], {})
            if isinstance(bounds, dict):
                bounds[parts[2]] = value
        elif parts:
            _append(read, parts[1], value, several=True)
        else:
            _append(read, name, value, several=False)
    return read


def _append(read: dict[str, Any], name: str, value: str, *, several: bool) -> None:
    if name not in read:
        read[name] = [value] if several else value
    elif isinstance(read[name], list):
        read[name].append(value)
    else:
        read[name] = [read[name], value]


@dataclass
class ListQuery:
    """What a list is asked for."""

    limit: int = 10
    offset: int = 0
    order: str = "-created_at"
    fields: list[str] = field(default_factory=list)
    expand: list[str] = field(default_factory=list)
    ids: list[str] | None = None
    types: list[str] | None = None
    ranges: dict[str, dict[str, str] | None] = field(default_factory=dict)

    @classmethod
    def parse(cls, query: str) -> ListQuery:
        """Read and check. Raises `MedusaError`."""
        read = nested(query)
        found = [
            f"property {name} should not exist" for name in read if name not in {*_SINGLE, *_LISTS, *_RANGED}
        ]
        found += [f"{name} must be an array" for name in _LISTS if not isinstance(read.get(name, []), list)]
        found += [
            f"{name} must be a number conforming to the specified constraints"
            for name in ("limit", "offset")
            if not re.fullmatch(r"\d+", str(read.get(name, "0")))
        ]
        if found:
            raise invalid(", ".join(found))
        made = cls(
            limit=int(read.get("limit", 10)),
            offset=int(read.get("offset", 0)),
            order=str(read.get("order") or "-created_at"),
            fields=[name for name in str(read.get("fields", "")).split(",") if name],
            expand=[name for name in str(read.get("expand", "")).split(",") if name],
            ids=read.get("id"),
            types=read.get("type"),
        )
        made.ranges = {name: _bounds(name, read[name]) for name in _RANGED if name in read}
        return made

    def answer(self, jobs: Sequence[BatchJob], user: User) -> dict[str, Any]:
        """One page."""
        if any(name not in _COLUMNS for name in self.fields):
            raise unknown_error()
        found = [job for job in jobs if self._fits(job)]
        name = self.order.lstrip("-")
        if name not in _SORTABLE:
            raise invalid(f"Order field {name} is not valid")  # Invented:
        # Jobs of the same millisecond keep their order of creation.
        found.sort(key=lambda job: job.moment(name) or 0.0)
        if self.order.startswith("-"):
            found.reverse()
        page = found[self.offset : self.offset + self.limit]
        return {
            "batch_jobs": [self._shown(job, user) for job in page],
            "count": len(found),
            "offset": self.offset,
            "limit": self.limit,
        }

    def _fits(self, job: BatchJob) -> bool:
        if self.ids is not None and job.id not in self.ids:
            return False
        if self.types is not None and job.type not in self.types:
            return False
        for name, bounds in self.ranges.items():
            value = iso_ms(job.moment(name))
            if not (value is None if bounds is None else within(value, bounds)):
                return False
        return True

    def _shown(self, job: BatchJob, user: User) -> dict[str, Any]:
        view = job.view(listed=True)
        if self.fields:
            # M: the sort column comes too; a status computed of columns that were not selected is wrong.
            names = dict.fromkeys([*self.fields, self.order.lstrip("-")])
            chosen = {"dry_run": False, **{name: view[name] for name in names}}
            seen = [name[:-3] for name in STAMPS if name in names and view[name] is not None]
            return chosen | {"status": seen[-1] if seen else "created"}
        if "created_by_user" in self.expand:
            view["created_by_user"] = user.view()
        return view


_SORTABLE = DATES
_COLUMNS = (
    "id",
    "type",
    "created_by",
    "context",
    "result",
    "dry_run",
    "deleted_at",
    *DATES,
)


def _bounds(name: str, value: Any) -> dict[str, str] | None:
    if value == "null" and name in _NULLABLE:
        return None
    if not isinstance(value, dict) or any(word not in {"lt", "gt", "lte", "gte"} for word in value):
        raise invalid(f"{name} must be an object with lt, gt, lte or gte")  # Invented: the wording
    return value
