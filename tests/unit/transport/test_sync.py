"""The driver of workers: where the key goes, what becomes of a broken connection, the budget."""

from __future__ import annotations

import re

import pytest
import requests
import requests_mock

from stoq_provider.core.http import ProblemKind, Request
from stoq_provider.transport.retry import NO_RETRY, RetryPolicy
from stoq_provider.transport.session import ShopSession
from stoq_provider.transport.sync import SyncTransport

from .conftest import GET, KEY, ORIGIN, POST, STOQ, settings
from .silence import PATIENCE

EVIL = "https://evil.example"
ONCE = RetryPolicy(attempts=1)


def mocked(*answers, **more):
    session = ShopSession(settings(**more), STOQ)
    adapter = requests_mock.Adapter()
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter)
    adapter.register_uri(requests_mock.ANY, re.compile(".*"), list(answers) or [{"json": {}}])
    return session, adapter


def transport_of(session, clock, **more):
    return SyncTransport(session, settings(**more), STOQ, sleep=clock.sleep, clock=clock)


class TestWhatIsSent:
    def test_headers_query_and_body(self, clock):
        session, adapter = mocked({"json": {"a": 1}})
        request = Request(
            "POST", POST.url, {"offer_ids[]": ["x", "y"], "all": "true"}, {"from": "2026-05-28"}
        )
        assert transport_of(session, clock).send(request).payload == {"a": 1}
        sent = adapter.last_request
        assert sent.headers["X-Auth-Token"] == KEY
        assert sent.headers["User-Agent"] == "tests/1"
        assert sent.headers["Accept"] == "application/json"
        assert sent.url.partition("?")[2] == "offer_ids%5B%5D=x&offer_ids%5B%5D=y&all=true"
        assert sent.json() == {"from": "2026-05-28"}
        assert (sent.timeout, sent.verify) == (30.0, True)

    @pytest.mark.parametrize("verify", [False, "/etc/ca.pem"])
    @pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
    def test_the_connection_knows_better_than_the_environment(self, clock, monkeypatch, verify, name):
        monkeypatch.setenv(name, "/etc/other.pem")
        session, adapter = mocked(verify=verify)
        transport_of(session, clock, verify=verify).send(GET)
        assert adapter.last_request.verify == verify

    @pytest.mark.parametrize(
        ("name", "value"), [("HTTPS_PROXY", "http://other:3128"), ("NO_PROXY", "app.stoqapp.com")]
    )
    def test_a_proxy_of_the_connection(self, clock, monkeypatch, name, value):
        monkeypatch.setenv(name, value)
        session, adapter = mocked(proxy="http://proxy:3128")
        transport_of(session, clock).send(GET)
        assert adapter.last_request.proxies["https"] == "http://proxy:3128"


