"""
Which URLs and addresses a download may go to.

The URL comes from a remote server, and the worker that follows it stands inside the user's network. So
a URL must be https without user-info, and every address it leads to must be a public one, unless the
options say otherwise. The same check is made again on the peer of the connected socket, before the request
is sent: a name that resolves differently the second time gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from stoq_provider.download.options import DownloadOptions

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORTS = {"https": 443, "http": 80}
# Where clouds hand out credentials of the machine. No export is ever there.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "fd00:ec2::254")
)
_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "instance-data"})
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Refused(Exception):
    """A URL or an address that must not be followed; the text names the host only."""


@dataclass(frozen=True, slots=True, repr=False)
class SignedUrl:
    """A URL that is a secret by itself. Its text is in no ``repr``, so that no log or traceback shows it."""

    text: str
    scheme: str
    host: str
    port: int

    def __repr__(self) -> str:
        """Name the host only."""
        return f"<signed URL at {self.host}>"


def parse_url(text: object) -> SignedUrl:
    """
    Return the parts of ``text`` that decide where it leads.

    :raises Refused: not a usable http or https URL, or one with user-info.
    """
    if not isinstance(text, str) or not text:
        raise Refused("the system gave no download URL")
    # Raw spaces, controls and backslashes are where URL parsers disagree about the host.
    if any(c <= " " or c in "\\\x7f" for c in text):
        raise Refused("the download URL holds a space, a backslash or a control character")
    problem, parts = _split(text)
    if problem or parts is None:
        raise Refused(problem)
    return parts


def _split(text: str) -> tuple[str, SignedUrl | None]:
    # Returns the problem instead of raising it: an error of urlsplit may quote the URL, and raising from
    # within its handler would keep it as context.
    try:
        split = urlsplit(text)
        host, port, scheme = split.hostname, split.port, split.scheme
        with_user = "@" in split.netloc
    except ValueError:
        return "the download URL cannot be read", None
    if scheme not in _PORTS:
        return "the download URL is neither https nor http", None
    if not host:
        return "the download URL names no host", None
    if with_user:
        return f"the download URL at {host} holds user-info", None
    return "", SignedUrl(text, scheme, host, _PORTS[scheme] if port is None else port)


def redirect_target(url: SignedUrl, location: str) -> SignedUrl:
    """
    Return where a redirect leads.

    :raises Refused: to another host or port, from https to http, or to what is no URL. The one exception is
        the default port of http to the default port of https.
    """
    target = parse_url(_joined(url.text, location))
    if target.host != url.host:
        raise Refused(f"{url.host} redirects to another host ({target.host})")
    if url.scheme == "https" and target.scheme == "http":
        raise Refused(f"{url.host} redirects from https to http")
    upgraded = (url.scheme, url.port, target.scheme, target.port) == ("http", 80, "https", 443)
    if target.port != url.port and not upgraded:
        raise Refused(f"{url.host} redirects to another port ({target.port})")
    return target


def _joined(base: str, location: str) -> str:
    try:
        return urljoin(base, location)
    except ValueError:
        return location  # cannot be read, which is found out next


def check_scheme(url: SignedUrl, options: DownloadOptions) -> None:
    """
    Check what needs no resolving of the name.

    :raises Refused: plain http that no address could make right.
    """
    if url.scheme == "http" and not (options.allow_http or options.allow_loopback):
        raise Refused(f"plain http to {url.host} is not allowed (allow_http)")


def check_name(url: SignedUrl, options: DownloadOptions) -> None:
    """
    Check the host by its name only, for a connection through a proxy, which resolves it out of our sight.

    :raises Refused: a literal address that is not allowed, or a name known to be local.
    """
    literal = _literal(url.host)
    if literal is not None:
        check_address(str(literal), url, options)
        return
    name = url.host.rstrip(".").lower()
    if name in _METADATA_NAMES:
        raise Refused(f"{url.host} is a metadata service of a cloud")
    if name == "localhost" or name.endswith(".localhost"):
        check_address("127.0.0.1", url, options)
    elif url.scheme == "http" and not options.allow_http:
        raise Refused(f"plain http to {url.host} is not allowed (allow_http)")


def resolve(host: str, port: int) -> list[str]:
    """
    Return all addresses of ``host`` as text.

    :raises OSError: the name cannot be resolved.
    """
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def check_addresses(addresses: Iterable[str], url: SignedUrl, options: DownloadOptions) -> None:
    """
    Check every address a name resolves to: one bad one among them is enough to refuse.

    :raises Refused: as :func:`check_address`.
    """
    for address in addresses:
        check_address(address, url, options)


def check_address(address: str, url: SignedUrl, options: DownloadOptions) -> None:
    """
    Check one address the download would go to.

    :raises Refused: an address that the options do not allow, or http to anything but loopback without leave.
    """
    problem = _problem(_unwrap(ipaddress.ip_address(address)), options)
    if problem:
        raise Refused(f"{url.host} leads to {problem}")
    loopback = _unwrap(ipaddress.ip_address(address)).is_loopback
    if url.scheme == "http" and not options.allow_http and not loopback:
        raise Refused(f"plain http to {url.host} is not allowed (allow_http)")


def _problem(ip: IPAddress, options: DownloadOptions) -> str:
    if ip in _METADATA:
        return "a metadata service of a cloud"
    if ip.is_loopback:
        return "" if options.allow_loopback else "the worker itself (a loopback address)"
    if ip.is_multicast or ip.is_unspecified or ip.is_reserved:
        return "a multicast, reserved or unspecified address"
    site_local = isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local  # counts as global otherwise
    if (site_local or not ip.is_global) and not options.allow_private:
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


def _literal(host: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    # The old spellings (2130706433, 0x7f.1, 127.1) are addresses to every resolver.
    if not all(part[:1].isdigit() for part in host.rstrip(".").split(".")):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
    except OSError:
        return None
