"""The budget of a shop's points, rule by rule."""

from __future__ import annotations

import pytest

from stoq_provider.core.http import RateLimit
from stoq_provider.core.rate_limit import SAME_WINDOW, PointsBudget, PointsRules

T0 = 1_000_000.0
STOQ = PointsRules(limit=360, window=60.0, read=1, write=2)


def budget(share=0.8, rules=STOQ):
    return PointsBudget(rules, share)


def spend(kept, points, now=T0):
    for _ in range(points):
        kept.spend(1, now)


@pytest.mark.parametrize(("reads_only", "price"), [(True, 1), (False, 2)])
def test_price(reads_only, price):
    assert STOQ.price(reads_only=reads_only) == price


@pytest.mark.parametrize(
    ("share", "left"),
    [(1.0, 360), (0.8, 288), (0.5, 180), (0.05, 18), (0.001, 3), (0.0, 3), (-1.0, 3), (7.0, 360)],
)
def test_our_share(share, left):
    assert budget(share).available(T0) == left


@pytest.mark.parametrize("limit", [2, 3, 5, 360])
@pytest.mark.parametrize("share", [0.05, 0.8, 1.0])
def test_a_write_always_fits(limit, share):
    assert budget(share, PointsRules(limit, 60.0, 1, 2)).wait(2, T0) == 0
    limited = budget(share)
    limited.update(RateLimit(limit=limit, remaining=limit, reset_in=60.0), T0)
    assert limited.wait(2, T0) == 0


class TestOneWindow:
    def test_what_is_spent_is_gone_until_the_window_ends(self):
        kept = budget()
        spend(kept, 287)
        assert (kept.available(T0 + 5), kept.wait(1, T0 + 5)) == (1, 0.0)
        assert kept.wait(2, T0 + 5) == 55.0
        spend(kept, 1)
        assert kept.wait(1, T0 + 5) == 55.0
        assert kept.wait(1, T0 + 59.9) == pytest.approx(0.1)
        assert (kept.available(T0 + 60), kept.wait(2, T0 + 60)) == (288, 0.0)

    def test_it_begins_with_the_first_call(self):
        kept = budget()
        assert kept.available(T0) == 288
        spend(kept, 288, T0 + 500)
        assert kept.wait(1, T0 + 501) == 59.0

    def test_the_servers_end_replaces_our_guess(self):
        kept = budget()
        kept.spend(1, T0)
        kept.update(RateLimit(remaining=0, reset_in=7.0), T0 + 1)
        assert kept.wait(1, T0 + 1) == 7.0

    def test_its_end_only_moves_later_once_it_is_known(self):
        kept = budget()
        for reset_in, ends in [(20.0, 20.0), (10.0, 20.0), (20.0 + SAME_WINDOW, 20.0 + SAME_WINDOW)]:
            kept.update(RateLimit(remaining=0, reset_in=reset_in), T0)
            assert kept.wait(1, T0) == ends

    def test_no_window_is_longer_than_documented(self):
        kept = budget()
        spend(kept, 288)
        kept.update(RateLimit(remaining=72, reset_in=86_400.0), T0)
        assert kept.wait(1, T0) == 60.0

    @pytest.mark.parametrize(
        ("remainders", "left"),
        [
            pytest.param([350], 287, id="others spent of their part"),
            pytest.param([100, 350], 92, id="an older answer comes late"),
            pytest.param([359], 287, id="as expected"),
            pytest.param([360], 287, id="more than we know of"),
            pytest.param([200], 192, id="others spent more than their part, and will go on"),
            pytest.param([7], 0, id="only the margin is left"),
            pytest.param([0], 0, id="nothing"),
        ],
    )
    def test_the_estimate_only_falls(self, remainders, left):
        kept = budget()
        kept.spend(1, T0)
        for remaining in remainders:
            kept.update(RateLimit(limit=360, remaining=remaining, reset_in=50.0), T0)
        assert kept.available(T0) == left

    def test_an_answer_that_was_under_way_does_not_raise_it(self):
        kept = budget()
        spend(kept, 100)
        kept.update(RateLimit(remaining=359, reset_in=60.0), T0 + 1)
        assert kept.available(T0 + 1) == 188

    def test_a_later_window_starts_with_what_the_server_says(self):
        kept = budget()
        kept.update(RateLimit(remaining=0, reset_in=10.0), T0)
        kept.update(RateLimit(remaining=160, reset_in=60.0), T0 + 9.9)
        assert kept.available(T0 + 10) == 152

    def test_what_is_left_in_an_ended_window_says_nothing_about_the_next(self):
        kept = budget()
        kept.spend(1, T0)
        kept.update(RateLimit(remaining=0, reset_in=10.0), T0)
        assert kept.wait(1, T0) == 10.0
        assert kept.available(T0 + 10) == 179
        assert kept.available(T0 + 60) == 288


