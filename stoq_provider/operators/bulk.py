"""Bulk actions of STOQ on orders and on product variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from stoq_provider.core.ids import chunks
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.jobs.items import Selection
from stoq_provider.jobs.read_back import ReadBack, most_reads, read_back
from stoq_provider.links.jobs import DestinationLink, StoqAdminLink
from stoq_provider.operators.items import ItemsOperator
from stoq_provider.systems.stoq import bulk
from stoq_provider.triggers.jobs import StoqJobTrigger

if TYPE_CHECKING:
    from stoq_provider.core.submission import Submission


class StoqBulkOperator(ItemsOperator[StoqHook]):
    """
    Base of the two bulk operators.

    STOQ swallows the errors of single items, so ``completed`` means attempted; ``verify`` tells more. What
    is read, and how certain it is, stands in ``systems/stoq/bulk.py``.

    :param action: the action.
    :param body: what goes along with the ids: ``{"tags": [...]}`` for ``set_tags``, ``{"force": True}`` for
        ``release`` (that name is not documented for bulk).
    :param extra_body: laid over the body; ``None`` takes a key away. For what STOQ does not document.
    :param extra_query: laid over the query.
    :param stoq_conn_id: the Airflow connection.

    The other parameters are those of :class:`~stoq_provider.operators.items.ItemsOperator`.
    """

    template_fields: Sequence[str] = (
        "action",
        "body",
        "destination",
        "extra_body",
        "extra_query",
        "stoq_conn_id",
    )
    template_fields_renderers = dict.fromkeys(("body", "extra_body", "extra_query"), "json")
    operator_extra_links = (DestinationLink(), StoqAdminLink())
    trigger_class = StoqJobTrigger
    actions: ClassVar[Mapping[str, bulk.BulkAction]]

    def __init__(
        self,
        *,
        action: str,
        body: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        stoq_conn_id: str = StoqHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.action = action
        self.body = body
        self.extra_body = extra_body
        self.extra_query = extra_query
        self.stoq_conn_id = stoq_conn_id

    @property
    def doing(self) -> str:
        """The action's name, without the resource."""
        return self.action

    @cached_property
    def kind(self) -> str:
        """The kind of the action's jobs."""
        return self._action().kind

    @property
    def reads(self) -> str:
        """What a read-back looks at."""
        return self._action().reads

    @property
    def readable(self) -> bool:
        """Whether any read can tell what the action did; none can tell that a mail went out."""
        return self._action().changed is not None

    def check_parameters(self) -> None:
        """Check action and body."""
        bulk.check_body(self._action(), self.body)

    def items(self) -> Selection:
        """Return where the items come from."""
        family = self._action().family
        return Selection(self.hook, family, getattr(self, family.ids_key), most=self.max_items)

    def cut(self, ids: Sequence[Any], round_: int) -> list[Submission]:
        """Return submissions of at most the family's cap."""
        action = self._action()
        return [
            bulk.submission(
                action,
                piece,
                self.body,
                extra_body=self.extra_body,
                extra_query=self.extra_query,
                round_=round_,
            )
            for piece in chunks(ids, action.family.cap)
        ]

    def ids_of(self, submission: Submission) -> Sequence[Any]:
        """Return the ids in the body."""
        ids: Sequence[Any] = submission.body[self._action().family.ids_key]
        return ids

    def read_items(self, ids: Sequence[Any], submissions: Sequence[Submission]) -> ReadBack:
        """Read the items by list, or one by one where that costs less."""
        return read_back(self.hook, self._action(), ids, submissions[0].body)

    def most_reads(self, items: int) -> int:
        """Return how many reads that takes at the most."""
        return most_reads(self._action(), items)

    def _action(self) -> bulk.BulkAction:
        return bulk.find_action(self.action, self.actions)


class StoqBulkOrdersOperator(StoqBulkOperator):
    """
    Run a bulk action on held preorders.

    :param action: ``release``, ``cancel``, ``set_tags`` (with ``body={"tags": [...]}``), or
        ``send_payment_collection_url``, which mails customers and is never repeated by itself.
    :param order_ids: Shopify order ids as a list; the path of a file (one id a line) or ``{"path",
        "column"}`` of a CSV; or a selection such as ``{"offer_id": ..., "state": "placed"}``, which is
        resolved when the task first runs. Lists and mappings may be text, as a template renders them; where
        such text can't be read, ``render_template_as_native_obj=True`` of the DAG keeps them what they are.
        A set is sent in sorted order.

    The other parameters are those of :class:`StoqBulkOperator`.
    """

    template_fields: Sequence[str] = ("order_ids", *StoqBulkOperator.template_fields)
    template_fields_renderers = {**StoqBulkOperator.template_fields_renderers, "order_ids": "json"}
    actions = bulk.ORDER_ACTIONS

    # What most tasks give is named again: type checkers and help() see no parameter behind **kwargs.
    def __init__(
        self,
        *,
        action: str,
        order_ids: Any,
        body: Mapping[str, Any] | None = None,
        verify: Literal["warn", "fail"] | None = None,
        dry_run: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(action=action, body=body, verify=verify, dry_run=dry_run, **kwargs)
        self.order_ids = order_ids


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
    actions = bulk.VARIANT_ACTIONS

    def __init__(
        self,
        *,
        action: str,
        variant_ids: Any,
        body: Mapping[str, Any] | None = None,
        verify: Literal["warn", "fail"] | None = None,
        dry_run: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(action=action, body=body, verify=verify, dry_run=dry_run, **kwargs)
        self.variant_ids = variant_ids
