"""
Keep the HTTP libraries from logging URLs that are secrets.

urllib3 writes path and query of every request at DEBUG, httpx writes the whole URL at INFO, and a
pre-signed URL is a bearer secret for days. While :func:`quiet_http_logs` is active, records of these
libraries are dropped, for the calling thread or task only: other users of the libraries in the same
process keep their logs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LOGGERS = (
    "urllib3.connectionpool",
    "urllib3.connection",
    "urllib3.poolmanager",
    "urllib3.response",
    "urllib3.util.retry",
    "httpx",
    # A filter of a logger does not see the records of its children, so every one is named.
    "httpcore",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)
"""Loggers whose records may hold a URL, a header or a query."""

_quiet: ContextVar[bool] = ContextVar("stoq_quiet_http_logs", default=False)


class _WhileNotQuiet(logging.Filter):
    """Lets a record pass unless its maker asked for silence."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _quiet.get()


_FILTER = _WhileNotQuiet()


@contextmanager
def quiet_http_logs() -> Iterator[None]:
    """
    Drop the log records of urllib3, httpx and httpcore made inside the block, at any level.

    Bound to the context, not to the process. A thread started inside the block is not covered, and the
    block must not reach over a ``yield`` of a generator: the silence would leak to its consumer.
    """
    for name in LOGGERS:
        # Each time, because a logging configuration applied in between may have dropped the filter;
        # the logging module ignores a filter it already has.
        logging.getLogger(name).addFilter(_FILTER)
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)
