"""The Medusa server as a whole: its jobs, its clockwork, and what can be done to it."""

from __future__ import annotations

import asyncio
from typing import Any

from stoq_provider.testing.jobs import Setting, take_settings
from stoq_provider.testing.medusa.auth import Auth, User
from stoq_provider.testing.medusa.basics import Ids, StepFailed, not_allowed, not_found
from stoq_provider.testing.medusa.bus import EventBus
from stoq_provider.testing.medusa.catalogue import ORDER_COLUMNS, PRODUCT_COLUMNS, seeded
from stoq_provider.testing.medusa.exports import Export
from stoq_provider.testing.medusa.imports import PriceListImport, ProductImport
from stoq_provider.testing.medusa.jobs import BatchJob, ServerDied, Strategy
from stoq_provider.testing.medusa.storage import Storage
from stoq_provider.testing.site import Controls, SiteLog, SiteSetup

# Invented: how long until somebody has started a process again that died of a step, in real time.
DOWN_SECONDS = 1.0
# M: between the stamps of pre_processed and confirmed lay 5 ms. S: both are set in one transaction, so nobody
# sees the first.
STAMPS_APART = 0.005
# M: of a small job.
PROCESSING_SECONDS = 0.2
SETTINGS = frozenset({"processing_seconds", "error", "stuck", "status_word"})


