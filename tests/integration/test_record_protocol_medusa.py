"""
The record protocol where a lost submission can be found again: what must not be repeated never is, and yet
every lost answer ends with a job.

The machine is that of ``test_record_protocol``; the server also lists its jobs with the marks they carry.
"""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from stoq_provider.core.http import Decoded, Problem, ProblemKind
from stoq_provider.core.records import RepeatSafety
from stoq_provider.exceptions import SubmissionUncertain
from stoq_provider.hooks.medusa import MedusaHook
from stoq_provider.jobs.records import TaskIdentity
from stoq_provider.jobs.state_store import TaskStateStore
from stoq_provider.jobs.submit import Submitter
from stoq_provider.systems.medusa.submission import CORRELATION, submission
from stoq_provider.transport.settings import ConnectionSettings
from tests.harness import MemoryStateStore

from .test_record_protocol import LOST, PATIENCE, QUIET, REFUSALS, RecordProtocol, Server


class ListingServer(Server):
    """Takes batch jobs and lists them, unless its list is broken."""

    def __init__(self) -> None:
        super().__init__()
        self.list_works = True
        self.marks: dict[str, str] = {}

    def answer_to(self, request, epoch):
        if request.method == "GET":
            if not self.list_works:
                return Decoded(problem=Problem(ProblemKind.UNAVAILABLE, ("down",), 503))
            jobs = [{"id": job, "context": {CORRELATION: mark}} for job, mark in self.marks.items()]
            return Decoded({"batch_jobs": jobs[::-1], "count": len(jobs)})
        answer, self.answer = self.answer, "good"
        if answer in REFUSALS:
            return Decoded(problem=REFUSALS[answer])
        if answer == "lost, not processed":
            return Decoded(problem=LOST)
        job_id = f"batch_{len(self.taken)}"
        self.taken.append(epoch)
        self.jobs[job_id] = epoch
        self.marks[job_id] = request.json["context"][CORRELATION]
        if answer == "lost, processed":
            return Decoded(problem=LOST)
        return Decoded({"ok": True} if answer == "nonsense" else {"batch_job": {"id": job_id}})


class FoundAgain(RecordProtocol):
    """One task, one batch job."""

    @initialize(
        kind=st.sampled_from(["product-export", "product-import"]),
        on_clear=st.sampled_from(["resubmit", "reuse"]),
    )
    def begin(self, kind, on_clear):
        super().begin("bulk_release", on_clear)
        self.submission = submission(kind, {"fileKey": "k"} if kind.endswith("import") else {})
        self.repeat = MedusaHook.system.repeat_safety(kind)
        self.rows = MemoryStateStore()
        self.store = TaskStateStore(self.rows)
        self.server = ListingServer()
        self.list_was_broken = False

    def submitter(self, worker, epoch):
        hook = MedusaHook()
        hook._log = QUIET
        hook.__dict__["settings"] = ConnectionSettings("https://shop.example", "k")
        hook.__dict__["transport"] = SimpleNamespace(
            send=lambda request: self.send(worker, request), wait_for_points=lambda request: True
        )
        hook.sleep = lambda seconds: None
        task = TaskIdentity("d", "t", "r", -1, clears=epoch)
        return Submitter(hook, worker or self.store, task, on_clear=self.on_clear)

    def send(self, worker, request):
        worker.halt()
        before = len(self.server.taken)
        answer = self.server.answer_to(request, worker.epoch)
        worker.posts += len(self.server.taken) - before
        worker.halt()
        return answer

    @precondition(lambda self: hasattr(self, "server"))
    @rule()
    def list_breaks_or_is_mended(self):
        self.server.list_works = not self.server.list_works
        self.list_was_broken = True

    def reap(self, worker):
        if isinstance(worker.result, SubmissionUncertain):
            assert self.list_was_broken, "a job that could have been found was given up"
            assert self.repeat is RepeatSafety.NEVER
        super().reap(worker)

    def teardown(self):
        if hasattr(self, "server"):
            self.server.list_works = True
        super().teardown()


TestFoundAgain = FoundAgain.TestCase
TestFoundAgain.settings = PATIENCE
