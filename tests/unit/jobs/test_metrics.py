"""What reaches Airflow's own metrics: names, figures and tags, from workers and from triggers."""

from __future__ import annotations

import json
import re
import time

import httpx
import pytest
from airflow.providers.common.compat.sdk import Stats

from stoq_provider.core.lifecycle import JobProgress
from stoq_provider.core.models import JobHandle
from stoq_provider.jobs.metrics import AirflowMeter
from stoq_provider.jobs.wait import make_poller, poll_due, wait_sync
from stoq_provider.transport import rate_limiter
from stoq_provider.triggers.jobs import StoqJobTrigger
from tests.harness import run_trigger
from tests.unit.hooks.conftest import API, CONN, KEY

JOB = JobHandle("stoq", "bulk_release", "bulk_1", "/api/v2/external/jobs/bulk_1", 3, 1_780_000_000.0)
HEADERS = {"X-RateLimit-Limit": "360", "X-RateLimit-Remaining": "300"}
SHOP = {"shop": "stoq_default"}


@pytest.fixture
def stats(monkeypatch):
    """Write down what Airflow is given; signatures are those of Airflow 2.11, the narrowest."""
    sent = []

    def incr(stat, count=1, rate=1, *, tags=None):
        sent.append(("counter", stat, count, tags))

    def gauge(stat, value, rate=1, delta=False, *, tags=None):
        sent.append(("gauge", stat, value, tags))

    def timing(stat, dt, *, tags=None):
        sent.append(("timer", stat, dt, tags))

    for name, fake in (("incr", incr), ("gauge", gauge), ("timing", timing)):
        monkeypatch.setattr(Stats, name, fake)
    return sent


def figures(stats, name):
    return [value for _, stat, value, _ in stats if stat == f"stoq_provider.stoq.{name}"]


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (lambda m: m.points_left(287), ("gauge", "points_left", 287)),
        (lambda m: m.waited(1.5), ("timer", "rate_limit_wait", 1500.0)),
        (lambda m: m.throttled(), ("counter", "throttled", 1)),
        (lambda m: m.polled(), ("counter", "polls", 1)),
    ],
    ids=["points left", "waits, in milliseconds", "429s", "polls"],
)
def test_each_has_a_name_a_kind_and_the_tag_of_the_shop(stats, report, expected):
    kind, name, value = expected
    report(AirflowMeter("stoq", "shop_1"))
    assert stats == [(kind, f"stoq_provider.stoq.{name}", value, {"shop": "shop_1"})]


def test_a_wait_that_ended_tells_its_jobs_and_the_polls_of_each(stats):
    AirflowMeter("medusa", "shop_1").finished(4, 10)
    assert stats == [
        ("counter", "stoq_provider.medusa.jobs_finished", 4, {"shop": "shop_1"}),
        ("gauge", "stoq_provider.medusa.polls_per_job", 2.5, {"shop": "shop_1"}),
    ]


def test_a_wait_for_nothing_divides_by_nothing(stats):
    AirflowMeter("stoq", "shop_1").finished(0, 0)
    assert stats == [("counter", "stoq_provider.stoq.jobs_finished", 0, {"shop": "shop_1"})]


@pytest.mark.parametrize("system", ["stoq", "medusa", "surecart", "printstudio"])
def test_names_are_such_as_airflow_takes(stats, system):
    """Letters, digits, underscores, dots and dashes; others are refused or renamed."""
    AirflowMeter(system, "x").finished(1, 1)
    AirflowMeter(system, "x").points_left(1)
    assert all(re.fullmatch(rf"stoq_provider\.{system}\.[a-z_]+", name) for _, name, _, _ in stats)


def test_the_meter_of_airflow_takes_all_that_is_measured():
    wanted = {name for name in vars(rate_limiter.Meter) if not name.startswith("_")}
    assert wanted == {"points_left", "waited", "throttled", "polled", "finished"}
    assert wanted <= set(vars(AirflowMeter))


