"""A signed URL is sent byte for byte: what was signed is the text that the system gave, not one like it."""

from __future__ import annotations

from contextlib import closing

import pytest

from stoq_provider.download import ssrf
from tests.unit.transport.hostile import OK, HostileServer

from .conftest import answer

BODY = b"id\r\n1\r\n"
TARGETS = {
    "two slashes at the start": "//key.csv?sig=1",
    "two slashes within": "/bucket//key.csv",
    "dot segments": "/a/./b/../c.csv",
    "escaped dots": "/a/%2e%2E/b",
    "escaped slash": "/a%2Fb%2fc",
    "escaped unreserved": "/%7Euser/%41?x=%7e%2d",
    "lower-case hex": "/a%c3%a4?sig=a%2bb%3d",
    "plus and escaped space": "/a+b%20c?q=a+b%20c",
    "sub-delimiters": "/a;v=1,b'(c)!$&*=@:?x='a';b=(c)!$*,@:/?",
    "what needs an escape, without one": '/a[b]{c}|^`"<>?q=[b]{c}|^`"<>',
    "percent signs that escape nothing": "/100%/a%zz%41?x=%",
    "empty query": "/key.csv?",
    "empty values": "/key.csv?a&b=&&c==",
    "no path": "?sig=1",
    "long": "/key.csv?token=" + "aB%2f" * 1000,
}
OTHERWISE = {
    "no path": "/?sig=1",
    "not ASCII": "/b%C3%BCcher%2f.csv?%E2%82%AC",
    "fragment": "/key.csv?sig=1",
}
GIVEN = TARGETS | {"not ASCII": "/bücher%2f.csv?€", "fragment": "/key.csv?sig=1#part"}


def whole(first: bytes = b"") -> HostileServer:
    return HostileServer(first + OK + b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY), b"")


def line(received: bytes) -> str:
    return received.partition(b"\r\n")[0].decode()


@pytest.mark.parametrize("name", GIVEN)
def test_target_is_sent_as_it_was_given(fetch, name):
    with closing(whole()) as store:
        fetch(lambda: f"http://{store.origin}{GIVEN[name]}", expected_rows=1)
    assert [line(each) for each in store.received] == [f"GET {OTHERWISE.get(name, GIVEN[name])} HTTP/1.1"]


@pytest.mark.parametrize("name", GIVEN)
def test_proxy_is_sent_it_as_it_was_given(fetch, name):
    origin = "http://Files.example:80"
    with closing(whole()) as proxy:
        fetch(
            lambda: f"{origin}{GIVEN[name]}",
            expected_rows=1,
            allow_http=True,
            proxy=f"http://{proxy.origin}",
        )
    target = OTHERWISE.get(name, GIVEN[name])
    assert [line(each) for each in proxy.received] == [f"GET {origin}{target} HTTP/1.1"]


@pytest.mark.parametrize("name", [name for name in GIVEN if name != "empty query"])
def test_redirect_is_followed_to_what_was_given(name):
    first = ssrf.parse_url("https://h/first")
    target = OTHERWISE.get(name, GIVEN[name])
    assert ssrf.redirect_target(first, f"https://h{GIVEN[name]}").text == f"https://h{target}"


def test_redirect_to_a_path_that_is_not_ascii(fetch, server):
    server.plan = [answer(302, Location="/bücher%2f.csv?€".encode().decode("latin-1"))]
    fetch()
    assert server.requests[1][0] == "/b%C3%BCcher%2f.csv?%E2%82%AC"
