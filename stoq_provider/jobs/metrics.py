"""
The provider's metrics, through Airflow's own: they go wherever Airflow's StatsD or OpenTelemetry go.

Names begin with ``stoq_provider.<system>.``; the tag ``shop`` is the connection's id.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import Stats

from stoq_provider.transport.rate_limiter import Meter


class AirflowMeter(Meter):
    """
    Reports a shop's points.

    ``points_left`` (gauge) · ``rate_limit_wait`` (timer, milliseconds that a call waited for points) ·
    ``throttled`` (counter of 429s) · ``polls`` (counter of calls that ask for jobs) · ``jobs_finished``
    (counter) · ``polls_per_job`` (gauge: of the last wait that ended).
    """

    def __init__(self, system: str, shop: str) -> None:
        self._prefix = f"stoq_provider.{system}"
        self._tags = {"shop": shop}

    def points_left(self, points: int) -> None:
        """Report the points that may still be spent."""
        Stats.gauge(f"{self._prefix}.points_left", points, tags=self._tags)

    def waited(self, seconds: float) -> None:
        """Report a wait for points."""
        Stats.timing(f"{self._prefix}.rate_limit_wait", seconds * 1000, tags=self._tags)

    def throttled(self) -> None:
        """Report a 429."""
        Stats.incr(f"{self._prefix}.throttled", tags=self._tags)

    def polled(self) -> None:
        """Report a poll."""
        Stats.incr(f"{self._prefix}.polls", tags=self._tags)

    def finished(self, jobs: int, polls: int) -> None:
        """Report that a wait has ended."""
        Stats.incr(f"{self._prefix}.jobs_finished", jobs, tags=self._tags)
        if jobs:
            Stats.gauge(f"{self._prefix}.polls_per_job", polls / jobs, tags=self._tags)
