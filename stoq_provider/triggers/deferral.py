"""What a task makes of a trigger that failed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from stoq_provider.jobs.errors import WAIT_AGAIN

BACKSTOP = timedelta(minutes=5)
"""How long after our own deadline Airflow ends a deferral: only should the triggerer never come to it."""

TRIGGER_FAILED = "__fail__"
"""The method Airflow resumes with when a trigger raised or Airflow's own time-out struck."""


_TIME_OUTS = ("Trigger timeout", "Trigger/execution timeout")
"""The reasons that Airflow 3 and Airflow 2 give where the time of a deferral is up."""


def is_time_out(next_kwargs: Mapping[str, Any] | None) -> bool:
    """Return whether Airflow ended the deferral for its time, and not because the trigger failed."""
    return (next_kwargs or {}).get("error") in _TIME_OUTS


def trigger_failure(
    task: Any,
    next_kwargs: Mapping[str, Any] | None,
    context: Mapping[str, Any],
    label: str,
    *,
    again: str = WAIT_AGAIN,
) -> str:
    """
    Return a message for a trigger that failed, and log its traceback.

    :param again: what a retry does.
    """
    details = next_kwargs or {}
    if details.get("traceback"):
        task.log.error("The trigger failed:\n%s", "\n".join(details["traceback"]))
    try:
        ti = context["ti"]
        # Without an index, Airflow 2 answers with the ids of all indexes of a mapped task, a list of each.
        pulled = ti.xcom_pull(task_ids=task.task_id, key="job_ids", map_indexes=ti.map_index)
        job_ids = pulled or []
    except Exception:
        job_ids = []
    jobs = f" {', '.join(map(str, list(job_ids)[:5]))}" if job_ids else ""
    return (
        f"Waiting in the triggerer for the jobs{jobs} at {label} ended without a result "
        f"({details.get('error', 'unknown')}). Nothing is known against the jobs themselves; they go on. "
        f"{again}"
    )
