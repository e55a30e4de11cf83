"""The polls of one shop: shared, in order, in batches, and no waiter is left hanging. In virtual time."""

from __future__ import annotations

import asyncio
import random
from contextvars import ContextVar

import pytest

from stoq_provider.core.http import Request
from stoq_provider.core.lifecycle import Outcome
from stoq_provider.core.polling import ScheduledPoll

from .virtual import (
    START,
    Batched,
    Lines,
    Shop,
    batch,
    cancelled,
    clock,
    ends_after,
    handle,
    outcomes,
    run,
)

ROUND = 1000 * 60 / 288
"""Seconds in which a thousand jobs are polled once each, with a share of 0.8."""


@pytest.fixture(autouse=True)
def _the_same_jitter_each_time():
    random.seed(4)


class TestOnePollForAll:
    def test_who_wait_for_the_same_job_are_all_told_by_one_poll(self):
        shop = Shop(ends_after({"a": 60}))

        async def work():
            return await asyncio.gather(*(shop.wait("a") for _ in range(10)))

        pollers = run(work())
        assert [outcomes(poller) for poller in pollers] == [[Outcome.SUCCEEDED]] * 10
        assert len(shop.asked) <= 13, "as many as one alone would need"
        assert {poller.polls for poller in pollers} == {len(shop.asked)}

    def test_one_that_comes_later_shares_the_polls_from_then_on(self):
        shop = Shop(ends_after({"a": 200}))

        async def late():
            await asyncio.sleep(100)
            return await shop.wait("a", submitted_at=START)

        async def work():
            return await asyncio.gather(shop.wait("a"), late())

        first, second = run(work())
        assert second.polls < first.polls
        assert len(shop.asked) <= first.polls + 1

    def test_the_bill_goes_to_one_of_them(self):
        shop = Shop(ends_after({"a": 60}))

        async def work():
            users = [shop.transport() for _ in range(5)]
            await asyncio.gather(*(shop.wait("a", transport=user) for user in users))
            return [user.points_spent for user in users]

        bills = run(work())
        assert sum(bills) == len(shop.asked)

    def test_jobs_that_were_submitted_for_different_things_are_polled_by_themselves(self):
        """What an answer means depends on what was asked of the job."""
        shop = Shop()

        async def work():
            async with shop.scheduler.subscribe(shop.transport()) as subscription:
                url = "/api/v2/external/jobs/a"
                for kind in ("bulk_release", "bulk_cancel"):
                    subscription.add(ScheduledPoll(handle("a", kind, url), clock(), True))
                got = [polled for _ in range(2) for polled in await subscription.next(clock() + 60)]
                return sorted(polled.handle.kind for polled in got)

        assert run(work()) == ["bulk_cancel", "bulk_release"]
        assert len(shop.asked) == 2

    def test_each_is_told_of_its_own_handle(self):
        """Two tasks may name one job differently; each must find its own again."""
        shop, url = Shop(), "/api/v2/external/jobs/a"

        async def one(name):
            async with shop.scheduler.subscribe(shop.transport()) as subscription:
                subscription.add(ScheduledPoll(handle(name, url=url), clock(), True))
                (polled,) = await subscription.next(clock() + 60)
                return polled.handle.job_id

        async def work():
            return await asyncio.gather(one("mine"), one("yours"))

        assert run(work()) == ["mine", "yours"]
        assert len(shop.asked) == 1


