"""What was decided about jobs that waited for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stoq_provider.core.events import WaitEvent
    from stoq_provider.core.models import JobHandle
    from stoq_provider.exceptions import StoqProviderError


@dataclass(frozen=True, slots=True)
class Decision:
    """
    What was decided, and what follows.

    :param event: how the jobs ended, as it is after the decision.
    :param again: jobs that go on, and are waited for once more.
    :param error: why the task fails after it.
    """

    event: WaitEvent
    again: tuple[JobHandle, ...] = ()
    error: StoqProviderError | None = None
