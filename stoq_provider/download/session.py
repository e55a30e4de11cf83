"""
One guarded request for bytes: our own session, no token, no redirect to another host.

This is the only module of the download that talks HTTP. It hands out a response or a :class:`Trouble`, never
an exception of the HTTP library: those carry the URL. It loads requests, so who needs it imports it late.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from stoq_provider.core.validation import InvalidInput
from stoq_provider.download.options import DownloadOptions
from stoq_provider.download.responses import Trouble, describe, is_final
from stoq_provider.download.ssrf import (
    Refused,
    SignedUrl,
    check_address,
    check_host,
    redirect_target,
)
from stoq_provider.transport.connections import ClosableAdapter, TimeLimit
from stoq_provider.transport.log_filter import quietly
from stoq_provider.transport.route import find_route

MAX_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)


class GuardedSession:
    """
    Sends requests for one download; close it after use.

    :param check: asked before a request goes out on a connection; raises where it is no longer wanted.
    """

    def __init__(self, options: DownloadOptions, check: Callable[[], None]) -> None:
        self._options = options
        self._check = check
        self._url: SignedUrl | None = None
        self._direct = True
        self._limit = self.waiting()
        self._session = requests.Session()
        # Nothing that was not put there on purpose: no cookie policy, no library's default headers.
        self._session.headers.clear()
        self._session.headers["User-Agent"] = options.user_agent
        # Nor what the environment says: find_route() has asked it, and a netrc entry of the host is not sent.
        self._session.trust_env = False
        # Else the whole body of a redirect would be read, to find out where it leads.
        self._session.get_redirect_target = lambda resp: None  # type: ignore[method-assign]
        adapter = ClosableAdapter(self._made, self._connected)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def close(self) -> None:
        """Drop all connections, which ends what waits for bytes in another thread, be it for a handshake."""
        self._session.close()

    def waiting(self, *, connecting: bool = False) -> TimeLimit:
        """Return the limit on a wait for bytes, however the server lets it wait."""
        seconds = self._options.stall_timeout + (self._options.connect_timeout if connecting else 0.0)
        return TimeLimit(seconds, self.close)

    def get(self, url: SignedUrl, headers: dict[str, str]) -> requests.Response | Trouble:
        """Ask for ``url`` and return the response with its body unread, or why there is none."""
        for _ in range(MAX_REDIRECTS + 1):
            response = self._get_once(url, headers)
            if isinstance(response, Trouble) or response.status_code not in _REDIRECTS:
                return response
            location = response.headers.get("Location", "").encode("latin-1").decode(errors="replace")
            response.close()
            moved = redirect_target(url, location)
            if isinstance(moved, Trouble):
                return moved
            url = moved
        return Trouble(f"{url.host} redirects more than {MAX_REDIRECTS} times", final=True)

    def _get_once(self, url: SignedUrl, headers: dict[str, str]) -> requests.Response | Trouble:
        try:
            self._limit = self.waiting(connecting=True)
            with self._limit:
                return quietly(self._send, url, headers)
        except (Refused, InvalidInput) as error:
            return Trouble(str(error), final=True)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            return Trouble(describe(error), final=is_final(error))

    def _send(self, url: SignedUrl, headers: dict[str, str]) -> requests.Response:
        route = find_route(url.text, self._options.verify, self._options.proxy)
        self._url, self._direct = url, route.proxy is None
        check_host(url, self._options, proxied=not self._direct)
        # A connection of its own for every request: the peer check belongs to this URL, and a kept connection
        # that the server has closed meanwhile would look like a broken transfer.
        self.close()
        response = self._session.get(
            url.text,
            headers=headers,
            stream=True,
            allow_redirects=False,
            timeout=(self._options.connect_timeout, self._options.stall_timeout),
            proxies=route.proxies,
            verify=route.verify,
        )
        response.raw.enforce_content_length = True  # urllib3 1.26 does not do it by itself
        return response

    def _made(self, connection: Any) -> None:
        """Have the target sent as it was given: signatures are over it, and both libraries spell it anew."""
        url, put = self._url, connection.putrequest
        assert url is not None

        def put_as_given(method: str, target: str, **skip: Any) -> None:
            # A proxy of plain http is sent the whole URL.
            put(method, url.target if target.startswith("/") else url.text, **skip)

        connection.putrequest = put_as_given

    def _connected(self, sock: socket.socket) -> None:
        """Check the other end of a new connection; that of a connection to a proxy is the proxy."""
        self._limit.restart(self._options.stall_timeout)
        self._check()
        if self._direct:
            assert self._url is not None
            check_address(sock.getpeername()[0], self._url, self._options)