class TestAnyStretchOfAWindowsLength:
    def test_a_new_window_does_not_allow_a_second_burst(self):
        kept = budget()
        spend(kept, 200)
        kept.update(RateLimit(remaining=160, reset_in=10.0), T0)
        assert kept.available(T0 + 10) == 88
        spend(kept, 88, T0 + 10)
        assert kept.wait(1, T0 + 10) == 50.0
        assert kept.available(T0 + 60) == 200

    def test_it_waits_for_as_much_as_the_call_costs(self):
        kept = budget()
        for second in range(288):
            kept.spend(1, T0 + second / 100)
        kept.update(RateLimit(remaining=72, reset_in=5.0), T0 + 3)
        assert kept.wait(1, T0 + 10) == pytest.approx(50.0)
        assert kept.wait(2, T0 + 10) == pytest.approx(50.01)


class TestWhatOthersSpentLately:
    """In any stretch of a window's length, whichever windows of the server it lies in."""

    def others(self, points, reset_in, now=T0):
        kept = budget()
        kept.update(RateLimit(limit=360, remaining=360 - points, reset_in=reset_in), now)
        return kept

    @pytest.mark.parametrize(
        ("points", "left"),
        [
            pytest.param(0, 288, id="nothing"),
            pytest.param(60, 288, id="less than was left to them"),
            pytest.param(100, 252, id="more than that: what they leave, less the margin"),
            pytest.param(160, 192, id="nearly half"),
            pytest.param(200, 180, id="more than half: half is ours in a new window"),
            pytest.param(360, 180, id="all"),
        ],
    )
    def test_it_is_left_to_them_in_the_next_window(self, points, left):
        kept = self.others(points, reset_in=10.0)
        assert kept.available(T0 + 10) == left
        assert kept.available(T0 + 59.9) == left
        assert kept.available(T0 + 60) == 288

    def test_what_they_spend_in_two_windows_adds_up(self):
        kept = self.others(60, reset_in=10.0)
        kept.update(RateLimit(limit=360, remaining=300, reset_in=50.0), T0 + 20)
        assert kept.available(T0 + 20) == 232
        assert kept.available(T0 + 61) == 288

    def test_it_counts_once_however_often_it_is_reported(self):
        kept = self.others(100, reset_in=10.0)
        for second in range(9):
            kept.update(RateLimit(limit=360, remaining=260, reset_in=10.0 - second), T0 + second)
        assert kept.available(T0 + 10) == 252
        assert kept.available(T0 + 60) == 288

    @pytest.mark.parametrize("seconds", [1, 5, 11, 25])
    def test_an_answer_that_was_long_on_its_way_adds_nothing(self, seconds):
        kept = self.others(100, reset_in=50.0)
        kept.update(RateLimit(limit=360, remaining=260, reset_in=50.0), T0 + seconds)
        kept.update(RateLimit(limit=360, remaining=260, reset_in=50.0 - seconds), T0 + seconds)
        assert kept.available(T0 + seconds) == 252
        assert kept.available(T0 + 51) == 252
        assert kept.available(T0 + 60) == 288

    def test_a_wait_lasts_until_theirs_or_ours_is_old_enough(self):
        kept = self.others(150, reset_in=10.0)
        spend(kept, 202, T0 + 10)
        assert kept.available(T0 + 10) == 0
        assert kept.wait(1, T0 + 10) == 50.0
        spend(kept, 86, T0 + 60)
        assert kept.wait(1, T0 + 60) == 10.0

    def test_a_write_always_fits(self):
        kept = budget(share=1.0, rules=PointsRules(3, 60.0, 1, 2))
        kept.update(RateLimit(limit=3, remaining=0, reset_in=10.0), T0)
        assert kept.wait(2, T0 + 10) == 0


