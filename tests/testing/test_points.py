"""The rate limit."""

from __future__ import annotations

import math

import pytest

from stoq_provider.testing import Sandbox
from stoq_provider.testing.points import PointsBucket, price

from .conftest import Client

OFFERS = "/preorders/offers"


def test_reads_cost_one_point_and_writes_two(client):
    left = [
        client.get(OFFERS).headers["X-RateLimit-Remaining"],
        client.post(OFFERS).headers["X-RateLimit-Remaining"],
        client.get("/help").headers["X-RateLimit-Remaining"],
        client.get("/preorders/nothing").headers["X-RateLimit-Remaining"],
    ]
    assert left == ["359", "357", "356", "355"]
    assert price("PATCH") == price("DELETE") == 2


def test_reset_is_one_moment_for_the_whole_window(client, wall):
    expected = str(math.ceil(wall.now + 60))
    for _ in range(3):
        assert client.get(OFFERS).headers["X-RateLimit-Reset"] == expected
        wall.forward(19)


def test_refusal_has_documented_headers_and_body_and_executes_nothing():
    with Sandbox(points_limit=3) as sandbox:
        client = Client(sandbox)
        assert client.post(OFFERS, json={"name": "one"}).status_code == 202
        refused = client.post(OFFERS, json={"name": "two"})
        assert refused.status_code == 429
        assert refused.headers["X-RateLimit-Remaining"] == "1"
        body = refused.json()
        assert set(body) == {"error", "retry_after", "message"}
        assert body["error"] == "Rate limit exceeded"
        assert body["message"].startswith("You have exceeded the rate limit of 3 points per 60 seconds. ")
        assert int(refused.headers["Retry-After"]) == body["retry_after"]
        assert body["retry_after"] == 60
        # One point is left: enough for a read, which shows that nothing was created.
        assert client.get(OFFERS).json()["meta"]["total_count"] == 31
        assert client.get(OFFERS).status_code == 429
        state = sandbox.state
        assert (state["rate_limited"], state["points_spent"]) == (2, 3)
        assert state["highest_points_in_window"] == 3


def test_refusal_of_a_submission_starts_no_job():
    with Sandbox(points_limit=2) as sandbox:
        client = Client(sandbox)
        assert client.post("/preorders/reports/revenue/export").status_code == 202
        assert client.post("/preorders/reports/revenue/export").status_code == 429
        assert len(sandbox.submissions) == 1


def test_a_new_window_is_full_again(wall):
    with Sandbox(points_limit=2, window_seconds=10) as sandbox:
        client = Client(sandbox)
        assert client.get(OFFERS).status_code == 200
        assert client.get(OFFERS).status_code == 200
        refused = client.get(OFFERS)
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "10"
        wall.forward(9.5)
        refused = client.get(OFFERS)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        wall.forward(0.6)
        assert client.get(OFFERS).headers["X-RateLimit-Remaining"] == "1"


def test_job_time_does_not_shorten_the_window():
    with Sandbox(points_limit=1, time_scale=0) as sandbox:
        client = Client(sandbox)
        client.get(OFFERS)
        sandbox.advance(3600)
        assert client.get(OFFERS).status_code == 429


def test_bucket_counts_spending_over_two_windows_too():
    bucket = PointsBucket(limit=10, window_seconds=60)
    bucket.charge(1, now=1000.0)
    for _ in range(9):
        bucket.charge(1, now=1059.0)
    for _ in range(10):
        assert bucket.charge(1, now=1060.0).allowed
    assert not bucket.charge(1, now=1060.0).allowed
    assert bucket.highest_in_window == 10
    assert bucket.highest_rolling == 19


@pytest.mark.parametrize(("limit", "seconds"), [(0, 60), (360, 0)])
def test_bucket_refuses_nonsense(limit, seconds):
    with pytest.raises(ValueError, match="positive"):
        PointsBucket(limit, seconds)