class TestLeaving:
    def leave_at(self, seconds, *, latency=3.0, waiters=2, leavers=1):
        """Let the first of several who wait for one job leave; return how the others fared."""
        shop = Shop(ends_after({"a": 0}), latency=latency)

        async def work():
            tasks = [asyncio.ensure_future(shop.wait("a")) for _ in range(waiters)]
            await asyncio.sleep(seconds)
            await cancelled(*tasks[:leavers])
            pollers = await asyncio.gather(*tasks[leavers:])
            return [outcomes(poller) for poller in pollers], clock() - START

        return shop, *run(work())

    def test_while_its_call_is_under_way_takes_nothing_from_the_others(self):
        shop, fared, ended = self.leave_at(6.0)
        assert fared == [[Outcome.SUCCEEDED]]
        assert len(shop.asked) == 2, "the call of the one who left was broken off"
        assert ended < 10, "and made again at once"

    @pytest.mark.parametrize("leavers", [1, 2, 3])
    def test_however_many_leave(self, leavers):
        _, fared, ended = self.leave_at(6.0, waiters=4, leavers=leavers)
        assert fared == [[Outcome.SUCCEEDED]] * (4 - leavers)
        assert ended < 10

    def test_before_its_call_takes_nothing_either(self):
        shop, fared, ended = self.leave_at(1.0)
        assert fared == [[Outcome.SUCCEEDED]]
        assert len(shop.asked) == 1
        assert ended < 9

    def test_in_the_very_moment_in_which_its_call_is_made_takes_nothing_either(self):
        shop = Shop(ends_after({"a": 0}))
        tasks = []

        class Meter(type(shop.limiter.meter)):
            def polled(self):
                tasks[0].cancel()

        async def work():
            tasks.extend(asyncio.ensure_future(shop.wait("a", deadline=START + 600)) for _ in range(2))
            shop.limiter.meter = Meter()
            _, other = await asyncio.gather(*tasks, return_exceptions=True)
            return outcomes(other), clock() - START

        (outcome,), ended = run(work())
        assert outcome is Outcome.SUCCEEDED
        assert ended < 10, "it is made again at once"
        assert shop.limiter._under_way == 0

    def test_of_a_batch_takes_nothing_from_those_in_it(self, monkeypatch):
        monkeypatch.setattr("stoq_provider.core.polling.FIRST_SPREAD", 0.0)
        shop = Shop(batch, system=Batched(), latency=3.0)

        async def work():
            tasks = [asyncio.ensure_future(shop.wait(name)) for name in "abcde"]
            await asyncio.sleep(6)
            before = len(shop.asked)
            await cancelled(tasks[0])
            await asyncio.sleep(5)
            await cancelled(*tasks[1:])
            return [sorted(names.split(",")) for _, names in shop.asked[before:]]

        assert run(work()) == [["b", "c", "d", "e"]]
        assert len(shop.asked) == 2

    def test_nobody_asks_for_a_job_that_nobody_waits_for(self):
        shop = Shop()

        async def work():
            gone, stays = (asyncio.ensure_future(shop.wait(name)) for name in "ab")
            await asyncio.sleep(30)
            await cancelled(gone)
            at = clock() - START
            await asyncio.sleep(200)
            jobs = shop.scheduler.jobs
            await cancelled(stays)
            return at, jobs

        at, jobs = run(work())
        assert jobs == 1
        assert max(shop.times("a")) <= at < 200 < max(shop.times("b"))

    def test_a_job_that_has_ended_is_not_asked_for_while_others_of_the_task_run(self):
        shop = Shop(ends_after({"a": 20, "b": 200}))
        poller = run(shop.wait("a", "b"))
        assert outcomes(poller) == [Outcome.SUCCEEDED] * 2
        assert max(shop.times("a")) < 30

    def test_nor_does_it_count_in_a_round(self):
        shop = Shop(ends_after({"a": 20}))

        async def work():
            waiting = asyncio.ensure_future(shop.wait("a", "b"))
            await asyncio.sleep(10)
            before = shop.scheduler.jobs
            await asyncio.sleep(90)
            after = shop.scheduler.jobs
            await cancelled(waiting)
            return before, after, shop.scheduler.jobs

        assert run(work()) == (2, 1, 0)

    def test_the_runner_ends_with_the_last_subscription_and_begins_with_the_next(self):
        shop = Shop(ends_after({"a": 20, "b": 20, "c": 100}))

        async def work():
            await asyncio.gather(shop.wait("a"), shop.wait("b"))
            alone = asyncio.all_tasks() == {asyncio.current_task()}
            await asyncio.sleep(50)
            poller = await shop.wait("c")
            return (
                alone,
                outcomes(poller),
                asyncio.all_tasks() == {asyncio.current_task()},
                shop.scheduler.jobs,
            )

        assert run(work()) == (True, [Outcome.SUCCEEDED], True, 0)

    @pytest.mark.parametrize("at", [0.0, 1.0, 5.02, 5.0, 30.0])
    def test_whenever_all_are_cancelled_no_task_is_left(self, at):
        shop = Shop()

        async def work():
            tasks = [asyncio.ensure_future(shop.wait(f"job_{n}")) for n in range(30)]
            await asyncio.sleep(at)
            await cancelled(*tasks)
            return asyncio.all_tasks() == {asyncio.current_task()}, shop.scheduler.jobs, shop.in_flight

        assert run(work()) == (True, 0, 0)
        assert shop.limiter._under_way == 0, "each call is finished once"

    def test_the_last_leaves_as_the_next_comes(self):
        """A scheduler between two users is not one without a runner."""
        shop = Shop(ends_after({"b": 0}))

        async def work():
            gone = asyncio.ensure_future(shop.wait("a"))
            await asyncio.sleep(5.02)
            gone.cancel()
            poller = await shop.wait("b")
            await cancelled(gone)
            return outcomes(poller), clock() - START

        (outcome,), ended = run(work())
        assert outcome is Outcome.SUCCEEDED
        assert ended < 15


