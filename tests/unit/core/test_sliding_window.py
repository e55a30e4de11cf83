"""Points spent in the last stretch of time."""

from __future__ import annotations

import pytest

from stoq_provider.core.rate_limit import SlidingWindow

T0 = 1_000_000.0


def spent(*notes, now):
    window = SlidingWindow(60.0)
    for at, points in notes:
        window.add(points, T0 + at)
    window.roll(T0 + now)
    return window


@pytest.mark.parametrize(
    ("now", "points", "first"),
    [
        pytest.param(10, 6, T0, id="all of it is recent"),
        pytest.param(59.9, 6, T0, id="just so"),
        pytest.param(60, 5, T0 + 5, id="a window old is too old"),
        pytest.param(69.9, 3, T0 + 10, id="the last of them"),
        pytest.param(70, 0, None, id="nothing is left"),
        pytest.param(1e9, 0, None, id="long ago"),
    ],
)
def test_it_forgets(now, points, first):
    window = spent((0, 1), (5, 2), (10, 3), now=now)
    assert (window.points, window.first) == (points, first)


@pytest.mark.parametrize(("then", "points"), [(-1, 6), (0, 6), (0.1, 5), (5, 5), (10, 3), (10.1, 0)])
def test_since_a_time(then, points):
    assert spent((0, 1), (5, 2), (10, 3), now=10).since(T0 + then) == points


def test_iterating_gives_the_oldest_first():
    assert list(spent((0, 1), (5, 2), now=5)) == [(T0, 1), (T0 + 5, 2)]


def test_fractions_come_back_to_nothing():
    assert spent(*[(n / 10, 0.1) for n in range(30)], now=100).points == 0


@pytest.mark.parametrize("back", [1.0, 3600.0, 1e9])
def test_a_clock_that_is_set_back_keeps_it_for_no_longer_than_a_window(back):
    window = spent((0, 1), (5, 2), now=5 - back)
    assert window.points == 3
    window.roll(T0 + 5 - back + 60)
    assert window.points == 0
