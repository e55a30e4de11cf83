"""
Keep the HTTP libraries from logging URLs that are secrets.

urllib3 writes path and query of every request at DEBUG, httpx writes the whole URL at INFO, and a
pre-signed URL is a bearer secret for days. What :func:`quietly` calls makes no records of these libraries;
other users of them in the same process keep their logs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import ParamSpec, TypeVar

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

P = ParamSpec("P")
T = TypeVar("T")

_quiet: ContextVar[bool] = ContextVar("stoq_quiet_http_logs", default=False)


def _while_not_quiet(record: logging.LogRecord) -> bool:
    """Whether the maker of a record did not ask for silence."""
    return not _quiet.get()


def quietly(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Call a function, and drop the log records that urllib3, httpx and httpcore make meanwhile, at any level.

    The silence belongs to a copy of the caller's context. So it is over with the call, whatever ends it: also
    an exception that a signal raises at any moment, as Airflow's time-out of a task does. A thread started in
    the call is not covered; an asyncio task made in it is, for as long as it lives.
    """
    for name in LOGGERS:
        # Each time, because a logging configuration applied in between may have dropped the filter;
        # the logging module ignores a filter it already has.
        logging.getLogger(name).addFilter(_while_not_quiet)
    context = copy_context()
    context.run(_quiet.set, True)
    return context.run(function, *args, **kwargs)
