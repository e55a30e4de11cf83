"""Bulk actions of STOQ on orders and on product variants."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import AirflowSkipException

from stoq_provider.core.estimate import estimate
from stoq_provider.core.ids import IdList, chunks
from stoq_provider.core.plan import InvalidInput, Submission
from stoq_provider.exceptions import ItemsUnchanged, StoqProviderError
from stoq_provider.hooks.base import NOTHING_SENT
from stoq_provider.hooks.errors import typed
from stoq_provider.hooks.results import store_items
from stoq_provider.hooks.selection import Selection
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.hooks.verification import most_reads, read_back, summary
from stoq_provider.operators.base import JobOperator
from stoq_provider.systems import stoq_bulk
from stoq_provider.triggers.jobs import StoqJobTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from stoq_provider.core.events import WaitEvent
    from stoq_provider.hooks.submission import Submitter


class StoqBulkOperator(JobOperator):
    """
    Base of the two bulk operators.

    The items are cut into submissions at STOQ's cap, each is sent once, and the task ends with the
    manifest of all. Nothing is sent before the whole list has been checked.

    :param action: the action.
    :param body: what goes along with the ids, such as ``{"tags": ["late"]}``.
    :param verify: STOQ swallows the errors of single items, so ``completed`` means attempted.
        ``"warn"`` and ``"fail"`` read the items back and report ``unchanged_items``; after ``"fail"``, a
        retry submits only those. What is read, and how certain it is, stands in ``systems/stoq_bulk.py``.
    :param dry_run: find the items, count submissions, price the run in points and minutes, submit nothing.
        With a destination, the items are stored there and ``items_uri`` names them, so that a later task
        can take just what was planned.
    :param on_empty: what no items mean: ``"error"`` or ``"skip"``.
    :param max_items: more ids than this are refused.
    :param extra_body: laid over the body; ``None`` takes a key away. For what STOQ does not document.
    :param extra_query: laid over the query.
    :param stoq_conn_id: the Airflow connection.

    The other parameters are those of :class:`~stoq_provider.operators.base.JobOperator`; ``destination`` is
    a folder for lists of unchanged items that are too long for XCom.
    """

    template_fields: Sequence[str] = (
        "action",
        "body",
        "destination",
        "extra_body",
        "extra_query",
        "stoq_conn_id",
    )
    template_fields_renderers: Mapping[str, str] = {
        "body": "json",
        "extra_body": "json",
        "extra_query": "json",
    }
    ui_color = "#f4ead5"
    trigger_class = StoqJobTrigger
    actions: ClassVar[Mapping[str, stoq_bulk.BulkAction]]

    def __init__(
        self,
        *,
        action: str,
        body: Mapping[str, Any] | None = None,
        verify: Literal["warn", "fail"] | None = None,
        dry_run: bool = False,
        on_empty: Literal["error", "skip"] = "error",
        max_items: int = 100_000,
        extra_body: Mapping[str, Any] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        stoq_conn_id: str = StoqHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.action = action
        self.body = body
        self.verify = verify
        self.dry_run = dry_run
        self.on_empty = on_empty
        self.max_items = max_items
        self.extra_body = extra_body
        self.extra_query = extra_query
        self.stoq_conn_id = stoq_conn_id

    def make_hook(self) -> StoqHook:
        """Return a hook for the connection."""
        return StoqHook(self.stoq_conn_id)

    @abstractmethod
    def given(self) -> Any:
        """Return what the user gave as items."""

    def _run(self, context: Context) -> Any:
        self._check_parameters()
        return self._dry_run() if self.dry_run else super()._run(context)

    def plan(self, context: Context, submitter: Submitter) -> list[Submission]:
        """Find the items and cut them; after a verification that failed, only the unchanged ones."""
        submissions, duplicates = self._find(submitter)
        # Without a store, what a selection held would not be found again once the jobs have run.
        self._sent = submissions
        self.log.info(
            "%s: %s items in %s submissions, %s duplicates dropped",
            self.action,
            sum(submission.item_count or 0 for submission in submissions),
            len(submissions),
            duplicates,
        )
        return submissions

    def notes(self, submitter: Submitter) -> list[str]:
        """Return the names of the kept list of items, and of the records that tell what is left of it."""
        return [*self._selection().note_keys(submitter), *self._earlier]

    @property
    def resumes(self) -> bool:
        """Whether this try sends what the one before left unchanged."""
        return bool(self._earlier)

    def check_results(
        self, context: Context, event: WaitEvent, submitter: Submitter
    ) -> tuple[Sequence[Any], StoqProviderError | None]:
        """Read the items back, where ``verify`` wants it and a read can tell."""
        action = self._action()
        if self.verify is None:
            return (), None
        if action.changed is None:
            self.log.warning(
                "verify=%r has nothing to read for %s: %s.", self.verify, action.name, action.reads
            )
            return (), None
        hook = self.hook
        assert isinstance(hook, StoqHook)
        submissions = self._sent if hasattr(self, "_sent") else self._find(submitter)[0]
        by_chunk = {submitter.key(s): s.body[action.family.ids_key] for s in submissions}
        body = submissions[0].body
        found = read_back(hook, action, [item for ids in by_chunk.values() for item in ids], body)
        if found.unclear:
            self.log.warning(
                "%s items do not tell whether %s changed them (%s): %s",
                len(found.unclear),
                action.name,
                action.reads,
                summary(found.unclear),
            )
        if self.verify == "fail":
            left = set(found.unchanged)
            submitter.note_unchanged({key: [i for i in ids if i in left] for key, ids in by_chunk.items()})
        return self._judge(list(found.unchanged), submitter.durable)

    # -- steps --------------------------------------------------------------------------------------

    def _find(self, submitter: Submitter) -> tuple[list[Submission], int]:
        """Return the submissions of this try, and how many duplicates were dropped from the list."""
        with typed(self.hook.system.name, NOTHING_SENT):
            self._check_store(submitter)
            items = self._not_empty(self._selection().kept(submitter))
            submissions = self._cut(items.ids, 0)
            self._earlier: list[str] = []
            for round_ in count(1):
                records = [submitter.current(submission) for submission in submissions]
                left = [item for record in records if record for item in record.unchanged or ()]
                if not left or any(record is None or record.unchanged is None for record in records):
                    return submissions, items.duplicates
                self.log.info("The try before left %s items unchanged; only these are sent.", len(left))
                self._earlier += [submitter.key(submission) for submission in submissions]
                submissions = self._cut(left, round_)
        raise AssertionError("unreachable")

    def _judge(self, left: list[int], durable: bool) -> tuple[Sequence[Any], StoqProviderError | None]:
        if not left:
            return (), None
        text = (
            f"{self.action} completed at STOQ, and a read-back found {len(left):,} items that it did not "
            f"change: {summary(left)}."
        )
        if self.verify == "warn":
            self.log.warning("%s", text)
            return left, None
        again = "only these items" if durable else "the whole list, because no record could be kept"
        fate = f"The remote jobs have ended. A retry submits {again}."
        return left, ItemsUnchanged(f"{text} {fate}", system=self.hook.system.name)

    def _check_parameters(self) -> None:
        with typed(self.hook.system.name, NOTHING_SENT):
            for name, value, known in (
                ("verify", self.verify, (None, "warn", "fail")),
                ("on_empty", self.on_empty, ("error", "skip")),
            ):
                if value not in known:
                    raise InvalidInput(f"{name} is one of {known}, not {value!r}")
            stoq_bulk.check_body(self._action(), self.body)

    def _check_store(self, submitter: Submitter) -> None:
        if self.verify and self.deferrable and not submitter.durable and not self._selection().stable:
            raise InvalidInput(
                "verify needs a place to keep what a file or a selection held when the task began; set "
                "[stoq] state_path, or give the ids as a list"
            )

    def _action(self) -> stoq_bulk.BulkAction:
        return stoq_bulk.find_action(self.action, self.actions)

    def _selection(self) -> Selection:
        hook = self.hook
        assert isinstance(hook, StoqHook)
        return Selection(hook, self._action().family, self.given(), most=self.max_items)

    def _not_empty(self, items: IdList) -> IdList:
        if items.ids:
            return items
        if self.on_empty == "skip":
            raise AirflowSkipException("There are no items, and on_empty='skip'. Nothing was sent.")
        raise InvalidInput(f"{self._action().family.ids_key} is empty; on_empty='skip' would skip the task")

    def _cut(self, ids: Sequence[int], round_: int) -> list[Submission]:
        action = self._action()
        return [
            stoq_bulk.submission(
                action,
                piece,
                self.body,
                extra_body=self.extra_body,
                extra_query=self.extra_query,
                round_=round_,
            )
            for piece in chunks(ids, action.family.cap)
        ]

    def _dry_run(self) -> dict[str, Any]:
        hook, action = self.hook, self._action()
        with typed(hook.system.name, NOTHING_SENT):
            items = self._not_empty(self._selection().resolve())
            submissions = self._cut(items.ids, 0)
        plan: dict[str, Any] = {
            "dry_run": True,
            "action": action.name,
            "items": len(items.ids),
            "duplicates": items.duplicates,
            "submissions": len(submissions),
            "repeat_safety": hook.system.repeat_safety(action.kind).value,
            "verification": action.reads if self.verify else None,
            **estimate(
                [submission.item_count or 0 for submission in submissions],
                rules=hook.system.points,
                share=hook.settings.points_share,
                cadence=hook.system.cadence(action.kind),
                reads_back=partial(most_reads, action) if self.verify and action.changed else lambda _: 0,
            ),
        }
        if self.destination is not None:
            plan["items_uri"] = store_items(str(self.destination), items.ids)
        self.log.info("Dry run, nothing was submitted: %s", plan)
        hook.close()
        return plan


class StoqBulkOrdersOperator(StoqBulkOperator):
    """
    Run a bulk action on held preorders.

    :param action: ``release``, ``cancel``, ``set_tags`` (with ``body={"tags": [...]}``), or
        ``send_payment_collection_url``, which mails customers and is never repeated by itself.
    :param order_ids: Shopify order ids as a list; the path of a file (one id a line) or ``{"path",
        "column"}`` of a CSV; or a selection such as ``{"offer_id": ..., "state": "placed"}``, which is
        resolved when the task first runs.

    The other parameters are those of :class:`StoqBulkOperator`.
    """

    template_fields: Sequence[str] = ("order_ids", *StoqBulkOperator.template_fields)
    template_fields_renderers = {**StoqBulkOperator.template_fields_renderers, "order_ids": "json"}
    actions = stoq_bulk.ORDER_ACTIONS

    def __init__(self, *, order_ids: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.order_ids = order_ids

    def given(self) -> Any:
        """Return the order ids as given."""
        return self.order_ids


class StoqBulkVariantsOperator(StoqBulkOperator):
    """
    Run a bulk action on product variants.

    :param action: ``recalculate_preorder_counts``, ``sync_metafields`` or ``reset_metafields``.
    :param variant_ids: Shopify variant ids, in any of the forms of ``order_ids``; a selection takes
        ``offer_id`` and ``product_id``.

    The other parameters are those of :class:`StoqBulkOperator`.
    """

    template_fields: Sequence[str] = ("variant_ids", *StoqBulkOperator.template_fields)
    template_fields_renderers = {**StoqBulkOperator.template_fields_renderers, "variant_ids": "json"}
    actions = stoq_bulk.VARIANT_ACTIONS

    def __init__(self, *, variant_ids: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.variant_ids = variant_ids

    def given(self) -> Any:
        """Return the variant ids as given."""
        return self.variant_ids
