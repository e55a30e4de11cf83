"""Filters of STOQ's reports: what is documented of them (D [reports]), checked before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from stoq_provider.core.validation import InvalidInput, near_misses, read_mapping

COMMON_FILTERS = ("from", "to", "offer_id", "offer_ids", "currency")
_BREAKDOWN = ("product_id", "variant_id", "market_id")
FILTERS: Mapping[str, tuple[str, ...]] = {
    "summary": _BREAKDOWN,
    "revenue": (*_BREAKDOWN, "granularity", "include_deposits", "include_balances"),
    "by_date": (*_BREAKDOWN, "granularity", "metrics"),
    "by_variant": _BREAKDOWN,
    "customers": (),
}
"""Filters of each report beside the common ones."""
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
    given = {_name(key): value for key, value in read.items() if value is not None}
    _check_names(report, given)
    for name in ("from", "to"):
        if name in given:
            given[name] = _iso_date(name, given[name])
    for rule in _RULES:
        rule(report, given)
    return given


def _name(key: str) -> str:
    """Take ``offer_ids[]``, as the query spells it, for ``offer_ids``."""
    return key.removesuffix("[]")


def _check_names(report: str, given: Mapping[str, Any]) -> None:
    known = (*COMMON_FILTERS, *FILTERS.get(report, UNDOCUMENTED_REPORT))
    for name in given:
        if name not in known:
            raise InvalidInput(
                f"report {report!r} has no filter {name!r}{near_misses(name, known) or '.'} "
                f"Known are {', '.join(known)}. A key that is newer than this package goes into extra_body"
            )


def _iso_date(name: str, value: Any) -> str:
    if isinstance(value, datetime):
        return value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    text = str(value).strip()
    try:
        if not re.match(r"\d{4}-\d\d-\d\d", text):
            raise ValueError(text)
        datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise InvalidInput(
            f"filter {name!r} must be an ISO 8601 date, such as 2026-05-28; not {value!r}"
        ) from None
    return text


def _from_before_to(report: str, given: Mapping[str, Any]) -> None:
    if "from" in given and "to" in given and given["from"][:10] > given["to"][:10]:
        raise InvalidInput(
            f"filter 'from' ({given['from']}) is after 'to' ({given['to']}); both are inclusive"
        )


def _by_variant_needs_an_offer(report: str, given: Mapping[str, Any]) -> None:
    if report == "by_variant" and not given.get("offer_id") and not given.get("offer_ids"):
        raise InvalidInput("report 'by_variant' needs 'offer_id' or 'offer_ids'; without one STOQ refuses it")


def _revenue_needs_a_part(report: str, given: Mapping[str, Any]) -> None:
    if report == "revenue" and not (
        given.get("include_deposits", True) or given.get("include_balances", True)
    ):
        raise InvalidInput("report 'revenue' needs at least one of include_deposits and include_balances")


def _granularity_is_known(report: str, given: Mapping[str, Any]) -> None:
    value = given.get("granularity", "day")
    if value not in GRANULARITIES:
        raise InvalidInput(f"filter 'granularity' is one of {', '.join(GRANULARITIES)}; not {value!r}")


def _offer_ids_is_a_list(report: str, given: Mapping[str, Any]) -> None:
    value = given.get("offer_ids", [])
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise InvalidInput(f"filter 'offer_ids' must be a list of offer UUIDs, not {type(value).__name__}")


_RULES: tuple[Callable[[str, Mapping[str, Any]], None], ...] = (
    _from_before_to,
    _by_variant_needs_an_offer,
    _revenue_needs_a_part,
    _granularity_is_known,
    _offer_ids_is_a_list,
)
