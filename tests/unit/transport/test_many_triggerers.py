"""Several triggerers and workers at one shop, as `make bench-points` simulates them: its books balance."""

from __future__ import annotations

import pytest

from tests.benchmarks.points.fleet import Case, Crowd, Figures, Shop, fleet_table, jain, simulate

CASE = Case([Crowd(60, 90.0, 5.0, workers=6, tasks=2), Crowd(3, 60.0, 5.0)], triggerers=3, foreign=0.3)


@pytest.fixture(scope="module")
def shops() -> list[Shop]:
    return simulate(CASE)


def test_each_job_is_noticed_once_and_after_its_end(shops):
    for shop, crowd in zip(shops, CASE.crowds, strict=True):
        remote = shop.remote
        assert len(remote.noticed) == len(remote.ends) == crowd.jobs
        assert all(remote.noticed[job] > end for job, end in remote.ends.items())
        assert sum(one.jobs for one in shop.triggerers) == crowd.deferred
        assert sum(bill.writes for bill in shop.workers) == crowd.workers * crowd.tasks


def test_the_server_charged_what_the_parties_sent(shops):
    for shop in shops:
        bills = [*(one.bill for one in shop.triggerers), *shop.workers, shop.foreign]
        assert sum(bill.points for bill in bills) == shop.remote.bucket.spent_total
        assert sum(bill.refused for bill in bills) == shop.remote.bucket.refused
        assert all(one.bill.polls for one in shop.triggerers if one.jobs)


def test_a_seed_brings_the_same_table_each_time(shops):
    table = fleet_table([Figures.of(CASE, shops)])
    assert fleet_table([Figures.of(CASE, simulate(CASE))]) == table
    assert fleet_table([Figures.of(CASE, simulate(CASE, seed=18))]) != table


@pytest.mark.parametrize(("shares", "index"), [([3, 3, 3], 1.0), ([1, 0], 0.5), ([4, 0, 0, 0], 0.25)])
def test_the_index_of_fairness(shares, index):
    assert jain(shares) == pytest.approx(index)