class TestContexts:
    """A trigger's log lines go where the context of its task says."""

    def test_a_result_is_handled_in_the_context_of_the_one_who_waits(self):
        whose: ContextVar[str] = ContextVar("whose", default="nobody")
        seen: list[tuple[str, str]] = []
        asked_in: list[str] = []

        def reply(job_id, now):
            asked_in.append(whose.get())
            return ends_after({"a": 20, "b": 20, "both": 20})(job_id, now)

        class Log(Lines):
            def log(self, level, msg, *args):
                seen.append((whose.get(), args[0].partition(":")[0]))

        shop = Shop(reply)

        async def trigger(name, *jobs):
            whose.set(name)
            await shop.wait(*jobs, log=Log())

        async def work():
            await asyncio.gather(trigger("one", "a", "both"), trigger("two", "b", "both"))

        run(work())
        assert set(seen) == {("one", "a"), ("one", "both"), ("two", "b"), ("two", "both")}
        assert set(asked_in) == {"nobody"}, "the polls belong to no trigger"


class TestOrder:
    def schedule(self, *polls, gap=2.5, crowd=0, **more):
        """
        Let jobs be due at once for one subscription, while the points allow one call every few seconds.

        :param crowd: other jobs, which make the round longer.
        """
        shop = Shop(latency=0.01, **more)

        async def work():
            # No burst: after the first call the others queue up, and are sorted meanwhile.
            shop.limiter._pace._burst = 0.0
            shop.limiter.spend(Request("POST", "x"), clock())
            for _ in range(int(gap * 2)):
                shop.limiter.spend(Request("POST", "x"), clock())
            async with shop.scheduler.subscribe(shop.transport()) as subscription:
                for number in range(crowd):
                    subscription.add(ScheduledPoll(handle(f"later-{number}"), START + 1e6, False))
                for name, due, early in polls:
                    subscription.add(ScheduledPoll(handle(name), START + due, early))
                got = []
                while len(got) < len(polls):
                    got += await subscription.next(clock() + 600)

        run(work())
        return [name for _, name in shop.asked]

    def test_the_earliest_due_goes_first(self):
        assert self.schedule(("c", -1, False), ("a", -3, False), ("b", -2, False)) == ["a", "b", "c"]

    @pytest.mark.parametrize(
        ("crowd", "order"),
        [(100, ["last look", "new", "a", "b"]), (30, ["a", "b", "last look", "new"])],
        ids=["a long round", "a short round"],
    )
    def test_early_ones_go_before_them_where_a_round_is_long(self, crowd, order):
        polls = ("a", -3, False), ("new", 0, True), ("b", -2, False), ("last look", -1, True)
        assert self.schedule(*polls, crowd=crowd) == order

    def test_but_nobody_waits_for_more_than_a_round(self):
        assert self.schedule(("old", -25, False), ("new", 0, True), crowd=100) == ["old", "new"]

    def test_a_batch_takes_those_whose_turn_it_is(self):
        names = [(str(n), -n, False) for n in range(12)]
        asked = self.schedule(*names, system=Batched(), reply=batch)
        assert asked == ["11,10,9,8,7", "6,5,4,3,2", "1,0"]

    def test_one_that_is_due_sooner_wakes_the_scheduler(self):
        shop = Shop()

        async def work():
            async with shop.scheduler.subscribe(shop.transport()) as subscription:
                subscription.add(ScheduledPoll(handle("much later"), START + 1000, False))
                await asyncio.sleep(10)
                subscription.add(ScheduledPoll(handle("soon"), START + 15, False))
                await subscription.next(START + 500)

        run(work())
        assert shop.asked == [(15.0, "soon")]


class TestBatches:
    def test_many_jobs_are_asked_for_in_one_request(self):
        shop = Shop(batch, system=Batched())

        async def work():
            tasks = [asyncio.ensure_future(shop.wait(*(f"{task}{n}" for n in range(4)))) for task in "abcde"]
            await asyncio.sleep(60)
            await cancelled(*tasks)

        run(work())
        sizes = [len(names.split(",")) for _, names in shop.asked]
        assert max(sizes) == 5
        assert sum(sizes) / len(sizes) > 4
        polled = {name for _, names in shop.asked for name in names.split(",")}
        assert len(polled) == 20

    def test_a_round_takes_a_fifth_of_the_time(self):
        async def work(shop):
            async with shop.scheduler.subscribe(shop.transport()) as subscription:
                for n in range(1000):
                    subscription.add(ScheduledPoll(handle(str(n)), START + 1e6, False))
                return shop.scheduler.round_time(), shop.scheduler.jobs

        assert run(work(Shop(system=Batched()))) == (pytest.approx(ROUND / 5), 1000)
        assert run(work(Shop())) == (pytest.approx(ROUND), 1000)
