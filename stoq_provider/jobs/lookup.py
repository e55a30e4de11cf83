"""
Looking for a job whose submission got no clear answer.

Some systems list their jobs, and a submission can carry a mark that the list shows. Then an ambiguous
submission need not stay one: the job is there, or it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoq_provider.core.http import MalformedAnswer

if TYPE_CHECKING:
    from stoq_provider.core.models import JobHandle
    from stoq_provider.core.submission import Submission
    from stoq_provider.hooks.base import JobHook

LOOKS = (0.0, 3.0, 7.0)
"""
Seconds before each look at the list. A request whose connection broke may still be on its way: only after
the last look a job that is not in the list counts as one that is not (Medusa makes one in 0.05 s, M).
"""

MOST_PAGES = 50
"""Pages of the list that are read in one look."""


@dataclass(frozen=True, slots=True)
class Found:
    """
    What became of a submission.

    :param handle: its job, if there is one.
    :param absent: whether there surely is none; with neither, nothing is known.
    :param text: why nothing is known; empty where the system can't find jobs at all.
    """

    handle: JobHandle | None = None
    absent: bool = False
    text: str = ""


def find(hook: JobHook, submission: Submission, correlation: str | None, since: float) -> Found:
    """
    Look for the job of a submission.

    :param correlation: what the submission carried; ``None``: it carried nothing.
    :param since: Unix seconds at which it was first sent.
    """
    origin = hook.settings.origin
    if correlation is None or hook.system.find_request(origin, submission, since, 0) is None:
        return Found()
    found = Found()
    for pause in LOOKS:
        hook.sleep(pause)
        found = _look(hook, submission, correlation, since)
        if not found.absent:
            break
    return found


def _look(hook: JobHook, submission: Submission, correlation: str, since: float) -> Found:
    offset = 0
    for _ in range(MOST_PAGES):
        request = hook.system.find_request(hook.settings.origin, submission, since, offset)
        assert request is not None
        answer = hook.transport.send(request)
        if answer.problem is not None:
            return Found(text=answer.problem.text)
        try:
            page = hook.system.read_found(answer.payload, submission, correlation, since, offset)
        except MalformedAnswer as error:
            return Found(text=str(error))
        if page.handle is not None:
            return Found(page.handle)
        if page.next_offset is None:
            return Found(absent=True)
        offset = page.next_offset
    return Found(text=f"the list of jobs is longer than {MOST_PAGES} pages")
