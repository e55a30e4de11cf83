"""Exports of STOQ's reports: their filters and dates (D [reports]), checked before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

from stoq_provider.core.submission import Submission
from stoq_provider.core.validation import InvalidInput, merge, read_mapping, unknown
from stoq_provider.systems.stoq.bulk import NEWER
from stoq_provider.systems.stoq.system import ASSUMPTIONS

COMMON_FILTERS = ("from", "to", "offer_id", "offer_ids", "currency")
_BREAKDOWN = ("product_id", "variant_id", "market_id")
FILTERS: Mapping[str, tuple[str, ...]] = {
    "summary": _BREAKDOWN,
    "revenue": (*_BREAKDOWN, "granularity", "include_deposits", "include_balances"),
    "by_date": (*_BREAKDOWN, "granularity", "metrics"),
    "by_variant": _BREAKDOWN,
    "customers": (),
}
"""
Filters of each report beside the common ones. Only these reports are named in readable documentation (D
[reports]); the other four are asked from the server.
"""
UNDOCUMENTED_REPORT = (*_BREAKDOWN, "granularity", "metrics")
"""What a report whose filters are not documented may take (inferred)."""
GRANULARITIES = ("day", "week", "month")


def check(report: str, filters: Any) -> dict[str, Any]:
    """
    Return the filters as they are sent: dates as ISO dates, empty ones left out.

    :param filters: as :func:`~stoq_provider.core.validation.read_mapping` takes it.
    :raises InvalidInput: naming the filter that breaks a rule.
    """
    read = read_mapping(filters, "filters") or {}
    # As the query spells it, a list is offer_ids[].
    given = {key.removesuffix("[]"): value for key, value in read.items() if value is not None}
    _check_names(report, given)
    for name in ("from", "to"):
        if name in given:
            given[name] = _iso_date(name, given[name])
    _check_values(report, given)
    return given


def _check_names(report: str, given: Mapping[str, Any]) -> None:
    known = (*COMMON_FILTERS, *FILTERS.get(report, UNDOCUMENTED_REPORT))
    for name in given:
        if name not in known:
            raise unknown(f"report {report!r} has no filter", name, known, NEWER)


def _iso_date(name: str, value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()[:10]
    text = str(value).strip()
    try:
        if not re.match(r"\d{4}-\d\d-\d\d", text):
            raise ValueError(text)
        datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise InvalidInput(
            f"filter {name!r} must be an ISO 8601 date, such as 2026-05-28; not {value!r:.80}"
        ) from None
    return text


def _check_values(report: str, given: Mapping[str, Any]) -> None:
    if "from" in given and "to" in given and given["from"][:10] > given["to"][:10]:
        raise InvalidInput(
            f"filter 'from' ({given['from']}) is after 'to' ({given['to']}); both are inclusive"
        )
    if report == "by_variant" and not given.get("offer_id") and not given.get("offer_ids"):
        raise InvalidInput("report 'by_variant' needs 'offer_id' or 'offer_ids'; without one STOQ refuses it")
    parts = [given.get(name, True) for name in ("include_deposits", "include_balances")]
    if report == "revenue" and not any(parts):
        raise InvalidInput("report 'revenue' needs at least one of include_deposits and include_balances")
    granularity = given.get("granularity", "day")
    if granularity not in GRANULARITIES:
        raise InvalidInput(
            f"filter 'granularity' is one of {', '.join(GRANULARITIES)}; not {granularity!r:.80}"
        )
    offers = given.get("offer_ids", [])
    if not isinstance(offers, list):
        raise InvalidInput(f"filter 'offer_ids' must be a list of offer UUIDs, not {type(offers).__name__}")


WINDOWS = ("data_interval", "previous_day")


def dates_of(
    window: str,
    start: datetime | None,
    end: datetime | None,
    zone: tzinfo,
    *,
    moment: datetime | None = None,
) -> dict[str, str]:
    """
    Return ``{"from", "to"}`` as ISO dates, both inclusive.

    ``data_interval``: every day that the interval touches. ``previous_day``: the last whole day before
    the interval's end, for schedules without a length and for runs without an interval.

    :param zone: where a day begins.
    :param moment: stands in for the end where there is no interval: the run's logical date, or when it was
        wanted.
    :raises InvalidInput: where the run has no interval, or one without a length.
    """
    if window not in WINDOWS:
        raise InvalidInput(f"window is one of {', '.join(WINDOWS)}; not {window!r:.80}")
    before = end or moment
    if window == "previous_day" and before is not None:
        day = (before.astimezone(zone).date() - timedelta(days=1)).isoformat()
        return {"from": day, "to": day}
    if start is None or end is None:
        raise InvalidInput(
            f"this run has no data interval (it was started by hand or by an asset), so window={window!r} "
            "can't be used; give 'from' and 'to' in filters, or window='previous_day'"
        )
    if end <= start:
        raise InvalidInput(
            f"the data interval of this run has no length ({start.isoformat()}), as with cron schedules in "
            "Airflow 3; use schedule=CronDataIntervalTimetable(...), or window='previous_day'"
        )
    last = (end - timedelta(microseconds=1)).astimezone(zone)
    return {"from": start.astimezone(zone).date().isoformat(), "to": last.date().isoformat()}


def export(
    report: str,
    filters: Mapping[str, Any] | None = None,
    *,
    extra_body: Mapping[str, Any] | None = None,
    extra_query: Mapping[str, Any] | None = None,
) -> Submission:
    """
    Build the submission of a report export.

    :raises InvalidInput: where the filters break a documented rule.
    """
    checked = check(report, filters)
    if "offer_ids" in checked:
        checked[ASSUMPTIONS["export.offer_ids"].value] = checked.pop("offer_ids")
    return Submission(
        kind=f"export:{report}",
        path=ASSUMPTIONS["export.path"].value.format(report=report),
        body=merge(checked, extra_body),
        query=merge({}, extra_query, "extra_query"),
    )
