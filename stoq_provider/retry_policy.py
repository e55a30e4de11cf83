"""
A retry policy for Airflow 3.3 and later: what can't succeed fails, what the server wants later comes later.

The module can be imported on older Airflow; only making a policy fails there.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from stoq_provider.exceptions import StoqProviderError, ValidationRejected

if TYPE_CHECKING:
    from airflow.sdk import RetryDecision, RetryPolicy
else:
    try:
        from airflow.sdk import RetryDecision, RetryPolicy
    except ImportError:
        RetryDecision, RetryPolicy = None, object


class StoqRetryPolicy(RetryPolicy):
    """
    Decides about the errors of this package, of all four systems, and leaves others to ``retries``.

    What can't succeed on a retry fails at once. Airflow does that for an ``AirflowFailException`` by itself,
    and asks no policy; this one says the same where it is one of several in a chain. Any other error of ours
    is retried as often as ``retries`` allows; where the server said how long to wait, not before, whatever
    ``retry_delay`` is.

    :raises ValidationRejected: before Airflow 3.3.
    """

    def __init__(self) -> None:
        if RetryDecision is None:
            raise ValidationRejected(
                "StoqRetryPolicy needs Airflow 3.3 or later. Without it, what can't succeed is not retried "
                "either; only the wait between two tries is that of retry_delay. Nothing was sent."
            )
        super().__init__()

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
    ) -> RetryDecision:
        """Return the decision; ``DEFAULT`` for an error that is not ours."""
        if not isinstance(exception, StoqProviderError):
            return RetryDecision.default()
        name = type(exception).__name__
        if isinstance(exception, AirflowFailException):
            return RetryDecision.fail(f"{name}: a retry can't succeed")
        if exception.retry_after is None:
            return RetryDecision.retry(reason=f"{name}: a retry can succeed")
        # A second more, since the server's figure is rounded.
        delay = timedelta(seconds=exception.retry_after + 1)
        return RetryDecision.retry(delay, f"{name}: the server asks to wait {exception.retry_after:.0f} s")