class TestTheKey:
    @pytest.mark.parametrize(
        ("url", "goes"),
        [
            (f"{ORIGIN}/x", True),
            ("https://APP.stoqapp.com:443/x", True),
            (f"{EVIL}/x", False),
            ("http://app.stoqapp.com/x", False),
            ("https://app.stoqapp.com:8443/x", False),
            ("https://app.stoqapp.com.evil.example/", False),
            ("https://app.stoqapp.com@evil.example/", False),
        ],
    )
    def test_goes_to_the_own_origin_only(self, url, goes):
        prepared = ShopSession(settings(), STOQ).prepare_request(requests.Request("GET", url))
        assert (KEY in str(prepared.headers)) is goes

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_redirects_are_not_followed(self, clock, status):
        session, adapter = mocked({"status_code": status, "headers": {"Location": f"{EVIL}/x"}})
        answer = transport_of(session, clock).send(GET)
        assert (answer.problem.kind, answer.problem.http_status) == (ProblemKind.PROTOCOL, status)
        assert adapter.call_count == 1

    @pytest.mark.parametrize("location", ["http://[", "https://x:99999999/", "/caf\xe9", "//"])
    def test_redirects_that_lead_nowhere_are_answers_too(self, clock, location):
        session, _ = mocked({"status_code": 302, "headers": {"Location": location}})
        answer = transport_of(session, clock).send(GET)
        assert (answer.problem.kind, answer.problem.http_status) == (ProblemKind.PROTOCOL, 302)

    @pytest.mark.parametrize("target", [f"{EVIL}/x", "http://app.stoqapp.com/x", "//evil.example/x"])
    def test_does_not_go_along_when_the_session_of_a_user_follows_one(self, target):
        session, adapter = mocked({"status_code": 302, "headers": {"Location": target}}, {"json": {}})
        session.get(f"{ORIGIN}/x")
        assert [KEY in str(sent.headers) for sent in adapter.request_history] == [True, False]

    def test_stays_on_a_redirect_within_the_origin(self):
        session, adapter = mocked({"status_code": 302, "headers": {"Location": "/y"}}, {"json": {}})
        session.get(f"{ORIGIN}/x")
        assert [KEY in str(sent.headers) for sent in adapter.request_history] == [True, True]

    @pytest.mark.parametrize("url", [f"{ORIGIN}/x", f"{EVIL}/x"])
    @pytest.mark.parametrize("redirected", [False, True])
    def test_no_netrc(self, clock, tmp_path, monkeypatch, url, redirected):
        (tmp_path / "netrc").write_text(
            "".join(
                f"machine {host} login me password s3cret\n" for host in ("app.stoqapp.com", "evil.example")
            )
        )
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        answers = [{"status_code": 302, "headers": {"Location": url}}] if redirected else []
        session, adapter = mocked(*answers, {"json": {}})
        session.get(f"{ORIGIN}/first" if redirected else url)
        assert not any("Authorization" in sent.headers for sent in adapter.request_history)

    def test_is_in_no_repr(self):
        session = ShopSession(settings(), STOQ)
        for text in (repr(session.auth), repr(session), repr(vars(session)), repr(session.headers)):
            assert KEY not in text

    def test_is_struck_out_of_messages(self, clock):
        session, _ = mocked({"status_code": 401, "json": {"errors": [f"bad token {KEY}"]}})
        assert transport_of(session, clock).send(GET).problem.messages == ("bad token ***",)


FAILURES = [
    ("reset", ProblemKind.LOST_CONNECTION),
    ("reset in the head", ProblemKind.LOST_CONNECTION),
    ("truncated", ProblemKind.LOST_CONNECTION),
    ("closed", ProblemKind.LOST_CONNECTION),
    ("silent", ProblemKind.LOST_CONNECTION),
    ("not http", ProblemKind.LOST_CONNECTION),
]


class TestRealConnections:
    def at(self, origin, clock, **more):
        more = {"timeout": PATIENCE, **more}
        return transport_of(ShopSession(settings(origin, **more), STOQ), clock, **more)

    @pytest.mark.parametrize(("way", "kind"), FAILURES, ids=[f[0] for f in FAILURES])
    def test_a_connection_that_breaks(self, raw_server, clock, way, kind):
        server = raw_server(way)
        answer = self.at(server.origin, clock).send(
            Request("POST", f"{server.origin}/x?s3cret", json={"a": 1})
        )
        # A head that is cut off reads as an empty answer, or as a reset, as the packets happen to arrive.
        kinds = {kind, ProblemKind.PROTOCOL} if way == "reset in the head" else {kind}
        assert answer.problem.kind in kinds
        assert answer.problem.maybe_processed
        assert len(server.heads) == 1, "a write that may have been done is not sent again"
        assert "s3cret" not in answer.problem.text
        assert "127.0.0.1" not in answer.problem.text

    def test_a_connection_that_breaks_behind_a_proxy_is_not_taken_for_a_refusal(self, raw_server, clock):
        proxy = raw_server("closed", "closed")
        transport = self.at("http://shop.test", clock, proxy=proxy.origin, allow_http=True)
        answer = transport.send(Request("POST", "http://shop.test/x", json={"a": 1}))
        assert answer.problem.kind is ProblemKind.LOST_CONNECTION
        assert len(proxy.heads) == 1

    def test_a_proxy_that_is_not_there_is_a_refusal(self, clock, free_port):
        proxy = f"http://127.0.0.1:{free_port}"
        transport = self.at("http://shop.test", clock, proxy=proxy, allow_http=True)
        answer = transport.send(Request("POST", "http://shop.test/x", json={"a": 1}))
        assert answer.problem.kind is ProblemKind.NOT_SENT

    def test_a_read_comes_through_in_the_end(self, raw_server, clock):
        server = raw_server("reset", "truncated", "silent", "ok")
        assert self.at(server.origin, clock).send(Request("GET", f"{server.origin}/x")).payload == {}
        assert len(server.heads) == 4

    def test_a_write_never_goes_over_a_kept_connection(self, raw_server, clock):
        server = raw_server("closed when used again", "ok")
        transport = self.at(server.origin, clock)
        assert transport.send(Request("GET", f"{server.origin}/x"), ONCE).payload == {}
        assert transport.send(Request("POST", f"{server.origin}/x", json={"a": 1}), ONCE).payload == {}

    def test_a_refused_connection(self, clock, free_port):
        origin = f"http://127.0.0.1:{free_port}"
        answer = self.at(origin, clock).send(Request("POST", f"{origin}/x"))
        assert answer.problem.kind is ProblemKind.NOT_SENT
        assert not answer.problem.maybe_processed
        assert len(clock.slept) == 3

    def test_a_proxy_that_is_not_there(self, clock, free_port):
        transport = self.at(ORIGIN, clock, proxy=f"http://me:s3cret@127.0.0.1:{free_port}")
        answer = transport.send(POST, ONCE)
        assert answer.problem.kind is ProblemKind.NOT_SENT
        assert "s3cret" not in answer.problem.text

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "https://[::1"])
    def test_an_address_of_no_use(self, clock, url):
        assert self.at(ORIGIN, clock).send(Request("GET", url), ONCE).problem is not None


