"""The registry of actions: one table that routes, validates and documents itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from stoq_provider.testing.schemas import DEFAULT_PER_PAGE, Schema, params
from stoq_provider.testing.world import BASE_PATH, Tenant, World

JsonObject = dict[str, Any]


class ApiError(Exception):
    """A response that is no success: a status and the documented list of messages."""

    def __init__(self, status: int, *messages: str) -> None:
        super().__init__(status, *messages)
        self.status = status
        self.messages = list(messages)


@dataclass(frozen=True)
class Call:
    """One request to one action, authenticated and validated."""

    world: World
    tenant: Tenant
    path: str
    host: str
    path_params: dict[str, str]
    params: JsonObject

    def record_id(self, name: str = "id") -> int:
        """A Shopify id of the path; anything else names no record."""
        text = self.path_params[name]
        return int(text) if text.isdecimal() else -1


Handler = Callable[[Call], JsonObject]


@dataclass(frozen=True)
class Action:
    """One entry of the registry."""

    method: str
    path: str
    name: str
    description: str
    handler: Handler
    request_schema: Schema = field(default_factory=lambda: params({}))
    aliases: tuple[str, ...] = ()
    notes: str | None = None

    @property
    def pattern(self) -> str:
        """Method and path, the only unique name of an action."""
        return f"{self.method} {self.path}"

    @property
    def path_params(self) -> list[str]:
        """Names of the placeholders in the path."""
        return [part[1:] for part in self.path.split("/") if part.startswith(":")]

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """Values of the placeholders, or nothing if this is another action."""
        own, asked = self.path.split("/"), path.split("/")
        if method != self.method or len(own) != len(asked):
            return None
        values = {}
        for part, text in zip(own, asked, strict=True):
            if part.startswith(":") and text:
                values[part[1:]] = text
            elif part != text:
                return None
        return values

    def manifest(self) -> JsonObject:
        """Entry of `/help`."""
        entry: JsonObject = {
            "name": self.name,
            "method": self.method,
            "path": self.path,
            "description": self.description,
            "aliases": list(self.aliases),
        }
        if self.path_params:
            entry["path_params"] = self.path_params
        entry["request_schema"] = self.request_schema
        if self.notes:
            entry["notes"] = self.notes
        return entry


class Registry:
    """All actions."""

    def __init__(self) -> None:
        self._actions: list[Action] = []

    def __iter__(self) -> Iterator[Action]:
        """All actions, those without placeholders first."""
        return iter(self._actions)

    def add(self, *actions: Action) -> None:
        """Register actions; those without placeholders are tried first."""
        self._actions.extend(actions)
        self._actions.sort(key=lambda action: len(action.path_params))

    def find(self, method: str, path: str) -> tuple[Action, dict[str, str]]:
        """The action of a request, or the documented 404."""
        for action in self._actions:
            values = action.match(method, path)
            if values is not None:
                return action, values
        raise ApiError(404, f"No v2 action registered for {method} {path}")

    def manifest(self, prefix: str = "") -> JsonObject:
        """Response of `/help`, whole or below a prefix."""
        chosen = sorted((a for a in self._actions if below(a.path, prefix)), key=lambda a: (a.path, a.method))
        return {
            "version": "v2",
            "base_path": BASE_PATH,
            "actions": [action.manifest() for action in chosen],
        }


def below(path: str, prefix: str) -> bool:
    """Whether a path lies in a scope."""
    prefix = prefix.rstrip("/")
    return not prefix or path == prefix or path.startswith(prefix + "/")


def page_of(rows: list[Any], call_params: JsonObject) -> tuple[list[Any], JsonObject]:
    """One page of some rows, and `meta` over all of them."""
    page = call_params.get("page", 1)
    per_page = call_params.get("per_page", DEFAULT_PER_PAGE)
    meta = {
        "total_count": len(rows),
        "page": page,
        "per_page": per_page,
        "total_pages": -(-len(rows) // per_page),
    }
    return rows[(page - 1) * per_page : page * per_page], meta
