"""
Reading back what a bulk action did.

``completed`` means that every item was attempted; which of them failed STOQ does not say. So the items
are read again: by list where that costs fewer points than item by item, one by one where it does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from stoq_provider.core.ids import chunks
from stoq_provider.exceptions import ValidationRejected

if TYPE_CHECKING:
    from stoq_provider.jobs.client import ListClient
    from stoq_provider.systems.stoq.bulk import BulkAction, Family

IDS_IN_A_QUERY = 100
"""Ids asked for in one list call: a query of some two kilobytes."""


@dataclass(frozen=True, slots=True)
class ReadBack:
    """
    What a read-back found.

    :param unchanged: items that the action did not change, or that no longer exist.
    :param unclear: items that were read and do not tell.
    """

    unchanged: tuple[Any, ...]
    unclear: tuple[Any, ...]


def read_back(
    client: ListClient, action: BulkAction, ids: Sequence[int], body: Mapping[str, Any]
) -> ReadBack:
    """
    Read items and tell which of them an action left unchanged.

    :param body: what was sent beside the ids.
    """
    assert action.changed is not None
    verdicts: dict[int, bool | None] = {}
    wanted = set(ids)
    for item in _listed(client, action.family, ids, verdicts):
        item_id = item.get(action.family.item_key)
        if item_id in wanted:
            verdicts[item_id] = action.changed(item, body)
    for item_id in ids:
        if item_id not in verdicts:
            single = _single(client, action, item_id)
            verdicts[item_id] = action.changed(single, body) if single is not None else False
    return ReadBack(
        unchanged=tuple(item_id for item_id in ids if verdicts[item_id] is False),
        unclear=tuple(item_id for item_id in ids if verdicts[item_id] is None),
    )


def most_reads(action: BulkAction, items: int) -> int:
    """Return how many reads it takes at the most to read so many items back."""
    return -(-items // IDS_IN_A_QUERY) if action.family.lists_ids else items


def _listed(
    client: ListClient, family: Family, ids: Sequence[int], seen: Mapping[int, Any]
) -> Iterator[Mapping[str, Any]]:
    """Read by list: by ids, or page by page while that costs less than the items that are still missing."""
    if family.lists_ids:
        for piece in chunks(ids, IDS_IN_A_QUERY):
            yield from client.pages(family.list_path, family.resource, {family.ids_key: list(piece)})
        return
    for page in count(1):
        rows, pages = client.page(family.list_path, family.resource, {}, page)
        yield from rows
        if not 0 < pages - page < len(ids) - len(seen):
            return


def _single(client: ListClient, action: BulkAction, item_id: int) -> Mapping[str, Any] | None:
    try:
        payload = client.request("GET", f"{action.family.list_path}/{item_id}")
    except ValidationRejected as error:
        if error.http_status == 404:
            return None
        raise
    return payload if isinstance(payload, Mapping) else {}
