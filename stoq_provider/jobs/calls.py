"""Calls of a hook: their payloads or typed errors; reads of a task whose jobs have ended are patient."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from stoq_provider.core.http import Decoded, ProblemKind, Request
from stoq_provider.core.polling import LONGEST_BACKOFF
from stoq_provider.exceptions import ProtocolError, RateLimited, ServiceUnavailable, StoqProviderError
from stoq_provider.jobs.errors import of_problem, typed

if TYPE_CHECKING:
    from stoq_provider.jobs.client import JobClient
    from stoq_provider.systems.base import System

T = TypeVar("T")


def payload_of(
    client: JobClient,
    request: Request,
    job_id: str | None = None,
    read: Callable[[Any], T] = lambda payload: payload,
    fate: str = "Reading stopped; nothing was changed.",
) -> T:
    """
    Make a call and return what ``read`` makes of the payload.

    One that only reads is made again while responses are bad.

    :param job_id: the job that the call is about; it was there before, so that a 404 is a bad response.
    :param fate: what becomes of the job where the payload can't be read.
    :raises StoqProviderError: the error of the last response, ``client.patience`` seconds after the first.
    """
    until, pause = time.time() + client.patience, 1.0
    while True:
        try:
            decoded = client.transport.send(request)
            if decoded.problem is not None:
                raise _error(decoded, request, client.system, job_id)
            with typed(client.system.name, fate):
                return read(decoded.payload)
        except StoqProviderError as error:
            bad = isinstance(error, (ProtocolError, RateLimited, ServiceUnavailable))
            bad = bad or (job_id is not None and error.http_status == 404)
            if not (request.reads_only and bad) or time.time() >= until:
                raise
            client.log.warning("%s Asking again in %.0f s.", error, pause)
        client.sleep(pause)
        pause = min(2 * pause, LONGEST_BACKOFF)


def _error(decoded: Decoded, request: Request, system: System, job_id: str | None) -> StoqProviderError:
    problem = decoded.problem
    assert problem is not None
    final = problem.kind in (ProblemKind.AUTHENTICATION, ProblemKind.NOT_FOUND, ProblemKind.VALIDATION)
    if request.reads_only:
        fate = "It was a read: nothing was changed"
        fate += ". The task is not retried." if final else ", and a retry reads again."
    elif problem.maybe_processed:
        fate = "Whether it took effect is unknown; it was not sent again. Look before you repeat it."
    else:
        fate = "It was not sent" if problem.kind is ProblemKind.NOT_SENT else "It did not take effect"
        fate += ". The task is not retried." if final else "; a retry sends it again."
    return of_problem(
        problem,
        system=system.name,
        doing=f"{request.target} at {system.label}",
        fate=fate,
        job_id=job_id,
        limit=decoded.rate_limit,
        reads_only=request.reads_only,
    )
