"""What PrintStudio's operators share: bulk calls that are answered with their result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from stoq_provider.core.lifecycle import Outcome
from stoq_provider.core.submission import Submission
from stoq_provider.exceptions import StoqProviderError, SubmissionUncertain
from stoq_provider.hooks.printstudio import PrintStudioHook
from stoq_provider.jobs.repeats import Piece, stopped, uncertain
from stoq_provider.operators.base import JobOperator
from stoq_provider.triggers.jobs import PrintStudioJobTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from stoq_provider.core.events import WaitEvent
    from stoq_provider.jobs.submit import Submitted, Submitter
    from stoq_provider.systems.printstudio.bulk import Route


class PrintStudioOperator(JobOperator[PrintStudioHook]):
    """
    Base of PrintStudio's operators.

    A bulk call is answered with its result, so nothing is waited for, and parameters of waiting have no
    effect. Each call is noted before it is sent and after its answer, and is sent once: a new try goes on
    with the calls that were surely not sent, and ends by saying which are uncertain.

    :param extra_body: laid over the body of each call; ``None`` takes a key away. For what is not documented.
    :param printstudio_conn_id: the Airflow connection.
    """

    template_fields: Sequence[str] = ("destination", "extra_body", "printstudio_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"extra_body": "json"}
    ui_color = "#f4ead5"
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
        done = self._done = []
        doubtful: list[Piece] = []
        pieces = Piece.of(submissions, self.noun)
        for piece in pieces:
            lost = submitter.was_lost(piece.submission)
            try:
                done.append(submitter.submit(piece.submission))
            except StoqProviderError as error:
                if isinstance(error, SubmissionUncertain) and submitter.durable:
                    doubtful.append(piece)
                    if lost or piece is pieces[-1]:
                        continue
                    error = stopped(error, doubtful, pieces)
                else:
                    error = piece.named(error)
                raise self._after_others(
                    error, submitter, piece.submission, len(pieces), doubtful=bool(doubtful)
                ) from None
        if doubtful:
            problem = uncertain(self.hook.system, doubtful, self.on_clear)
            last = doubtful[-1].submission
            raise self._after_others(problem, submitter, last, len(pieces), doubtful=True)
        return done
