"""
What to do with a dry run of Medusa: confirm it, cancel it, or let it wait.

A policy is data, not code, so it can be templated and shown: ``"always"`` (or true), ``"never"`` (or
false), ``"max_changes: 500"``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stoq_provider.core.validation import InvalidInput

_MAX_CHANGES = re.compile(r"max_changes\s*:\s*(\d{1,12})")


@dataclass(frozen=True, slots=True)
class Policy:
    """
    When a dry run is confirmed.

    :param max_changes: changes that the server may announce at the most; ``None``: it does not matter.
    """

    confirm: bool
    max_changes: int | None = None


def read_policy(value: Any) -> Policy | None:
    """
    Read what a user gives as policy; ``None``: the job is left waiting.

    :raises InvalidInput: where it is none.
    """
    text = str(value).strip().lower()
    if value is None or text in ("", "none"):
        return None
    if text in ("true", "always"):
        return Policy(True)
    if text in ("false", "never"):
        return Policy(False)
    match = _MAX_CHANGES.fullmatch(text)
    if match is None:
        raise InvalidInput(
            f"confirm is true, false, 'always', 'never' or 'max_changes: N', not {value!r:.80}; left out, a "
            "dry run waits for somebody's decision"
        )
    return Policy(True, int(match[1]))


def changes_of(details: Mapping[str, Any] | None) -> int | None:
    """
    Return how many products, variants or the like a dry run would create and update.

    An import counts them under ``operations`` (M: ``PRODUCT_CREATE``, ``VARIANT_UPDATE``...); an export
    announces in words only what it would write, and changes nothing. ``None``: the server gave no counts.
    """
    operations = (details or {}).get("operations")
    return sum(operations.values()) if operations else None
