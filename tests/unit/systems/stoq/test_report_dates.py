"""From a data interval to a report's inclusive dates."""

from __future__ import annotations

from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pendulum
import pytest

from stoq_provider.core.validation import InvalidInput
from stoq_provider.systems.stoq.reports import dates_of

UTC = timezone.utc
BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")


def at(text, zone=UTC):
    return datetime.fromisoformat(text).replace(tzinfo=zone)


TABLE = [
    # id, start, end, zone of the report, from, to
    ("daily, UTC", at("2026-05-28"), at("2026-05-29"), UTC, "2026-05-28", "2026-05-28"),
    (
        "daily, UTC schedule read in Berlin",
        at("2026-05-28"),
        at("2026-05-29"),
        BERLIN,
        "2026-05-28",
        "2026-05-29",
    ),
    (
        "daily, UTC schedule read in New York",
        at("2026-05-28"),
        at("2026-05-29"),
        NEW_YORK,
        "2026-05-27",
        "2026-05-28",
    ),
    (
        "daily in Berlin",
        at("2026-05-28", BERLIN),
        at("2026-05-29", BERLIN),
        BERLIN,
        "2026-05-28",
        "2026-05-28",
    ),
    (
        "23 h day in Berlin",
        at("2026-03-29", BERLIN),
        at("2026-03-30", BERLIN),
        BERLIN,
        "2026-03-29",
        "2026-03-29",
    ),
    (
        "25 h day in Berlin",
        at("2026-10-25", BERLIN),
        at("2026-10-26", BERLIN),
        BERLIN,
        "2026-10-25",
        "2026-10-25",
    ),
    (
        "23 h day in New York",
        at("2026-03-08", NEW_YORK),
        at("2026-03-09", NEW_YORK),
        NEW_YORK,
        "2026-03-08",
        "2026-03-08",
    ),
    (
        "25 h day in New York",
        at("2026-11-01", NEW_YORK),
        at("2026-11-02", NEW_YORK),
        NEW_YORK,
        "2026-11-01",
        "2026-11-01",
    ),
    (
        "23 h day in Berlin given in UTC",
        at("2026-03-28T23:00"),
        at("2026-03-29T22:00"),
        BERLIN,
        "2026-03-29",
        "2026-03-29",
    ),
    (
        "25 h day in New York given in UTC",
        at("2026-11-01T04:00"),
        at("2026-11-02T05:00"),
        NEW_YORK,
        "2026-11-01",
        "2026-11-01",
    ),
    ("hourly", at("2026-05-28T13:00"), at("2026-05-28T14:00"), UTC, "2026-05-28", "2026-05-28"),
    ("last hour of the day", at("2026-05-28T23:00"), at("2026-05-29T00:00"), UTC, "2026-05-28", "2026-05-28"),
    ("hour across midnight", at("2026-05-28T23:30"), at("2026-05-29T00:30"), UTC, "2026-05-28", "2026-05-29"),
    (
        "the hour that comes twice in Berlin",
        at("2026-10-25T00:00"),
        at("2026-10-25T01:00"),
        BERLIN,
        "2026-10-25",
        "2026-10-25",
    ),
    ("weekly", at("2026-05-18"), at("2026-05-25"), UTC, "2026-05-18", "2026-05-24"),
    ("monthly", at("2026-02-01"), at("2026-03-01"), UTC, "2026-02-01", "2026-02-28"),
    (
        "monthly in Berlin across the change",
        at("2026-03-01", BERLIN),
        at("2026-04-01", BERLIN),
        BERLIN,
        "2026-03-01",
        "2026-03-31",
    ),
    ("year's end", at("2026-12-31"), at("2027-01-01"), UTC, "2026-12-31", "2026-12-31"),
    ("a microsecond", at("2026-05-28"), at("2026-05-28T00:00:00.000001"), UTC, "2026-05-28", "2026-05-28"),
]


@pytest.mark.parametrize(
    ("start", "end", "zone", "first", "last"), [pytest.param(*row[1:], id=row[0]) for row in TABLE]
)
def test_data_interval(start, end, zone, first, last):
    assert dates_of("data_interval", start, end, zone) == {"from": first, "to": last}


@pytest.mark.parametrize(
    ("start", "end", "zone", "first", "last"), [pytest.param(*row[1:], id=row[0]) for row in TABLE]
)
def test_pendulum_gives_the_same(start, end, zone, first, last):
    start, end = pendulum.instance(start), pendulum.instance(end)
    got = dates_of("data_interval", start, end, pendulum.timezone(getattr(zone, "key", "UTC")))
    assert got == {"from": first, "to": last}


@pytest.mark.parametrize(
    ("end", "zone", "day"),
    [
        pytest.param(at("2026-05-29"), UTC, "2026-05-28", id="at midnight"),
        pytest.param(at("2026-05-29T06:00"), UTC, "2026-05-28", id="in the morning"),
        pytest.param(at("2026-05-29T23:59"), UTC, "2026-05-28", id="in the evening"),
        pytest.param(at("2026-05-28T22:00"), BERLIN, "2026-05-28", id="midnight in Berlin"),
        pytest.param(at("2026-05-29T03:59"), NEW_YORK, "2026-05-27", id="not yet midnight in New York"),
        pytest.param(at("2026-03-30T06:00", BERLIN), BERLIN, "2026-03-29", id="after the short day"),
        pytest.param(at("2026-10-26T00:30", BERLIN), BERLIN, "2026-10-25", id="after the long day"),
        pytest.param(at("2026-03-01"), UTC, "2026-02-28", id="first of the month"),
    ],
)
@pytest.mark.parametrize("length", ["none", "some"])
def test_previous_day(end, zone, day, length):
    start = end if length == "none" else at("2020-01-01")
    assert dates_of("previous_day", start, end, zone) == {"from": day, "to": day}
    assert dates_of("previous_day", start, end, zone, moment=at("2020-01-01")) == {"from": day, "to": day}
    assert dates_of("previous_day", None, None, zone, moment=end) == {"from": day, "to": day}


@pytest.mark.parametrize(
    ("window", "start", "end", "message"),
    [
        pytest.param("data_interval", None, None, "no data interval", id="none"),
        pytest.param("data_interval", at("2026-05-28"), None, "no data interval", id="no end"),
        pytest.param("data_interval", None, at("2026-05-28"), "no data interval", id="no start"),
        pytest.param("previous_day", None, None, "no data interval", id="nothing at all"),
        pytest.param("data_interval", at("2026-05-28"), at("2026-05-28"), "previous_day", id="no length"),
        pytest.param("data_interval", at("2026-05-28"), at("2026-05-27"), "no length", id="backwards"),
        pytest.param(
            "last_week", at("2026-05-28"), at("2026-05-29"), "data_interval, previous_day", id="unknown"
        ),
    ],
)
def test_what_has_no_dates(window, start, end, message):
    with pytest.raises(InvalidInput, match=message):
        dates_of(window, start, end, UTC)


def test_an_interval_is_not_made_up_from_the_moment_of_the_run():
    with pytest.raises(InvalidInput, match="no data interval"):
        dates_of("data_interval", None, None, UTC, moment=at("2026-05-28"))
