"""What operators and sensors share that wait for jobs, deferred or not."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NoReturn, TypeVar

from airflow.providers.common.compat.sdk import BaseOperator, conf

from stoq_provider.core.events import WaitEvent, WaitState
from stoq_provider.download.options import DownloadOptions
from stoq_provider.jobs import config, results
from stoq_provider.jobs.errors import WAIT_AGAIN, typed
from stoq_provider.triggers.jobs import JobTrigger, job_arguments

if TYPE_CHECKING:
    from stoq_provider.core.models import JobHandle
    from stoq_provider.core.polling import Poller
    from stoq_provider.exceptions import StoqProviderError
    from stoq_provider.hooks.base import JobHook
    from stoq_provider.jobs.wait import WaitPlan

H = TypeVar("H", bound="JobHook")

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


class WaitingTask(BaseOperator, Generic[H]):
    """
    Base of all tasks that wait for jobs.

    Generic in the hook: a subclass names its own, as in ``class AcmeOperator(JobOperator[AcmeHook])``.

    :param destination: where files go: an ``ObjectStoragePath`` or URL; ending with ``/``, the server's
        cleaned file name is appended. None: nothing is downloaded.
    :param deferrable: wait in the triggerer instead of on the worker.
    :param poll_interval: seconds between polls; default: the cadence the vendor documents.
    :param unhealthy_after: seconds without any good answer after which the task fails, without claiming
        that the job failed; default: ``[stoq] unhealthy_after``.
    :param overwrite: whether an object that stands at the destination is replaced: ``True``, ``False``, or
        ``"if_different"``.
    :param format: ``"csv"`` as the server made it, or ``"parquet"`` (extra ``parquet``).
    :param download_options: finer points of the download, such as ``{"on_empty": "skip", "min_rows": 1}``:
        those of :class:`~stoq_provider.download.options.DownloadOptions`.
    """

    template_fields: Sequence[str] = ("destination",)
    trigger_class: ClassVar[type[JobTrigger]]

    def __init__(
        self,
        *,
        destination: Any = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | None = None,
        unhealthy_after: float | None = None,
        overwrite: bool | Literal["if_different"] = True,
        format: Literal["csv", "parquet"] = "csv",  # noqa: A002 - what users look for
        download_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.unhealthy_after = unhealthy_after
        self.download = DownloadOptions.of(format=format, overwrite=overwrite, given=download_options)

    def make_hook(self) -> H:
        """Return the hook of the task's connection."""
        hook_class = self.trigger_class.load_hook_class()
        hook: H = hook_class(getattr(self, hook_class.conn_name_attr))
        return hook

    @cached_property
    def hook(self) -> H:
        """The hook."""
        return self.make_hook()

    @property
    def _place(self) -> str | None:
        """The destination as it is rendered now."""
        return None if self.destination is None else str(self.destination)

    def _check_download(self) -> None:
        """Check the destination, as far as it can be written to, before anything is sent."""
        from stoq_provider.download.download import check_download  # parsing a DAG needs no download

        check_download(self.download, self.destination)

    def _wait_plan(
        self,
        handles: Iterable[JobHandle],
        *,
        deadline: float,
        now: float,
        seen_at: dict[str, float] | None = None,
    ) -> WaitPlan:
        """Return what is waited for, and how patiently."""
        from stoq_provider.jobs.wait import WaitPlan  # parsing a DAG needs no engine

        return WaitPlan.of(
            handles,
            deadline=deadline,
            now=now,
            poll_interval=config.poll_interval(self.poll_interval),
            unhealthy_after=config.unhealthy_after(self.unhealthy_after),
            seen_at=seen_at,
        )

    def _defer_until(self, poller: Poller, state: WaitState) -> NoReturn:
        """Leave the waiting to the triggerer."""
        trigger = self.trigger_class(
            conn_id=self.hook.conn_id,
            jobs=job_arguments(poller.jobs),
            deadline=poller.deadline,
            poll_interval=config.poll_interval(self.poll_interval),
            unhealthy_after=config.unhealthy_after(self.unhealthy_after),
            state=state.to_dict(),
        )
        self.hook.close()
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            timeout=timedelta(seconds=max(0.0, poller.deadline - time.time())) + BACKSTOP,
        )
        raise AssertionError("unreachable")

    def _read_event(self, event: Any, fate: str) -> WaitEvent:
        """Read what the trigger fired; ``fate`` ends the message where it is of another shape."""
        with typed(self.hook.system.name, fate):
            return WaitEvent.from_dict(event)

    def _worst_error(self, event: WaitEvent, *, owner: bool, recorded: bool) -> StoqProviderError | None:
        """Return the error of the worst job that did not end well."""
        return results.first_error(
            self.hook,
            event,
            owner=owner,
            recorded=recorded,
            unhealthy_after=config.unhealthy_after(self.unhealthy_after),
        )

    def _manifest(
        self, event: WaitEvent, place: str | None, *, recorded: bool, unchanged: Iterable[Any] = ()
    ) -> dict[str, Any]:
        """Store the files at ``place``, if it is named; return the manifest."""
        state = event.state
        return results.sum_up(
            self.hook,
            event,
            kind=state.kind or next((end.handle.kind for end in event.ends), ""),
            files=results.fetch(self.hook, self.download, event, place, recorded=recorded),
            unchanged_items=unchanged,
            started_at=state.started_at,
            points_before=state.points_spent,
        )
