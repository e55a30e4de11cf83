"""
Which URLs and addresses a download may go to.

The URL comes from a remote server, and the worker that follows it stands inside the user's network. So
a URL must be https without user-info, and every address it leads to must be a public one, unless the
options say otherwise. The same check is made again on the peer of the connected socket, before the request
is sent: a name that resolves differently the second time gains nothing.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import string
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from stoq_provider.download.options import DownloadOptions
from stoq_provider.download.responses import Trouble

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORTS = {"https": 443, "http": 80}
_HOST = re.compile(r"[a-z0-9._:-]+")
# Such a host is an address, but 010.0.0.1 may be 8.0.0.1 or 10.0.0.1, and 127.1 a name.
_ENDS_IN_NUMBER = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)\.?")
# Where clouds hand out credentials of the machine. No export is ever there.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "168.63.129.16",
        "100.100.100.200",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
    )
)
_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "instance-data"})
# Names that only a private network knows: RFC 6761, RFC 6762 with its appendix G, RFC 8375.
_LOCAL_NAME = re.compile(r"[^.]+|.*\.(localhost|local|internal|intranet|private|corp|home|lan|home\.arpa)")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
# IANA's special-purpose registries. Python's own ``is_global`` differs from version to version.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "2001::/23",
        "2001:db8::/32",
        "3fff::/20",
    )
)


class Refused(Exception):
    """An address that must not be connected to; the text names the host only."""


@dataclass(frozen=True, slots=True, repr=False)
class SignedUrl:
    """
    A URL that is a secret by itself. Its text is in no ``repr``, so that no log or traceback shows it.

    ``target``: what comes after the ``origin``, to be sent as it was given, since it is what was signed. Only
    what no request can carry is changed: other characters than ASCII are escaped, a fragment is left out.
    """

    origin: str
    target: str
    scheme: str
    host: str
    port: int

    @property
    def text(self) -> str:
        """The whole URL."""
        return f"{self.origin}{self.target}"

    def __repr__(self) -> str:
        """Name the host only."""
        return f"<signed URL at {self.host}>"


def parse_url(text: object) -> SignedUrl | Trouble:
    """Return the parts of ``text`` that decide where it leads, or why it is no usable http or https URL."""
    if not isinstance(text, str) or not text:
        return Trouble("the system gave no download URL", final=True)
    # Raw spaces, controls and backslashes are where URL parsers disagree about the host.
    if any(c <= " " or c in "\\\x7f" for c in text):
        problem = "the download URL holds a space, a backslash or a control character"
        return Trouble(problem, final=True)
    try:
        text.encode()  # which half of a character can't be
        split = urlsplit(text)
        host, port, scheme = split.hostname, split.port, split.scheme
    except ValueError:
        # Returned and not raised here, because the error of urlsplit may quote the URL, and would be kept.
        return Trouble("the download URL cannot be read", final=True)
    if scheme not in _PORTS:
        return Trouble("the download URL is neither https nor http", final=True)
    if not host:
        return Trouble("the download URL names no host", final=True)
    if "@" in split.netloc:
        return Trouble(f"the download URL at {host} holds user-info", final=True)
    if not _HOST.fullmatch(host) or (_ENDS_IN_NUMBER.fullmatch(host) and not _is_address(host)):
        problem = "the host of the download URL is spelled in a way that not all programs read alike"
        return Trouble(problem, final=True)
    start = text.index("//") + 2 + len(split.netloc)
    target = quote(text[start:].partition("#")[0], safe=string.punctuation)
    if not target.startswith("/"):
        target = f"/{target}"
    return SignedUrl(text[:start], target, scheme, host, _PORTS[scheme] if port is None else port)


def redirect_target(url: SignedUrl, location: str) -> SignedUrl | Trouble:
    """
    Return where a redirect leads, or why it is not followed.

    It may not lead to another host or port, or from https to http. The one exception is the default port of
    http to the default port of https.
    """
    try:
        text = urljoin(url.text, location)
    except ValueError:
        text = location  # cannot be read, which is found out next
    target = parse_url(text)
    if isinstance(target, Trouble):
        return target
    problem = ""
    upgraded = (url.scheme, url.port, target.scheme, target.port) == ("http", 80, "https", 443)
    if target.host != url.host:
        problem = f"{url.host} redirects to another host ({target.host})"
    elif url.scheme == "https" and target.scheme == "http":
        problem = f"{url.host} redirects from https to http"
    elif target.port != url.port and not upgraded:
        problem = f"{url.host} redirects to another port ({target.port})"
    return Trouble(problem, final=True) if problem else target


def check_host(url: SignedUrl, options: DownloadOptions, *, proxied: bool) -> None:
    """
    Check all addresses of the host; one bad address among them is enough to refuse.

    Where only the proxy can resolve the name, which is usual in networks that are shut off, it is for the
    proxy to refuse; but not a name that no public server has.

    :raises Refused: an address that the options do not allow, or plain http that no address could make right.
    :raises OSError: the name cannot be resolved, and there is no proxy that might.
    """
    name = url.host.rstrip(".")
    if name in _METADATA_NAMES:
        raise Refused(f"{url.host} is a metadata service of a cloud")
    _check_scheme(url, options, loopback=options.allow_loopback)
    try:
        addresses = resolve(url.host, url.port)
    except OSError:
        if not proxied:
            raise
        if _LOCAL_NAME.fullmatch(name) and not options.allow_private:
            raise Refused(f"{url.host} is a name of a private network (allow_private)") from None
        _check_scheme(url, options, loopback=False)
        return
    for address in addresses:
        check_address(address, url, options)


def resolve(host: str, port: int) -> list[str]:
    """
    Return all addresses of ``host`` as text.

    :raises OSError: the name cannot be resolved.
    """
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def check_address(address: str, url: SignedUrl, options: DownloadOptions) -> None:
    """
    Check one address the download would go to.

    :raises Refused: an address that the options do not allow, or http to anything but loopback without leave.
    """
    ip = _unwrap(ipaddress.ip_address(address))
    problem = _problem(ip, options)
    if problem:
        raise Refused(f"{url.host} leads to {problem}")
    _check_scheme(url, options, loopback=ip.is_loopback)


def _check_scheme(url: SignedUrl, options: DownloadOptions, *, loopback: bool) -> None:
    if url.scheme == "http" and not (options.allow_http or loopback):
        raise Refused(f"plain http to {url.host} is not allowed (allow_http)")


def _problem(ip: IPAddress, options: DownloadOptions) -> str:
    if ip in _METADATA:
        return "a metadata service of a cloud"
    if ip.is_loopback:
        return "" if options.allow_loopback else "the worker itself (a loopback address)"
    if ip.is_multicast or ip.is_unspecified or ip.is_reserved:
        return "a multicast, reserved or unspecified address"
    elsewhere = ip.version == 6 and ip not in _GLOBAL_UNICAST
    if (elsewhere or any(ip in network for network in _NOT_PUBLIC)) and not options.allow_private:
        return "a private, link-local or otherwise not public address (allow_private)"
    return ""


def _unwrap(ip: IPAddress) -> IPAddress:
    """Return the IPv4 address a transition form of IPv6 stands for, or the address as it is."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    ip = ipaddress.IPv6Address(int(ip))  # without a scope, which makes it unequal to itself
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    embedded = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
    return embedded or ip


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
