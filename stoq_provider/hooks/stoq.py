"""The hook of STOQ's external API v2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from stoq_provider.core.http import MalformedResponse, Request
from stoq_provider.core.models import JobHandle
from stoq_provider.core.submission import Submission
from stoq_provider.core.validation import InvalidInput, check_json, check_text, near_misses, read_mapping
from stoq_provider.hooks.base import JobHook
from stoq_provider.jobs.calls import payload_of
from stoq_provider.jobs.errors import NOTHING_SENT, typed
from stoq_provider.systems.payload import optional_int, query_pairs, rows
from stoq_provider.systems.stoq import bulk
from stoq_provider.systems.stoq.reports import FILTERS, export
from stoq_provider.systems.stoq.system import Stoq
from stoq_provider.transport.probe import Probe

PAGE_SIZE = 100
"""Rows asked for in one page. The default is 25, the maximum not documented; what comes is taken."""


def _names(payload: Any) -> str:
    return ", ".join(str(report.get("name")) for report in rows(payload, "reports", "the response"))


class StoqHook(JobHook):
    """
    Talks to one shop through STOQ's external API v2.

    The connection (type ``stoq``) holds the API key as password; ``host`` is the origin and may be left
    empty. Its extra takes ``timeout``, ``verify``, ``proxy``, ``allow_http``, ``points_share``.

    :param stoq_conn_id: the Airflow connection.
    """

    system = Stoq()
    probe = Probe("/preorders/reports", read=lambda payload: f"its reports are {_names(payload)}")

    def __init__(self, stoq_conn_id: str = "stoq_default") -> None:
        super().__init__(stoq_conn_id)

    # -- submissions --------------------------------------------------------------------------------

    def submit_orders(self, action: str, order_ids: Sequence[int], **body: Any) -> JobHandle:
        """
        Start a bulk action on at most 1000 orders.

        :param action: ``release``, ``cancel``, ``set_tags`` or ``send_payment_collection_url``.
        :param order_ids: Shopify order ids (that these are meant is inferred).
        :param body: more keys of the body, such as ``tags=[...]``.
        :raises SubmissionUncertain: it may run, and repeating it is not safe.
        """
        with typed(self.system.name, NOTHING_SENT):
            known = bulk.find_action(action, bulk.ORDER_ACTIONS)
            submission = bulk.submission(known, order_ids, body)
        return self.submit(submission)

    def submit_variants(self, action: str, variant_ids: Sequence[int], **body: Any) -> JobHandle:
        """
        Start a bulk action on at most 5000 product variants.

        :param action: ``recalculate_preorder_counts``, ``reset_metafields`` or ``sync_metafields``.
        :param variant_ids: Shopify variant ids.
        :param body: more keys of the body.
        """
        with typed(self.system.name, NOTHING_SENT):
            known = bulk.find_action(action, bulk.VARIANT_ACTIONS)
            submission = bulk.submission(known, variant_ids, body)
        return self.submit(submission)

    def submit_export(
        self,
        report: str,
        filters: Mapping[str, Any] | None = None,
        *,
        extra_body: Mapping[str, Any] | None = None,
        extra_query: Mapping[str, Any] | None = None,
    ) -> JobHandle:
        """
        Start the CSV export of a report.

        :param report: a name or alias from :meth:`reports`, such as ``revenue``.
        :param filters: the report's filters; ``from`` and ``to`` are inclusive ISO dates.
        :param extra_body: laid over the body, :param extra_query: over the query; ``None`` takes a key
            away. For what STOQ's documentation leaves open.
        """
        return self.submit(self.plan_export(report, filters, extra_body=extra_body, extra_query=extra_query))

    def plan_export(
        self,
        report: str,
        filters: Mapping[str, Any] | None = None,
        *,
        extra_body: Mapping[str, Any] | None = None,
        extra_query: Mapping[str, Any] | None = None,
    ) -> Submission:
        """
        Check an export and return what would be sent; sends no export.

        A report that the documentation does not name is looked up in ``GET /preorders/reports`` (1 point).
        """
        name = self._report_name(report)
        with typed(self.system.name, NOTHING_SENT):
            return export(name, filters, extra_body=extra_body, extra_query=extra_query)

    def reports(self) -> list[dict[str, Any]]:
        """Return the live list of reports: ``[{"name", "description", "aliases", "url"}]`` (1 point)."""
        payload = self.request("GET", "/preorders/reports")
        listed = payload.get("reports") if isinstance(payload, Mapping) else None
        return [dict(r) for r in listed or () if isinstance(r, Mapping) and r.get("name")]

    def _report_name(self, report: str) -> str:
        with typed(self.system.name, NOTHING_SENT):
            report = check_text(report, "report")
        if report in FILTERS:
            return report
        known = {
            str(name): str(entry["name"])
            for entry in self.reports()
            for name in (entry["name"], *_aliases(entry))
        }
        if report in known:
            return known[report]
        with typed(self.system.name, NOTHING_SENT):
            raise InvalidInput(
                f"STOQ has no report {report!r:.80}{near_misses(report, list(known)) or '.'} "
                f"Its reports are {', '.join(dict.fromkeys(known.values()))}"
            )

    # -- lists --------------------------------------------------------------------------------------

    def iter_orders(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """
        Yield preorders, page by page (1 point each).

        :param filters: ``state``, ``offer_id``, ``variant_id``, ``customer_id``, ``from_``, ``to`` (ISO
            8601). STOQ applies ``state`` after it has fetched a page, so pages may be short or empty.
        """
        return self.pages("/preorders/orders", "orders", filters)

    def iter_variants(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Yield product variants; ``filters``: ``offer_id``, ``product_id``, ``variant_ids``."""
        return self.pages("/preorders/product_variants", "product_variants", filters)

    def iter_offers(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Yield offers, newest first."""
        return self.pages("/preorders/offers", "offers", filters)

    def pages(self, path: str, key: str, filters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the rows of a list, by ``meta.total_pages``: a short or empty page is not the end."""
        for page in count(1):
            listed, pages = self.page(path, key, filters, page)
            yield from listed
            if page >= pages:
                return

    def page(
        self, path: str, key: str, filters: Mapping[str, Any], page: int
    ) -> tuple[list[dict[str, Any]], int]:
        """Return the rows of one page of a list, and how many pages there are (1 point)."""
        query = {name.rstrip("_"): value for name, value in filters.items()}

        def read(payload: Any) -> tuple[list[dict[str, Any]], int]:
            listed = rows(payload, key, f"GET {path}")
            meta = payload.get("meta")
            pages = optional_int(meta, "total_pages") if isinstance(meta, Mapping) else None
            if pages is None:
                raise MalformedResponse(f"GET {path} does not say how many pages there are")
            return listed, pages

        request = self._request("GET", path, {"per_page": PAGE_SIZE, **query, "page": page})
        return payload_of(self, request, read=read)

    # -- any action ---------------------------------------------------------------------------------

    def manifest(self, prefix: str | None = None) -> dict[str, Any]:
        """Return the live manifest of actions, ``{"version", "base_path", "actions": [...]}`` (1 point)."""
        payload = self.request("GET", "/help", params={"prefix": prefix} if prefix else None)
        return dict(payload) if isinstance(payload, Mapping) else {}

    def call(
        self,
        action: str,
        *,
        path_params: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call any action of the live manifest; parameters as in :meth:`prepare`; return the payload."""
        return self.send(self.prepare(action, path_params=path_params, query=query, body=body))

    def prepare(
        self,
        action: str,
        *,
        path_params: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Request:
        """
        Look an action up in the live manifest, and check the call against its JSON Schema; send nothing.

        :param action: ``"POST /preorders/offers/:id/enable"``, or a name or alias that fits one action.
        :param path_params: values of the placeholders in the path.
        """
        from stoq_provider.systems.stoq import actions  # parsing a DAG needs no jsonschema

        with typed(self.system.name, NOTHING_SENT):
            action = check_text(action, "action")
            in_query = read_mapping(query, "query") or {}
            in_body = read_mapping(body, "body") or {}
            in_path = read_mapping(path_params, "path_params") or {}
            query_pairs(in_query)
            check_json(in_body, action)
        listed = self.manifest(_prefix_of(action))
        with typed(self.system.name, NOTHING_SENT):
            found = actions.find(actions.read_manifest(listed), action)
            path = found.fill(in_path)
            found.check({**in_query, **in_body})
        return self._request(found.method, path, in_query, in_body if found.method != "GET" else None)

    def send(self, request: Request) -> Any:
        """Send what :meth:`prepare` made, and return the decoded payload; errors are those of ``request``."""
        return payload_of(self, request)


def _aliases(report: Mapping[str, Any]) -> list[Any]:
    listed = report.get("aliases")
    return listed if isinstance(listed, list) else []


def _prefix_of(action: str) -> str | None:
    """Narrow the manifest to the first two segments of a path: the whole is large."""
    _, _, path = action.strip().partition(" ")
    segments = [s for s in path.strip().split("/") if s]
    return "/" + "/".join(segments[:2]) if len(segments) >= 2 else None
