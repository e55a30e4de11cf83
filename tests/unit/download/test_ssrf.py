from __future__ import annotations

import socket

import pytest

from stoq_provider.download import ssrf
from stoq_provider.download.options import DownloadOptions
from stoq_provider.download.responses import Trouble
from stoq_provider.download.ssrf import Refused

STRICT = DownloadOptions()
URL = ssrf.parse_url("https://bucket.s3.amazonaws.com/x.csv?sig=secret")
HTTP = ssrf.parse_url("http://bucket.example.com/x.csv?sig=secret")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("https://Bucket.s3.amazonaws.com/a%2Fb?x=%7E", "bucket.s3.amazonaws.com", 443),
        ("http://localhost:8080/x", "localhost", 8080),
        ("https://[2001:db8::1]:8443/x", "2001:db8::1", 8443),
        ("HTTPS://h/x", "h", 443),
    ],
)
def test_usable_url(text, host, port):
    url = ssrf.parse_url(text)
    assert (url.text, url.host, url.port) == (text, host, port)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no download URL"),
        (None, "no download URL"),
        (7, "no download URL"),
        ("ftp://h/secret", "neither https nor http"),
        ("file:///etc/secret", "neither https nor http"),
        ("/relative/secret", "neither https nor http"),
        ("https:///secret", "names no host"),
        ("https://user:pass@h/secret", "user-info"),
        ("https://@h/secret", "user-info"),
        ("https://good.example\\@127.0.0.1/secret", "backslash"),
        ("https://h/a secret", "space"),
        ("https://h/a\nsecret", "control"),
        ("https://h:99999/secret", "cannot be read"),
        *(
            (f"https://{host}/secret", "not all programs read alike")
            for host in (
                "2130706433",
                "0x7f000001",
                "017700000001",
                "127.1",
                "127.0.0.1.",
                "010.0.0.1",
                "0x7f.0.0.1",
                "files.example.127",
                "files.example.0x7f",
                "１２７.0.0.1",
                "①②⑦.0.0.1",
                "127。0。0。1",
                "bücher.example",
                "127%2e0.0.1",
                "files%00.example",
                "[fe80::1%25eth0]",
                "files,example",
            )
        ),
        ("https://[::1/secret", "cannot be read"),
        ("https://h/\ud800secret", "cannot be read"),
    ],
)
def test_unusable_url(text, reason):
    trouble = ssrf.parse_url(text)
    assert isinstance(trouble, Trouble)
    assert trouble.final
    assert reason in trouble.reason
    assert "secret" not in trouble.reason
    assert "pass" not in trouble.reason


def test_repr_names_the_host_only():
    assert repr(URL) == f"{URL}" == "<signed URL at bucket.s3.amazonaws.com>"


