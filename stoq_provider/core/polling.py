"""
When the jobs of one task are polled, and until when.

A :class:`Poller` polls nothing itself. The loop of a worker asks it which jobs are due (:meth:`Poller.due`)
and how long to sleep (:meth:`Poller.wait`); a trigger hands the times of its jobs (:meth:`Poller.next_polls`,
:meth:`Poller.next_poll`) to the scheduler of its shop. Both give it the result of each poll
(:meth:`Poller.record`), until :attr:`Poller.done`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stoq_provider.core.http import RateLimit
from stoq_provider.core.lifecycle import JobProgress, PollResult, PollResultKind, WatchRules, advance, give_up
from stoq_provider.core.models import JobHandle, JobState

JITTER = 0.02
"""An interval is stretched by up to this part of itself, never shortened."""

FIRST_SPREAD = 0.5
"""
A job's first poll may come earlier by up to this part of the interval: jobs begin together, and fifteen that
are due at once keep others waiting for three seconds.
"""

LONGEST_BACKOFF = 60.0
"""Seconds to which the interval grows while responses are bad."""

SHORT_FROM = 1.5
"""
Rounds longer than this many intervals mean that points are short. Below, polling in turn is enough: thirty
jobs at five seconds take rounds of six, and a wrong forecast would cost more than the polls that it saves.
"""

LONGEST_STRETCH = 120.0
"""Seconds to which the interval grows where points are short and the job's progress foretells a long rest."""


@dataclass(frozen=True, slots=True)
class Cadence:
    """
    How often the vendor wants to be asked, in seconds.

    ``steps`` are pairs of (age of the job up to which it holds, interval); ``then`` holds afterwards.
    """

    then: float
    steps: tuple[tuple[float, float], ...] = ()

    def interval(self, age: float) -> float:
        """Return the interval for a job of that age."""
        return next((interval for until, interval in self.steps if age < until), self.then)


