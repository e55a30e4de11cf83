"""Filters of reports: the documented rules, checked before anything is sent."""

from __future__ import annotations

from datetime import date, datetime, timezone

import pytest

from stoq_provider.core.validation import InvalidInput, near_misses
from stoq_provider.systems.stoq.reports import FILTERS, check

O1 = "5f0c1d1e-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    ("report", "filters", "sent"),
    [
        pytest.param("summary", {}, {}, id="none"),
        pytest.param("summary", '{"offer_id": "o"}', {"offer_id": "o"}, id="text"),
        pytest.param("summary", {"from": None, "offer_id": None}, {}, id="null is left out"),
        pytest.param(
            "summary",
            {"from": date(2026, 5, 1), "to": datetime(2026, 5, 28, 13, tzinfo=timezone.utc)},
            {"from": "2026-05-01", "to": "2026-05-28"},
            id="dates",
        ),
        pytest.param("summary", {"from": " 2026-05-01 "}, {"from": "2026-05-01"}, id="blanks"),
        pytest.param(
            "summary", {"from": "2026-05-01T00:00:00Z"}, {"from": "2026-05-01T00:00:00Z"}, id="a time of day"
        ),
        pytest.param(
            "summary",
            {"from": "2026-05-28", "to": "2026-05-28"},
            {"from": "2026-05-28", "to": "2026-05-28"},
            id="one day",
        ),
        pytest.param("summary", {"offer_ids[]": [O1]}, {"offer_ids": [O1]}, id="as the query spells it"),
        pytest.param(
            "summary", {"currency": "EUR", "market_id": 7}, {"currency": "EUR", "market_id": 7}, id="others"
        ),
        pytest.param("by_variant", {"offer_id": O1}, {"offer_id": O1}, id="by_variant, one offer"),
        pytest.param("by_variant", {"offer_ids": (O1,)}, {"offer_ids": [O1]}, id="by_variant, offers"),
        pytest.param("revenue", {"include_deposits": False}, {"include_deposits": False}, id="balances only"),
        pytest.param(
            "revenue",
            {"include_balances": False, "include_deposits": True, "granularity": "week"},
            {"include_balances": False, "include_deposits": True, "granularity": "week"},
            id="deposits only",
        ),
        pytest.param(
            "by_date",
            {"granularity": "month", "metrics": ["x"]},
            {"granularity": "month", "metrics": ["x"]},
            id="by_date",
        ),
        pytest.param(
            "by_market",
            {"metrics": ["x"], "granularity": "day"},
            {"metrics": ["x"], "granularity": "day"},
            id="a report we do not know",
        ),
    ],
)
def test_what_is_sent(report, filters, sent):
    kept = filters if isinstance(filters, str) else dict(filters)
    assert check(report, filters) == sent
    assert filters == kept


@pytest.mark.parametrize(
    ("report", "filters", "message"),
    [
        pytest.param("summary", ["from"], r"filters must be an object \(a mapping\)", id="no mapping"),
        pytest.param("summary", "from=x", "filters given as text must be a JSON object", id="text"),
        pytest.param("summary", {"fro": "2026-05-01"}, "no filter 'fro'; did you mean 'from'", id="a slip"),
        pytest.param("summary", {"granularity": "day"}, "no filter 'granularity'", id="of another report"),
        pytest.param("customers", {"product_id": 7}, "no filter 'product_id'", id="customers"),
        pytest.param("summary", {"metrics": []}, "extra_body", id="the way out is named"),
        pytest.param("summary", {"fro": 1}, r"did you mean 'from'\? Known are from", id="words after a hint"),
        pytest.param("summary", {"zz": 1}, r"no filter 'zz'\. Known are from", id="words without a hint"),
        pytest.param(
            "summary", {"from": "28.05.2026"}, "'from' must be an ISO 8601 date", id="a German date"
        ),
        pytest.param("summary", {"to": "2026-02-30"}, "'to' must be", id="no such day"),
        pytest.param("summary", {"to": ""}, "'to' must be", id="empty text"),
        pytest.param("summary", {"to": "2026-05-28 or so"}, "'to' must be", id="more than a date"),
        pytest.param("summary", {"to": 20260528}, "'to' must be", id="a number"),
        pytest.param("summary", {"to": "{{ ds }}"}, "'to' must be", id="not rendered"),
        pytest.param(
            "summary", {"from": "2026-05-29", "to": "2026-05-28"}, "is after 'to'", id="the wrong way"
        ),
        pytest.param("by_variant", {}, "needs 'offer_id' or 'offer_ids'", id="by_variant without"),
        pytest.param("by_variant", {"offer_ids": []}, "needs 'offer_id'", id="by_variant, an empty list"),
        pytest.param("by_variant", {"offer_id": ""}, "needs 'offer_id'", id="by_variant, empty text"),
        pytest.param(
            "revenue",
            {"include_deposits": False, "include_balances": False},
            "at least one",
            id="revenue of nothing",
        ),
        pytest.param("revenue", {"granularity": "hour"}, "day, week, month", id="granularity"),
        pytest.param("summary", {"offer_ids": O1}, "must be a list", id="offer_ids as text"),
        pytest.param("summary", {"offer_ids": {O1}}, "nothing like set", id="offer_ids as set"),
    ],
)
def test_what_is_refused(report, filters, message):
    with pytest.raises(InvalidInput, match=message):
        check(report, filters)


@pytest.mark.parametrize("report", [*FILTERS, "by_market"])
@pytest.mark.parametrize("name", ["from", "to", "offer_id", "currency"])
def test_every_report_takes_the_common_filters(report, name):
    value = "2026-05-28" if name in ("from", "to") else O1
    assert check(report, {"offer_id": O1, name: value})[name] == value


def test_near_misses():
    assert near_misses("revnue", ["revenue", "summary"]) == "; did you mean 'revenue'?"
    assert near_misses("zzz", ["revenue", "summary"]) == ""
