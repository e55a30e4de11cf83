"""The polls of one shop within its points, and what becomes of those who wait when things go wrong."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import httpx
import pytest

from stoq_provider.core.http import RateLimit
from stoq_provider.core.lifecycle import JobProgress, Outcome, PollResult
from stoq_provider.core.polling import ScheduledPoll
from stoq_provider.core.validation import InvalidInput
from stoq_provider.jobs.wait import LAST_LOOK
from stoq_provider.systems.stoq.system import Stoq
from stoq_provider.transport.poll_scheduler import IN_FLIGHT
from tests.unit.core.shop import Server

from .login_server import SYSTEM
from .virtual import (
    START,
    Batched,
    Shop,
    batch,
    cancelled,
    clock,
    ends_after,
    handle,
    outcomes,
    run,
    running,
)

ROUND = 1000 * 60 / 288
"""Seconds in which a thousand jobs are polled once each, with a share of 0.8."""


@pytest.fixture(autouse=True)
def _the_same_jitter_each_time():
    random.seed(4)


class TestPoints:
    def test_at_most_so_many_calls_are_under_way(self):
        shop = Shop(latency=30.0)

        async def work():
            tasks = [asyncio.ensure_future(shop.wait(f"job_{n}")) for n in range(100)]
            await asyncio.sleep(120)
            await cancelled(*tasks)

        run(work())
        assert shop.most_in_flight == IN_FLIGHT == 8
        assert len(shop.asked) >= 3 * 8, "and the others have their turn afterwards"

    def test_nothing_is_sent_while_a_429_closes_the_shop(self):
        state = {"refused_at": None}

        def reply(job_id, now):
            if state["refused_at"] is None and now > 20:
                state["refused_at"] = now
                return httpx.Response(429, headers={"Retry-After": "47"}, json={})
            return running(job_id, now)

        shop = Shop(reply)

        async def work():
            tasks = [asyncio.ensure_future(shop.wait(f"job_{n}")) for n in range(50)]
            await asyncio.sleep(200)
            await cancelled(*tasks)

        run(work())
        closed = state["refused_at"]
        sent = [at for at, _ in shop.asked]
        assert not [at for at in sent if closed < at < closed + 47 - 1e-3]
        assert [at for at in sent if closed + 47 - 1e-3 <= at < closed + 48], (
            "and it goes on right afterwards"
        )

    def test_a_token_that_expires_keeps_no_poll_waiting(self):
        """One that has to be sent again waits for points, while others take them as they come."""
        logins = []

        def reply(job_id, now):
            if job_id == "login":
                logins.append(now)
                return {"access_token": f"token-{len(logins)}"}
            expired = now > 100 and len(logins) == 1
            return httpx.Response(401, json={}) if expired else running(job_id, now)

        shop = Shop(reply, system=SYSTEM, share=0.1, login="me@example.com", latency=2.0)

        async def work():
            tasks = [asyncio.ensure_future(shop.wait(f"job_{n}")) for n in range(50)]
            await asyncio.sleep(600)
            a_round = shop.scheduler.round_time()
            await cancelled(*tasks)
            return a_round

        a_round = run(work())
        assert len(logins) == 2
        for name in (f"job_{n}" for n in range(50)):
            assert max(b - a for a, b in pairwise([0, *shop.times(name), 600])) < 1.5 * a_round

    def test_a_429_is_no_failure_of_a_job(self):
        times = iter([httpx.Response(429, headers={"Retry-After": "24"}, json={})] * 3)

        def reply(job_id, now):
            return next(times, None) or {"job_id": job_id, "status": "completed"}

        assert outcomes(run(Shop(reply).wait("a"))) == [Outcome.SUCCEEDED]

    def test_the_meter_is_told_of_polls_and_of_waits_for_points(self):
        notes = []

        class Meter:
            def points_left(self, points):
                notes.append("points_left")

            def waited(self, seconds):
                notes.append(round(seconds, 2))

            def throttled(self):
                notes.append("throttled")

            def polled(self):
                notes.append("polled")

        shop = Shop(ends_after({"a": 20}), meter=Meter())
        run(shop.wait("a"))
        assert notes == ["polled", "points_left"] * len(shop.asked), "where there are points, none"
        notes.clear()
        closed = Shop(ends_after({"a": 0}), meter=Meter())

        async def closed_meanwhile():
            waiting = asyncio.ensure_future(closed.wait("a"))
            await asyncio.sleep(1)
            closed.limiter.budget.update(RateLimit(retry_after=7.0), clock())
            await waiting

        run(closed_meanwhile())
        assert 3.0 <= notes[0] <= 5.5, "due after five seconds at the latest, and polled after eight"
        assert notes[1:] == ["polled", "points_left"]


class TestWhatGoesWrongInUs:
    """It reaches those who wait, at once, instead of hanging them."""

    def fails(self, system, *names):
        shop = Shop(batch if system.poll_size > 1 else running, system=system)

        async def one(name):
            try:
                await asyncio.wait_for(shop.wait(name, deadline=START + 5000), 1000)
            except asyncio.TimeoutError:
                return "hung"
            except Exception as error:
                return f"{type(error).__name__}: {error}"
            return "ended"

        async def work():
            return await asyncio.gather(*map(one, names))

        return run(work())

    def test_in_reading_a_status(self):
        class Odd(Stoq):
            def read_status(self, payload, handle):
                raise KeyError("status")

        assert self.fails(Odd(), "a", "a") == ["KeyError: 'status'"] * 2

    def test_in_reading_a_status_only_those_of_that_job(self):
        class Odd(Stoq):
            def read_status(self, payload, handle):
                if handle.job_id == "bad":
                    raise KeyError("status")
                return super().read_status({**payload, "status": "completed"}, handle)

        assert self.fails(Odd(), "good", "bad") == ["ended", "KeyError: 'status'"]

    def test_in_making_the_call(self):
        class Odd(Stoq):
            def poll_request(self, origin, handles):
                raise RuntimeError("no call for this")

        assert self.fails(Odd(), "a", "b") == ["RuntimeError: no call for this"] * 2

    @pytest.mark.parametrize("size", [0, 2, 7])
    def test_in_a_wrong_number_of_results(self, size):
        class Odd(Batched):
            def poll_results(self, answer, handles):
                return [PollResult.bad("odd")] * size

        assert all("Error" in fate for fate in self.fails(Odd(), "a", "b", "c"))

    def test_the_scheduler_serves_those_who_come_later(self):
        class Odd(Stoq):
            broken = True

            def poll_request(self, origin, handles):
                if self.broken:
                    raise RuntimeError("no call for this")
                return super().poll_request(origin, handles)

        shop = Shop(ends_after({"b": 0}), system=Odd())

        async def work():
            with pytest.raises(RuntimeError, match="no call for this"):
                await shop.wait("a")
            Odd.broken = False
            return outcomes(await shop.wait("b"))

        assert run(work()) == [Outcome.SUCCEEDED]

    def test_a_status_url_of_another_origin_is_an_error_of_the_one_who_asks(self):
        shop = Shop(ends_after({"good": 20}))

        async def foreign():
            async with shop.scheduler.subscribe(shop.transport()) as subscription:
                with pytest.raises(InvalidInput, match="another origin"):
                    subscription.add(
                        ScheduledPoll(handle("bad", url="https://evil.example/jobs/bad"), clock(), True)
                    )
                return await subscription.next(clock() + 10)

        async def work():
            return await asyncio.gather(shop.wait("good"), foreign())

        poller, come = run(work())
        assert outcomes(poller) == [Outcome.SUCCEEDED]
        assert come == []
        assert {name for _, name in shop.asked} == {"good"}


class TestTheEndOfAWait:
    def test_the_last_look_is_at_the_deadline(self):
        shop = Shop(ends_after({"a": 99.5}))
        poller = run(shop.wait("a", deadline=START + 100))
        assert outcomes(poller) == [Outcome.SUCCEEDED]
        assert shop.times("a")[-1] == 100

    def test_a_job_that_runs_on_then_is_a_timeout(self):
        async def work():
            poller = await shop.wait("a", deadline=START + 100)
            return outcomes(poller), clock() - START

        shop = Shop()
        (outcome,), ended = run(work())
        assert outcome is Outcome.TIMEOUT
        assert 100 <= ended < 101

    def test_where_the_last_look_never_comes_the_wait_ends_all_the_same(self):
        """The limiter is closed by a 429 for an hour, say."""

        def reply(job_id, now):
            return httpx.Response(429, headers={"Retry-After": "3600"}, json={})

        async def work():
            poller = await shop.wait("a", "b", deadline=START + 100)
            return outcomes(poller), clock() - START

        shop = Shop(reply)
        ended, at = run(work())
        assert ended == [Outcome.TIMEOUT] * 2
        assert at == pytest.approx(100 + LAST_LOOK)

    @pytest.mark.parametrize("timeout", [60, 150, 250])
    def test_a_job_that_ended_a_minute_before_is_seen_though_all_others_queue(self, timeout):
        """As many jobs as take 208 s for a round; a thousand would, with all of the points."""
        shop = Shop(ends_after({"a": 500 + timeout - 60}), share=0.1)

        async def work():
            others = [asyncio.ensure_future(shop.wait(f"job_{n}")) for n in range(125)]
            await asyncio.sleep(500)
            poller = await shop.wait("a", deadline=clock() + timeout)
            await cancelled(*others)
            return outcomes(poller)

        assert run(work()) == [Outcome.SUCCEEDED]


class TestAClockThatIsSet:
    def longest_gap(self, by, rest=600.0):
        shop, asked = Shop(), []

        async def work():
            loop = asyncio.get_running_loop()
            waiting = asyncio.ensure_future(shop.wait("a"))
            await asyncio.sleep(100)
            before = shop.times("a")
            loop.set_by = by
            await asyncio.sleep(rest)
            # In seconds as they passed, whatever the clock showed.
            asked.extend([*before, *(at - by for at in shop.times("a")[len(before) :]), loop.time()])
            await cancelled(waiting)

        run(work())
        return max(b - a for a, b in pairwise(asked))

    @pytest.mark.parametrize("by", [1.0, 60.0, 86_400.0])
    def test_forward_changes_nothing_for_long(self, by):
        assert self.longest_gap(by) <= 17

    def test_back_a_little_delays_a_little(self):
        assert self.longest_gap(-1.0) <= 18

    def test_back_by_an_hour_stops_the_polls_until_the_clock_has_caught_up(self):
        """Due times are seconds on the wall, as deadlines are; nothing is lost, and it goes on by itself."""
        assert 3600 <= self.longest_gap(-3600.0, rest=4000.0) <= 3617


class TestAThousandJobs:
    @pytest.fixture(scope="class")
    @classmethod
    def polled(cls):
        """Let a thousand triggers wait for a job each, for five rounds, at a bucket as the vendor has it."""
        server = Server(aligned=False)
        shop = Shop(bucket=server.headers, latency=0.2)

        async def work():
            tasks = [asyncio.ensure_future(shop.wait(f"job_{n}")) for n in range(1000)]
            await asyncio.sleep(5 * ROUND)
            rounds = shop.scheduler.round_time()
            await cancelled(*tasks)
            return rounds

        return shop, server, run(work())

    def test_are_polled_in_turns(self, polled):
        shop, _, taken = polled
        assert taken == pytest.approx(ROUND)
        gaps = []
        by_job = {}
        for at, name in shop.asked:
            by_job.setdefault(name, []).append(at)
        for times in by_job.values():
            gaps += [b - a for a, b in pairwise(times)]
        assert len(by_job) == 1000
        assert max(gaps) <= 1.3 * ROUND
        assert len(gaps) >= 3 * 1000

    def test_none_of_them_is_refused(self, polled):
        _, server, _ = polled
        assert server.refused == 0

    def test_the_points_are_used_and_not_passed(self, polled):
        shop, _, _ = polled
        minutes = int(5 * ROUND // 60)
        for minute in range(1, minutes):
            calls = sum(minute * 60 <= at < minute * 60 + 60 for at, _ in shop.asked)
            assert 0.95 * 288 <= calls <= 288


@pytest.mark.parametrize(("bulk", "most"), [(15, 1.0), (30, 1.5)])
def test_thirty_jobs_are_noticed_soon_after_the_documented_interval(bulk, most):
    """Thirty at five seconds are more than our share of the points: a round of them takes 6.25 s."""
    chance = random.Random(3)
    names = [f"{number}-{'bulk' if number < bulk else 'export:revenue'}" for number in range(30)]
    ends = {name: chance.uniform(5, 9 if name.endswith("bulk") else 40) for name in names}
    shop, noticed = Shop(ends_after(ends), bucket=Server(aligned=False).headers), {}

    async def wait(name, submitted_at):
        await asyncio.sleep(chance.uniform(0, 2))
        job = JobProgress(handle(name, name.partition("-")[2], submitted_at=submitted_at), clock())
        await shop.wait(jobs=[job])
        noticed[name] = clock() - START

    async def work():
        await asyncio.gather(*(wait(name, clock()) for name in names))

    run(work())
    late = {
        name: noticed[name] - ends[name] - shop.system.cadence(name.partition("-")[2]).interval(ends[name])
        for name in names
    }
    assert max(late.values()) <= most
