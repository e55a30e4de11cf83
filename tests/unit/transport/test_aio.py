"""The driver of triggers: one client and one budget for all users of a shop in an event loop."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref

import httpx
import pytest

from stoq_provider.core.http import ProblemKind, Request
from stoq_provider.transport import client_pool
from stoq_provider.transport.aio import AsyncTransport, Client
from stoq_provider.transport.auth import Login
from stoq_provider.transport.client_pool import make_client, shared_transport
from stoq_provider.transport.poll_scheduler import PollScheduler
from stoq_provider.transport.rate_limiter import TRIGGERER, WORKER, RateLimiter
from stoq_provider.transport.retry import NO_RETRY
from stoq_provider.transport.settings import ConnectionSettings

from . import silence
from .conftest import GET, KEY, ORIGIN, POST, STOQ, Clock, settings
from .silence import PATIENCE


def exchange(clock, handler, *requests, policy=None, **more):
    """Send requests over a mocked client, one after the other; return the answers."""

    async def run():
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            given = settings(**more)
            transport = AsyncTransport(
                given,
                client=Client(client, Login(given, STOQ)),
                scheduler=PollScheduler(STOQ, RateLimiter(STOQ, 0.8, TRIGGERER), clock=clock),
                sleep=clock.asleep,
            )
            return [await transport.send(request, policy) for request in requests]

    return asyncio.run(run())


class TestWhatIsSent:
    def test_headers_query_and_body(self, clock):
        seen = []

        def handler(sent):
            seen.append(sent)
            return httpx.Response(200, json={"a": 1})

        request = Request(
            "POST", POST.url, {"offer_ids[]": ["x", "y"], "all": "true"}, {"from": "2026-05-28"}
        )
        (answer,) = exchange(clock, handler, request)
        assert answer.payload == {"a": 1}
        assert seen[0].headers["X-Auth-Token"] == KEY
        assert seen[0].headers["User-Agent"] == "tests/1"
        assert seen[0].url.query == b"offer_ids%5B%5D=x&offer_ids%5B%5D=y&all=true"
        assert json.loads(seen[0].content) == {"from": "2026-05-28"}

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_redirects_are_not_followed(self, clock, status):
        seen = []

        def handler(sent):
            seen.append(sent)
            return httpx.Response(status, headers={"Location": "https://evil.example/x"})

        (answer,) = exchange(clock, handler, GET)
        assert answer.problem.kind is ProblemKind.PROTOCOL
        assert [sent.url.host for sent in seen] == ["app.stoqapp.com"]

    def test_the_key_is_struck_out_of_messages(self, clock):
        (answer,) = exchange(clock, lambda _: httpx.Response(401, json={"errors": [f"bad {KEY}"]}), GET)
        assert answer.problem.messages == ("bad ***",)

    def test_no_netrc(self, clock, tmp_path, monkeypatch):
        (tmp_path / "netrc").write_text("machine app.stoqapp.com login me password s3cret\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        seen = []
        exchange(clock, lambda sent: seen.append(sent) or httpx.Response(200, json={}), GET)
        assert "authorization" not in seen[0].headers


def test_after_a_429_nothing_is_sent_before_its_time(clock):
    answers = iter([httpx.Response(429, headers={"Retry-After": "24"}), httpx.Response(200, json={})])
    first, second = exchange(clock, lambda _: next(answers), GET, POST, policy=NO_RETRY)
    assert (first.problem.kind, second.problem) == (ProblemKind.RATE_LIMITED, None)
    assert clock.slept == [24.0]


NO_CONNECTION = [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout]
LOST = [
    httpx.ProxyError,
    httpx.ReadError,
    httpx.WriteError,
    httpx.ReadTimeout,
    httpx.WriteTimeout,
    httpx.RemoteProtocolError,
]


@pytest.mark.parametrize(
    ("error", "kind"),
    [(e, ProblemKind.NOT_SENT) for e in NO_CONNECTION]
    + [(e, ProblemKind.LOST_CONNECTION) for e in [*LOST, httpx.DecodingError, httpx.CloseError]],
)
def test_what_became_of_a_request(clock, error, kind):
    def handler(_):
        raise error("https://b.example/?s3cret")

    (answer,) = exchange(clock, handler, POST, policy=NO_RETRY)
    assert answer.problem.kind is kind
    assert "s3cret" not in answer.problem.text


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        (["connection.connect_tcp.started"], None),
        (["connection.connect_tcp.started", "connection.connect_tcp.complete"], ProblemKind.NOT_SENT),
        (["connection.connect_tcp.complete", "http11.send_request_headers.started"], None),
    ],
    ids=["connecting", "at the proxy", "sent"],
)
def test_what_a_proxy_does_wrong_is_a_problem_and_a_slip_of_ours_an_error(clock, events, kind):
    async def handler(sent):
        for event in events:
            await sent.extensions["trace"](event, {"request": httpx.Request("POST", ORIGIN)})
        raise LookupError("malformed s3cret")

    if kind is None:
        with pytest.raises(LookupError):
            exchange(clock, handler, POST, policy=NO_RETRY)
        return
    (answer,) = exchange(clock, handler, POST, policy=NO_RETRY)
    assert answer.problem.kind is kind
    assert "s3cret" not in answer.problem.text


@pytest.mark.parametrize(
    "url",
    [f"{ORIGIN}/\x00", f"{ORIGIN}/{'x' * 70_000}", "https://[::1"],
    ids=["a control character", "too long", "half an address"],
)
def test_an_address_of_no_use_is_a_problem_not_an_error(clock, url):
    (answer,) = exchange(clock, lambda _: httpx.Response(200, json={}), Request("GET", url))
    assert answer.problem.kind is ProblemKind.VALIDATION
    assert not answer.problem.maybe_processed
    assert clock.slept == []


class TestRealConnections:
    def send(self, origin, request, clock, **more):
        async def run():
            given = settings(origin, **{"timeout": PATIENCE, **more})
            async with make_client(given) as client:
                transport = AsyncTransport(
                    given,
                    client=Client(client, Login(given, STOQ)),
                    scheduler=PollScheduler(STOQ, RateLimiter(STOQ, 0.8, TRIGGERER), clock=clock),
                    sleep=clock.asleep,
                )
                return await transport.send(request)

        return silence.run(run())

    @pytest.mark.parametrize(
        "way", ["reset", "reset in the head", "truncated", "closed", "silent", "not http"]
    )
    def test_a_connection_that_breaks(self, raw_server, clock, way):
        server = raw_server(way)
        answer = self.send(server.origin, Request("POST", f"{server.origin}/x?s3cret", json={"a": 1}), clock)
        assert answer.problem.kind is ProblemKind.LOST_CONNECTION
        assert len(server.heads) == 1, "a write that may have been done is not sent again"
        assert "s3cret" not in answer.problem.text
        assert "127.0.0.1" not in answer.problem.text

    def test_a_read_comes_through_in_the_end(self, raw_server, clock):
        server = raw_server("reset", "truncated", "silent", "ok")
        assert self.send(server.origin, Request("GET", f"{server.origin}/x"), clock).payload == {}
        assert len(server.heads) == 4

    def test_a_refused_connection(self, clock, free_port):
        origin = f"http://127.0.0.1:{free_port}"
        answer = self.send(origin, Request("POST", f"{origin}/x"), clock)
        assert answer.problem.kind is ProblemKind.NOT_SENT
        assert len(clock.slept) == 3

    def test_a_proxy_that_is_not_there(self, clock, free_port):
        answer = self.send(ORIGIN, POST, clock, proxy=f"http://me:s3cret@127.0.0.1:{free_port}")
        assert answer.problem.kind is ProblemKind.NOT_SENT
        assert "s3cret" not in answer.problem.text


class TestShared:
    def test_users_of_a_shop_share_client_and_budget(self):
        async def run():
            async with shared_transport(settings(), STOQ) as one, shared_transport(settings(), STOQ) as two:
                return one, two, one._client is two._client, one.limiter is two.limiter

        one, two, client, budget = asyncio.run(run())
        assert one is not two
        assert client
        assert budget

    @pytest.mark.parametrize(
        "other",
        [
            pytest.param({"origin": "https://other.example"}, id="origin"),
            pytest.param({"verify": False}, id="verify"),
            pytest.param({"proxy": "http://proxy:3128"}, id="proxy"),
        ],
    )
    def test_another_shop_has_its_own(self, other):
        async def run():
            async with (
                shared_transport(settings(), STOQ) as one,
                shared_transport(settings(**other), STOQ) as two,
            ):
                return one._client is two._client

        assert not asyncio.run(run())

    def test_another_key_has_its_own(self):
        async def run():
            other = ConnectionSettings(ORIGIN, KEY + "x")
            async with shared_transport(settings(), STOQ) as one, shared_transport(other, STOQ) as two:
                return one.limiter is two.limiter

        assert not asyncio.run(run())

    def test_another_loop_has_its_own(self):
        async def client():
            async with shared_transport(settings(), STOQ) as transport:
                return transport._client

        assert asyncio.run(client()) is not asyncio.run(client())

    def test_a_loop_that_has_ended_is_held_by_nothing(self):
        async def wait():
            async with shared_transport(settings(), STOQ) as shared, shared.scheduler.subscribe(shared):
                for _ in range(10):  # turns of the loop, after which what polls waits
                    await asyncio.sleep(0)
                assert shared.scheduler._alarm._woken

        async def run():
            await asyncio.gather(wait(), wait())
            return weakref.ref(asyncio.get_running_loop())

        loop = asyncio.run(run())
        gc.collect()
        assert loop() is None

    @pytest.mark.parametrize("fails", [False, True])
    def test_the_last_user_closes_it(self, fails):
        async def run():
            first = shared_transport(settings(), STOQ)
            one = await first.__aenter__()
            try:
                async with shared_transport(settings(), STOQ):
                    if fails:
                        raise RuntimeError("a trigger died")
            except RuntimeError:
                pass
            before = one._client.http.is_closed
            await first.__aexit__(None, None, None)
            after = one._client.http.is_closed
            async with shared_transport(settings(), STOQ) as again:
                return before, after, again._client is one._client

        assert asyncio.run(run()) == (False, True, False)

    def test_a_cancelled_user_leaves(self):
        async def run():
            async def wait(ready):
                async with shared_transport(settings(), STOQ) as transport:
                    ready.set_result(transport._client)
                    await asyncio.Event().wait()

            ready = asyncio.get_running_loop().create_future()
            task = asyncio.ensure_future(wait(ready))
            client = await ready
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return client.http.is_closed, dict(client_pool._LOOPS[asyncio.get_running_loop()].clients)

        assert asyncio.run(run()) == (True, {})

    def test_the_registry_does_not_hold_the_key(self):
        async def run():
            async with shared_transport(settings(proxy="http://me:s3cret@proxy:1"), STOQ) as transport:
                loop = client_pool._LOOPS[asyncio.get_running_loop()]
                return repr(loop) + repr(transport._client.http.headers) + repr(transport._client)

        text = asyncio.run(run())
        assert KEY not in text
        assert "s3cret" not in text

    def test_connections_that_differ_in_patience_share_the_budget_of_the_shop(self):
        async def run():
            hasty = settings(timeout=1.0)
            async with shared_transport(settings(), STOQ) as one, shared_transport(hasty, STOQ) as two:
                return one.limiter is two.limiter, one._client is two._client

        assert asyncio.run(run()) == (True, False)

    def test_the_budget_is_kept_when_the_last_user_leaves(self):
        async def run():
            async with shared_transport(settings(), STOQ) as first:
                first.limiter.budget.spend(100, 0.0)
            async with shared_transport(settings(), STOQ) as second:
                return first.limiter is second.limiter

        assert asyncio.run(run())

    def test_the_key_goes_to_the_shops_own_origin_only(self, monkeypatch):
        seen = []

        def handler(sent):
            seen.append("X-Auth-Token" in sent.headers)
            return httpx.Response(200, json={})

        monkeypatch.setattr(
            client_pool, "make_client", lambda _: httpx.AsyncClient(transport=httpx.MockTransport(handler))
        )

        async def run():
            async with shared_transport(settings(), STOQ) as transport:
                await transport.send(GET)
                await transport.send(Request("GET", "https://elsewhere.example/jobs"))

        asyncio.run(run())
        assert seen == [True, False]

    def test_every_user_has_its_own_name_and_bill(self, monkeypatch, clock):
        seen = []

        def handler(sent):
            seen.append((sent.headers["User-Agent"], sent.headers["X-Auth-Token"]))
            return httpx.Response(200, json={})

        monkeypatch.setattr(
            client_pool, "make_client", lambda _: httpx.AsyncClient(transport=httpx.MockTransport(handler))
        )

        async def run():
            other = ConnectionSettings(ORIGIN, KEY, user_agent="tests/2")
            async with shared_transport(settings(), STOQ) as one, shared_transport(other, STOQ) as two:
                one._clock = two._clock = clock
                await one.send(GET)
                await two.send(GET)
                await two.send(POST)
                left = one.limiter.budget.available(clock())
                return one.points_spent, two.points_spent, left, one.limiter is two.limiter

        assert asyncio.run(run()) == (1, 3, 284, True)
        assert seen == [("tests/1", KEY), ("tests/2", KEY), ("tests/2", KEY)]


@pytest.mark.parametrize(("sharing", "most"), [(TRIGGERER, 289), (WORKER, 289)], ids=["triggerer", "worker"])
def test_many_users_together_keep_to_the_points(clock, sharing, most):
    """Twenty users with twenty reads each, and a shop that refuses the 361st point of a window."""
    spendings = []

    async def run():
        spent, ends = 0, clock.now + 60

        def handler(_):
            nonlocal spent, ends
            if clock.now >= ends:
                spent, ends = 0, clock.now + 60
            spent += 1
            spendings.append(spent)
            headers = {"X-RateLimit-Remaining": str(360 - spent), "X-RateLimit-Reset": str(int(ends))}
            return httpx.Response(200 if spent <= 360 else 429, json={}, headers=headers)

        async def sleep(seconds):
            until = clock.now + seconds
            while clock.now < until:
                clock.now += 0.5
                await asyncio.sleep(0)

        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            scheduler = PollScheduler(STOQ, RateLimiter(STOQ, 0.8, sharing), clock=clock)
            shared = Client(client, Login(settings(), STOQ))

            async def user():
                transport = AsyncTransport(settings(), client=shared, scheduler=scheduler, sleep=sleep)
                return [await transport.send(GET) for _ in range(20)]

            return await asyncio.gather(*(user() for _ in range(20)))

    answers = [answer for user in asyncio.run(run()) for answer in user]
    assert len(answers) == 400
    assert all(answer.problem is None for answer in answers)
    assert max(spendings) <= most


def test_clock_of_these_tests_moves_with_sleep_only():
    clock = Clock()
    clock.sleep(3)
    assert (clock(), clock.waited) == (1_780_000_003.0, 3)
