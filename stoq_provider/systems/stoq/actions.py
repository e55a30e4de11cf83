"""
Actions of a live manifest: found by method and path, by name or alias, and checked before they are sent.

The manifest (documented: dispatch-and-discovery) is ``{"actions": [{"name", "method", "path",
"description", "aliases", "path_params", "request_schema", "notes"}]}``; ``request_schema`` is a JSON Schema
of what the server itself validates. Names recur across resources, so method and path are the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from jsonschema import Draft202012Validator
from referencing import Registry

from stoq_provider.core.http import MalformedResponse
from stoq_provider.core.validation import InvalidInput, near_misses


@dataclass(frozen=True, slots=True)
class Action:
    """One action of the manifest; ``path`` is relative to the base path, with ``:placeholders``."""

    name: str
    method: str
    path: str
    aliases: tuple[str, ...] = ()
    schema: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Method and path, such as ``POST /preorders/offers/:id/enable``."""
        return f"{self.method} {self.path}"

    def fill(self, params: Mapping[str, Any] | None) -> str:
        """
        Return the path with its placeholders filled in.

        :raises InvalidInput: where one is missing, empty or left over.
        """
        odd = [name for name, value in (params or {}).items() if isinstance(value, (list, dict))]
        if odd:
            raise InvalidInput(f"{self.key}: the path parameter {odd[0]!r} must be a text or a number")
        given = {str(name): "" if value is None else str(value) for name, value in (params or {}).items()}
        wanted = re.findall(r":(\w+)", self.path)
        # "." and ".." are steps, not names: HTTP libraries would make another path of it.
        missing = [name for name in wanted if given.get(name, "") in ("", ".", "..")]
        extra = [name for name in given if name not in wanted]
        if missing or extra:
            raise InvalidInput(
                f"{self.key} takes the path parameters {wanted}; missing: {missing}, unknown: {extra}"
            )
        return re.sub(r":(\w+)", lambda match: quote(given[match[1]], safe=""), self.path)

    def check(self, body: Mapping[str, Any]) -> None:
        """
        Check a body against the action's JSON Schema.

        :raises InvalidInput: with every violation, the first five in words.
        """
        if not self.schema:
            return
        try:
            Draft202012Validator.check_schema(self.schema)
            # A registry of its own: the default one would fetch what a "$ref" names from the network.
            validator = Draft202012Validator(self.schema, registry=Registry())
            errors = sorted(validator.iter_errors(dict(body)), key=lambda e: list(e.path))
        except Exception as error:  # also what urllib and re make of an "$id" or a "pattern", or a circle
            reason = str(getattr(error, "message", error))[:200]
            raise MalformedResponse(f"the manifest's schema of {self.key} is broken: {reason}") from None
        if errors:
            violations = "; ".join(
                f"{'.'.join(map(str, e.path)) or 'body'}: {e.message[:200]}" for e in errors[:5]
            )
            raise InvalidInput(f"{self.key} refuses this body in {len(errors)} points: {violations}")


def read_manifest(payload: Any) -> tuple[Action, ...]:
    """
    Read the manifest.

    :raises MalformedResponse: where it has no list of actions.
    """
    listed = payload.get("actions") if isinstance(payload, Mapping) else None
    if not isinstance(listed, list):
        raise MalformedResponse("the manifest has no list 'actions'")
    return tuple(_action(entry) for entry in listed if isinstance(entry, Mapping))


def _action(entry: Mapping[str, Any]) -> Action:
    schema, aliases = entry.get("request_schema"), entry.get("aliases")
    return Action(
        name=str(entry.get("name", "")),
        method=str(entry.get("method", "")).upper(),
        path=str(entry.get("path", "")),
        aliases=tuple(map(str, aliases)) if isinstance(aliases, list) else (),
        schema=schema if isinstance(schema, Mapping) else {},
    )


def find(actions: Iterable[Action], wanted: str) -> Action:
    """
    Find an action by ``"POST /preorders/offers/:id/enable"``, by name or by alias.

    The placeholders' own names do not matter.

    :raises InvalidInput: where none fits, with the near misses, or where a name fits several.
    """
    actions, wanted = tuple(actions), wanted.strip()
    method, _, path = wanted.partition(" ")
    if path:
        hits = [a for a in actions if a.method == method.upper() and _shape(a.path) == _shape(path.strip())]
        known = [a.key for a in actions]
    else:
        hits = [a for a in actions if wanted == a.name or wanted in a.aliases]
        known = [name for a in actions for name in (a.name, *a.aliases)]
    if len(hits) == 1:
        return hits[0]
    if hits:
        keys = ", ".join(a.key for a in hits[:5])
        raise InvalidInput(f"{wanted!r} fits {len(hits)} actions; name one by method and path: {keys}")
    raise InvalidInput(f"the server's manifest has no action {wanted!r:.80}{near_misses(wanted, known)}")


def _shape(path: str) -> str:
    return re.sub(r":\w+|\{\w+\}", ":", path.rstrip("/"))
