"""
What is going to be sent: one :class:`Submission` for each job.

A list of ids that exceeds the cap of one call becomes several submissions, in order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class Preparation(Protocol):
    """What has to be done just before a submission, once: an upload, say."""

    def run(self) -> Mapping[str, Any]:
        """Do it; return its result as a small JSON object, which is kept for the next try."""

    def complete(self, submission: Submission, made: Mapping[str, Any]) -> Submission:
        """Put the result into the submission."""


@dataclass(frozen=True, slots=True)
class Submission:
    """
    One call that starts a job.

    :param kind: what is asked for, such as ``"export:revenue"``; names cadence and repeat safety.
    :param path: relative to the API's base path, with a leading slash.
    :param item_count: ids in the body; ``None`` where the call has none.
    :param round: counts how often the same items were sent before on purpose; keeps the submissions apart.
    :param source: where the items come from, if the body does not hold them but the key of an upload.
    :param preparation: what has to be done first; not part of what the submission is.
    """

    kind: str
    path: str
    body: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    item_count: int | None = None
    round: int = 0
    source: str | None = None
    preparation: Preparation | None = field(default=None, compare=False, repr=False)

    def digest(self) -> str:
        """Return a digest of everything that is sent; equal input gives an equal digest."""
        parts: list[Any] = [self.kind, self.path, self.body, self.query, self.round]
        if self.source is not None:
            parts.append(self.source)
        canonical = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.sha256(canonical.encode()).hexdigest()