@dataclass(frozen=True, slots=True)
class ScheduledPoll:
    """
    When a job is due to be polled.

    :param priority: whether others may wait for it: the first poll of a job, and the last, at the deadline.
    """

    handle: JobHandle
    due_at: float
    priority: bool


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line for the log; ``warning`` where it needs attention."""

    text: str
    warning: bool = False


@dataclass(slots=True)
class _Entry:
    progress: JobProgress
    due_at: float
    logged: str = ""
    warned_of: str = ""


class Poller:
    """
    The jobs of one task: what is known of each, and when it is due to be polled.

    A job becomes due anew with each result: after the interval of its kind and age, longer while responses
    are bad or points are short, and once more at the deadline. Unless ``eager``, the first time is one
    interval after the last sign of life, and up to half of one earlier where it was never polled. Where that
    has passed already, it is at once if the job was never polled, and else (after a restart of the triggerer,
    say) within one interval, at random.

    :param jobs: what is known so far, in the order of submission.
    :param cadence: gives the vendor's intervals by kind of job.
    :param deadline: Unix seconds after which waiting ends.
    :param poll_interval: seconds between two polls of a job, instead of the vendor's.
    :param jitter: gives numbers from 0 to 1.
    :param round_time: gives the seconds that it takes at present to poll each job of the shop once.
    :param eager: poll every job at once.
    """

    def __init__(
        self,
        jobs: Iterable[JobProgress],
        *,
        cadence: Callable[[str], Cadence],
        rules: WatchRules,
        deadline: float,
        now: float,
        poll_interval: float | None = None,
        jitter: Callable[[], float],
        round_time: Callable[[], float] = lambda: 0.0,
        eager: bool = False,
    ) -> None:
        self._cadence = cadence
        self._rules = rules
        self.deadline = deadline
        self._poll_interval = poll_interval
        self._jitter = jitter
        self._round_time = round_time
        self._entries = {
            progress.handle.job_id: _Entry(progress, now if eager else self._first(progress, now))
            for progress in jobs
        }
        self.polls = 0
        self.points_left: int | None = None

    @property
    def jobs(self) -> tuple[JobProgress, ...]:
        """What is known of every job, in the order of submission."""
        return tuple(entry.progress for entry in self._entries.values())

    @property
    def done(self) -> bool:
        """Whether every job has ended."""
        return all(entry.progress.ended for entry in self._entries.values())

    def due(self, now: float) -> tuple[JobHandle, ...]:
        """Return the jobs that are to be polled now."""
        return tuple(poll.handle for poll in self.next_polls() if poll.due_at <= now)

    def wait(self, now: float) -> float:
        """Return the seconds until a job is due; 0 where one is, or where all have ended."""
        return max(0.0, min((poll.due_at for poll in self.next_polls()), default=now) - now)

    def next_polls(self) -> list[ScheduledPoll]:
        """Return when each job that has not ended is due."""
        return [poll for job_id in self._entries if (poll := self.next_poll(job_id)) is not None]

    def next_poll(self, job_id: str) -> ScheduledPoll | None:
        """Return when a job is due; ``None`` once it has ended."""
        entry = self._entries[job_id]
        if entry.progress.ended:
            return None
        first = entry.progress.status is None and not entry.progress.bad_count
        return ScheduledPoll(entry.progress.handle, entry.due_at, first or entry.due_at >= self.deadline)

    def expire(self) -> None:
        """End the wait for every job: the deadline has passed, and no last poll came about."""
        for entry in self._entries.values():
            entry.progress = give_up(entry.progress)

    def wake(self, now: float) -> None:
        """Make every job that has not ended due now, for a caller that keeps its own intervals."""
        for entry in self._entries.values():
            entry.due_at = min(entry.due_at, now)

    def record(self, job_id: str, result: PollResult, rate_limit: RateLimit, now: float) -> LogLine | None:
        """
        Take the result of one poll.

        :return: a line for the log where something changed, else ``None``: waiting is visible, but not
            at each poll.
        """
        entry = self._entries[job_id]
        self.polls += 1
        if rate_limit.remaining is not None:
            self.points_left = rate_limit.remaining
        entry.progress = advance(entry.progress, result, now, self._rules)
        if now >= self.deadline:
            entry.progress = give_up(entry.progress)
        if not entry.progress.ended:
            # The last poll is at the deadline itself: a job that ends just before it is not missed.
            entry.due_at = min(now + self._interval(entry.progress, result, now), self.deadline)
        return self._note(entry, result, now)

    def _first(self, progress: JobProgress, now: float) -> float:
        signs = [at for at in (progress.seen_at, progress.handle.submitted_at) if at is not None]
        interval = self._wanted_interval(progress, now)
        if progress.seen_at is None:
            interval *= 1 - FIRST_SPREAD * self._jitter()
        due_at = max(signs, default=now - interval) + interval
        if due_at <= now:
            due_at = now if progress.seen_at is None else now + interval * self._jitter()
        # A clock that is behind the one that wrote the sign must not make us wait for long.
        return min(due_at, now + interval, self.deadline)

    def _wanted_interval(self, progress: JobProgress, now: float) -> float:
        if self._poll_interval is not None:
            return self._poll_interval
        began = progress.handle.submitted_at
        age = now - (progress.started_at if began is None else began)
        return self._cadence(progress.handle.kind).interval(max(0.0, age))

    def _interval(self, progress: JobProgress, result: PollResult, now: float) -> float:
        interval = self._stretched(self._wanted_interval(progress, now), progress, now)
        # One bad response may be chance.
        interval = max(interval, min(interval * 2.0 ** min(progress.bad_count - 1, 6), LONGEST_BACKOFF))
        interval *= 1 + JITTER * self._jitter()
        return max(interval, result.retry_after or 0.0)

    def _stretched(self, interval: float, progress: JobProgress, now: float) -> float:
        """
        Ask less often for a job that will not end soon, where its points are better spent on others.

        Half of the rest that its progress so far foretells: so the interval shrinks as the end comes near.
        """
        round_time = self._round_time()
        if self._poll_interval is not None or round_time <= SHORT_FROM * interval:
            return interval
        # Never by more than a round, for the same reason.
        return max(interval, min(_expected_rest(progress, now) / 2, round_time, LONGEST_STRETCH))

    def _note(self, entry: _Entry, result: PollResult, now: float) -> LogLine | None:
        text = _describe(result)
        if text == entry.logged:
            return None
        entry.logged = text
        points = "" if self.points_left is None else f"; {self.points_left} points left"
        then = "" if entry.progress.ended else f"; next poll in {max(0.0, entry.due_at - now):.0f} s"
        odd = _oddity(result)
        warning = odd not in ("", entry.warned_of)
        entry.warned_of = odd
        return LogLine(f"{entry.progress.handle.job_id}: {text}{points}{then}", warning=warning)


def _expected_rest(progress: JobProgress, now: float) -> float:
    """Return the seconds that a job still takes if it goes on as it did; 0 where it does not tell."""
    status, began = progress.status, progress.handle.submitted_at
    if status is None or began is None:
        return 0.0
    done = (status.progress or 0.0) / 100
    if status.total and status.processed is not None:
        done = status.processed / status.total
    return max(0.0, now - began) * (1 - done) / done if 0 < done < 1 else 0.0


def _oddity(result: PollResult) -> str:
    """Name what needs attention: once, not at every step of the progress beside it."""
    if result.status is not None:
        return result.status.word if result.status.state is JobState.UNKNOWN else ""
    return "" if result.kind is PollResultKind.THROTTLED else result.text or result.kind.value


def _describe(result: PollResult) -> str:
    if result.status is not None:
        odd = " (a status this package does not know; waiting goes on)" if _oddity(result) else ""
        return result.status.describe() + odd
    if result.kind is PollResultKind.THROTTLED:
        return "the shop's points are spent; waiting as long as the server says"
    if result.kind is PollResultKind.MISSING:
        return f"not known to the server ({result.text})"
    return f"no good response ({result.text})"
