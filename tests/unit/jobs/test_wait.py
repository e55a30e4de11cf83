"""The two loops that wait: what they ask, log and leave behind. The one of triggers in virtual time."""

from __future__ import annotations

import asyncio
from random import Random
from types import SimpleNamespace

import httpx
import pytest

from stoq_provider.core.events import WaitState
from stoq_provider.core.http import Decoded, Problem, ProblemKind, RateLimit, Request
from stoq_provider.core.lifecycle import JobProgress, Outcome
from stoq_provider.jobs.wait import INFO, LAST_LOOK, WARNING, event_of, make_poller, poll_due, wait_sync
from stoq_provider.systems.stoq.system import Stoq
from stoq_provider.transport.rate_limiter import Meter
from stoq_provider.transport.retry import NO_RETRY
from tests.unit.transport.conftest import Clock, settings
from tests.unit.transport.virtual import START, Lines, Shop, clock, ends_after, handle, run, running

STOQ = Stoq()


@pytest.fixture
def passing(monkeypatch):
    """Time that passes only when somebody sleeps."""
    made = Clock()
    monkeypatch.setattr("stoq_provider.jobs.wait.time", SimpleNamespace(time=made))
    monkeypatch.setattr("stoq_provider.jobs.wait.random", SimpleNamespace(random=lambda: 0.0))
    return made


class Batched(Stoq):
    """A made-up system that can be asked for three jobs at once."""

    poll_size = 3

    def poll_request(self, origin, handles):
        return Request("GET", f"{origin}/jobs/{','.join(one.job_id for one in handles)}")

    def poll_results(self, answer, handles):
        return [self.poll_result(answer, one) for one in handles]


class Counts(Meter):
    """A meter that counts polls, and keeps what became of waits."""

    def __init__(self):
        self.polls, self.ends = 0, []

    def polled(self):
        self.polls += 1

    def finished(self, jobs, polls):
        self.ends.append((jobs, polls))


class Asked:
    """A transport that answers by the clock."""

    def __init__(self, clock, answer):
        self.limiter = SimpleNamespace(meter=Counts())
        self.clock, self.answer, self.points_spent = clock, answer, 0
        self.began, self.calls, self.policies = clock(), [], []
        self.shut_until = clock()

    def wait_for_points(self, request, until):
        wait = max(0.0, self.shut_until - self.clock())
        self.clock.sleep(min(wait, until - self.clock()))
        return self.clock() >= self.shut_until

    def send(self, request, policy=None):
        at = self.clock() - self.began
        self.calls.append((round(at, 3), request.url.rpartition("/")[2]))
        self.policies.append(policy)
        self.points_spent += 1
        return self.answer(at)


def client(transport, sleep, *, system=STOQ, log=None):
    """Make what the blocking loop needs of a hook."""
    return SimpleNamespace(
        transport=transport, system=system, settings=settings(), sleep=sleep, log=log or Lines()
    )


def until(seconds):
    """Let jobs run until then."""

    def answer(at):
        word = "completed" if at >= seconds else "running"
        return Decoded({"status": word}, rate_limit=RateLimit(360, 300))

    return answer


def poller(clock, *names, system=STOQ, eager=True, **plan):
    now = clock()
    plan = {"deadline": now + 1000, "now": now, **plan}
    jobs = [JobProgress(handle(name, submitted_at=now), now) for name in names]
    return make_poller(jobs, system, eager=eager, **plan)


def outcomes(waited):
    return [progress.outcome for progress in waited.jobs]


class TestThePlan:
    def test_the_patience_of_the_user_counts_and_that_of_the_system_otherwise(self, passing):
        made = poller(passing, "a", unhealthy_after=30.0)
        rules = made._rules
        assert (rules.unhealthy_after, rules.grace) == (30.0, STOQ.rules.grace)

    @pytest.mark.parametrize(("eager", "first"), [(True, 0.0), (False, 5.0)])
    def test_a_worker_looks_at_once_and_a_trigger_when_it_is_time(self, passing, eager, first):
        assert poller(passing, "a", eager=eager).next_polls()[0].due_at == passing() + first


