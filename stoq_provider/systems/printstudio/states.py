"""
States of PrintStudio's print jobs and orders, and what waiting for one of them means.

Print jobs: D [operator/job-queue]; orders: D [orders] of printstudio-docs.pages.dev. ``FAILED`` is no end: an
operator may put the print job back into the queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stoq_provider.core.models import JobState
from stoq_provider.core.validation import InvalidInput, listed, near_misses


@dataclass(frozen=True, slots=True)
class Course:
    """
    The states of one kind of thing.

    :param name: stands in kinds of handles.
    :param path: where one is read, relative to the base path.
    :param course: states in the order in which they are passed.
    :param dropped: states in which it has left the course for good.
    :param failed: a state from which it may come back.
    """

    name: str
    label: str
    path: str
    course: tuple[str, ...]
    dropped: tuple[str, ...]
    failed: tuple[str, ...] = ()

    @property
    def known(self) -> tuple[str, ...]:
        """All states."""
        return (*self.course, *self.failed, *self.dropped)

    def find(self, word: Any) -> str | None:
        """Return the state that is meant, in whatever case it is written."""
        text = str(word).strip().replace("-", "_").lower()
        return next((state for state in self.known if state.lower() == text), None)

    def check(self, word: Any, among: Sequence[str], doing: str) -> str:
        """
        Return the state that is meant.

        :raises InvalidInput: where it is none of ``among``, with the near misses.
        """
        state = self.find(word) if isinstance(word, str) else None
        if state is None or state not in among:
            close = near_misses(str(word).strip().upper(), [s.upper() for s in among])
            raise InvalidInput(f"can't {doing} {word!r:.80}{close or '.'} The states are {', '.join(among)}")
        return state


PRINT_JOB = Course(
    "print_job",
    "print jobs",
    "/jobs",
    ("CREATED", "VALIDATED", "SLICED", "QUEUED", "PRINTING", "POST_PROCESS", "READY", "SHIPPED"),
    dropped=("CANCELLED",),
    failed=("FAILED",),
)
ORDER = Course(
    "order",
    "orders",
    "/orders",
    ("pending_payment", "paid", "processing", "printing", "post_processing", "ready", "shipped"),
    dropped=("cancelled", "refunded"),
)
COURSES = {course.name: course for course in (PRINT_JOB, ORDER)}


@dataclass(frozen=True, slots=True)
class Goal:
    """
    What is waited for; written into the ``kind`` of a handle, as in ``print_job:READY,SHIPPED``.

    :param states: one of these is enough; a later one on the course means that it was passed.
    :param fail_on_failed: whether ``FAILED`` ends the wait.
    """

    course: Course
    states: tuple[str, ...]
    fail_on_failed: bool = False

    @classmethod
    def checked(cls, course: Course, states: Any, *, fail_on_failed: bool = False) -> Goal:
        """
        Read the states a user gives: one, or a list.

        :raises InvalidInput: where there is none, or an unknown one.
        """
        given = [states] if isinstance(states, str) else listed(states, "target_states", "states")
        found = [course.check(word, course.known, f"wait for {course.label} in state") for word in given]
        if not found:
            raise InvalidInput(f"target_states is empty. The states are {', '.join(course.known)}")
        return cls(course, tuple(dict.fromkeys(found)), fail_on_failed)

    @classmethod
    def of_kind(cls, kind: str) -> Goal | None:
        """Read it from the kind of a handle; ``None`` where that is something else."""
        name, _, rest = kind.partition(":")
        states, _, option = rest.partition(":")
        if name not in COURSES or not states:
            return None
        return cls(COURSES[name], tuple(states.split(",")), option == "fail")

    @property
    def kind(self) -> str:
        """The kind of a handle."""
        return f"{self.course.name}:{','.join(self.states)}" + (":fail" if self.fail_on_failed else "")

    def judge(self, word: str) -> tuple[JobState, str | None]:
        """Return what a state means for this goal, and why it can't be reached any more."""
        state = self.course.find(word)
        if state is None:
            return JobState.UNKNOWN, None
        if state in self.states or self._passed(state):
            return JobState.SUCCEEDED, None
        wanted = " or ".join(self.states)
        if state in self.course.dropped:
            return JobState.CANCELLED, f"it is {state} and will not be {wanted}"
        if state in self.course.failed:
            return (JobState.FAILED, f"it is {state}") if self.fail_on_failed else (JobState.RUNNING, None)
        if state == self.course.course[-1]:
            return JobState.FAILED, f"it is {state} and will not be {wanted}"
        return JobState.RUNNING, None

    def _passed(self, state: str) -> bool:
        course = self.course.course
        wanted = [course.index(name) for name in self.states if name in course]
        return bool(wanted) and state in course and course.index(state) >= min(wanted)
