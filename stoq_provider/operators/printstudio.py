"""Bulk operations of PrintStudio: new orders, SKUs, and print jobs that are moved on or cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from stoq_provider.core.ids import TEXTS
from stoq_provider.core.models import JobState
from stoq_provider.core.submission import Submission
from stoq_provider.hooks.printstudio import PrintStudioHook
from stoq_provider.jobs import config
from stoq_provider.jobs.errors import NOTHING_SENT, typed
from stoq_provider.jobs.items import Items
from stoq_provider.jobs.read_back import ReadBack
from stoq_provider.jobs.results import keep_long
from stoq_provider.operators.items import ItemsOperator
from stoq_provider.operators.printstudio_base import PrintStudioOperator
from stoq_provider.systems.printstudio import bulk
from stoq_provider.systems.printstudio.states import PRINT_JOB, Goal

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from stoq_provider.core.events import JobEnd
    from stoq_provider.jobs.submit import Submitter

MOST_ORDERS = 500
"""Orders that a manifest names itself; some 35 kB of the 48 kB that an XCom row should not exceed."""


class PrintStudioCreateOrdersOperator(PrintStudioOperator):
    """
    Create orders, 50 in a call.

    A call creates all of its orders or none: one bad order rejects its 50. Calls before it stay. No call is
    ever repeated by itself, since orders would be doubled. Mend a rejected order where it stands in the list
    and clear the task: calls that went out are found again as long as their 50 orders are the same.

    The manifest holds ``orders``: ``[{"id", "status"}]``, the first 500 of them; with a destination the ids
    of all are stored there, one a line, as ``orders_uri``.

    :param orders: ``{"customerId", "lineItems": [{"skuId", "quantity"}]}`` each; more keys are sent along.
    :param on_empty: what no orders mean: ``"error"`` or ``"skip"``.

    The other parameters are those of :class:`PrintStudioOperator`.
    """

    template_fields: Sequence[str] = ("orders", *PrintStudioOperator.template_fields)
    template_fields_renderers = {**PrintStudioOperator.template_fields_renderers, "orders": "json"}
    route = bulk.CREATE_ORDERS
    noun = "orders"

    def __init__(self, *, orders: Any, on_empty: Literal["error", "skip"] = "error", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.orders = orders
        self.on_empty = on_empty
        config.check_options(self, "on_empty")

    def plan(self, context: Context, submitter: Submitter) -> list[Submission]:
        """Check every order, then cut the list."""
        with typed(self.hook.system.name, NOTHING_SENT):
            orders = bulk.check_orders(self.orders)
            self._not_none(orders, "orders", self.on_empty)
            return bulk.submissions(self.route, orders, extra_body=self.extra_body)

    def shorten(self, manifest: dict[str, Any], folder: str | None, *, recorded: bool) -> dict[str, Any]:
        """Collect the orders of all calls."""
        manifest = super().shorten(manifest, folder, recorded=recorded)
        orders = [order for job in manifest["jobs"] for order in job.get("details", {}).pop("orders", ())]
        manifest["totals"]["orders"] = len(orders)
        return keep_long(self.hook, manifest, "orders", orders, folder, recorded=recorded, most=MOST_ORDERS)


class PrintStudioImportSkusOperator(PrintStudioOperator):
    """
    Import SKUs, 500 in a call.

    :param skus: SKUs with an ``id`` each.
    :param mode: ``upsert``; ``append``, which leaves known ones alone; or ``replace``, which deactivates all
        other SKUs first: it takes one call and is never repeated by itself.
    :param on_empty: what no SKUs mean: ``"error"`` or ``"skip"``.

    The other parameters are those of :class:`PrintStudioOperator`. PrintStudio wants an admin's key (I).
    """

    template_fields: Sequence[str] = ("skus", "mode", *PrintStudioOperator.template_fields)
    template_fields_renderers = {**PrintStudioOperator.template_fields_renderers, "skus": "json"}
    route = bulk.IMPORT_SKUS
    noun = "SKUs"

    def __init__(
        self, *, skus: Any, mode: str = "upsert", on_empty: Literal["error", "skip"] = "error", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.skus = skus
        self.mode = mode
        self.on_empty = on_empty
        config.check_options(self, "on_empty")

    @cached_property
    def kind(self) -> str:
        """The kind of the calls, with the mode."""
        return f"{self.route.kind}:{self.mode}"

    def plan(self, context: Context, submitter: Submitter) -> list[Submission]:
        """Check mode and every SKU, then cut the list."""
        with typed(self.hook.system.name, NOTHING_SENT):
            skus = bulk.check_skus(self.skus, self.mode)
            self._not_none(skus, "skus", self.on_empty)
            return bulk.submissions(
                self.route,
                skus,
                {"mode": self.mode},
                kind=self.kind,
                extra_body=self.extra_body,
            )


class PrintStudioPrintJobsOperator(PrintStudioOperator, ItemsOperator[PrintStudioHook]):
    """
    Base of the operators that act on print jobs, 100 in a call.

    What such a call returns is not documented (U); ``verify`` reads each print job back. It also settles a
    call whose response was lost and which is sent again: a server may refuse to do what it has done.

    :param job_ids: ids of print jobs as a list; the path of a file (one a line); or ``{"path", "column"}`` of
        a CSV.

    The other parameters are those of :class:`PrintStudioOperator` and
    :class:`~stoq_provider.operators.items.ItemsOperator`.
    """

    template_fields: Sequence[str] = ("job_ids", *PrintStudioOperator.template_fields)
    template_fields_renderers = {**PrintStudioOperator.template_fields_renderers, "job_ids": "json"}
    noun = "print jobs"

    def __init__(self, *, job_ids: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job_ids = job_ids

    def body(self) -> dict[str, Any]:
        """
        Return what goes along with the ids.

        :raises InvalidInput: where it is wrong.
        """
        raise NotImplementedError

    def goal(self) -> Goal:
        """Return the state that the print jobs are to have afterwards."""
        raise NotImplementedError

    @property
    def reads(self) -> str:
        """What a read-back looks at."""
        return f"the state of each print job is {' or '.join(self.goal().states)}, or one behind it (D)"

    def check_parameters(self) -> None:
        """Check what goes along with the ids."""
        self.body()

    def items(self) -> Items:
        """Return where the ids come from."""
        return Items(self.job_ids, what="job_ids", resource=self.route.kind, most=self.max_items, kind=TEXTS)

    def cut(self, ids: Sequence[Any], round_: int) -> list[Submission]:
        """Return calls of at most 100 print jobs."""
        return bulk.submissions(self.route, ids, self.body(), extra_body=self.extra_body, round_=round_)

    def ids_of(self, submission: Submission) -> Sequence[Any]:
        """Return the ids in the body."""
        ids: Sequence[Any] = submission.body[self.route.key]
        return ids

    def read_items(self, ids: Sequence[Any], submissions: Sequence[Submission]) -> ReadBack:
        """Read each print job."""
        goal = self.goal()
        verdicts = {
            item: JobState.FAILED if state is None else goal.judge(state)[0]
            for item, state in self.hook.iter_states(PRINT_JOB, ids)
        }
        good = (JobState.SUCCEEDED, JobState.UNKNOWN)
        return ReadBack(
            unchanged=tuple(item for item, verdict in verdicts.items() if verdict not in good),
            unclear=tuple(item for item, verdict in verdicts.items() if verdict is JobState.UNKNOWN),
        )

    def ids_of_job(self, end: JobEnd) -> Sequence[Any]:
        """Return the print jobs of a call that did nothing; the name of a call is made from what it holds."""
        system = self.hook.system
        calls = {system.call_name(submission): submission for submission in self._submissions or ()}
        call = calls.get(end.handle.job_id)
        return self.ids_of(call) if call is not None else ()

    def price(self, sizes: Sequence[int]) -> dict[str, Any]:
        """Return requests and minutes: bulk calls have a limit of their own, and nothing is polled."""
        reads = self.most_reads(sum(sizes)) if self.verify else 0
        route_limit, common = bulk.ROUTE_LIMITS[self.route.limit], self.hook.system.points
        share = self.hook.settings.points_share
        minutes = (
            max(len(sizes) / route_limit.limit * route_limit.window, reads / common.limit * common.window)
            / share
            / 60
        )
        total = len(sizes) + reads
        return {
            "points": {"submit": len(sizes), "poll": 0, "verify": reads, "total": total},
            "minutes": round(minutes, 1),
        }


class PrintStudioAdvanceJobsOperator(PrintStudioPrintJobsOperator):
    """
    Put many print jobs into a state.

    :param target_status: such as ``POST_PROCESS``, in any case.

    The other parameters are those of :class:`PrintStudioPrintJobsOperator`.
    """

    template_fields: Sequence[str] = ("target_status", *PrintStudioPrintJobsOperator.template_fields)
    route = bulk.ADVANCE_JOBS

    # Named again for type checkers and help(), as in ``operators.bulk``.
    def __init__(
        self,
        *,
        job_ids: Any,
        target_status: str,
        verify: Literal["warn", "fail"] | None = None,
        dry_run: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(job_ids=job_ids, verify=verify, dry_run=dry_run, **kwargs)
        self.target_status = target_status

    def body(self) -> dict[str, Any]:
        """Return the target, checked."""
        return {"targetStatus": bulk.check_target(self.target_status)}

    def goal(self) -> Goal:
        """Return the target; a print job that is further has passed it."""
        return Goal(PRINT_JOB, (bulk.check_target(self.target_status),))


class PrintStudioCancelJobsOperator(PrintStudioPrintJobsOperator):
    """
    Cancel many print jobs.

    :param reason: kept by PrintStudio with each.

    The other parameters are those of :class:`PrintStudioPrintJobsOperator`.
    """

    template_fields: Sequence[str] = ("reason", *PrintStudioPrintJobsOperator.template_fields)
    route = bulk.CANCEL_JOBS

    # Named again for type checkers and help(), as in ``operators.bulk``.
    def __init__(
        self,
        *,
        job_ids: Any,
        reason: str,
        verify: Literal["warn", "fail"] | None = None,
        dry_run: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(job_ids=job_ids, verify=verify, dry_run=dry_run, **kwargs)
        self.reason = reason

    def body(self) -> dict[str, Any]:
        """Return the reason, checked."""
        return {"reason": bulk.check_reason(self.reason)}

    def goal(self) -> Goal:
        """Return that they are cancelled."""
        return Goal(PRINT_JOB, PRINT_JOB.dropped)
