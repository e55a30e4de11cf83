"""Bulk actions of SureCart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from stoq_provider.core.ids import UUIDS, chunks
from stoq_provider.core.submission import Submission
from stoq_provider.hooks.surecart import SureCartHook
from stoq_provider.jobs import config
from stoq_provider.jobs.items import Items
from stoq_provider.jobs.read_back import ReadBack
from stoq_provider.jobs.results import LONG_LIST, keep_long
from stoq_provider.links.jobs import DestinationLink, SureCartLink
from stoq_provider.operators.items import ItemsOperator
from stoq_provider.systems import surecart
from stoq_provider.triggers.jobs import SureCartJobTrigger

if TYPE_CHECKING:
    from stoq_provider.core.events import JobEnd


class SureCartBulkActionOperator(ItemsOperator[SureCartHook]):
    """
    Delete many customers or products of a SureCart store.

    ``succeeded``: all fitting records are gone. ``completed``: the action ran, perhaps with errors; the
    outcome is ``partial``, and only a read-back tells which records are left. ``invalid``: no record fits the
    action, so the job failed. Records that were skipped stand in the manifest, in the ``details`` of each
    job. Deleting again does no harm, so a submission whose response was lost is sent again.

    :param action_type: ``delete_customers`` or ``delete_products``.
    :param record_ids: UUIDs as a list; the path of a file (one a line); or ``{"path", "column"}`` of a CSV.
    :param verify: ``"warn"`` or ``"fail"``: read which records still exist, and report them as
        ``unchanged_items``; after ``"fail"``, a retry submits only those. An ``invalid`` action whose
        records are all gone then counts as done, as when a lost call had deleted them before.
    :param chunk_size: records in one action. How many SureCart takes is not documented (U).
    :param extra_body: laid over the keys within ``bulk_action``; ``None`` takes one away.
    :param surecart_conn_id: the Airflow connection.

    The other parameters are those of :class:`~stoq_provider.operators.items.ItemsOperator`.
    """

    template_fields: Sequence[str] = (
        "action_type",
        "record_ids",
        "destination",
        "extra_body",
        "surecart_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"record_ids": "json", "extra_body": "json"}
    operator_extra_links = (DestinationLink(), SureCartLink())
    trigger_class = SureCartJobTrigger

    def __init__(
        self,
        *,
        action_type: str,
        record_ids: Any,
        verify: Literal["warn", "fail"] | None = None,
        dry_run: bool = False,
        chunk_size: int = surecart.ASSUMPTIONS["bulk.cap"].value,
        extra_body: Mapping[str, Any] | None = None,
        surecart_conn_id: str = SureCartHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(verify=verify, dry_run=dry_run, **kwargs)
        self.action_type = action_type
        self.record_ids = record_ids
        self.chunk_size = chunk_size
        config.check_options(self, "chunk_size")
        self.extra_body = extra_body
        self.surecart_conn_id = surecart_conn_id

    @cached_property
    def kind(self) -> str:
        """The kind of its jobs."""
        return self.action_type

    @property
    def reads(self) -> str:
        """What a read-back looks at."""
        return surecart.find_action(self.action_type).reads

    def check_parameters(self) -> None:
        """Check the action."""
        surecart.find_action(self.action_type)

    def items(self) -> Items:
        """Return where the ids come from."""
        return Items(
            self.record_ids, what="record_ids", resource=self.action_type, most=self.max_items, kind=UUIDS
        )

    def cut(self, ids: Sequence[Any], round_: int) -> list[Submission]:
        """Return actions of at most ``chunk_size`` records."""
        return [
            surecart.submission(self.action_type, piece, extra_body=self.extra_body, round_=round_)
            for piece in chunks(ids, self.chunk_size)
        ]

    def ids_of(self, submission: Submission) -> Sequence[Any]:
        """Return the ids in the body."""
        ids: Sequence[Any] = submission.body["bulk_action"]["record_ids"]
        return ids

    def read_items(self, ids: Sequence[Any], submissions: Sequence[Submission]) -> ReadBack:
        """Ask which records still exist."""
        return ReadBack(tuple(self.hook.iter_existing(self.action_type, ids)), ())

    def most_reads(self, items: int) -> int:
        """Return how many reads that takes."""
        views = len(surecart.find_action(self.action_type).views)
        return views * -(-items // surecart.MOST_IN_A_QUERY)

    def ids_of_job(self, end: JobEnd) -> Sequence[Any]:
        """Return the records of an invalid action; the server tells them."""
        if end.status is None or end.status.word != "invalid":
            return ()
        ids = self.hook.get_bulk_action(end.handle).get("record_ids")
        return ids if isinstance(ids, list) else ()

    # -- results ------------------------------------------------------------------------------------

    def shorten(self, manifest: dict[str, Any], folder: str | None, *, recorded: bool) -> dict[str, Any]:
        """Count the skipped records as well; too many for XCom stand in one list instead of each job's."""
        manifest = super().shorten(manifest, folder, recorded=recorded)
        details = [job["details"] for job in manifest["jobs"] if "details" in job]
        skipped = [item for each in details for item in each.get("skipped_record_ids", ())]
        manifest["totals"]["skipped"] = len(skipped)
        if len(skipped) <= LONG_LIST:
            return manifest
        for each in details:
            each.pop("skipped_record_ids", None)
        return keep_long(self.hook, manifest, "skipped_record_ids", skipped, folder, recorded=recorded)
