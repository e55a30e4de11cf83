"""Shops with a user name and password: one token, fetched when needed, renewed once, shown to nobody."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import requests
import requests_mock

from stoq_provider.core.http import Decoded, ProblemKind, Request
from stoq_provider.transport.aio import AsyncTransport, Client
from stoq_provider.transport.auth import Login
from stoq_provider.transport.client_pool import make_client
from stoq_provider.transport.poll_scheduler import PollScheduler
from stoq_provider.transport.rate_limiter import TRIGGERER, RateLimiter
from stoq_provider.transport.retry import NO_RETRY
from stoq_provider.transport.session import ShopSession
from stoq_provider.transport.sync import SyncTransport

from .login_server import ORIGIN, PASSWORD, READ, SYSTEM, WRITE, Server, over_httpx, over_requests, settings


@pytest.fixture(params=[over_requests, over_httpx], ids=["sync", "async"])
def driver(request):
    return request.param


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def send(driver, server, clock):
    return driver(server, clock)


class TestTheToken:
    def test_is_fetched_when_it_is_first_needed(self, send, server):
        assert server.seen == []
        send(READ)
        assert server.paths == ["POST /login", "GET /admin/batch-jobs"]
        assert server.seen[0][2] == {"email": "me@example.com", "password": PASSWORD}
        assert server.seen[1][1]["authorization"] == "Bearer token-1"
        assert [headers["user-agent"] for _, headers, _ in server.seen] == ["tests/1", "tests/1"]

    def test_is_fetched_once_for_all_calls(self, send, server):
        answers = send(READ, WRITE, READ)
        assert [answer.problem for answer in answers] == [None, None, None]
        assert server.logged_in == 1

    def test_the_login_itself_carries_no_credentials_in_its_headers(self, send, server):
        send(READ)
        server.expire()
        send(READ)
        for path, headers, _ in server.seen:
            if path == "POST /login":
                assert "authorization" not in headers
                assert "x-auth-token" not in headers

    def test_the_password_goes_with_the_login_only(self, send, server):
        send(READ, WRITE)
        assert [PASSWORD in repr(seen) for seen in server.seen] == [True, False, False]

    def test_goes_to_the_shops_own_origin_only(self, send, server):
        send(READ, Request("GET", "https://evil.example/admin/batch-jobs"))
        assert "token" not in repr(server.seen[-1][1])

    def test_without_a_user_name_the_key_itself_is_sent(self, server, clock):
        session = ShopSession(settings(login=None), SYSTEM)
        with requests_mock.Mocker() as mocker:
            mocker.get(READ.url, json={})
            SyncTransport(session, settings(login=None), SYSTEM, sleep=clock.sleep, clock=clock).send(READ)
        assert mocker.last_request.headers["X-Auth-Token"] == PASSWORD
        assert mocker.call_count == 1

    def test_a_session_of_a_user_logs_in_too(self, server):
        session = ShopSession(settings(), SYSTEM)
        with requests_mock.Mocker() as mocker:
            mocker.post(f"{ORIGIN}/login", json={"access_token": "token-1"})
            mocker.get(READ.url, json={})
            session.get(READ.url)
        assert mocker.last_request.headers["Authorization"] == "Bearer token-1"

    @pytest.mark.parametrize("location", ["https://evil.example/x", "http://medusa.example/x"])
    def test_does_not_go_along_when_that_session_follows_a_redirect(self, location):
        session = ShopSession(settings(), SYSTEM)
        with requests_mock.Mocker() as mocker:
            mocker.post(f"{ORIGIN}/login", json={"access_token": "token-1"})
            mocker.get(READ.url, status_code=302, headers={"Location": location})
            mocker.get(location, json={})
            session.get(READ.url)
        assert "token-1" not in repr(mocker.last_request.headers)


class TestATokenThatIsRefused:
    @pytest.mark.parametrize("call", [READ, WRITE], ids=["read", "write"])
    def test_is_renewed_and_the_call_sent_once_more(self, send, server, call):
        send(READ)
        server.expire()
        (answer,) = send(call)
        assert (answer.problem, answer.payload) == (None, {"done": True})
        target = f"{call.method} /admin/batch-jobs"
        assert server.paths[2:] == [target, "POST /login", target]
        assert server.seen[2][2] == server.seen[4][2] == call.json
        assert server.seen[4][1]["authorization"] == "Bearer token-2"

    @pytest.mark.parametrize("call", [READ, WRITE], ids=["read", "write"])
    def test_a_second_refusal_is_reported(self, send, server, call):
        server.calls += [(401, {}, {"errors": ["not you"]})] * 2
        (answer,) = send(call)
        assert answer.problem.kind is ProblemKind.AUTHENTICATION
        assert (answer.problem.http_status, answer.problem.messages) == (401, ("not you",))
        assert server.logged_in == 2
        assert len(server.paths) == 4

    def test_and_the_next_call_tries_a_new_one_again(self, send, server):
        server.calls += [(401, {}, {})] * 2
        assert send(READ)[0].problem is not None
        assert send(READ)[0].problem is None

    def test_a_403_renews_nothing(self, send, server):
        server.calls += [(403, {}, {"errors": ["not allowed"]})]
        (answer,) = send(READ)
        assert (answer.problem.kind, answer.problem.http_status) == (ProblemKind.AUTHENTICATION, 403)
        assert server.logged_in == 1

    def test_a_key_that_is_refused_is_not_sent_again(self, clock):
        session = ShopSession(settings(login=None), SYSTEM)
        with requests_mock.Mocker() as mocker:
            mocker.get(READ.url, status_code=401, json={})
            SyncTransport(session, settings(login=None), SYSTEM, sleep=clock.sleep, clock=clock).send(READ)
        assert mocker.call_count == 1

    def test_both_calls_are_on_the_bill(self, send, server):
        send(READ)
        before = send.transport.points_spent
        server.expire()
        send(WRITE)
        assert send.transport.points_spent - before == 4


class TestSecrets:
    def test_the_token_is_struck_out_of_messages(self, send, server):
        send(READ)
        server.calls.append((422, {}, {"errors": [f"bad token-1, {PASSWORD}"]}))
        (answer,) = send(READ)
        assert answer.problem.messages == ("bad ***, ***",)

    def test_and_so_is_one_that_was_renewed(self, send, server):
        send(READ)
        server.expire()
        send(READ)
        server.calls.append((422, {}, {"errors": ["bad token-2"]}))
        assert send(READ)[0].problem.messages == ("bad ***",)

    def test_neither_is_in_a_repr(self, send):
        send(READ)
        for thing in (send.login, send.transport, send.limiter, settings(), vars(send.transport)):
            assert PASSWORD not in repr(thing)
            assert "token-1" not in repr(thing)

    def test_of_the_shared_client_nor(self):
        client = Client(httpx.AsyncClient(), Login(settings(), SYSTEM))
        client.login.accept_token(Decoded(payload={"access_token": "token-1"}))
        assert "token-1" not in repr(client)
        assert PASSWORD not in repr(client)

    def test_a_failed_login_names_no_secret(self, send, server):
        server.logins.append((500, {}, f"<pre>{PASSWORD}</pre>"))
        assert PASSWORD not in send(READ, policy=NO_RETRY)[0].problem.text


@contextmanager
def cookie_server():
    """Sets a cookie with every answer, as Medusa does, and notes what comes back."""
    seen: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen.append((f"{self.command} {self.path}", self.headers.get("Cookie")))
            body = b'{"access_token": "token-1"}'
            self.send_response(200)
            self.send_header("Set-Cookie", f"connect.sid={len(seen)}; Path=/; HttpOnly")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer  # noqa: N815

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_address[1]}", seen
        finally:
            listener.shutdown()
            thread.join()


class TestCookies:
    """One that came with a login would be taken for a login of its own: the server would look at no token."""

    def test_a_session_keeps_none(self):
        with cookie_server() as (origin, seen), ShopSession(settings(origin), SYSTEM) as session:
            transport = SyncTransport(session, settings(origin), SYSTEM)
            for method in ("GET", "POST", "GET"):
                assert transport.send(Request(method, f"{origin}/x")).problem is None
            session.get(f"{origin}/by-hand")
            assert len(session.cookies) == 0
        assert [cookie for _, cookie in seen] == [None] * 5

    def test_a_client_keeps_none(self):
        async def run(origin):
            async with make_client(settings(origin)) as http:
                client = Client(http, Login(settings(origin), SYSTEM))
                scheduler = PollScheduler(SYSTEM, RateLimiter(SYSTEM, 0.8, TRIGGERER))
                transport = AsyncTransport(settings(origin), client=client, scheduler=scheduler)
                for method in ("GET", "POST", "GET"):
                    assert (await transport.send(Request(method, f"{origin}/x"))).problem is None
                return len(http.cookies)

        with cookie_server() as (origin, seen):
            assert asyncio.run(run(origin)) == 0
        assert [cookie for _, cookie in seen] == [None] * 4

    def test_the_server_of_these_tests_does_set_one(self):
        with cookie_server() as (origin, seen), requests.Session() as session:
            session.get(f"{origin}/x")
            session.get(f"{origin}/x")
        assert [cookie for _, cookie in seen] == [None, "connect.sid=1"]


def test_a_login_costs_points_too(send, clock):
    send(READ)
    assert send.limiter.budget.available(clock()) == 288 - 2
