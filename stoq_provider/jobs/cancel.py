"""What becomes of a task's jobs when the task is killed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from stoq_provider.core.http import ProblemKind
from stoq_provider.exceptions import StoqProviderError

if TYPE_CHECKING:
    from stoq_provider.core.http import Decoded, Request
    from stoq_provider.core.models import JobHandle
    from stoq_provider.jobs.client import JobClient
    from stoq_provider.jobs.submit import Submitted, Submitter
    from stoq_provider.systems.base import System
    from stoq_provider.transport.aio import AsyncTransport

STOP_SECONDS = 5.0
"""How long a killed task waits for its cancellations; Medusa's blocks while a job is processed (9 s, M)."""

NO_CANCEL = (
    "They go on, since nothing can cancel them from here. A retry waits for the same jobs if they could be "
    "written down; clearing the task starts anew unless on_clear='reuse' or a repetition would do harm."
)

_NOTHING_TO_CANCEL = (ProblemKind.VALIDATION, ProblemKind.NOT_FOUND, ProblemKind.CONFLICT)


def stop_jobs(client: JobClient, jobs: Sequence[Submitted], records: Submitter | None) -> str:
    """
    Cancel jobs where their system can, and tell in a sentence or two what becomes of them.

    It takes :data:`STOP_SECONDS` at the most, and is made for a signal handler: what it calls runs in a
    thread and on connections of its own. Of a job that was stopped before it did anything the record is
    taken away, so that the next try submits it again.
    """
    if not any(client.system.cancel_request(client.settings.origin, job.handle) for job in jobs):
        return NO_CANCEL
    fates: list[str] = ["unanswered"] * len(jobs)
    threads = [
        threading.Thread(target=_stop, args=(client.clone(), job, records, fates, index), daemon=True)
        for index, job in enumerate(jobs)
    ]
    give_up_at = time.monotonic() + STOP_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, give_up_at - time.monotonic()))
    return _in_words([job.handle for job in jobs], fates)


async def stop_deferred(transport: AsyncTransport, system: System, jobs: Sequence[JobHandle]) -> str:
    """Do the same for a task that was deferred; only a worker could take away its records."""
    from stoq_provider.transport.retry import NO_RETRY

    async def stop(request: Request) -> str:
        try:
            response = await asyncio.wait_for(transport.send(request, NO_RETRY), STOP_SECONDS)
        except asyncio.TimeoutError:
            return "unanswered"
        return _fate(response, system)

    requests = {job: system.cancel_request(transport.origin, job) for job in jobs}
    known = {job: request for job, request in requests.items() if request is not None}
    fates = await asyncio.gather(*map(stop, known.values()))
    return _in_words(list(known), fates) if known else NO_CANCEL


def _in_words(jobs: Sequence[JobHandle], fates: Sequence[str]) -> str:
    return " ".join(f"{job.job_id}: {_FATES[fate]}" for job, fate in zip(jobs, fates, strict=True))


_FATES = {
    "stopped": "cancelled before it did anything; a retry or a clear submits it again.",
    "stopped_unrecorded": (
        "cancelled, which could not be written down; the next try may find it cancelled and stop, and "
        "clearing the task once more submits it again."
    ),
    "cancelled": "cancelled while it worked, and done all the same; a retry finds it so and stops.",
    "ended": "there is nothing to cancel; a retry looks how it ended.",
    "refused": "the cancellation failed; it goes on, and a retry waits for it.",
    "unanswered": (
        f"no response to the cancellation within {STOP_SECONDS:g} s, as while a job is being processed; it "
        "may go on to its end. A retry looks how it ended."
    ),
}


def _stop(client: JobClient, job: Submitted, records: Submitter | None, fates: list[str], index: int) -> None:
    # Not when the module is loaded: parsing a DAG needs no transport.
    from stoq_provider.transport.retry import NO_RETRY

    request = client.system.cancel_request(client.settings.origin, job.handle)
    if request is None:
        return
    response = client.transport.send(request, NO_RETRY)
    fates[index] = _fate(response, client.system)
    if fates[index] == "stopped_unrecorded" and records is not None:
        with suppress(StoqProviderError):
            records.store.delete(job.key)
            fates[index] = "stopped"
    client.close()


def _fate(response: Decoded, system: System) -> str:
    if response.problem is not None:
        return "ended" if response.problem.kind in _NOTHING_TO_CANCEL else "refused"
    return "stopped_unrecorded" if system.was_stopped(response.payload) else "cancelled"