class TestLimit:
    def test_another_limit_is_taken_over(self):
        kept = budget()
        kept.update(RateLimit(limit=100, remaining=100, reset_in=60.0), T0)
        assert kept.available(T0) == 80
        assert kept.available(T0 + 60) == 80

    @pytest.mark.parametrize(("share", "left"), [(0.8, 2880), (0.05, 180)])
    def test_a_higher_limit_counts_at_once(self, share, left):
        kept = budget(share)
        kept.update(RateLimit(limit=3600, remaining=3600, reset_in=60.0), T0)
        assert kept.available(T0) == left
        silent = budget(share)
        silent.update(RateLimit(limit=3600), T0)
        assert silent.wait(2, T0) == 0.0

    def test_another_limit_forgets_nothing_that_was_spent(self):
        kept = budget()
        spend(kept, 100)
        kept.update(RateLimit(limit=1000), T0)
        assert kept.available(T0) == 700
        kept.update(RateLimit(limit=100), T0)
        assert kept.available(T0) == 0

    @pytest.mark.parametrize("limit", [0, 1])
    def test_a_limit_that_no_call_fits_into_is_nonsense(self, limit):
        kept = budget()
        kept.update(RateLimit(limit=limit), T0)
        assert (kept.available(T0), kept.wait(2, T0)) == (288, 0.0)


class TestRetryAfter:
    def test_nothing_is_spent_before_it(self):
        kept = budget()
        kept.update(RateLimit(retry_after=24.0), T0)
        assert (kept.available(T0 + 23.9), kept.wait(1, T0)) == (0, 24.0)
        assert (kept.available(T0 + 24), kept.wait(2, T0 + 24)) == (288, 0.0)

    def test_the_longest_counts(self):
        kept = budget()
        for seconds, wait in [(24.0, 24.0), (5.0, 24.0), (30.0, 30.0)]:
            kept.update(RateLimit(retry_after=seconds), T0)
            assert kept.wait(1, T0) == wait

    def test_it_outlasts_the_window(self):
        kept = budget()
        kept.update(RateLimit(remaining=0, reset_in=5.0, retry_after=24.0), T0)
        assert kept.wait(1, T0 + 6) == 18.0

    @pytest.mark.parametrize(("spent_at", "wait"), [(None, 60.0), (T0 - 45, 15.0)])
    def test_a_429_that_says_nothing_closes_the_rest_of_the_window(self, spent_at, wait):
        kept = budget()
        if spent_at is not None:
            kept.spend(1, spent_at)
        kept.update(RateLimit(), T0, refused=True)
        assert (kept.available(T0), kept.wait(1, T0)) == (0, wait)
        assert kept.wait(1, T0 + wait) == 0.0


class TestOddAnswers:
    @pytest.mark.parametrize("spent_before", [False, True])
    def test_remaining_without_a_reset(self, spent_before):
        kept = budget()
        if spent_before:
            kept.spend(1, T0 - 60)
            assert kept.available(T0) == 288
        kept.update(RateLimit(remaining=0), T0)
        assert kept.wait(1, T0) == 60.0
        assert kept.wait(1, T0 + 60) == 0.0

    def test_a_reset_that_is_now(self):
        kept = budget()
        kept.spend(2, T0)
        kept.update(RateLimit(remaining=0, reset_in=0.0), T0)
        assert kept.wait(2, T0) == 0.0

    def test_no_header_changes_nothing(self):
        kept = budget()
        kept.spend(2, T0)
        kept.update(RateLimit(), T0)
        assert kept.available(T0) == 286


class TestAClockThatIsSetBack:
    @pytest.mark.parametrize("back", [1.0, 3600.0, 1e9])
    def test_it_delays_by_no_more_than_a_window(self, back):
        kept = budget()
        spend(kept, 288)
        kept.update(RateLimit(remaining=0, reset_in=50.0), T0)
        assert 0 < kept.wait(1, T0 - back) <= 60.0
        assert kept.wait(1, T0 - back + 60.0) == 0.0

    @pytest.mark.parametrize("back", [1.0, 3600.0, 1e9])
    def test_retry_after_is_not_stretched(self, back):
        kept = budget()
        kept.update(RateLimit(retry_after=24.0), T0)
        assert kept.wait(1, T0 - back) == 24.0
        assert kept.wait(1, T0 - back + 24.0) == 0.0
