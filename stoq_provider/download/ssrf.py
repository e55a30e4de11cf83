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
import string
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from stoq_provider.download.options import DownloadOptions
from stoq_provider.download.responses import Trouble

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
