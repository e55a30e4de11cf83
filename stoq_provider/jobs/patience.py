"""Reads about jobs that have ended: as patient with bad responses as the wait for them was."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from stoq_provider.core.polling import LONGEST_BACKOFF
from stoq_provider.exceptions import ProtocolError, RateLimited, ServiceUnavailable, StoqProviderError

if TYPE_CHECKING:
    from stoq_provider.jobs.client import JobClient

T = TypeVar("T")


def patiently(client: JobClient, read: Callable[[], T], *, known: bool = False) -> T:
    """
    Read again while responses are bad: it may change nothing.

    :param known: whether what is read was there before, so that a 404 is a bad response.
    :raises StoqProviderError: the error of the last response, ``client.patience`` seconds after the first.
    """
    until, pause = time.time() + client.patience, 1.0
    while True:
        try:
            return read()
        except StoqProviderError as error:
            bad = isinstance(error, (ProtocolError, RateLimited, ServiceUnavailable))
            if not (bad or (known and error.http_status == 404)) or time.time() >= until:
                raise
            client.log.warning("%s Asking again in %.0f s.", error, pause)
        client.sleep(pause)
        pause = min(2 * pause, LONGEST_BACKOFF)