class MedusaSite:
    """One server. Touched by the sandbox's event loop only."""

    def __init__(self, setup: SiteSetup) -> None:
        now = setup.clock.now()
        self.clock = setup.clock
        self.ids = Ids(setup.seed)
        self.log = SiteLog()
        self.storage = Storage()
        self.catalogue = seeded(self.ids, now)
        self.auth = Auth(setup.clock, self.ids)
        self.jobs: dict[str, BatchJob] = {}
        self.backend_url: str | None = None
        self.deaths = 0
        self.down_seconds: float | None = DOWN_SECONDS
        self.retired = False
        self._power = setup.power
        self._bus = EventBus(now)
        self._settings: list[Setting] = []
        self._timer: asyncio.TimerHandle | None = None
        self._moved = asyncio.Event()
        self._waiting = 0
        self.price_lists = PriceListImport(self.catalogue, self.storage, self.ids, now)
        self._strategies: dict[str, Strategy] = {
            "product-export": Export("Product", PRODUCT_COLUMNS, self.catalogue, self.storage),
            "order-export": Export("Order", ORDER_COLUMNS, self.catalogue, self.storage),
            "product-import": ProductImport(self.catalogue, self.storage, self.ids),
            "price-list-import": self.price_lists,
        }

    # What the API does.

    def create(self, kind: str, context: dict[str, Any], dry_run: bool, user: User) -> BatchJob:
        """Create a job, and queue its first step. Raises `MedusaError`."""
        if kind not in self._strategies:
            raise not_found(f"Unable to find a BatchJob strategy with the type {kind}")
        if kind == "price-list-import":
            self.price_lists.check(context)
        now, settings = self.clock.now(), take_settings(self._settings, kind)
        job = BatchJob(self.ids.new("batch", now), kind, dry_run, context, user.id, now, now, settings)
        self.jobs[job.id] = job
        self.log.submissions.append(
            {"kind": kind, "dry_run": dry_run, "context": context, "user": user.email, "job_id": job.id}
        )
        if not job.settings.get("stuck"):
            self._bus.post(lambda due: self._pre_process(job, due), now)
        self.schedule()
        return job

    def find(self, job_id: str, user: User) -> BatchJob:
        """A job of this user. Raises `MedusaError`: 404, or 400 for another's (M)."""
        job = self.jobs.get(job_id)
        if job is None or job.forgotten:
            raise not_found(f"Batch job with id {job_id} was not found")
        if job.created_by != user.id:
            raise not_allowed("Cannot access a batch job that does not belong to the logged in user")
        return job

    def confirm(self, job: BatchJob) -> None:
        """Only from `pre_processed` (M)."""
        if job.status != "pre_processed":
            raise not_allowed("Cannot confirm processing for a batch job that is not pre processed")
        self._confirmed(job, self.clock.now())
        self.schedule()

    async def cancel(self, job: BatchJob) -> None:
        """
        Refused only once completed. While the job is processed, the call waits for its end (M).

        :raises MedusaError: the job is completed
        :raises ServerDied: the process ended under the call
        """
        if "completed_at" in job.stamps and job.busy_until is None and job.status == "completed":
            raise not_allowed("Cannot cancel completed batch job")
        deaths = self.deaths
        while job.busy_until is not None and not self.retired and self.deaths == deaths:
            self._waiting += 1
            await self._moved.wait()
            self._waiting -= 1
        if self.deaths != deaths:
            raise ServerDied
        job.mark("canceled_at", self.clock.now())

    # The steps.

    def _pre_process(self, job: BatchJob, now: float) -> None:
        if job.status == "canceled":
            self._fail(job, now, "Cannot mark a batch job as pre processed if it is not in created status")
            return
        try:
            self._strategies[job.type].pre_process(job)
        except StepFailed as error:
            self._fail(job, now, str(error))
            return
        except ServerDied:
            self.die(self.down_seconds)
            return
        job.mark("pre_processed_at", now)
        if not job.dry_run:
            self._confirmed(job, now + STAMPS_APART)

    def _confirmed(self, job: BatchJob, now: float) -> None:
        job.mark("confirmed_at", now)
        self._bus.post(lambda due: self._process(job, due), now)

    def _process(self, job: BatchJob, now: float) -> None:
        if "canceled_at" in job.stamps:
            self._fail(
                job, now, "Cannot mark a batch job as processing if the status is different that confirmed"
            )
            return
        job.busy_until = now + float(job.settings.get("processing_seconds", PROCESSING_SECONDS))
        self._bus.at(job.busy_until, lambda due: self._processed(job, now, due))

    def _processed(self, job: BatchJob, began: float, now: float) -> None:
        """The end of the transaction: only now is anything of it seen (M)."""
        job.busy_until = None
        try:
            if job.settings.get("error"):
                raise StepFailed(str(job.settings["error"]))
            self._strategies[job.type].process(job, now)
        except StepFailed as error:
            self._fail(job, now, str(error))
            return
        job.mark("processing_at", began)
        job.mark("completed_at", now)

    def _fail(self, job: BatchJob, now: float, message: str) -> None:
        job.put(errors=[*((job.result or {}).get("errors") or []), message])
        job.mark("failed_at", now)

    # The clockwork.

    def settle(self) -> None:
        """Run the steps that are due."""
        if self.retired:
            return
        self._bus.run(self.clock.now())
        self._tell()
        # The clock may have been moved, so an older alarm may be too late.
        self._stop_timer()
        self.schedule()

    def schedule(self) -> None:
        """Wake up in time for the next step, so that it happens also when nobody asks."""
        due = self._bus.next_due
        if due is None or self._timer is not None or self.retired or not self.clock.time_scale:
            return  # a clock that stands is moved by somebody, who settles what is due
        seconds = max(0.0, due - self.clock.now()) / self.clock.time_scale
        self._timer = asyncio.get_running_loop().call_later(seconds + 0.001, self._wake)

    def _tell(self) -> None:
        """Let calls that wait for the end of a job look again."""
        self._moved.set()
        self._moved = asyncio.Event()

    def _wake(self) -> None:
        self._timer = None
        self.settle()

    def retire(self) -> None:
        """A reset has put another server in its place."""
        self.retired = True
        self._stop_timer()
        self._tell()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def die(self, seconds: float | None = DOWN_SECONDS, *, forget_queue: bool = False) -> None:
        """
        Kill the process: connections are refused for so many real seconds, or until the sandbox is disarmed.

        Steps that were being done are lost, and their jobs stay as they are for ever; steps that were still
        staged are done once the server is back (M, S). Tokens stay valid: their secret is configuration.

        :param forget_queue: lose staged steps too, as with a queue that is not kept
        """
        self.deaths += 1
        for job in self.jobs.values():
            job.busy_until = None
        back_at = self.clock.now() + (seconds or 0) * self.clock.time_scale
        self._bus.restart(back_at, forget_staged=forget_queue)
        self._power(seconds)
        self._tell()

    # Controls and state.

    def _next_job(self, kind: str = "*", times: int | None = 1, **values: Any) -> None:
        unknown = set(values) - SETTINGS
        if unknown:
            raise ValueError(f"unknown job settings: {', '.join(sorted(unknown))}")
        self._settings.append(Setting(kind, values, times))

    def _change(self, job_id: str, *, forget: bool = False, status_word: str | None = None) -> None:
        job = self.jobs.get(job_id)
        if job is None:
            raise ValueError(f"no such job: {job_id}")
        job.forgotten = forget
        if status_word is not None:
            job.settings["status_word"] = status_word

    def _set_down(self, seconds: float | None) -> None:
        self.down_seconds = seconds

    def _backend_url(self, url: str | None) -> None:
        self.backend_url = url

    def controls(self) -> Controls:
        """`kill`, `down_seconds`, `expire_tokens`, `next_job`, `job`, `backend_url`."""
        return {
            "kill": self.die,
            "down_seconds": self._set_down,
            "expire_tokens": self.auth.expire_tokens,
            "next_job": self._next_job,
            "job": self._change,
            "backend_url": self._backend_url,
        }

    def state(self) -> dict[str, Any]:
        """Counters, jobs as their owners see them, files and what the catalogue holds."""
        self.settle()
        return {
            **self.log.view(),
            "jobs": {job.id: job.view() for job in self.jobs.values()},
            "deaths": self.deaths,
            "waiting_calls": self._waiting,
            "files": {key: blob.size for key, blob in self.storage.files.items()},
            "products": len(self.catalogue.ids()),
            "variants": len(self.catalogue.products),
            "price_lists": {name: len(prices) for name, prices in self.price_lists.lists.items()},
        }
