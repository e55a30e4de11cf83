"""
The record around a POST, driven through every order of crashes, retries, clears and lost answers.

The server is a fake that counts what it took; submitter, decisions and ``JobHook.submit`` are the real
ones. Each worker is a thread that halts before every step, so that two of them can be interleaved at will
and either can die anywhere.
"""

from __future__ import annotations

import json
import logging
import threading
from types import SimpleNamespace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stoq_provider.core.events import JobEnd
from stoq_provider.core.http import Decoded, Problem, ProblemKind
from stoq_provider.core.lifecycle import Outcome
from stoq_provider.core.records import RepeatSafety, counts
from stoq_provider.core.submission import Submission
from stoq_provider.exceptions import AuthenticationError, StateError, StoqProviderError, SubmissionUncertain
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.jobs.records import TaskIdentity
from stoq_provider.jobs.state_store import TaskStateStore
from stoq_provider.jobs.submit import Submitted, Submitter
from stoq_provider.systems.stoq.system import Stoq
from stoq_provider.transport.settings import ConnectionSettings
from tests.harness import Killed, MemoryStateStore

KINDS = ("bulk_release", "bulk_reset_metafields", "bulk_send_payment_collection_url")
QUIET = logging.getLogger("quiet")
QUIET.disabled = True
LOST = Problem(ProblemKind.LOST_CONNECTION, ("the connection broke",))
REFUSALS = {
    "refused": Problem(ProblemKind.CONFLICT, ("wrong state",), 409),
    "no connection": Problem(ProblemKind.NOT_SENT, ("nobody listens",)),
    "key refused": Problem(ProblemKind.AUTHENTICATION, ("who are you",), 401),
}
ANSWERS = ("good", "lost, processed", "lost, not processed", "nonsense", *REFUSALS)
ENDS = (
    Outcome.SUCCEEDED,
    Outcome.FAILED,
    Outcome.CANCELLED,
    Outcome.EXPIRED,
    Outcome.DENIED,
    Outcome.TIMEOUT,
)


class Server:
    """Takes submissions; ``answer`` is what it does with the next one, ``then`` with all after it."""

    def __init__(self) -> None:
        self.answer = "good"
        self.jobs: dict[str, int] = {}
        self.taken: list[int] = []

    def take(self, epoch: int) -> Decoded:
        answer, self.answer = self.answer, "good"
        if answer in REFUSALS:
            return Decoded(problem=REFUSALS[answer])
        if answer == "lost, not processed":
            return Decoded(problem=LOST)
        job_id = f"job_{len(self.taken)}"
        self.taken.append(epoch)
        self.jobs[job_id] = epoch
        if answer == "lost, processed":
            return Decoded(problem=LOST)
        body = {"job_id": job_id, "status_url": f"/api/v2/external/preorders/orders/jobs/{job_id}"}
        return Decoded({"ok": True} if answer == "nonsense" else body)


class Worker(threading.Thread):
    """One try, or a second copy of it, halted before each step."""

    def __init__(self, machine: RecordProtocol, epoch: int) -> None:
        super().__init__(daemon=True)
        self.machine, self.epoch = machine, epoch
        self.go, self.halted = threading.Semaphore(0), threading.Semaphore(0)
        self.dying = self.alone = False
        self.posts = 0
        self.seen = -1
        self.result: Submitted | BaseException | None = None
        self.start()
        self.halted.acquire()

    def halt(self) -> None:
        self.halted.release()
        self.go.acquire()
        if self.dying:
            raise Killed

    def step(self) -> None:
        assert self.result is None
        self.go.release()
        assert self.halted.acquire(timeout=10)

    def run(self) -> None:
        try:
            self.halt()
            self.result = self.machine.submitter(self, self.epoch).submit(self.machine.submission)
        except (StoqProviderError, Killed) as error:
            self.result = error
        except BaseException as error:
            self.result = error
            self.machine.broken_by = error
        finally:
            self.halted.release()

    # What the submitter calls, each with a halt before it.

    def load(self, key):
        self.halt()
        self.seen = self.machine.version
        return self.machine.store.load(key)

    def create(self, key, value):
        self.halt()
        if self.machine.store.load(key) is not None:
            return False
        self.machine.store.save(key, value)
        self.wrote()
        return True

    def save(self, key, value):
        self.halt()
        self.machine.store.save(key, value)
        self.wrote()

    def delete(self, key):
        self.halt()
        self.machine.store.delete(key)
        self.wrote()

    def wrote(self):
        """Note a lost update: only creation looks and writes in one step, so an overwrite may lose one."""
        if self.machine.version != self.seen:
            self.machine.raced |= {self.epoch, self.machine.epoch}
        self.machine.version += 1
        self.seen = self.machine.version

    def send(self, request):
        self.halt()
        overtaken = self.machine.version != self.seen
        assert self.machine.row() is not None or overtaken, "sent without a record"
        before = len(self.machine.server.taken)
        answer = self.machine.server.take(self.epoch)
        self.posts += len(self.machine.server.taken) - before
        self.halt()
        return answer


