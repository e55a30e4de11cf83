"""
Which calls are sent again, and after how long. One policy for both drivers.

A read may be sent again after anything that passes. A write is sent again only where it surely was not
processed: after a 429, and where no connection came about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tenacity import RetryCallState
from tenacity.wait import wait_random_exponential

from stoq_provider.core.http import Decoded, ProblemKind, Request

_PASSING = (ProblemKind.UNAVAILABLE, ProblemKind.LOST_CONNECTION, ProblemKind.REFUSED_CONNECTION)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """
    How patient one call is.

    :param attempts: tries at most, not counting those after a 429.
    :param patience: seconds that may be spent waiting in all, 429 included.
    """

    attempts: int = 4
    patience: float = 600.0

    def again(self, request: Request, answer: Decoded) -> bool:
        """Whether this answer to this request is worth another try."""
        if answer.problem is None:
            return False
        kind = answer.problem.kind
        if kind in (ProblemKind.RATE_LIMITED, ProblemKind.REFUSED_CONNECTION):
            return True
        return request.reads_only and kind in _PASSING


class RetryLoop:
    """The policy in the form that tenacity's ``Retrying`` and ``AsyncRetrying`` take."""

    def __init__(self, policy: RetryPolicy, request: Request) -> None:
        self._policy = policy
        self._request = request
        self._throttled = 0
        self._backoff = wait_random_exponential(multiplier=0.5, max=20)

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments for tenacity."""
        return {
            "retry": self._again,
            "wait": self._wait,
            "stop": self._stop,
            "retry_error_callback": _last_answer,
        }

    def _again(self, state: RetryCallState) -> bool:
        return not _failed(state) and self._policy.again(self._request, _last_answer(state))

    def _wait(self, state: RetryCallState) -> float:
        answer = _last_answer(state)
        if _is_throttled(answer):
            self._throttled += 1
            told = answer.rate_limit.retry_after
            # A little later than told, each task a little differently: all wait for the same window.
            return self._backoff(state) + (5.0 if told is None else told)
        return self._backoff(state)

    def _stop(self, state: RetryCallState) -> bool:
        if state.idle_for + state.upcoming_sleep > self._policy.patience:
            return True
        return state.attempt_number - self._throttled >= self._policy.attempts


def _is_throttled(answer: Decoded) -> bool:
    return answer.problem is not None and answer.problem.kind is ProblemKind.RATE_LIMITED


def _failed(state: RetryCallState) -> bool:
    return state.outcome is None or state.outcome.failed


def _last_answer(state: RetryCallState) -> Decoded:
    assert state.outcome is not None
    answer: Decoded = state.outcome.result()
    return answer


NO_RETRY = RetryPolicy(attempts=1, patience=0.0)
"""For polls: the state machine decides when to ask again."""
