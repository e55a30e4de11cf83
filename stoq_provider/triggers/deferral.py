"""What operators and sensors share that wait for jobs, deferred or not."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NoReturn, TypeVar

from airflow.providers.common.compat.sdk import AirflowException, BaseOperator, conf

from stoq_provider.core.error_text import sentences
from stoq_provider.core.events import WaitEvent, WaitState
from stoq_provider.core.http import MalformedResponse
from stoq_provider.core.validation import some
from stoq_provider.download.options import DownloadOptions
from stoq_provider.exceptions import PollingUnhealthy, ProtocolError, StoqProviderError
from stoq_provider.jobs import config, results
from stoq_provider.jobs.errors import WAIT_AGAIN
from stoq_provider.triggers.jobs import JobTrigger, job_arguments

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from stoq_provider.core.lifecycle import JobProgress
    from stoq_provider.core.models import JobHandle
    from stoq_provider.core.polling import Poller
    from stoq_provider.download.verification import StoredFile
    from stoq_provider.hooks.base import JobHook

H = TypeVar("H", bound="JobHook")

BACKSTOP = timedelta(minutes=5)
"""How long after our own deadline Airflow ends a deferral: only should the triggerer never come to it."""

TRIGGER_FAILED = "__fail__"
"""
The method that Airflow resumes with where there is no event; a constant in its source, exported nowhere.

