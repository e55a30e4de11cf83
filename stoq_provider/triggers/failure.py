"""What a task makes of a trigger that failed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from stoq_provider.hooks.errors import NO_RECORD, WAIT_AGAIN

BACKSTOP = timedelta(minutes=5)
"""How long after our own deadline Airflow ends a deferral: only should the triggerer never come to it."""

TRIGGER_FAILED = "__fail__"
"""The method Airflow resumes with when a trigger raised or Airflow's own time-out struck."""


def trigger_failure(
    task: Any,
    next_kwargs: Mapping[str, Any] | None,
    context: Mapping[str, Any],
    label: str,
    *,
    recorded: bool = True,
) -> str:
    """
    Return a message for a trigger that failed, and log its traceback.

    :param recorded: whether the next try can find the jobs.
    """
    details = next_kwargs or {}
    if details.get("traceback"):
        task.log.error("The trigger failed:\n%s", "\n".join(details["traceback"]))
    try:
        job_ids = context["ti"].xcom_pull(task_ids=task.task_id, key="job_ids") or []
    except Exception:
        job_ids = []
    jobs = f" {', '.join(map(str, list(job_ids)[:5]))}" if job_ids else ""
    again = WAIT_AGAIN if recorded else NO_RECORD
    return (
        f"Waiting in the triggerer for the jobs{jobs} at {label} ended without a result "
        f"({details.get('error', 'unknown')}). Nothing is known against the jobs themselves; they go on. "
        f"{again}"
    )
