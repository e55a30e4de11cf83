"""Exports of STOQ's reports."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from stoq_provider.core.validation import InvalidInput, check_text, read_mapping
from stoq_provider.jobs.errors import NOTHING_SENT, typed
from stoq_provider.links.jobs import DestinationLink, StoqAdminLink
from stoq_provider.operators.base import JobOperator
from stoq_provider.triggers.jobs import StoqJobTrigger

if TYPE_CHECKING:
    from datetime import tzinfo

    from airflow.providers.common.compat.sdk import Context

    from stoq_provider.core.events import WaitState
    from stoq_provider.core.submission import Submission
    from stoq_provider.hooks.stoq import StoqHook
    from stoq_provider.jobs.submit import Submitter


class StoqReportExportOperator(JobOperator["StoqHook"]):
    """
    Export a STOQ report as CSV.

    Without a destination it only submits and returns the handle, for a ``StoqJobSensor`` downstream. With
    one it waits, stores the file whole and verified, and returns the manifest.

    :param report: name or alias of a report, such as ``revenue``. One that this package does not know is
        looked up at STOQ before anything is sent (1 point).
    :param filters: the report's filters, such as ``{"from": "2026-05-01", "to": "2026-05-31"}``; both
        dates are inclusive. ``by_variant`` needs ``offer_id`` or ``offer_ids``. They are checked against the
        documented rules before anything is sent.
    :param destination: where the file goes; it may hold ``{from}`` and ``{to}`` as well, the dates that are
        asked for.
    :param window: fills ``from`` and ``to``: ``"data_interval"`` with the days of the run's interval,
        ``"previous_day"`` with the last whole day before its end, or before the logical date or ``run_after``
        of a run without an interval.
    :param timezone: where a day of ``window`` begins, such as ``"Europe/Berlin"``. STOQ does not document
        the time zone of its reports.
    :param extra_body: laid over the body; ``None`` takes a key away. For what STOQ does not document.
    :param extra_query: laid over the query.
    :param stoq_conn_id: the Airflow connection.

    The other parameters are those of :class:`~stoq_provider.operators.base.JobOperator`.
    """

    template_fields: Sequence[str] = (
        "report",
        "filters",
        "destination",
        "window",
        "timezone",
        "extra_body",
        "extra_query",
        "stoq_conn_id",
    )
    template_fields_renderers = dict.fromkeys(("filters", "extra_body", "extra_query"), "json")
    ui_color = "#e8f0e4"
    operator_extra_links = (DestinationLink(), StoqAdminLink())
    trigger_class = StoqJobTrigger
    downloads = True

    def __init__(
        self,
        *,
        report: str,
        filters: Mapping[str, Any] | None = None,
        destination: Any = None,
        window: str | None = None,
        timezone: str = "UTC",
        extra_body: Mapping[str, Any] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        stoq_conn_id: str = "stoq_default",
        wait_for_completion: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(destination=destination, wait_for_completion=wait_for_completion, **kwargs)
        self.report = report
        self.filters = filters
        self.window = window
        self.timezone = timezone
        self.extra_body = extra_body
        self.extra_query = extra_query
        self.stoq_conn_id = stoq_conn_id

    @cached_property
    def kind(self) -> str:
        """The kind of its job."""
        return f"export:{self.report}"

    def plan(self, context: Context, submitter: Submitter) -> list[Submission]:
        """Return the one submission."""
        return [self._export]

    def _check_input(self, context: Context) -> None:
        # The report first: its dates may stand in the destination.
        hook: StoqHook = self.hook
        with typed(hook.system.name, NOTHING_SENT):
            filters = self._filters(context)
        self._export = hook.plan_export(
            self.report, filters, extra_body=self.extra_body, extra_query=self.extra_query
        )
        super()._check_input(context)

    @property
    def _known_place(self) -> Any:
        if self.destination is None:
            return None
        from stoq_provider.download.destination import fill_in_dates  # parsing a DAG needs no download

        return fill_in_dates(self.destination, self._asked)

    def _new_state(self, kind: str, started_at: float) -> WaitState:
        request = {"report": kind.partition(":")[2], "filters": self._asked}
        return replace(super()._new_state(kind, started_at), request=request)

    @property
    def _asked(self) -> dict[str, Any]:
        """What the report is asked for, as JSON has it: a query may hold dates, which are sent as text."""
        asked: dict[str, Any] = json.loads(
            json.dumps({**self._export.query, **self._export.body}, default=str)
        )
        return asked

    def _filters(self, context: Context) -> dict[str, Any]:
        filters = dict(read_mapping(self.filters, "filters") or {})
        if self.window is None or (isinstance(self.window, str) and not self.window):
            return filters
        check_text(self.window, "window")
        given = [name for name in ("from", "to") if filters.get(name) is not None]
        if given:
            raise InvalidInput(
                f"window={self.window!r:.80} fills 'from' and 'to', but filters has {given} as well"
            )
        from stoq_provider.systems.stoq.reports import dates_of  # parsing a DAG needs no system

        start, end = context.get("data_interval_start"), context.get("data_interval_end")
        # Airflow 2 gives every run an interval. All of these stay as they are in a retry and after a clear.
        moment = context.get("logical_date") or getattr(context.get("dag_run"), "run_after", None)
        dates = dates_of(self.window, start, end, _zone(self.timezone), moment=moment)
        return {**filters, **dates}


def _zone(name: str) -> tzinfo:
    import pendulum  # loaded by Airflow, and slow to load where it was not

    try:
        return pendulum.timezone(name)
    except Exception:
        problem = InvalidInput(f"no time zone is called {name!r:.80}; an example is 'Europe/Berlin'")
    raise problem
