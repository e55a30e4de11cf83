"""Many jobs at once, without requests."""

from __future__ import annotations

import pytest

from stoq_provider.testing import Sandbox
from stoq_provider.testing.jobs import Job, JobBook


class Clock:
    """A job clock that stands still."""

    now_is = 1000.0

    def now(self) -> float:
        return self.now_is


def make_job(number: int, done: list[int], *, duration: float = 10.0, items: int = 0, **more) -> Job:
    return Job(
        job_id=f"job_{number}",
        kind="bulk",
        family="orders",
        path="orders",
        key="key",
        created_at=1000.0,
        duration=duration,
        items=[100 * number + item for item in range(items)],
        apply=lambda item: done.append(item) or True,
        finish=lambda job: done.append(number),
        **more,
    )


@pytest.fixture
def book():
    clock = Clock()
    return clock, JobBook(clock, "seed")


def test_jobs_cost_no_points_and_end_at_the_given_time():
    with Sandbox() as sandbox:
        handles = sandbox.start_jobs([3.0, 5000.0])
        exports = sandbox.start_jobs([5000.0], kind="export")
        sandbox.advance(4)
        state = sandbox.state
    assert state["points_spent"] == 0
    assert state["submissions"] == []
    assert [state["jobs"][handle["job_id"]]["status"] for handle in handles] == ["completed", "running"]
    assert exports[0]["status_url"].endswith(f"/reports/exports/{exports[0]['job_id']}")
    ended = state["jobs"][handles[0]["job_id"]]
    assert ended["ended_at"] - ended["created_at"] == pytest.approx(3.0)


def test_jobs_belong_to_the_shop_of_the_key():
    with Sandbox(extra_keys=("second",)) as sandbox:
        (handle,) = sandbox.start_jobs([100.0], key="second")
        book = sandbox._world.jobs
        assert book.find(handle["job_id"], "orders", "second") is not None
        assert book.find(handle["job_id"], "orders", sandbox.key) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"durations": [0.0]},
        {"durations": [1.0], "key": "nobody's"},
        {"durations": [1.0], "kind": "release"},
        {"durations": [1.0], "progress_powers": [1.0, 2.0]},
    ],
)
def test_refuses_what_makes_no_job(wrong):
    with Sandbox() as sandbox, pytest.raises(ValueError):
        sandbox.start_jobs(**wrong)


@pytest.mark.parametrize(("power", "percent"), [(1.0, 50), (2.0, 25), (0.5, 70), (1e9, 0)])
def test_progress_runs_to_a_power_of_the_time(book, power, percent):
    clock, jobs = book
    job = make_job(1, [], power=power)
    jobs.add(job)
    clock.now_is += 5
    assert jobs.find("job_1", "orders", "key").progress == percent
    clock.now_is += 6
    assert jobs.find("job_1", "orders", "key").progress == 100


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_what_is_due_is_done_as_if_all_jobs_were_looked_at(book, power):
    clock, jobs = book
    one_by_one: list[int] = []
    at_once: list[int] = []
    for number in range(1, 6):
        jobs.add(make_job(number, one_by_one, duration=number * 3.0, items=number, power=power))
    other = JobBook(clock, "other")
    for number in range(1, 6):
        other.add(make_job(number, at_once, duration=number * 3.0, items=number, power=power))
    for _ in range(200):
        clock.now_is += 0.1
        jobs.settle_due()
        other.settle()
        assert set(one_by_one) == set(at_once)
    assert len(one_by_one) == 5 + 15


def test_an_endless_job_stops_before_its_last_item(book):
    clock, jobs = book
    done: list[int] = []
    jobs.add(make_job(1, done, items=10, outcome="forever"))
    for _ in range(30):
        clock.now_is += 1
        jobs.settle_due()
    assert len(done) == 9
    assert jobs.jobs["job_1"].ended_at is None