class TestBudget:
    def headers(self, clock, remaining):
        return {
            "X-RateLimit-Limit": "360",
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": str(int(clock.now) + 40),
        }

    def transport(self, clock, remaining):
        session, _ = mocked({"json": {}, "headers": self.headers(clock, remaining)})
        transport = transport_of(session, clock)
        transport.send(GET)
        assert clock.slept == [], "nothing is known yet"
        return transport

    def test_reads_slow_down_when_little_is_left(self, clock):
        transport = self.transport(clock, 73)
        for _ in range(20):
            transport.send(GET)
        assert 15 < clock.waited < 30, "half of the rest, evenly, would last for forty seconds"

    def test_a_write_does_not_queue_behind_them(self, clock):
        transport = self.transport(clock, 73)
        for _ in range(10):
            transport.send(GET)
        waited = clock.waited
        transport.send(POST)
        assert clock.waited == waited

    def test_reads_are_not_slowed_down_while_there_is_plenty(self, clock):
        transport = self.transport(clock, 359)
        for _ in range(100):
            transport.send(GET)
        assert clock.slept == []

    def test_nothing_left_is_waited_out(self, clock):
        transport = self.transport(clock, 5)
        transport.send(POST)
        assert clock.waited == pytest.approx(40, abs=1)

    def test_after_a_429_nothing_is_sent_before_its_time(self, clock):
        session, _ = mocked({"status_code": 429, "headers": {"Retry-After": "24"}}, {"json": {}})
        transport = transport_of(session, clock)
        assert transport.send(GET, NO_RETRY).problem.kind is ProblemKind.RATE_LIMITED
        assert clock.slept == []
        assert transport.send(POST, NO_RETRY).problem is None
        assert clock.slept == [24.0]

    def test_a_turn_is_awaited_without_a_call_or_a_price(self, clock):
        session, adapter = mocked({"json": {}, "headers": self.headers(clock, 5)})
        transport = transport_of(session, clock)
        transport.send(GET)
        assert transport.wait_for_points(POST)
        waited = clock.waited
        assert waited == pytest.approx(40, abs=1)
        assert (adapter.call_count, transport.points_spent) == (1, 1)
        transport.send(POST)
        assert clock.waited == waited

    @pytest.mark.parametrize(
        ("patience", "comes", "waited"), [(23, False, 23), (24, True, 24), (-1, False, 0)]
    )
    def test_a_turn_is_awaited_no_longer_than_wanted(self, clock, patience, comes, waited):
        session, _ = mocked({"status_code": 429, "headers": {"Retry-After": "24"}})
        transport = transport_of(session, clock)
        transport.send(GET, NO_RETRY)
        assert transport.wait_for_points(GET, clock.now + patience) is comes
        assert clock.waited == waited

    def test_a_sleep_may_end_the_wait(self, clock):
        class Stop(Exception):
            pass

        def stop(_):
            raise Stop

        session, _ = mocked({"status_code": 429, "headers": {"Retry-After": "24"}})
        with pytest.raises(Stop):
            SyncTransport(session, settings(), STOQ, sleep=stop, clock=clock).send(GET)
