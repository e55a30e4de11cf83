"""The hook of SureCart's API v1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from stoq_provider.core.ids import UUIDS, check_ids, chunks
from stoq_provider.core.models import JobHandle
from stoq_provider.hooks.base import JobHook
from stoq_provider.jobs.calls import payload_of
from stoq_provider.jobs.errors import NOTHING_SENT, typed
from stoq_provider.systems import surecart
from stoq_provider.systems.payload import rows
from stoq_provider.transport.probe import Probe


def _listed(payload: Any) -> str:
    rows(payload, "data", "the response")
    return "it may ask for bulk actions"


class SureCartHook(JobHook):
    """
    Talks to one SureCart store.

    The connection (type ``surecart``) holds the secret key as password; ``host`` is the origin and may be
    left empty. Its extra takes ``timeout``, ``verify``, ``proxy``, ``allow_http``, ``points_share``.

    :param surecart_conn_id: the Airflow connection.
    """

    system = surecart.SureCart()
    probe = Probe(surecart.BULK_PATH, {"limit": 1}, _listed)
    """What the operators need."""

    def __init__(self, surecart_conn_id: str = "surecart_default") -> None:
        super().__init__(surecart_conn_id)

    def submit_bulk_action(
        self,
        action_type: str,
        record_ids: Sequence[str],
        *,
        extra_body: Mapping[str, Any] | None = None,
    ) -> JobHandle:
        """
        Start one bulk action.

        :param action_type: ``delete_customers`` or ``delete_products``.
        :param record_ids: UUIDs; how many one action takes is not documented (U).
        :param extra_body: laid over the keys within ``bulk_action``; ``None`` takes one away.
        """
        with typed(self.system.name, NOTHING_SENT):
            submission = surecart.submission(action_type, record_ids, extra_body=extra_body)
        return self.submit(submission)

    def get_bulk_action(self, handle: JobHandle | Mapping[str, Any]) -> dict[str, Any]:
        """Return a bulk action as the server tells it, with its ``record_ids``."""
        payload: Any = self._ask(handle, self.system.status_request)[1]
        return dict(payload) if isinstance(payload, Mapping) else {}

    def iter_existing(self, action_type: str, record_ids: Sequence[str]) -> Iterator[str]:
        """
        Yield which of the records that an action deletes still exist.

        One read for 50 ids of customers; two for products, where a list may leave out archived ones (U).
        """
        with typed(self.system.name, NOTHING_SENT):
            action = surecart.find_action(action_type)
            ids = check_ids(record_ids, what="record_ids", most=10**6, kind=UUIDS).ids
        for piece in chunks(ids, surecart.MOST_IN_A_QUERY):
            found: set[str] = set()
            for view in action.views:
                found.update(self._listed(action.records, {**view, "ids": list(piece)}))
            yield from (item for item in piece if item in found)

    def _listed(self, records: str, filters: Mapping[str, Any]) -> Iterator[str]:
        limit = surecart.ASSUMPTIONS["read.page"].value
        request = self._request("GET", f"/{records}", {**filters, "limit": limit})
        found = payload_of(self, request, read=partial(rows, key="data", what=f"GET /{records}"))
        yield from (str(row.get("id")).lower() for row in found)