Its keyword arguments are ``error``, the reason, and ``traceback``, of a trigger that raised.
"""

_TIME_OUTS = ("Trigger timeout", "Trigger/execution timeout")
"""The reasons that Airflow 3 and Airflow 2 give where the time of a deferral is up."""


def is_time_out(details: Mapping[str, Any]) -> bool:
    """Return whether Airflow ended the deferral for its time, and not because the trigger failed."""
    return details.get("error") in _TIME_OUTS


def trigger_failure(task: Any, details: Mapping[str, Any], context: Mapping[str, Any], label: str) -> str:
    """Return a message for a deferral without an event, and log the traceback of its trigger."""
    if details.get("traceback"):
        task.log.error("The trigger failed:\n%s", "\n".join(details["traceback"]))
    job_ids = None
    with suppress(Exception):  # the message is worth more than the ids in it
        ti = context["ti"]
        # Without an index, Airflow 2 returns the ids of all indexes of a mapped task, a list of each.
        job_ids = ti.xcom_pull(task_ids=task.task_id, key="job_ids", map_indexes=ti.map_index)
    jobs = f" {some(job_ids)}" if job_ids else ""
    return (
        f"Waiting in the triggerer for the jobs{jobs} at {label} ended without a result "
        f"({details.get('error', 'unknown')}). Nothing is known against the jobs themselves; they go on."
    )


class WaitingTask(BaseOperator, Generic[H]):
    """
    Base of all tasks that wait for jobs.

    Generic in the hook: a subclass names its own, as in ``class AcmeOperator(JobOperator[AcmeHook])``.

    :param destination: where files go: an ``ObjectStoragePath`` or URL; ending with ``/``, the server's
        cleaned file name is appended. None: nothing is downloaded.
    :param deferrable: wait in the triggerer instead of on the worker.
    :param poll_interval: seconds between two polls of a job; default: ``[stoq] poll_interval``, else the
        system's cadence.
    :param unhealthy_after: seconds without any good response about a job after which the task fails, without
        claiming that the job failed; as long it bears bad responses to what it reads once the jobs have
        ended. Default: ``[stoq] unhealthy_after``, else 900.
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
        config.check_options(self, "deferrable", "poll_interval", "unhealthy_after")
        self.download = DownloadOptions.of(format=format, overwrite=overwrite, given=download_options)
        # What this process knows of, for lineage.
        self._jobs: list[JobHandle] = []
        self._files: list[StoredFile] = []

    def make_hook(self) -> H:
        """Return the hook of the task's connection."""
        hook_class = self.trigger_class.load_hook_class()
        hook: H = hook_class(getattr(self, hook_class.conn_name_attr))
        return hook

    @cached_property
    def hook(self) -> H:
        """The hook."""
        return self.make_hook()

    # -- Airflow's side -----------------------------------------------------------------------------

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Go on where the trigger fired."""
        try:
            ended = WaitEvent.from_dict(event)
        except MalformedResponse as error:
            text = sentences(str(error), "The remote jobs go on")
        else:
            self._jobs = [end.handle for end in (*ended.state.ended, *ended.ends)]
            return self._finish(context, ended)
        raise self._without_result(context, ProtocolError, text, "A retry waits for them.")

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Explain what a failed trigger means; Airflow would only say that it failed."""
        if next_method != TRIGGER_FAILED:
            return super().resume_execution(next_method, next_kwargs, context)
        details = next_kwargs or {}
        text = trigger_failure(self, details, context, self.hook.system.label)
        late = is_time_out(details)
        raise self._without_result(context, PollingUnhealthy, text, WAIT_AGAIN, late=late)

    def on_kill(self) -> None:
        """End the wait on the worker; the jobs go on."""
        if "hook" in self.__dict__:
            self.hook.stop("The remote jobs go on; this task submits none, and cancels none.")

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return an ``OperatorLineage``; OpenLineage asks for the same when the task has failed."""
        from stoq_provider.openlineage import lineage  # stands on Airflow's provider, which may be missing

        return lineage(self.hook, self._jobs, self._files)

    # -- what a subclass says -----------------------------------------------------------------------

    @abstractmethod
    def _finish(self, context: Context, event: WaitEvent) -> Any:
        """Raise what bad ends mean for the task, or return its result."""

    @abstractmethod
    def _without_result(
        self, context: Context, error: type[StoqProviderError], text: str, again: str, *, late: bool = False
    ) -> AirflowException:
        """
        Return the error of a deferral that ended and tells nothing of the jobs.

        :param again: what a retry does that finds the jobs.
        :param late: whether Airflow's own time-out ended it.
        """

    # -- steps --------------------------------------------------------------------------------------

    @property
    def _known_place(self) -> Any:
        """The destination, with what is known of it before a submission."""
        return self.destination

    @property
    def _place(self) -> str | None:
        """The destination as it is rendered now."""
        place = self._known_place
        return None if place is None else str(place)

    def _note_try(self, context: Context) -> None:
        """Let the download know whether an earlier try may have published files."""
        self.download = replace(self.download, retry=context["ti"].try_number > 1)

    def _check_download(self, destination: Any, kind: str | None) -> None:
        """
        Check that the destination can be written to, before anything is sent.

        :param kind: of the jobs whose files go there; ``None``: other files do.
        """
        from stoq_provider.download.download import check_download  # parsing a DAG needs no download

        check_download(self.download, destination, system=self.hook.system.name, kind=kind)

    def _check_jobs(self, handles: Sequence[JobHandle]) -> None:
        """Check that jobs that are known can be asked for, and that their files have a place each."""
        for handle in handles:
            self.hook.system.status_request(self.hook.settings.origin, handle)
        if self.destination is not None:
            from stoq_provider.jobs.files import check_places  # parsing a DAG needs no download

            check_places(self.hook.system.name, handles, str(self.destination))

    def _deadline(self, started_at: float, timeout_at: float) -> tuple[float, str]:
        """
        Return when the wait ends, in Unix seconds, and by which parameter: the one that is over first.

        Airflow does not apply ``execution_timeout`` while a task is deferred, and gives it anew to what runs
        after the resumption.

        :param started_at: when the try began, from when ``execution_timeout`` counts.
        :param timeout_at: when ``timeout`` is over.
        """
        ends = {"timeout": timeout_at}
        if self.execution_timeout is not None:
            ends["execution_timeout"] = started_at + self.execution_timeout.total_seconds()
        limit = min(ends, key=ends.__getitem__)
        return ends[limit], limit

    def _make_poller(
        self, jobs: Iterable[JobProgress], *, deadline: float, now: float, eager: bool
    ) -> Poller:
        """Return what decides when jobs are polled, with the patience that the task has."""
        from stoq_provider.jobs.wait import make_poller  # parsing a DAG needs no engine

        return make_poller(
            jobs,
            self.hook.system,
            deadline=deadline,
            now=now,
            poll_interval=config.poll_interval(self.poll_interval),
            unhealthy_after=config.unhealthy_after(self.unhealthy_after),
            eager=eager,
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

    def _sum_up(
        self,
        context: Context,
        event: WaitEvent,
        destination: str | None,
        *,
        recorded: bool,
        unchanged_items: Iterable[Any] = (),
    ) -> dict[str, Any]:
        """Store the files, write them into the events of the outlets, and return the manifest."""
        self._files = results.fetch(self.hook, self.download, event, destination, recorded=recorded)
        manifest = results.sum_up(self.hook, event, self._files, unchanged_items)
        if self._files and self.outlets:
            from stoq_provider.jobs.assets import emit  # parsing a DAG needs no download

            emit(self.hook, self.outlets, context.get("outlet_events"), self._files, event.state.request)
        return manifest

    def _worst_error(self, event: WaitEvent, *, own_jobs: bool, recorded: bool) -> StoqProviderError | None:
        """Return the error of the worst job that did not end well."""
        return results.first_error(
            self.hook,
            event,
            own_jobs=own_jobs,
            recorded=recorded,
            unhealthy_after=config.unhealthy_after(self.unhealthy_after),
        )
