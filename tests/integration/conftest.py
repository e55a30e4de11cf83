"""A sandbox for each module, tasks against it, and time that both sides share and nobody waits for."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from stoq_provider.core.submission import Submission
from stoq_provider.download import resume
from stoq_provider.download.options import DownloadOptions
from stoq_provider.exceptions import StoqProviderError
from stoq_provider.jobs.records import TaskIdentity
from stoq_provider.jobs.state_store import TaskStateStore
from stoq_provider.jobs.submit import Submitter
from stoq_provider.operators.bulk import StoqBulkOrdersOperator, StoqBulkVariantsOperator
from stoq_provider.operators.reports import StoqReportExportOperator
from stoq_provider.sensors.jobs import StoqJobSensor
from stoq_provider.systems.stoq.bulk import ORDER_ACTIONS
from stoq_provider.testing import Sandbox
from stoq_provider.testing.shop import ShopSize
from stoq_provider.transport.sync import SyncTransport
from tests.harness import Killed, Logs, TaskRun, recorded_logs
from tests.virtual_time import SPEED, VirtualTime, virtual_time

__all__ = ["SPEED", "VirtualTime", "virtual_time"]

MODES = ("worker", "deferred")
SENSOR_MODES = ("worker", "deferred", "reschedule")
POLL = r"/exports/"
SUBMIT = r"/export$"
CONN = "AIRFLOW_CONN_STOQ_DEFAULT"


class Bench:
    """Makes tasks against the sandbox, and tells what came of them there."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder

    def export(self, mode: str = "worker", *, store: Any = None, **options: Any) -> TaskRun:
        """An export into the folder; ``options`` are those of the operator."""
        given = {"report": "revenue", "destination": f"{self.folder}/", "poll_interval": 0.02, "timeout": 600}
        return TaskRun(
            lambda: StoqReportExportOperator(
                task_id="export", deferrable=mode == "deferred", **{**given, **options}
            ),
            store=store,
        )

    def submitted(self, **options: Any) -> list[dict[str, Any]]:
        """Submit an export in a task of its own; return the handles, as XCom holds them."""
        handles = self.export(destination=None, **options).execute()
        return json.loads(json.dumps(handles))

    def sensor(self, mode: str, job: Any, **options: Any) -> TaskRun:
        """A sensor that stores the file."""
        given = {"destination": f"{self.folder}/", "poke_interval": 0.02, "timeout": 600}
        given["mode"] = "reschedule" if mode == "reschedule" else "poke"
        return TaskRun(
            lambda: StoqJobSensor(
                task_id="wait", job=job, deferrable=mode == "deferred", **{**given, **options}
            )
        )

    def bulk(
        self, action: str, ids: Any, mode: str = "worker", *, store: Any = None, **options: Any
    ) -> TaskRun:
        """A bulk action of either family; ``options`` are those of the operator."""
        orders = action in ORDER_ACTIONS
        operator = StoqBulkOrdersOperator if orders else StoqBulkVariantsOperator
        given = {"order_ids" if orders else "variant_ids": ids, "poll_interval": 0.02, "timeout": 600}
        return TaskRun(
            lambda: operator(
                task_id="bulk", action=action, deferrable=mode == "deferred", **{**given, **options}
            ),
            store=store,
        )

    def sent(self) -> list[list[int]]:
        """The ids of every submission of a list that the sandbox took, in order."""
        return [entry["ids"] for entry in self.sandbox.submissions]

    @property
    def submissions(self) -> int:
        return len(self.sandbox.submissions)

    @property
    def jobs(self) -> dict[str, Any]:
        jobs: dict[str, Any] = self.sandbox.state["jobs"]
        return jobs

    @property
    def job_id(self) -> str:
        """The one job there is."""
        (job_id,) = self.jobs
        return str(job_id)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


def fails(
    run: Callable[[], Any], error: type[BaseException], *says: str, final: bool = False
) -> StoqProviderError:
    """Check that it fails with exactly this error, that Airflow retries it or not, and its message."""
    with pytest.raises(error) as caught:
        run()
    assert type(caught.value) is error
    assert isinstance(caught.value, AirflowFailException) is final
    text = str(caught.value)
    missing = [part for part in says if part not in text]
    assert not missing, f"{missing} not in: {text}"
    return caught.value  # type: ignore[return-value]


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with Sandbox(time_scale=0, size=ShopSize(orders=300)) as running:
        yield running