class RecordProtocol(RuleBasedStateMachine):
    """One task, one submission."""

    most_workers = 1

    @initialize(kind=st.sampled_from(KINDS), on_clear=st.sampled_from(["resubmit", "reuse"]))
    def begin(self, kind, on_clear):
        self.submission = Submission(kind, f"/preorders/orders/{kind}", {"order_ids": [1]}, item_count=1)
        self.repeat = Stoq().repeat_safety(kind)
        self.on_clear = on_clear
        self.rows = MemoryStateStore()
        self.store = TaskStateStore(self.rows)
        self.server = Server()
        self.workers: list[Worker] = []
        self.epoch = self.version = 0
        self.raced: set[int] = set()
        self.broken_by: BaseException | None = None

    def submitter(self, worker, epoch):
        hook = StoqHook()
        hook._log = QUIET
        hook.__dict__["settings"] = ConnectionSettings("https://shop.example", "k")
        hook.__dict__["transport"] = SimpleNamespace(
            send=worker.send if worker else None, wait_for_points=lambda request: True
        )
        hook.sleep = lambda seconds: None
        task = TaskIdentity("d", "t", "r", -1, clears=epoch)
        return Submitter(hook, worker or self.store, task, on_clear=self.on_clear)

    def row(self):
        rows = list(self.rows.rows.values())
        return json.loads(rows[0]) if rows else None

    def record(self):
        submitter = self.submitter(None, self.epoch)
        return submitter.load(submitter.key(self.submission))

    # -- rules ------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.workers) < self.most_workers)
    @rule()
    def try_begins(self):
        worker = Worker(self, self.epoch)
        worker.alone = not self.workers
        for other in self.workers:
            other.alone = False
        self.expected = None if self.rows.broken else self.record()
        self.workers.append(worker)

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 1), steps=st.integers(1, 3))
    def worker_goes_on(self, which, steps):
        worker = self.workers[which % len(self.workers)]
        for _ in range(steps):
            if worker.result is None:
                worker.step()
        self.reap(worker)

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 1))
    def worker_runs_to_its_end(self, which):
        worker = self.workers[which % len(self.workers)]
        while worker.result is None:
            worker.step()
        self.reap(worker)

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 1))
    def worker_dies(self, which):
        worker = self.workers[which % len(self.workers)]
        worker.dying = True
        worker.step()
        self.reap(worker)

    @precondition(lambda self: not self.workers)
    @rule()
    def person_clears(self):
        self.epoch += 1

    @rule(answer=st.sampled_from(ANSWERS))
    def next_answer(self, answer):
        self.server.answer = answer

    @rule()
    def store_breaks_or_is_mended(self):
        self.rows.broken = not self.rows.broken

    @precondition(lambda self: not self.workers and not self.rows.broken)
    @rule(outcome=st.sampled_from(ENDS))
    def wait_ends(self, outcome):
        record, submitter = self.record(), self.submitter(None, self.epoch)
        if record is None or record.handle is None or not self.counting(record):
            return
        key = submitter.key(self.submission)
        submitter.note_ends([key], [JobEnd(record.handle, outcome)])
        if outcome is Outcome.DENIED:
            submitter.hold([key])

    # -- what must hold ---------------------------------------------------------------------------------

    def counting(self, record):
        return counts(record, clears=self.epoch, on_clear=self.on_clear)

    def reap(self, worker):
        if worker.result is None:
            return
        worker.join()
        self.workers.remove(worker)
        if isinstance(worker.result, StateError):
            assert worker.posts == 0, "sent although the store did not answer"
        if isinstance(worker.result, Submitted):
            assert worker.result.handle.job_id in self.server.jobs
            assert worker.result.reattached is (worker.posts == 0)
        if worker.alone and not isinstance(worker.result, (Killed, StateError)):
            self.check_reattached(worker, self.expected)

    def check_reattached(self, worker, before):
        lost = (Outcome.FAILED, Outcome.EXPIRED, Outcome.CANCELLED, Outcome.NOT_FOUND)
        if before is None or before.handle is None or before.outcome in lost or not self.counting(before):
            return
        assert isinstance(worker.result, Submitted), worker.result
        assert worker.result.reattached
        assert worker.result.handle == before.handle

    @invariant()
    def nothing_unforeseen_was_raised(self):
        assert getattr(self, "broken_by", None) is None

    @invariant()
    def what_must_never_be_repeated_is_taken_once_between_two_clears(self):
        if not hasattr(self, "server") or self.repeat is not RepeatSafety.NEVER:
            return
        if self.on_clear == "reuse":
            assert len(self.server.taken) <= 1 or self.raced
            return
        for epoch in set(self.server.taken) - self.raced:
            assert self.server.taken.count(epoch) == 1

    def teardown(self):
        if not hasattr(self, "server"):
            return
        while self.workers:
            self.worker_dies(0)
        self.rows.broken = False
        self.server.answer = "good"
        self.try_begins()
        (last,) = self.workers
        self.worker_runs_to_its_end(0)
        record = self.record()
        if isinstance(last.result, Submitted):
            assert record.handle.job_id == last.result.handle.job_id
        else:
            # Only what a person must look at is left alone: mail in doubt, a job cancelled or long gone.
            gone = record.outcome in (Outcome.CANCELLED, Outcome.EXPIRED)
            assert gone or self.repeat is RepeatSafety.NEVER
            assert last.posts == 0
            assert isinstance(last.result, StoqProviderError)
            assert not isinstance(last.result, (StateError, AuthenticationError))


