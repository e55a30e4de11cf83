"""
From Airflow's data interval to a report's inclusive dates.

Airflow's interval ends just before its end; STOQ's ``to`` is the last day that counts (documented:
reports). The day boundary of the reports is not documented, so the time zone is the caller's to name.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from stoq_provider.core.validation import InvalidInput

WINDOWS = ("data_interval", "previous_day")


def dates_of(
    window: str,
    start: datetime | None,
    end: datetime | None,
    zone: tzinfo,
    *,
    run_after: datetime | None = None,
) -> dict[str, str]:
    """
    Return ``{"from", "to"}`` as ISO dates, both inclusive.

    ``data_interval``: every day that the interval touches. ``previous_day``: the last whole day before
    the interval's end, for schedules without a length and for runs without an interval.

    :param zone: where a day begins.
    :param run_after: stands in for the end where there is no interval: when the run was wanted.
    :raises InvalidInput: where the run has no interval, or one without a length.
    """
    if window not in WINDOWS:
        raise InvalidInput(f"window is one of {', '.join(WINDOWS)}; not {window!r}")
    before = end or run_after
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
