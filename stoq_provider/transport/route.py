"""
How a request leaves this machine: through which proxy, and which certificate authorities it trusts.

Both drivers and the downloads are handed what stands here, and look at the environment no more themselves.
The rules are those of ``requests``: what the connection says, then what the environment says.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy
from urllib3.util.ssl_ import create_urllib3_context

from stoq_provider.core.validation import InvalidInput

BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""
Variables of the environment that name a bundle of authorities, the first that is set counts. The last is
OpenSSL's own, which httpx knows and requests does not; machines that set it mean all programs.
"""

SCHEMES = ("http", "https", "socks5", "socks5h")
"""Kinds of proxies that both drivers can use; requests alone knows SOCKS 4 as well."""

SOCKS_PACKAGES = {"socks": "PySocks", "socksio": "socksio"}


@dataclass(frozen=True, slots=True)
class Route:
    """
    The way to one host.

    :param verify: whether TLS certificates are checked; a path names the authorities, a file or a folder.
    :param proxy: URL of the proxy, with its credentials, if it has some.
    """

    verify: bool | str = True
    proxy: str | None = field(default=None, repr=False)

    @property
    def proxies(self) -> dict[str, str]:
        """The proxy as ``requests`` takes it."""
        return {"http": self.proxy, "https": self.proxy} if self.proxy else {}

    @property
    def through(self) -> str:
        """Words that name the proxy, without its credentials."""
        if self.proxy is None:
            return ""
        parts = urlsplit(self.proxy)
        return f" through the proxy {parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def find_route(url: str, verify: bool | str = True, proxy: str | None = None) -> Route:
    """
    Return the way to a URL.

    :param verify: what the connection says.
    :param proxy: the same; wins over ``NO_PROXY``.
    :raises InvalidInput: a proxy that can't be used; never with its credentials.
    """
    if verify is True:
        verify = next((os.environ[name] for name in BUNDLES if os.environ.get(name)), True)
    source = "the 'proxy' in the connection's extra"
    if not proxy:
        source = "the proxy that the environment (such as HTTPS_PROXY) has for it"
        proxy = select_proxy(url, get_environ_proxies(url))
    return Route(verify, _checked(proxy.strip(), source) if proxy else None)


def _checked(proxy: str, source: str) -> str:
    """Return the URL of a proxy; without a scheme it is one of http."""
    proxy = proxy if "://" in proxy else f"http://{proxy.removeprefix('//')}"
    try:
        parts = urlsplit(proxy)
        usable = bool(parts.hostname) and parts.port != 0 and not any(c <= " " for c in proxy)
        # Else the host and port are the beginning of credentials that have such a character.
        usable = usable and "@" not in parts.path + parts.query + parts.fragment
    except ValueError:  # its text may quote the credentials
        usable = False
    if not usable:
        raise InvalidInput(f"{source} is no URL with a host")
    if parts.scheme not in SCHEMES:
        raise InvalidInput(f"{source} has the scheme {parts.scheme[:20]!r}; known are {', '.join(SCHEMES)}")
    missing = [name for module, name in SOCKS_PACKAGES.items() if find_spec(module) is None]
    if parts.scheme.startswith("socks") and missing:
        raise InvalidInput(
            f"{source} speaks SOCKS, for which {' and '.join(missing)} must be installed: "
            "pip install 'airflow-provider-stoq[socks]'"
        )
    return proxy


def bundle_version(verify: bool | str) -> tuple[int, ...]:
    """
    Return what changes when a bundle of authorities is renewed.

    :raises InvalidInput: it is not there.
    """
    if verify is False:
        return ()
    try:
        found = os.stat(_path(verify))  # noqa: PTH116
    except OSError as error:
        raise _no_bundle(verify, error) from None
    return found.st_mtime_ns, found.st_size, found.st_ino


def tls_context(verify: bool | str) -> ssl.SSLContext:
    """
    Return the TLS settings for a driver that takes a context; as urllib3 makes them for requests.

    One context serves all connections of a bundle, and another one what comes after the bundle was renewed.
    Takes some hundredths of a second where authorities are loaded: not in an event loop.

    :raises InvalidInput: the bundle can't be read.
    """
    version = bundle_version(verify)
    try:
        return _context(verify, version)
    except OSError as error:  # as those of TLS are, too
        raise _no_bundle(verify, error) from None


@lru_cache(maxsize=8)
def _context(verify: bool | str, version: tuple[int, ...]) -> ssl.SSLContext:
    """Make a context; each holds half a megabyte of authorities."""
    if verify is False:
        return create_urllib3_context(cert_reqs=ssl.CERT_NONE)
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    context.check_hostname = True  # urllib3 1.26 does it by itself
    path = _path(verify)
    if os.path.isdir(path):  # noqa: PTH112
        context.load_verify_locations(capath=path)
    else:
        context.load_verify_locations(cafile=path)
    return context


def _path(verify: bool | str) -> str:
    return DEFAULT_CA_BUNDLE_PATH if verify is True else str(verify)


def _no_bundle(verify: bool | str, error: OSError) -> InvalidInput:
    names = [name for name in BUNDLES if os.environ.get(name) == verify]
    source = f"{names[0]} of the environment" if names else "'verify' in the connection's extra"
    reason = (error.strerror or str(error.reason if isinstance(error, ssl.SSLError) else "")).lower()
    return InvalidInput(
        f"{source} is neither true nor false nor a bundle of certificate authorities that can be read: "
        f"{_path(verify)!r} ({reason or type(error).__name__})"
    )