@pytest.fixture(scope="module")
def large_server() -> Iterator[Sandbox]:
    with Sandbox(time_scale=0, size=ShopSize(orders=1200)) as running:
        yield running


@pytest.fixture
def clock(virtual_time: VirtualTime) -> VirtualTime:
    """The time of both sides."""
    return virtual_time


@pytest.fixture
def sandbox(request: pytest.FixtureRequest, clock: VirtualTime, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A shop of 300 orders; with the marker `large_shop`, of 1,200, which take longer to make and to list."""
    large = request.node.get_closest_marker("large_shop") is not None
    server: Sandbox = request.getfixturevalue("large_server" if large else "server")
    server.reset()
    clock.drives(server)
    connect(monkeypatch, server)
    return server


def in_turn(rows: Iterable[Any], *axes: Sequence[Any]) -> list[Any]:
    """Let each row meet one value of every other axis, and the axes' own values all meet one another."""
    cases = []
    for row, others in zip(rows, itertools.cycle(itertools.product(*axes)), strict=False):
        values = getattr(row, "values", row) if isinstance(row, tuple) else (row,)
        label = getattr(row, "id", None)
        cases.append(pytest.param(*values, *others, id=label and "-".join((label, *map(str, others)))))
    return cases


def connect(
    monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, *, key: str | None = None, **extra: Any
) -> None:
    """Let the connection lead to the sandbox."""
    connection = {
        "conn_type": "stoq",
        "host": sandbox.origin,
        "password": key or sandbox.key,
        "extra": {"timeout": 60, **extra},
    }
    monkeypatch.setenv(CONN, json.dumps(connection))


@pytest.fixture
def bench(sandbox: Sandbox, tmp_path: Path) -> Bench:
    return Bench(sandbox, tmp_path / "lake")


@pytest.fixture
def logs() -> Iterator[Logs]:
    with recorded_logs() as logs:
        yield logs


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses that no parameter shortens; jobs are first polled in the order of submission."""
    monkeypatch.setattr("stoq_provider.core.polling.FIRST_SPREAD", 0.0)
    monkeypatch.setattr("random.uniform", lambda low, high: 0.01)
    monkeypatch.setattr(resume, "_BACKOFF_SECONDS", 0.02)
    real = DownloadOptions.of

    def few_resumes(*, given: Any, **options: Any) -> DownloadOptions:
        return real(given={"max_resumes": 2, **(given or {})}, **options)

    monkeypatch.setattr(DownloadOptions, "of", few_resumes)


def mail(hook: Any, store: Any, *, clears: int = 0, on_clear: str = "resubmit") -> Callable[[], Any]:
    """Submit what must never be repeated: mail to customers."""
    ids = [order["shopify_order_id"] for order in itertools.islice(hook.iter_orders(state="placed"), 2)]
    submitter = Submitter(
        hook, TaskStateStore(store), TaskIdentity("shop", "mail", "run", -1, clears=clears), on_clear=on_clear
    )
    return lambda: submitter.submit(mail_submission(ids))


def mail_submission(ids: list[int]) -> Submission:
    kind = "bulk_send_payment_collection_url"
    return Submission(kind, f"/preorders/orders/{kind}", {"order_ids": ids}, item_count=len(ids))


DEATHS = ("before-the-post", "after-the-post", "after-the-handle")


def kill_worker(patch: pytest.MonkeyPatch, point: str, *, nth: int = 1) -> None:
    """Let the worker die around its nth POST; see ``DEATHS``."""
    exchange, send = SyncTransport._exchange, Submitter._send
    posts, notes = itertools.count(1), itertools.count(1)

    async def die_at_post(transport: Any, request: Any) -> Any:
        fatal = request.method == "POST" and next(posts) == nth
        if fatal and point == "before-the-post":
            raise Killed
        answer = await exchange(transport, request)
        if fatal and point == "after-the-post":
            raise Killed
        return answer

    def die_at_note(*arguments: Any, **options: Any) -> Any:
        submitted = send(*arguments, **options)
        if point == "after-the-handle" and next(notes) == nth:
            raise Killed
        return submitted

    patch.setattr(SyncTransport, "_exchange", die_at_post)
    patch.setattr(Submitter, "_send", die_at_note)