class TestAWorker:
    def test_tells_what_is_left_after_each_answer(self, stats, hook, api):
        api.get(f"{API}/preorders/reports", json={}, headers=HEADERS)
        hook.request("GET", "/preorders/reports")
        # 60 are spent, 59 of them by others: that is within their part.
        assert stats == [("gauge", "stoq_provider.stoq.points_left", 287, SHOP)]

    def test_tells_of_a_429_and_of_the_wait_after_it(self, stats, hook, api):
        api.get(
            f"{API}/preorders/reports",
            [{"status_code": 429, "headers": {"Retry-After": "24"}}, {"json": {}, "headers": HEADERS}],
        )
        hook.request("GET", "/preorders/reports")
        assert ("counter", "stoq_provider.stoq.throttled", 1, SHOP) in stats
        assert figures(stats, "points_left")[0] == 0
        waited = sum(figures(stats, "rate_limit_wait")) / 1000 + sum(hook.waits)
        assert waited >= 24

    def test_tells_how_long_it_waited_for_points(self, stats, hook, api):
        api.get(f"{API}/x", json={}, headers={"X-RateLimit-Remaining": "5", "X-RateLimit-Limit": "360"})
        hook.request("GET", "/x")
        hook.request("GET", "/x")
        (waited,) = figures(stats, "rate_limit_wait")
        assert waited == pytest.approx(1000 * sum(hook.waits))
        assert waited > 1000

    def test_tells_nothing_of_waits_where_there_was_none(self, stats, hook, api):
        api.get(f"{API}/x", json={}, headers=HEADERS)
        hook.request("GET", "/x")
        assert figures(stats, "rate_limit_wait") == []

    def test_the_tag_is_the_connection_it_was_made_for(self, stats, api, monkeypatch):
        from stoq_provider.hooks.stoq import StoqHook

        monkeypatch.setenv(
            "AIRFLOW_CONN_OTHER_SHOP", json.dumps({"conn_type": "stoq", "password": f"{KEY}_other"})
        )
        api.get(f"{API}/x", json={}, headers=HEADERS)
        StoqHook("other_shop").request("GET", "/x")
        assert [tags for *_, tags in stats] == [{"shop": "other_shop"}]
        assert KEY not in repr(stats)

    def test_counts_its_polls_and_the_jobs_that_it_waited_for(self, stats, hook, api):
        api.get(
            "https://app.stoqapp.com/api/v2/external/jobs/bulk_1",
            json={"job_id": "bulk_1", "status": "completed"},
        )
        now = time.time()
        poller = make_poller([JobProgress(JOB, now)], hook.system, deadline=now + 60, now=now, eager=True)
        wait_sync(poller, hook)
        assert figures(stats, "polls") == [1]
        assert figures(stats, "jobs_finished") == [1]
        assert figures(stats, "polls_per_job") == [1.0]

    def test_counts_the_jobs_of_a_sensor_that_pokes_once_they_have_ended(self, stats, hook, api):
        api.get(
            "https://app.stoqapp.com/api/v2/external/jobs/bulk_1",
            [{"json": {"job_id": "bulk_1", "status": word}} for word in RUN_END],
        )
        now = time.time()
        poller = make_poller([JobProgress(JOB, now)], hook.system, deadline=now + 60, now=now, eager=True)
        assert not poll_due(poller, hook)
        assert figures(stats, "jobs_finished") == []
        poller.wake(now)
        assert poll_due(poller, hook)
        assert figures(stats, "jobs_finished") == [1]
        assert figures(stats, "polls_per_job") == [2.0]


class TestATrigger:
    @pytest.fixture
    def fire(self, monkeypatch):
        """Run a trigger whose server gives these answers, the last one for ever."""
        monkeypatch.setenv(CONN, json.dumps({"conn_type": "stoq", "password": KEY}))

        def run(*answers, jobs=1):
            given = list(answers)

            def handle(_):
                answer = given.pop(0) if len(given) > 1 else given[0]
                return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)

            monkeypatch.setattr(
                "stoq_provider.transport.client_pool.make_client",
                lambda _: httpx.AsyncClient(transport=httpx.MockTransport(handle)),
            )
            handles = []
            for number in range(jobs):
                url = f"{JOB.status_url}_{number}"
                handles.append({**JOB.to_dict(), "job_id": f"b_{number}", "status_url": url, "seen_at": None})
            trigger = StoqJobTrigger(
                conn_id="stoq_default", jobs=handles, deadline=time.time() + 20, state={}, poll_interval=0.01
            )
            return run_trigger(*trigger.serialize())

        return run

    def test_tells_all_of_them(self, stats, fire):
        running, ended = (httpx.Response(200, json={"status": word}, headers=HEADERS) for word in RUN_END)
        fire(running, running, ended)
        assert figures(stats, "polls") == [1, 1, 1]
        assert len(figures(stats, "points_left")) == 3
        assert figures(stats, "rate_limit_wait") == [], "there are points for all"
        assert figures(stats, "jobs_finished") == [1]
        assert figures(stats, "polls_per_job") == [3.0]
        assert all(tags == SHOP for *_, tags in stats)
        assert all(name.startswith("stoq_provider.stoq.") for _, name, _, _ in stats)

    def test_polls_per_job_is_of_all_jobs_of_the_task(self, stats, fire):
        running, ended = (httpx.Response(200, json={"status": word}, headers=HEADERS) for word in RUN_END)
        fire(running, running, ended, jobs=2)
        assert figures(stats, "jobs_finished") == [2]
        assert figures(stats, "polls_per_job") == [sum(figures(stats, "polls")) / 2]

    def test_tells_of_a_429(self, stats, fire):
        refused = httpx.Response(429, headers={"Retry-After": "1"})
        fire(refused, httpx.Response(200, json={"status": "completed"}, headers=HEADERS))
        assert figures(stats, "throttled") == [1]
        assert figures(stats, "points_left")[0] == 0

    def test_the_key_is_in_none(self, stats, fire):
        fire(httpx.Response(200, json={"status": "completed"}, headers=HEADERS))
        assert stats
        assert KEY not in repr(stats)


RUN_END = ("running", "completed")


def test_the_gate_of_a_worker_and_that_of_a_triggerer_take_the_same_meter():
    from stoq_provider.systems.stoq.system import Stoq

    made = AirflowMeter("stoq", "x")
    assert rate_limiter.RateLimiter(Stoq(), 0.8, rate_limiter.WORKER, meter=made).meter is made
    assert isinstance(rate_limiter.RateLimiter(Stoq(), 0.8, rate_limiter.TRIGGERER).meter, rate_limiter.Meter)
