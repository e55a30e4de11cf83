"""The hook of a PrintStudio installation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from stoq_provider.core.ids import TEXTS, check_ids
from stoq_provider.core.models import JobState, JobStatus
from stoq_provider.core.records import RepeatSafety
from stoq_provider.core.submission import Submission
from stoq_provider.core.validation import InvalidInput, listed
from stoq_provider.exceptions import FinalJobFailed, JobFailed, ValidationRejected
from stoq_provider.hooks.base import JobHook
from stoq_provider.jobs.errors import NOTHING_SENT, typed
from stoq_provider.systems.printstudio import bulk
from stoq_provider.systems.printstudio.states import ORDER, PRINT_JOB, Course
from stoq_provider.systems.printstudio.system import PrintStudio, unwrapped
from stoq_provider.transport.probe import Probe


class PrintStudioHook(JobHook):
    """
    Talks to one PrintStudio installation.

    The connection (type ``printstudio``) holds the API key as password and the origin as host, which is
    required: everybody runs their own. Its extra takes ``timeout``, ``verify``, ``proxy``, ``allow_http``,
    ``points_share``.

    :param printstudio_conn_id: the Airflow connection.
    """

    system = PrintStudio()
    probe = Probe(ORDER.path, {"limit": 1})
    """Every role of a key may do so (I)."""

    def __init__(self, printstudio_conn_id: str = "printstudio_default") -> None:
        super().__init__(printstudio_conn_id)

    # -- bulk calls ---------------------------------------------------------------------------------

    def create_orders(self, orders: Sequence[Mapping[str, Any]]) -> JobStatus:
        """
        Create at most 50 orders in one call: all of them, or none.

        :param orders: ``{"customerId", "lineItems": [{"skuId", "quantity"}]}`` each.
        :return: the result; ``details["orders"]`` holds id and status of each.
        :raises SubmissionUncertain: they perhaps exist; the call is not repeated.
        """
        with typed(self.system.name, NOTHING_SENT):
            checked = bulk.check_orders(orders)
        return self._at_once(bulk.CREATE_ORDERS, checked)

    def advance_jobs(self, job_ids: Sequence[str], target_status: str) -> JobStatus:
        """
        Put at most 100 print jobs into a state.

        :param target_status: such as ``POST_PROCESS``, in any case.
        """
        with typed(self.system.name, NOTHING_SENT):
            target = bulk.check_target(target_status)
            ids = bulk.job_ids(job_ids, most=bulk.ADVANCE_JOBS.cap)
        return self._at_once(bulk.ADVANCE_JOBS, ids, {"targetStatus": target})

    def cancel_jobs(self, job_ids: Sequence[str], reason: str) -> JobStatus:
        """Cancel at most 100 print jobs."""
        with typed(self.system.name, NOTHING_SENT):
            body = {"reason": bulk.check_reason(reason)}
            ids = bulk.job_ids(job_ids, most=bulk.CANCEL_JOBS.cap)
        return self._at_once(bulk.CANCEL_JOBS, ids, body)

    def import_skus(self, skus: Sequence[Mapping[str, Any]], mode: str = "upsert") -> JobStatus:
        """
        Import at most 500 SKUs in one call.

        :param mode: ``upsert``, ``append`` (leaves known ones alone), or ``replace``, which deactivates all
            other SKUs first and is never repeated.
        """
        with typed(self.system.name, NOTHING_SENT):
            checked = bulk.check_skus(skus, mode)
        kind = f"{bulk.IMPORT_SKUS.kind}:{mode}"
        return self._at_once(bulk.IMPORT_SKUS, checked, {"mode": mode}, kind)

    def _at_once(
        self,
        route: bulk.Route,
        items: Sequence[Any],
        body: Mapping[str, Any] | None = None,
        kind: str | None = None,
    ) -> JobStatus:
        with typed(self.system.name, NOTHING_SENT):
            planned = bulk.submissions(route, items, body, kind=kind)
            if len(planned) != 1:
                raise InvalidInput(
                    f"{route.kind} takes 1 to {route.cap} items in one call, not {len(items):,}; the "
                    "operator cuts longer lists"
                )
        return self._result(planned[0])

    def _result(self, submission: Submission) -> JobStatus:
        status = self.submit(submission).result
        assert status is not None
        if status.state is not JobState.FAILED:
            return status
        never = self.system.repeat_safety(submission.kind) is RepeatSafety.NEVER
        again = "It is not sent again by itself." if never else "A retry sends it again."
        cls = FinalJobFailed if never else JobFailed
        raise cls(
            f"PrintStudio did nothing of {submission.kind}: {status.error}. {again}",
            system=self.system.name,
            server_messages=status.error_texts,
        )

    # -- single things ------------------------------------------------------------------------------

    def get_print_job(self, job_id: str) -> dict[str, Any]:
        """Return one print job as the server tells it."""
        return self._single(PRINT_JOB, job_id)

    def get_order(self, order_id: str) -> dict[str, Any]:
        """Return one order: ``{"id", "status", "customerId", "lineItems", ...}``."""
        return self._single(ORDER, order_id)

    def iter_states(self, course: Course, ids: Sequence[str]) -> Iterator[tuple[str, str | None]]:
        """Yield id and state of each, one read a piece; ``None`` where there is no such thing."""
        with typed(self.system.name, NOTHING_SENT):
            items = listed(ids, "ids", course.label)
        for item in items:
            try:
                found = self._single(course, item)
            except ValidationRejected as error:
                if error.http_status != 404:
                    raise
                yield item, None
            else:
                yield item, str(found.get("status") or found.get("state") or "")

    def _single(self, course: Course, item: str) -> dict[str, Any]:
        with typed(self.system.name, NOTHING_SENT):
            (item,) = check_ids([item], what=f"the id of one of the {course.label}", most=1, kind=TEXTS).ids
        payload = self.request("GET", f"{course.path}/{quote(item, safe='')}")
        return dict(unwrapped(payload))