class TestAWorker:
    def wait(self, clock, answer, *names, system=STOQ, log=None, shut_for=0.0, **plan):
        transport = Asked(clock, answer)
        transport.shut_until += shut_for
        made = poller(clock, *names, system=system, **plan)
        wait_sync(made, client(transport, clock.sleep, system=system, log=log or Lines()))
        return made, transport

    def test_asks_as_often_as_documented_and_sleeps_in_between(self, passing):
        made, transport = self.wait(passing, until(100), "a")
        assert outcomes(made) == [Outcome.SUCCEEDED]
        times = [at for at, _ in transport.calls]
        assert times == [*range(0, 61, 5), 75, 90, 105]
        assert passing.waited == 105

    def test_sends_nothing_again_by_itself(self, passing):
        _, transport = self.wait(passing, until(10), "a")
        assert set(transport.policies) == {NO_RETRY}

    def test_asks_once_for_each_of_several_jobs(self, passing):
        _, transport = self.wait(passing, until(4), "a", "b", "c")
        assert transport.calls == [(0, "a"), (0, "b"), (0, "c"), (5, "a"), (5, "b"), (5, "c")]

    def test_asks_for_many_in_one_call_where_the_system_can(self, passing):
        made, transport = self.wait(passing, until(4), *"abcdefg", system=Batched())
        assert transport.calls == [(at, names) for at in (0, 5) for names in ("a,b,c", "d,e,f", "g")]
        assert outcomes(made) == [Outcome.SUCCEEDED] * 7
        meter = transport.limiter.meter
        assert (meter.polls, meter.ends) == (6, [(7, 14)]), "six calls reported seven jobs twice"

    def test_looks_once_more_at_the_deadline(self, passing):
        made, transport = self.wait(passing, until(1e9), "a", deadline=passing() + 32)
        assert outcomes(made) == [Outcome.TIMEOUT]
        assert [at for at, _ in transport.calls][-2:] == [30, 32]

    def test_the_last_look_may_be_late_by_a_minute(self, passing):
        made, transport = self.wait(passing, until(0), "a", deadline=passing() + 32, shut_for=90)
        assert outcomes(made) == [Outcome.SUCCEEDED]
        assert transport.calls == [(90, "a")]

    def test_a_shop_that_is_shut_for_longer_is_not_waited_for(self, passing):
        made, transport = self.wait(passing, until(0), "a", "b", deadline=passing() + 32, shut_for=3000)
        assert outcomes(made) == [Outcome.TIMEOUT] * 2
        assert (transport.calls, passing.waited) == ([], 32 + LAST_LOOK)

    def test_a_429_delays_the_next_look_and_fails_nothing(self, passing):
        refused = Decoded(
            problem=Problem(ProblemKind.RATE_LIMITED, (), 429), rate_limit=RateLimit(retry_after=40.0)
        )

        def answer(at):
            return refused if at == 0 else until(0)(at)

        made, transport = self.wait(passing, answer, "a")
        assert outcomes(made) == [Outcome.SUCCEEDED]
        assert [at for at, _ in transport.calls] == [0, 40]

    def test_being_told_to_stop_ends_the_wait(self, passing):
        class Stopped(Exception):
            pass

        def sleep(seconds):
            raise Stopped

        transport = Asked(passing, until(100))
        with pytest.raises(Stopped):
            wait_sync(poller(passing, "a"), client(transport, sleep))
        assert len(transport.calls) == 1
        assert transport.limiter.meter.ends == [], "a wait that was broken off has not ended"

    def test_polls_once_for_a_sensor_and_tells_whether_all_have_ended(self, passing):
        made, transport = poller(passing, "a", "b"), Asked(passing, until(10))
        assert poll_due(made, client(transport, passing.sleep)) is False
        assert poll_due(made, client(transport, passing.sleep)) is False
        assert len(transport.calls) == 2, "nothing was due the second time"
        passing.now += 20
        assert poll_due(made, client(transport, passing.sleep)) is True

    def test_waiting_is_visible_but_not_at_each_poll(self, passing):
        log = Lines()
        self.wait(passing, until(300), "a", log=log)
        assert [level for level, _ in log.lines] == [INFO, INFO]
        assert [line.split(";")[0] for _, line in log.lines] == ["a: running", "a: completed"]

    def test_a_bad_answer_is_a_warning_once(self, passing):
        log = Lines()

        def answer(at):
            return (
                Decoded(problem=Problem(ProblemKind.UNAVAILABLE, ("no",), 503)) if at < 60 else until(0)(at)
            )

        self.wait(passing, answer, "a", log=log)
        assert [level for level, _ in log.lines] == [WARNING, INFO]


