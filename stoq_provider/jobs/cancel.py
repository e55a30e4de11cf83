"""What becomes of a task's jobs when the task is killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from stoq_provider.core.http import ProblemKind
from stoq_provider.exceptions import StoqProviderError

if TYPE_CHECKING:
    from stoq_provider.jobs.client import JobClient
    from stoq_provider.jobs.submit import Submitted, Submitter

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
    return " ".join(f"{job.handle.job_id}: {_FATES[word]}" for job, word in zip(jobs, fates, strict=True))


_FATES = {
    "stopped": "cancelled before it did anything; a retry or a clear submits it again.",
    "stopped_unrecorded": "cancelled, which could not be written down; a retry finds it cancelled and stops.",
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
    if response.problem is not None:
        fates[index] = "ended" if response.problem.kind in _NOTHING_TO_CANCEL else "refused"
    elif not client.system.was_stopped(response.payload):
        fates[index] = "cancelled"
    else:
        fates[index] = "stopped_unrecorded"
        with suppress(StoqProviderError):
            if records is not None:
                records.store.delete(job.key)
                fates[index] = "stopped"
    client.close()