PUBLIC = [
    "93.184.216.34",
    "192.88.98.1",
    "192.88.100.1",
    "172.32.0.1",
    "100.128.0.1",
    "198.20.0.1",
    "2606:2800:220:1::1",
    "2001:200::1",
    "3fff:1000::1",
    "::ffff:93.184.216.34",
    "64:ff9b::5db8:d822",
    "2002:5db8:d822::1",
]
PRIVATE = [
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.1.1",
    "100.64.0.1",
    "fe80::1",
    "fc00::1",
    "fec0::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:0a00:0001::1",
    "198.18.0.1",
    "0.1.2.3",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.51.100.1",
    "203.0.113.1",
    "2001:2::1",
    "2001:20::1",
    "2001:db8::1",
    "2001:0:5db8:d822::f5ff:fffe",
    "2002:c058:6301::1",
    "3fff::1",
    "3fff:fff::1",
    "fe80::1%eth0",
    "fdff::1",
]
LOOPBACK = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"]
NEVER = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "fd00:ec2::254",
    "fd00:ec2::254%1",
    "169.254.170.2",
    "168.63.129.16",
    "fd00:ec2::23",
    "fd20:ce::254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "240.0.0.1",
    "255.255.255.255",
    "::127.0.0.1",
    "::ffff:0:10.0.0.1",
    "64:ff9b:1::a00:1",
    "100::1",
    "5f00::1",
]
EVERYTHING = DownloadOptions(allow_private=True, allow_loopback=True, allow_http=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_is_allowed(address):
    ssrf.check_address(address, URL, STRICT)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_address_needs_leave(address):
    with pytest.raises(Refused, match="allow_private"):
        ssrf.check_address(address, URL, STRICT)
    with pytest.raises(Refused, match="allow_private"):
        ssrf.check_address(address, URL, DownloadOptions(allow_loopback=True))
    ssrf.check_address(address, URL, DownloadOptions(allow_private=True))


@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_needs_its_own_leave(address):
    for options in (STRICT, DownloadOptions(allow_private=True, allow_http=True)):
        with pytest.raises(Refused, match="loopback"):
            ssrf.check_address(address, URL, options)
    ssrf.check_address(address, URL, DownloadOptions(allow_loopback=True))
    ssrf.check_address(address, HTTP, DownloadOptions(allow_loopback=True))


@pytest.mark.parametrize("address", NEVER)
def test_address_nobody_may_use(address):
    with pytest.raises(Refused, match=r"metadata|multicast, reserved"):
        ssrf.check_address(address, URL, EVERYTHING)


NAMES = {
    "files.example": ["93.184.216.34"],
    "mixed.example": ["93.184.216.34", "10.0.0.1"],
    "inside.example": ["10.0.0.1"],
    "localhost": ["127.0.0.1"],
    "localhost.": ["127.0.0.1"],
    "metadata.google.internal": ["93.184.216.34"],
    "1.2.3.example": ["93.184.216.34"],
    "3com": ["10.0.0.1"],
}


@pytest.fixture
def names(monkeypatch):
    """Names that can be resolved here; literal addresses always can."""

    def resolve(host, port):
        if ssrf._is_address(host):
            return [host]
        if host not in NAMES:
            raise socket.gaierror(-2, "Name or service not known")
        return NAMES[host]

    monkeypatch.setattr(ssrf, "resolve", resolve)


def check(text, *, proxied, **options):
    url = ssrf.parse_url(text)
    assert not isinstance(url, Trouble), url
    ssrf.check_host(url, DownloadOptions(**options), proxied=proxied)


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "behind a proxy"])
class TestHost:
    @pytest.mark.parametrize("host", ["files.example", "1.2.3.example", "93.184.216.34", "[2606:2800::1]"])
    def test_public_one_passes(self, proxied, host):
        check(f"https://{host}/x", proxied=proxied)

    @pytest.mark.parametrize("host", ["mixed.example", "inside.example", "3com", "10.0.0.1", "[fd00::1]"])
    def test_private_one_needs_leave(self, proxied, host):
        with pytest.raises(Refused, match="allow_private"):
            check(f"https://{host}/x", proxied=proxied)
        check(f"https://{host}/x", proxied=proxied, allow_private=True)

    @pytest.mark.parametrize("host", ["LOCALHOST", "localhost.", "127.0.0.1", "[::1]"])
    def test_loopback_needs_leave(self, proxied, host):
        with pytest.raises(Refused, match="loopback"):
            check(f"https://{host}/x", proxied=proxied)
        check(f"https://{host}/x", proxied=proxied, allow_loopback=True)

    @pytest.mark.parametrize("host", ["metadata", "Metadata.Google.Internal.", "169.254.169.254"])
    def test_metadata_of_a_cloud_never_passes(self, proxied, host):
        with pytest.raises(Refused, match="metadata"):
            check(f"https://{host}/x", proxied=proxied, allow_private=True, allow_loopback=True)

    @pytest.mark.parametrize("leave", [{}, {"allow_loopback": True}])
    def test_plain_http_needs_leave(self, proxied, leave):
        with pytest.raises(Refused, match="plain http"):
            check("http://files.example/x", proxied=proxied, **leave)
        check("http://files.example/x", proxied=proxied, allow_http=True)

    def test_plain_http_to_loopback(self, proxied):
        check("http://localhost/x", proxied=proxied, allow_loopback=True)


@pytest.mark.usefixtures("names")
def test_name_that_only_a_proxy_may_resolve():
    with pytest.raises(OSError, match="not known"):
        check("https://elsewhere.example/x", proxied=False)
    check("https://elsewhere.example/x", proxied=True)
    for leave in ({}, {"allow_loopback": True}):
        with pytest.raises(Refused, match="plain http"):
            check("http://elsewhere.example/x", proxied=True, **leave)
    check("http://elsewhere.example/x", proxied=True, allow_http=True)


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(
    "host",
    [
        "minio",
        "minio.",
        "a.localhost",
        "a.local",
        "a.b.internal",
        "a.corp",
        "a.home.arpa",
        "a.lan",
        "a.local.",
    ],
)
def test_name_of_a_private_network_that_only_a_proxy_may_resolve(host):
    with pytest.raises(Refused, match="allow_private"):
        check(f"https://{host}/x", proxied=True)
    check(f"https://{host}/x", proxied=True, allow_private=True)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("https://h", "/"),
        ("https://h?sig=1", "/?sig=1"),
        ("https://h/x?", "/x?"),
        ("https://h/x#part", "/x"),
        ("https://h//key//", "//key//"),
        ("https://h/ä?ü", "/%C3%A4?%C3%BC"),
    ],
)
def test_target_is_what_was_given(text, target):
    url = ssrf.parse_url(text)
    assert (url.origin, url.target, url.text) == ("https://h", target, f"https://h{target}")


@pytest.mark.parametrize(
    ("start", "location", "lands"),
    [
        ("https://h/a", "/b?sig=1", "https://h/b?sig=1"),
        ("https://h/a", "https://h:443/b", "https://h:443/b"),
        ("http://h/a", "https://h/a", "https://h/a"),
        ("http://h:81/a", "//h:81/b", "http://h:81/b"),
    ],
)
def test_redirect_on_the_same_host(start, location, lands):
    assert ssrf.redirect_target(ssrf.parse_url(start), location).text == lands


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("https://evil.example/?secret", "another host"),
        ("//evil.example/secret", "another host"),
        ("http://h/secret", "from https to http"),
        ("https://h:8443/secret", "another port"),
        ("https://x:y@h/secret", "user-info"),
        ("gopher://h/secret", "neither"),
        ("http://[secret", "cannot be read"),
    ],
)
def test_redirect_elsewhere(location, reason):
    trouble = ssrf.redirect_target(ssrf.parse_url("https://h/a"), location)
    assert isinstance(trouble, Trouble)
    assert trouble.final
    assert reason in trouble.reason
    assert "secret" not in trouble.reason
