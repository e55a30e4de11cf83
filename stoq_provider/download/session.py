"""
One guarded request for bytes: our own session, no token, no redirect to another host.

This is the only module of the package's storage side that talks HTTP. It hands out an answer or a
:class:`Trouble`, never an exception of the HTTP library: those carry the URL.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from http.client import IncompleteRead
from typing import TYPE_CHECKING, Any

from stoq_provider.download.options import DownloadPolicy
from stoq_provider.download.ssrf import (
    Refused,
    SignedUrl,
    check_address,
    check_addresses,
    check_name,
    check_scheme,
    redirect_target,
    resolve,
)
from stoq_provider.transport.log_filter import quietly

if TYPE_CHECKING:
    import requests

MAX_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Trouble:
    """
    Why there is no answer.

    :param reason: in words, without the URL.
    :param final: the same request cannot fare better.
    """

    reason: str
    final: bool = False


class Wire:
    """Sends requests for one download; close it after use."""

    def __init__(self, policy: DownloadPolicy) -> None:
        import requests

        from stoq_provider.download.connections import GuardedAdapter

        self._policy = policy
        self._url: SignedUrl | None = None
        self._session = requests.Session()
        # Nothing that was not put there on purpose: no cookies policy, no library's default headers.
        self._session.headers.clear()
        self._session.headers["User-Agent"] = "airflow-provider-stoq"
        # Else the whole body of a redirect would be read, to find out where it leads.
        self._session.get_redirect_target = lambda resp: None  # type: ignore[method-assign]
        self._socket: Any = None
        adapter = GuardedAdapter(self._begun, self._check_peer)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def close(self) -> None:
        """Drop all connections."""
        self._session.close()
        self._socket = None

    def wake(self) -> None:
        """End what waits for bytes of a direct connection, in another thread: an answer, or its body."""
        with suppress(OSError, AttributeError):  # not connected yet, or not any more
            self._socket.shutdown(socket.SHUT_RDWR)

    def get(self, url: SignedUrl, headers: dict[str, str]) -> requests.Response | Trouble:
        """Ask for ``url`` and return the answer with its body unread, or why there is none."""
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._get_once(url, headers)
            if isinstance(answer, Trouble) or answer.status_code not in _REDIRECTS:
                return answer
            location = answer.headers.get("Location", "")
            answer.close()
            moved = _redirected(url, location)
            if isinstance(moved, Trouble):
                return moved
            url = moved
        return Trouble(f"{url.host} redirects more than {MAX_REDIRECTS} times", final=True)

    def _get_once(self, url: SignedUrl, headers: dict[str, str]) -> requests.Response | Trouble:
        import requests
        import urllib3

        try:
            return quietly(self._send, url, headers)
        except Refused as error:
            return Trouble(str(error), final=True)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            return Trouble(describe(error), final=_is_final(error))

    def _send(self, url: SignedUrl, headers: dict[str, str]) -> requests.Response:
        from requests.utils import select_proxy

        check_scheme(url, self._policy)
        session = self._session
        # The environment is asked for proxies and certificate authorities, then shut out: with trust_env a
        # netrc entry of the storage host would be sent along, and a proxy of the environment would win.
        session.trust_env = True
        given = {"http": self._policy.proxy, "https": self._policy.proxy} if self._policy.proxy else {}
        settings = session.merge_environment_settings(url.text, given, True, self._policy.verify, None)
        session.trust_env = False
        if select_proxy(url.text, settings["proxies"]):
            check_name(url, self._policy)
        else:
            check_addresses(resolve(url.host, url.port), url, self._policy)
        self._url = url
        # A connection of its own for every request: the peer check belongs to this URL, and a kept connection
        # that the server has closed meanwhile would look like a broken transfer.
        session.close()
        answer = session.get(
            url.text,
            headers=headers,
            stream=True,
            allow_redirects=False,
            timeout=(self._policy.connect_timeout, self._policy.stall_timeout),
            proxies=settings["proxies"],
            verify=settings["verify"],
        )
        answer.raw.enforce_content_length = True  # urllib3 1.26 does not do it by itself
        return answer

    def _begun(self, sock: socket.socket) -> None:
        self._socket = sock

    def _check_peer(self, address: str) -> None:
        assert self._url is not None
        check_address(address, self._url, self._policy)


def _redirected(url: SignedUrl, location: str) -> SignedUrl | Trouble:
    try:
        return redirect_target(url, location)
    except Refused as error:
        return Trouble(str(error), final=True)


def describe(error: BaseException) -> str:
    """Say what went wrong in words that hold no URL: an exception of the HTTP library quotes it."""
    chain = _chain(error)
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            # Made by Python code (truststore), it has no message of its own.
            message = getattr(cause, "verify_message", "") or "no reason given"
            return f"the TLS certificate was not accepted ({message})"
    for cause in chain:
        if isinstance(cause, socket.gaierror):
            return "the host name could not be resolved"
        if isinstance(cause, TimeoutError) or type(cause).__name__ in ("ReadTimeoutError", "ConnectTimeout"):
            return "timed out"
        if isinstance(cause, IncompleteRead):
            return "the body ended early"
    for cause in chain:
        if isinstance(cause, OSError) and isinstance(cause.errno, int) and cause.strerror:
            return cause.strerror.lower()
    return f"the connection broke ({type(error).__name__})"


def _is_final(error: BaseException) -> bool:
    """Return whether asking again is pointless: a certificate does not get better, nor does a bad URL."""
    return any(isinstance(cause, (ssl.SSLCertVerificationError, ValueError)) for cause in _chain(error))


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and all that it wraps: causes, contexts, ``reason`` and arguments; outermost first."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and not any(one is other for other in found):
            found.append(one)
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return found