class TwoWorkers(RecordProtocol):
    """The same try runs twice at once, as after a lost heartbeat."""

    most_workers = 2

    @precondition(lambda self: not self.workers)
    @rule()
    def two_workers_look_at_the_same_instant(self):
        for _ in range(2):
            self.try_begins()
        for worker in list(self.workers):
            worker.step()
            worker.step()
            self.reap(worker)

    @precondition(lambda self: len(self.workers) == 1)
    @rule()
    def person_clears_while_a_worker_lives(self):
        """What was cleared should be dead; if it lives on, nobody keeps it from sending once more."""
        self.raced |= {self.epoch, self.epoch + 1}
        self.epoch += 1
        for worker in self.workers:
            worker.alone = False


def test_two_workers_one_behind_the_other_take_turns():
    """As soon as one has written its intent, the other sees it and stops."""
    machine = TwoWorkers()
    machine.begin("bulk_send_payment_collection_url", "resubmit")
    machine.try_begins()
    first = machine.workers[0]
    for _ in range(3):
        first.step()
    machine.try_begins()
    second = machine.workers[1]
    machine.worker_runs_to_its_end(1)
    machine.worker_runs_to_its_end(0)
    assert isinstance(second.result, SubmissionUncertain)
    assert isinstance(first.result, Submitted)
    assert len(machine.server.taken) == 1
    assert not machine.raced


def test_two_workers_that_look_before_either_wrote_send_once():
    machine = TwoWorkers()
    machine.begin("bulk_send_payment_collection_url", "resubmit")
    machine.two_workers_look_at_the_same_instant()
    for which in (1, 0):
        machine.worker_runs_to_its_end(which)
    assert len(machine.server.taken) == 1


PATIENCE = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestRecordProtocol = RecordProtocol.TestCase
TestRecordProtocol.settings = PATIENCE
TestTwoWorkers = TwoWorkers.TestCase
TestTwoWorkers.settings = PATIENCE
