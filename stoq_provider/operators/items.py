"""What operators share that act on a list of items: find, cut, submit, read back, resubmit what is left."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

from stoq_provider.core.estimate import estimate
from stoq_provider.core.lifecycle import Outcome
from stoq_provider.core.submission import Submission
from stoq_provider.core.validation import InvalidInput, some
from stoq_provider.exceptions import ItemsUnchanged
from stoq_provider.jobs import config
from stoq_provider.jobs.errors import NOTHING_SENT, typed
from stoq_provider.jobs.read_back import ReadBack
from stoq_provider.jobs.results import store_items
from stoq_provider.operators.base import JobOperator
from stoq_provider.triggers.deferral import H

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from stoq_provider.core.events import JobEnd, WaitEvent
    from stoq_provider.jobs.items import Items
    from stoq_provider.jobs.submit import Submitter


class ItemsOperator(JobOperator[H]):
    """
    Base of the operators that act on many items by their ids.

    The items are cut into submissions at the vendor's cap, each is sent once, and the task ends with the
    manifest of all. Nothing is sent before the whole list has been checked.

    :param verify: ``"warn"`` and ``"fail"`` read the items back and report ``unchanged_items``; after
        ``"fail"``, a retry submits only those.
    :param dry_run: find the items, count submissions, price the run in points and minutes, submit nothing.
        With a destination, the items are stored there and ``items_uri`` names them, so that a later task
        can take just what was planned.
    :param on_empty: what no items mean: ``"error"`` or ``"skip"``.
    :param max_items: more ids than this are refused.

    The other parameters are those of :class:`~stoq_provider.operators.base.JobOperator`; ``destination`` is
    a folder for lists that are too long for XCom.
    """

    ui_color = "#f4ead5"

    def __init__(
        self,
        *,
        verify: Literal["warn", "fail"] | None = None,
        dry_run: bool = False,
        on_empty: Literal["error", "skip"] = "error",
        max_items: int = 100_000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.verify = verify
        self.dry_run = dry_run
        self.on_empty = on_empty
        self.max_items = max_items
        config.check_options(self, "verify", "dry_run", "on_empty", "max_items")
        # What this try planned. Without a store, what a selection held would not be found again once the
        # jobs have run.
        self._submissions: list[Submission] | None = None

    # -- what a subclass says -----------------------------------------------------------------------

    @property
    def doing(self) -> str:
        """The action's name, for messages."""
        return self.kind

    @abstractmethod
    def check_parameters(self) -> None:
        """
        Check what goes along with the ids.

        :raises InvalidInput: where it is wrong.
        """

    @abstractmethod
    def items(self) -> Items:
        """Return where the items come from."""

    @abstractmethod
    def cut(self, ids: Sequence[Any], round_: int) -> list[Submission]:
        """Return the submissions for a list; ``round_`` counts how often these items were sent before."""

    @abstractmethod
    def ids_of(self, submission: Submission) -> Sequence[Any]:
        """Return the ids that a submission holds."""

    @property
    @abstractmethod
    def reads(self) -> str:
        """What a read-back looks at, in words, with the certainty of the names."""

    @property
    def readable(self) -> bool:
        """Whether any read can tell what the action did."""
        return True

    @abstractmethod
    def read_items(self, ids: Sequence[Any], submissions: Sequence[Submission]) -> ReadBack:
        """Read the items back."""

    def ids_of_job(self, end: JobEnd) -> Sequence[Any]:
        """
        Return the items of a job that failed, if it may have failed because nothing was left to do.

        So it is where a lost call had done the work before: with ``verify``, such a job counts as done once a
        read-back finds all its items as they were wanted.
        """
        return ()

    def most_reads(self, items: int) -> int:
        """Return how many reads it takes at the most to read so many items back."""
        return items

    def price(self, sizes: Sequence[int]) -> dict[str, Any]:
        """Return points and minutes of submissions of so many items each, as ``core.estimate`` does."""
        return estimate(
            sizes,
            rules=self.hook.system.points,
            share=self.hook.settings.points_share,
            cadence=self.hook.system.cadence(self.kind),
            reads_back=self.most_reads if self.verify and self.readable else lambda _: 0,
        )

    # -- steps --------------------------------------------------------------------------------------

    def plan(self, context: Context, submitter: Submitter) -> list[Submission]:
        """Find the items and cut them; after a verification that failed, only the unchanged ones."""
        submissions, duplicates = self._find(submitter)
        self._submissions = submissions
        self.log.info(
            "%s: %s items in %s submissions, %s duplicates dropped",
            self.doing,
            sum(submission.item_count or 0 for submission in submissions),
            len(submissions),
            duplicates,
        )
        return submissions

    def notes(self, submitter: Submitter) -> list[str]:
        """Return the names of the kept list of items, and of the records that tell what is left of it."""
        return [*self.items().note_keys(submitter), *self._earlier]

    def unchanged_items(self, context: Context, event: WaitEvent) -> Sequence[Any]:
        """Read the items back, where ``verify`` wants it and a read can tell."""
        if self.verify is None:
            return ()
        if not self.readable:
            self.log.warning("verify=%r has nothing to read for %s: %s.", self.verify, self.doing, self.reads)
            return ()
        submitter = self.records(context)
        submissions = self._find(submitter)[0] if self._submissions is None else self._submissions
        by_chunk = {submitter.key(s): self.ids_of(s) for s in submissions}
        found = self.read_items([item for ids in by_chunk.values() for item in ids], submissions)
        if found.unclear:
            self.log.warning(
                "%s items do not tell whether %s changed them (%s): %s",
                len(found.unclear),
                self.doing,
                self.reads,
                some(found.unclear),
            )
        if self.verify == "fail":
            left = set(found.unchanged)
            submitter.note_unchanged({key: [i for i in ids if i in left] for key, ids in by_chunk.items()})
        return self._judge(list(found.unchanged), submitter.recorded)

    def _find(self, submitter: Submitter) -> tuple[list[Submission], int]:
        """Return the submissions of this try, and how many duplicates were dropped from the list."""
        with typed(self.hook.system.name, NOTHING_SENT):
            self._check_store(submitter)
            items = self.items().kept(submitter)
            self._not_none(items.ids, self.items().what, self.on_empty)
            submissions = self.cut(items.ids, 0)
            self._earlier = []
            for round_ in count(1):
                records = [submitter.adopt(submission) for submission in submissions]
                left = [item for record in records if record for item in record.unchanged or ()]
                if not left or any(record is None or record.unchanged is None for record in records):
                    return submissions, items.duplicates
                self.log.info("The try before left %s items unchanged; only these are sent.", len(left))
                self._earlier += [submitter.key(submission) for submission in submissions]
                submissions = self.cut(left, round_)
        raise AssertionError("unreachable")

    def _finish(self, context: Context, event: WaitEvent) -> dict[str, Any]:
        if self.verify is not None and self.readable:
            known = tuple(self._settled(end) for end in event.state.ended)
            ends = tuple(self._settled(end) for end in event.ends)
            event = replace(event, ends=ends, state=replace(event.state, ended=known))
        return super()._finish(context, event)

    def _settled(self, end: JobEnd) -> JobEnd:
        ids = self.ids_of_job(end) if end.outcome is Outcome.FAILED else ()
        if not ids:
            return end
        found = self.read_items(ids, ())
        if found.unchanged or found.unclear:
            return end
        self.log.info("Job %s had nothing left to do: all its items are as wanted.", end.handle.job_id)
        return replace(end, outcome=Outcome.PARTIAL)

    def _judge(self, left: list[Any], recorded: bool) -> list[Any]:
        if not left:
            return left
        text = (
            f"{self.doing} completed at {self.hook.system.label}, and a read-back found {len(left):,} items "
            f"that it did not change: {some(left)}."
        )
        if self.verify == "warn":
            self.log.warning("%s", text)
            return left
        again = "only these items" if recorded else "the whole list, because no record is kept"
        fate = f"The remote jobs have ended. A retry submits {again}."
        raise ItemsUnchanged(f"{text} {fate}", system=self.hook.system.name)

    def _check_input(self, context: Context) -> None:
        with typed(self.hook.system.name, NOTHING_SENT):
            if self.verify and not self.dry_run and not self._waits:
                raise InvalidInput(
                    "verify reads back when the jobs have ended, so wait_for_completion must be true"
                )
            self.check_parameters()
        super()._check_input(context)

    def _check_store(self, submitter: Submitter) -> None:
        if self.verify and self.deferrable and not submitter.recorded and not self.items().stable:
            raise InvalidInput(
                "verify needs a place to keep what a file or a selection held when the task began; set "
                "[stoq] state_path, or give the ids as a list"
            )

    def preview(self) -> dict[str, Any] | None:
        """Find the items and price the run, where it is a dry one."""
        if not self.dry_run:
            return None
        hook = self.hook
        with typed(hook.system.name, NOTHING_SENT):
            items = self.items().resolve()
            self._not_none(items.ids, self.items().what, self.on_empty)
            submissions = self.cut(items.ids, 0)
        plan: dict[str, Any] = {
            "dry_run": True,
            "action": self.doing,
            "items": len(items.ids),
            "duplicates": items.duplicates,
            "submissions": len(submissions),
            "repeat_safety": hook.system.repeat_safety(self.kind).value,
            "verification": self.reads if self.verify else None,
            **self.price([submission.item_count or 0 for submission in submissions]),
        }
        if self.destination is not None:
            plan["items_uri"] = store_items(hook, str(self.destination), "items", items.ids, NOTHING_SENT)
        self.log.info("Dry run, nothing was submitted: %s", plan)
        hook.close()
        return plan
