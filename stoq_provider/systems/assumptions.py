"""How the systems' modules note what a vendor's documentation leaves open."""

from __future__ import annotations

from typing import NamedTuple


class Assumption(NamedTuple):
    """What we take for true where the documentation that can be read does not say; marks: I, U."""

    value: str
    mark: str
    reason: str
