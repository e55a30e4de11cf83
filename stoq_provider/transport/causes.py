"""What went wrong with a connection, from the exceptions of any HTTP library, in words without a URL."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Iterable
from http.client import IncompleteRead
from typing import Any

_STATUS = re.compile(r"(?:Tunnel connection failed: )?([1-5]\d\d)\b")


def cause_of(error: BaseException) -> str:
    """Return the cause; empty where the exceptions tell none. Their own texts may quote URLs."""
    flaw, chain = certificate_flaw(error), chain_of(error)
    if flaw:
        return f"the TLS certificate was not accepted ({flaw})"
    words = [of(cause) for of in (_in_words, _of_system, _of_proxy) for cause in chain]
    return next(filter(None, words), "")


def _in_words(cause: BaseException) -> str:
    name, text = type(cause).__name__, str(cause)
    if isinstance(cause, socket.gaierror):
        return "the host name could not be resolved"
    if (name == "ProxyError" or "Tunnel connection failed" in text) and (status := _STATUS.match(text)):
        return f"the proxy responded with HTTP {status[1]}"
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return f"TLS failed: {cause.reason.lower().replace('_', ' ')}"
    if isinstance(cause, TimeoutError) or name.endswith(("Timeout", "TimeoutError")):
        return "timed out"
    return "the body ended early" if isinstance(cause, IncompleteRead) else ""


def _of_system(cause: BaseException) -> str:
    # Not its own text: asyncio and TLS put other things there.
    known = isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and cause.errno
    return os.strerror(known).lower() if isinstance(known, int) and known > 0 else ""


def _of_proxy(cause: BaseException) -> str:
    name = type(cause).__name__  # those of SOCKS as well
    return "the proxy made no connection" if name.endswith("ProxyError") or name.startswith("SOCKS") else ""


def certificate_flaw(error: BaseException) -> str:
    """Return what is wrong with the certificate that an error is about, such as that it has expired."""
    for cause in chain_of(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            # Made by Python code (truststore), it has no message of its own.
            return (getattr(cause, "verify_message", "") or "no reason given").rstrip(".")
        if type(cause).__name__ == "CertificateError":  # of urllib3 1.26, which checks names itself
            return str(cause)
    return ""


def chain_of(error: BaseException) -> list[BaseException]:
    """Return an error and all that it wraps: causes, contexts, ``reason`` and arguments; outermost first."""
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and not any(one is other for other in found):
            found.append(one)
            inner: Iterable[Any] = getattr(one, "exceptions", ())  # those of a group
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args, *inner]
    return found
