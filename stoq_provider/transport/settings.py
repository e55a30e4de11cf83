"""What a connection says: where the API is, with which key, how patiently."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from stoq_provider.core.validation import InvalidInput, near_misses
from stoq_provider.systems.base import System

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """
    One shop, as a connection describes it.

    :param origin: scheme, host and port, without a path.
    :param key: the API key, or the password where there is a ``login``; in no repr.
    :param login: user name, for systems that trade it for a token; elsewhere not used.
    :param timeout: seconds to wait for a connection, and for each piece of a response; a whole call takes
        three times as long at the most (:mod:`~stoq_provider.transport.limits`).
    :param verify: whether TLS certificates are checked, or the path of a CA bundle; as ``proxy`` what the
        connection says, of which :mod:`~stoq_provider.transport.route` makes what counts.
    :param conn_id: the connection, for messages.
    :param allow_private: whether files may lie at private addresses; only Medusa's hook asks for it.
    :param points_share: the part of the shop's points that is ours.
    :param admin_url: the page that links of tasks open, where it is not the usual one.
    """

    origin: str
    key: str = field(repr=False)
    timeout: float = 30.0
    verify: bool | str = True
    proxy: str | None = field(default=None, repr=False)
    allow_http: bool = False
    allow_private: bool = False
    points_share: float = 0.8
    admin_url: str | None = None
    user_agent: str = "airflow-provider-stoq"
    login: str | None = None
    conn_id: str = ""

    @property
    def on_loopback(self) -> bool:
        """Whether the API is on this very machine (a sandbox, a tunnel)."""
        return is_loopback(urlsplit(self.origin).hostname or "")


def read_settings(
    connection: Any, extra: Mapping[str, Any], system: System, user_agent: str
) -> ConnectionSettings:
    """
    Read the fields of a connection of Airflow.

    Keys of the extra that nobody here reads are only warned of: other tools may keep their own there.

    Reads a bundle of authorities, where one is named: not in an event loop.

    :param extra: the connection's, read by the caller, which in a trigger must not block.
    :raises InvalidInput: naming the field that is missing or wrong; never its value if that is secret.
    """
    if not isinstance(extra, Mapping):
        raise InvalidInput(f"the extra of the connection must be a JSON object, not {type(extra).__name__}")
    # First, because a slip in a key is often why the rest is refused.
    _warn_of_unknown(extra)
    key = (connection.password or "").strip()
    if not key:
        raise InvalidInput("the connection has no API key; put it into the password field")
    if not (key.isascii() and key.isprintable()):
        raise InvalidInput("the API key in the password field has characters that no header can carry")
    from stoq_provider.transport.route import find_route, tls_context  # parsing a DAG needs no requests

    given = {
        name: read(extra[name])
        for name, read in EXTRA.items()
        if extra.get(name) is not None and str(extra[name]).strip()
    }
    settings = ConnectionSettings(
        origin=_origin(connection, system, allow_http=given.get("allow_http", False)),
        key=key,
        user_agent=user_agent,
        login=(connection.login or "").strip() or None,
        conn_id=getattr(connection, "conn_id", None) or "",
        **given,
    )
    if settings.verify is False:
        _log.warning(
            "TLS certificates are not checked ('verify' in the extra of connection %r is off): whoever is on "
            "the way can read the key.",
            settings.conn_id,
        )
    # What can't be used is refused here, before anything may have been sent.
    verify = find_route(settings.origin, settings.verify, settings.proxy).verify
    if isinstance(verify, str):
        tls_context(verify)
    return settings


def is_loopback(host: str) -> bool:
    """Whether the name or address is this machine by definition."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _origin(connection: Any, system: System, *, allow_http: bool) -> str:
    text = (connection.host or "").strip() or (system.default_origin or "")
    if not text:
        raise InvalidInput("the connection has no host")
    try:
        if "://" not in text:
            bare = urlsplit(f"//{text}").hostname or ""
            text = f"{connection.schema or ('http' if is_loopback(bare) else 'https')}://{text}"
        parts = urlsplit(text)
        port = parts.port or connection.port
    except ValueError:
        raise InvalidInput("the host of the connection is no address, or its port is none") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(f"the host of the connection is no http(s) address: {parts.scheme}://...")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidInput("the host of the connection must be an origin, without user, query or fragment")
    if parts.path.rstrip("/") not in ("", system.base_path):
        raise InvalidInput(
            f"the host of the connection has the path {parts.path!r}; only the origin belongs there"
        )
    if parts.scheme == "http" and not (allow_http or is_loopback(parts.hostname)):
        raise InvalidInput(
            "the host of the connection is plain http, so the key would travel in the clear; use https, or "
            'set "allow_http": true in the extra for a test system'
        )
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}" + (f":{port}" if port else "")


def _warn_of_unknown(extra: Mapping[str, Any]) -> None:
    """Name keys that have no effect; never their values, which may be secret."""
    unknown = [str(name)[:40] for name in extra if name not in EXTRA]
    if not unknown:
        return
    named = []
    for name in unknown:
        hint = near_misses(name, tuple(EXTRA)).removeprefix("; ")
        named.append(f"{name!r} ({hint})" if hint else repr(name))
    _log.warning(
        "The connection's extra has keys that have no effect here: %s. Those that have: %s.",
        ", ".join(named),
        ", ".join(EXTRA),
    )


def _switch(value: Any) -> bool | str:
    """Read what is on or off, or a text that is neither."""
    if not isinstance(value, str):
        return bool(value)
    word = value.strip().lower()
    if word in ("true", "1", "yes", "on"):
        return True
    return False if word in ("false", "0", "no", "off") else value.strip()


def _is_on(value: Any) -> bool:
    return _switch(value) is True


def _number(name: str, low: float, high: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if not low <= number <= high:
            raise InvalidInput(
                f"{name!r} in the connection's extra must be a number from {low:g} to {high:g}"
            )
        return number

    return read


def _page(value: Any) -> str | None:
    """Read the address of a page; one that can't be linked to only costs the link."""
    text = str(value).strip()
    try:
        parts = urlsplit(text)
        plain = "@" not in parts.netloc and not parts.query
        fits = plain and parts.scheme in ("http", "https") and parts.hostname
    except ValueError:
        fits = False
    if fits:
        return text
    _log.warning("'admin_url' in the connection's extra is no http(s) address without user and query.")
    return None


EXTRA: Mapping[str, Callable[[Any], Any]] = {
    "timeout": _number("timeout", 0.1, 3600.0),
    "verify": _switch,
    "proxy": lambda value: str(value) if value else None,
    "allow_http": _is_on,
    "points_share": _number("points_share", 0.05, 1.0),
    "allow_private": _is_on,
    "admin_url": _page,
}
"""Keys of the extra that this package reads, and how; fields of :class:`ConnectionSettings`."""
