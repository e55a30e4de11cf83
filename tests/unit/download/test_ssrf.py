from __future__ import annotations

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
        ("https://[::1/secret", "cannot be read"),
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


PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
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
]
LOOPBACK = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
NEVER = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "fd00:ec2::254",
    "fd00:ec2::254%1",
    "169.254.170.2",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "240.0.0.1",
    "255.255.255.255",
    "::127.0.0.1",
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


def test_plain_http():
    with pytest.raises(Refused, match="plain http"):
        ssrf.check_scheme(HTTP, STRICT)
    ssrf.check_scheme(HTTP, DownloadOptions(allow_loopback=True))  # decided by the address
    with pytest.raises(Refused, match="plain http"):
        ssrf.check_address("93.184.216.34", HTTP, DownloadOptions(allow_loopback=True))
    ssrf.check_address("93.184.216.34", HTTP, DownloadOptions(allow_http=True))


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "127.0.0.1",
        "[::1]",
        "2130706433",
        "0x7f.1",
        "127.1",
        "127.0.0.1.",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "metadata.google.internal",
        "169.254.169.254",
    ],
)
def test_name_behind_a_proxy_that_is_refused(host):
    with pytest.raises(Refused):
        ssrf.check_name(ssrf.parse_url(f"https://{host}/x"), STRICT)


@pytest.mark.parametrize(
    "host", ["bucket.s3.amazonaws.com", "93.184.216.34", "3com.example", "1.2.3.example"]
)
def test_name_behind_a_proxy_that_passes(host):
    ssrf.check_name(ssrf.parse_url(f"https://{host}/x"), STRICT)
    with pytest.raises(Refused, match="plain http"):
        ssrf.check_name(ssrf.parse_url(f"http://{host}/x"), DownloadOptions(allow_loopback=True))


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
