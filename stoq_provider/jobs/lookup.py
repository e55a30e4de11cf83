"""
Looking for a job whose submission got no clear response.

Some systems list their jobs, and a submission can carry a mark that the list shows. Then an ambiguous
submission need not stay one: the job is there, or it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoq_provider.core.http import MalformedResponse
from stoq_provider.core.records import Lookup

if TYPE_CHECKING:
    from stoq_provider.core.models import JobHandle
    from stoq_provider.core.submission import Submission
    from stoq_provider.jobs.client import JobClient

LOOKS = (0.0, 3.0, 7.0)
"""
Seconds before each look at the list. A request whose connection broke may still be on its way: only after
the last look a job that is not in the list counts as one that is not (Medusa makes one in 0.05 s, M). Nor
does one bad response tell that nothing can be known.
"""

MOST_PAGES = 50
"""Pages of the list that are read in one look."""


@dataclass(frozen=True, slots=True)
class Found:
    """
    What looking for the job of a submission found.

    :param handle: its job, if it was found.
    :param text: why nothing is known; empty where the system can't find jobs at all.
    """

    lookup: Lookup
    handle: JobHandle | None = None
    text: str = ""


def look_up(client: JobClient, submission: Submission, correlation: str | None, since: float) -> Found:
    """
    Look for the job of a submission.

    :param correlation: what the submission carried; ``None``: it carried nothing.
    :param since: Unix seconds at which it was first sent.
    """
    origin = client.settings.origin
    found = Found(Lookup.UNKNOWN)
    if correlation is None or client.system.find_request(origin, submission, since, 0) is None:
        return found
    for pause in LOOKS:
        client.sleep(pause)
        found = _look(client, submission, correlation, since)
        if found.lookup is Lookup.FOUND:
            break
    return found


def _look(client: JobClient, submission: Submission, correlation: str, since: float) -> Found:
    offset = 0
    for _ in range(MOST_PAGES):
        request = client.system.find_request(client.settings.origin, submission, since, offset)
        assert request is not None
        decoded = client.transport.send(request)
        if decoded.problem is not None:
            return Found(Lookup.UNKNOWN, text=decoded.problem.text)
        try:
            page = client.system.read_found(decoded.payload, submission, correlation, since, offset)
        except MalformedResponse as error:
            return Found(Lookup.UNKNOWN, text=str(error))
        if page.handle is not None:
            return Found(Lookup.FOUND, page.handle)
        if page.next_offset is None:
            return Found(Lookup.ABSENT)
        offset = page.next_offset
    return Found(Lookup.UNKNOWN, text=f"the list of jobs is longer than {MOST_PAGES} pages")
