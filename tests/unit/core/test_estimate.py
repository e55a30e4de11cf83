"""What a run will cost, known before it is sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoq_provider.core.estimate import estimate
from stoq_provider.core.polling import Cadence
from stoq_provider.core.rate_limit import PointsRules

RULES = PointsRules(limit=360, window=60.0, read=1, write=2)
CADENCE = Cadence(then=15.0, steps=((60.0, 5.0),))


def price(sizes, *, share=0.8, reads_back=lambda size: 0):
    return estimate(sizes, rules=RULES, share=share, cadence=CADENCE, reads_back=reads_back)


def test_one_short_job_is_polled_every_five_seconds_for_half_a_minute():
    assert price([10]) == {"points": {"submit": 2, "poll": 6, "verify": 0, "total": 8}, "minutes": 0.5}


def test_a_long_job_is_polled_less_often_after_a_minute():
    # 5,000 items: 300 s, the first 60 s every 5 s (12 polls), then every 15 s (16 polls).
    assert price([5000]) == {"points": {"submit": 2, "poll": 28, "verify": 0, "total": 30}, "minutes": 5.0}


def test_jobs_run_side_by_side_so_the_longest_counts():
    one, two = price([5000]), price([5000, 10])
    assert two["minutes"] == one["minutes"]
    assert two["points"]["total"] == one["points"]["total"] + 8


def test_reading_back_is_priced_by_submission_and_is_part_of_the_total():
    asked = []

    def reads_back(size):
        asked.append(size)
        return size * 3

    points = price([100, 50], reads_back=reads_back)["points"]
    assert asked == [100, 50]
    assert (points["verify"], points["total"]) == (450, points["submit"] + points["poll"] + 450)


@pytest.mark.parametrize(("share", "minutes"), [(1.0, 2.8), (0.8, 3.5), (0.4, 7.0)])
def test_where_the_points_are_the_bottleneck_the_share_sets_the_minutes(share, minutes):
    assert price([10], share=share, reads_back=lambda size: 1000)["minutes"] == minutes


def test_nothing_costs_nothing():
    assert price([]) == {"points": {"submit": 0, "poll": 0, "verify": 0, "total": 0}, "minutes": 0.0}


@given(sizes=st.lists(st.integers(1, 5000), max_size=30), more=st.integers(1, 5000))
def test_more_work_never_costs_less(sizes, more):
    less, greater = price(sizes), price([*sizes, more])
    assert greater["points"]["total"] > less["points"]["total"]
    assert greater["minutes"] >= less["minutes"]
    assert less["points"]["total"] == sum(less["points"][part] for part in ("submit", "poll", "verify"))
