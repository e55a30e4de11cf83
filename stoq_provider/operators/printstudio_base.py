"""What PrintStudio's operators share: bulk calls whose response is their result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, ClassVar

from stoq_provider.core.lifecycle import Outcome
from stoq_provider.core.submission import Submission
from stoq_provider.exceptions import StoqProviderError, SubmissionInterrupted, SubmissionUncertain
from stoq_provider.hooks.printstudio import PrintStudioHook
from stoq_provider.links.jobs import DestinationLink, PrintStudioLink
from stoq_provider.operators.base import JobOperator
from stoq_provider.triggers.jobs import PrintStudioJobTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from stoq_provider.core.events import WaitEvent
    from stoq_provider.jobs.submit import Submitted, Submitter
    from stoq_provider.systems.base import System
    from stoq_provider.systems.printstudio.bulk import Route


class PrintStudioOperator(JobOperator[PrintStudioHook]):
    """
    Base of PrintStudio's operators.

    The response to a bulk call is its result, so nothing is waited for, and parameters of waiting have no
    effect. Each call is noted before it is sent and after its response, and is sent once: a new try goes on
    with the calls that were surely not sent, and ends by saying which are uncertain.

    :param extra_body: laid over the body of each call; ``None`` takes a key away. For what is not documented.
    :param printstudio_conn_id: the Airflow connection.
    """

    template_fields: Sequence[str] = ("destination", "extra_body", "printstudio_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"extra_body": "json"}
    ui_color = "#f4ead5"
    operator_extra_links = (DestinationLink(), PrintStudioLink())
    trigger_class = PrintStudioJobTrigger
    route: ClassVar[Route]
    noun: ClassVar[str]

    def __init__(
        self,
        *,
        extra_body: Mapping[str, Any] | None = None,
        printstudio_conn_id: str = PrintStudioHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.extra_body = extra_body
        self.printstudio_conn_id = printstudio_conn_id
        # What an earlier try was about to send, and had no response to.
        self._lost: list[Submission] = []

    @cached_property
    def kind(self) -> str:
        """The kind of the calls."""
        return self.route.kind

    def unchanged_items(self, context: Context, event: WaitEvent) -> Sequence[Any]:
        """Warn of items that failed in calls that did something."""
        for end in event.ends:
            if end.outcome is Outcome.PARTIAL and end.status is not None:
                self.log.warning("%s: %s", end.handle.job_id, end.status.error)
        return super().unchanged_items(context, event)

    @property
    def _waits(self) -> bool:
        return True

    def _submit(self, submissions: Sequence[Submission], submitter: Submitter) -> list[Submitted]:
        self._lost = [submission for submission in submissions if submitter.was_lost(submission)]
        done = super()._submit(submissions, submitter)
        if self._doubtful:
            problem = _uncertain(self.hook.system, self._doubtful, self.on_clear)
            super()._submission_failed(problem, submissions[-1], submissions, submitter)
        return done

    def _submission_failed(
        self,
        error: StoqProviderError,
        submission: Submission,
        submissions: Sequence[Submission],
        submitter: Submitter,
    ) -> None:
        # One uncertain call ends a try, so that a person hears of it; the next one passes over it.
        number = submissions.index(submission)
        name, behind = _names(submissions, self.noun)[number], len(submissions) - number - 1
        if isinstance(error, SubmissionUncertain) and submitter.recorded:
            self._doubtful.append(name)
            if submission in self._lost or not behind:
                return
            error = _interrupted(error, self._doubtful, behind)
        else:
            error = type(error)(f"{_begin(name)}: {error.message}", **error.details())
        super()._submission_failed(error, submission, submissions, submitter)


def _names(submissions: Sequence[Submission], noun: str) -> list[str]:
    """Name the submissions of a list by what they hold, such as ``orders 51 to 100 of 120``."""
    ends = list(accumulate(submission.item_count or 0 for submission in submissions))
    return [
        f"{noun} {start + 1:,} to {end:,} of {ends[-1]:,}"
        for start, end in zip([0, *ends[:-1]], ends, strict=True)
    ]


def _interrupted(error: StoqProviderError, doubtful: Sequence[str], behind: int) -> StoqProviderError:
    """Return the error of a try that got no response and has more to send: a retry sends what is behind."""
    *others, here = doubtful
    before = f" Before, the same happened to {', '.join(others)}." if others else ""
    details = {**error.details(), "maybe_processed": True}
    return SubmissionInterrupted(
        f"{_begin(here)} were sent, and no clear response came back "
        f"({'; '.join(error.server_messages) or 'no response'}). They perhaps took effect and are not sent "
        f"again.{before} {behind} submissions behind them were surely not sent; a retry sends those, and "
        "then says again what is uncertain. Clearing the task sends the uncertain ones too: look first.",
        **details,
    )


def _uncertain(system: System, doubtful: Sequence[str], on_clear: str) -> SubmissionUncertain:
    """Return the error of a try that has sent all that was surely not sent before."""
    again = "with on_clear='resubmit' clearing the task" if on_clear == "reuse" else "clearing the task"
    return SubmissionUncertain(
        f"{_begin(', '.join(doubtful))} were sent, or about to be sent, to {system.label}, and no clear "
        f"response came back. They perhaps took effect; they are not sent again, and the task is not "
        f"retried. Look in {system.label} what is there; if they are missing, {again} sends them.",
        system=system.name,
    )


def _begin(name: str) -> str:
    return name[:1].upper() + name[1:]
