"""
Which calls are sent again, and after how long. One policy for both drivers.

A read may be sent again after anything that passes, such as a success that can't be read. A write is sent
again only where it surely was not processed: after a 429, and where no connection came about.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from stoq_provider.core.http import Decoded, ProblemKind, Request

LONGEST_PAUSE = 20.0
"""Seconds to which the pause between two attempts grows."""

UNKNOWN_WAIT = 5.0
"""Seconds to wait after a 429 that does not say for how long."""

_PASSING = (ProblemKind.UNAVAILABLE, ProblemKind.LOST_CONNECTION, ProblemKind.NOT_SENT)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """
    How patient one call is.

    :param attempts: tries at most, not counting those after a 429.
    :param patience: seconds that may be spent waiting in all, 429 included.
    """

    attempts: int = 4
    patience: float = 600.0

    def again(self, request: Request, response: Decoded) -> bool:
        """Whether this response to this request is worth another try."""
        if response.problem is None:
            return False
        kind = response.problem.kind
        if kind in (ProblemKind.RATE_LIMITED, ProblemKind.NOT_SENT):
            return True
        unreadable = kind is ProblemKind.PROTOCOL and 200 <= (response.problem.http_status or 0) < 300
        return request.reads_only and (unreadable or kind in _PASSING)


class Retries:
    """The attempts at one call."""

    def __init__(self, policy: RetryPolicy, request: Request) -> None:
        self._policy = policy
        self._request = request
        self._attempts = 0
        self._throttled = 0
        self._waited = 0.0

    def pause_after(self, response: Decoded) -> float | None:
        """Return the seconds until the call is sent again; ``None``: this response is the last one."""
        if not self._policy.again(self._request, response):
            return None
        pause = random.uniform(0, min(LONGEST_PAUSE, 0.5 * 2 ** min(self._attempts, 6)))  # noqa: S311 - jitter
        self._attempts += 1
        if response.problem is not None and response.problem.kind is ProblemKind.RATE_LIMITED:
            self._throttled += 1
            # A little later than asked for, each task a little differently: all wait for the same window.
            retry_after = response.rate_limit.retry_after
            pause += UNKNOWN_WAIT if retry_after is None else retry_after
        self._waited += pause
        if self._waited > self._policy.patience or self._attempts - self._throttled >= self._policy.attempts:
            return None
        return pause


NO_RETRY = RetryPolicy(attempts=1, patience=0.0)
"""For polls: the state machine decides when to ask again."""