class TestATrigger:
    @pytest.fixture(autouse=True)
    def the_same_jitter_in_each_run(self, monkeypatch):
        monkeypatch.setattr("stoq_provider.jobs.wait.random", Random(7))

    def test_waits_until_every_job_has_ended(self):
        shop = Shop(ends_after({"a": 20, "b": 70, "c": 45}))
        waited = run(shop.wait("a", "b", "c"))
        assert outcomes(waited) == [Outcome.SUCCEEDED] * 3
        assert waited.polls == len(shop.asked)

    def test_asks_as_often_as_documented(self):
        shop = Shop()
        run(shop.wait("a", deadline=START + 300))
        gaps = [b - a for a, b in zip(shop.times("a"), shop.times("a")[1:], strict=False)][:-1]
        in_the_first_minute = [gap for at, gap in zip(shop.times("a"), gaps, strict=False) if at < 55]
        afterwards = [gap for at, gap in zip(shop.times("a"), gaps, strict=False) if at > 61]
        assert all(5 <= gap <= 5.7 for gap in in_the_first_minute)
        assert all(15 <= gap <= 16.7 for gap in afterwards)
        assert len(afterwards) > 10

    def test_thirty_jobs_are_noticed_as_soon_as_the_documented_cadence_allows(self):
        """They spend what a shop has, if each is asked every five seconds; ours sit within the share."""
        names = [f"job_{n}" for n in range(30)]
        ends = {name: 200 + 7.3 * n for n, name in enumerate(names)}
        shop = Shop(ends_after(ends))

        async def one(name):
            await shop.wait(name)
            return clock() - START - ends[name]

        async def work():
            return await asyncio.gather(*map(one, names))

        delays = run(work())
        assert max(delays) <= 15 * 1.1 + 1
        assert sum(delays) / 30 <= 15 * 1.1 / 2 + 2

    def test_jobs_that_have_no_progress_to_show_take_turns_where_points_are_short(self):
        shop = Shop(share=0.1)

        async def work():
            tasks = [asyncio.ensure_future(shop.wait(f"job_{n}")) for n in range(60)]
            await asyncio.sleep(600)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        run(work())
        # 36 points a minute for 60 jobs: a round takes 100 s.
        counts = [len(shop.times(f"job_{n}")) for n in range(60)]
        assert 5 <= min(counts) <= max(counts) <= 7

    def test_a_job_with_a_long_rest_leaves_its_points_to_others(self):
        def reply(job_id, now):
            done = now / 4000 if job_id.startswith("slow") else 0
            return {"job_id": job_id, "status": "running", "progress": 100 * done}

        shop = Shop(reply, share=0.1)

        async def work():
            names = [f"{kind}_{n}" for n in range(30) for kind in ("slow", "quick")]
            tasks = [asyncio.ensure_future(shop.wait(name)) for name in names]
            await asyncio.sleep(900)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        run(work())
        slow, quick = (
            sum(len(shop.times(f"{kind}_{n}")) for n in range(30)) / 30 for kind in ("slow", "quick")
        )
        assert quick > 1.2 * slow
        assert slow >= 3

    def test_notes_of_each_job_go_to_the_log_of_its_task(self):
        shop, mine, yours = Shop(ends_after({"a": 20, "b": 20})), Lines(), Lines()

        async def work():
            await asyncio.gather(shop.wait("a", log=mine), shop.wait("b", log=yours))

        run(work())
        assert {line.partition(":")[0] for _, line in mine.lines} == {"a"}
        assert {line.partition(":")[0] for _, line in yours.lines} == {"b"}
        assert [line.split(";")[0] for _, line in mine.lines] == ["a: running", "a: completed"]

    def test_an_error_of_ours_reaches_the_task(self):
        class Odd(Stoq):
            def read_status(self, payload, handle):
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            run(Shop(running, system=Odd()).wait("a"))

    @pytest.mark.parametrize("way", ["503", "reset", "no JSON"])
    def test_bad_answers_are_waited_out(self, way):
        def reply(job_id, now):
            if now > 120:
                return {"job_id": job_id, "status": "completed"}
            return {
                "503": httpx.Response(503),
                "reset": httpx.ReadError("reset"),
                "no JSON": httpx.Response(200, text="<html>"),
            }[way]

        assert outcomes(run(Shop(reply).wait("a"))) == [Outcome.SUCCEEDED]

    def test_and_not_for_ever(self):
        async def work():
            return outcomes(await shop.wait("a", unhealthy_after=300.0)), clock() - START

        shop = Shop(lambda *_: httpx.Response(503))
        (outcome,), ended = run(work())
        assert outcome is Outcome.UNHEALTHY
        assert 300 <= ended <= 400

    def test_a_key_that_is_refused_ends_it_at_once(self):
        shop = Shop(lambda *_: httpx.Response(401, json={"errors": ["no"]}))
        assert outcomes(run(shop.wait("a"))) == [Outcome.DENIED]
        assert len(shop.asked) == 1

    def test_being_cancelled_leaves_nothing_behind(self):
        shop = Shop()

        async def work():
            waiting = asyncio.ensure_future(shop.wait("a", "b"))
            await asyncio.sleep(12)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            return shop.scheduler.jobs, asyncio.all_tasks() == {asyncio.current_task()}

        assert run(work()) == (0, True)


def test_the_event_tells_the_end_of_each_job_and_the_bill():
    shop = Shop(ends_after({"a": 20, "b": 50}))

    async def work():
        user = shop.transport()
        waited = await shop.wait("a", "b", transport=user)
        return event_of(waited, user.points_spent, WaitState(5.0, destination="x"))

    event = run(work())
    assert [(end.handle.job_id, end.outcome) for end in event.ends] == [
        ("a", Outcome.SUCCEEDED),
        ("b", Outcome.SUCCEEDED),
    ]
    assert event.points_spent == len(shop.asked)
    assert event.state == WaitState(5.0, destination="x")


def test_the_event_tells_the_points_that_the_server_named_last():
    shop = Shop(
        lambda *_: httpx.Response(200, headers={"X-RateLimit-Remaining": "77"}, json={"status": "failed"})
    )

    async def work():
        return event_of(await shop.wait("a"), 1)

    event = run(work())
    assert event.points_left == 77
