"""Any response of a server is decoded into what Airflow can carry, or into an error that is foreseen."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from stoq_provider.core.events import JobEnd
from stoq_provider.core.http import LONGEST_WAIT, Decoded, MalformedResponse, Request, Response, read
from stoq_provider.core.lifecycle import JobProgress, PollResult, advance
from stoq_provider.core.manifest import manifest
from stoq_provider.core.models import JobHandle
from stoq_provider.core.rate_limit import PointsBudget
from stoq_provider.core.submission import Submission
from stoq_provider.core.validation import InvalidInput
from stoq_provider.systems.base import System
from stoq_provider.systems.medusa.confirmation import changes_of
from stoq_provider.systems.medusa.system import Medusa
from stoq_provider.systems.printstudio.system import PrintStudio
from stoq_provider.systems.stoq.actions import read_manifest
from stoq_provider.systems.stoq.system import Stoq
from stoq_provider.systems.surecart import SureCart
from stoq_provider.transport.auth import Login, LoginFailed
from stoq_provider.transport.retry import LONGEST_PAUSE, Retries, RetryPolicy
from stoq_provider.transport.settings import ConnectionSettings

NOW = 1_780_000_000.0
ORIGIN = "https://shop.example"
KEY = "k3y-0f-the-sh0p"
JOBS = ("job_1", "job_2")
"""Ids that the handles have, so that a response may be about them."""

KINDS: dict[System, tuple[str, ...]] = {
    Stoq(): ("export:revenue", "bulk_release"),
    Medusa(): ("product-import:dry_run", "product-export"),
    SureCart(): ("delete_customers",),
    PrintStudio(): ("create_orders", "cancel_jobs", "print_job:shipped:fail", "order:shipped"),
}


def check_answer(response: Response) -> None:
    """Let every reader of every system look at a response."""
    decoded = read(response, now=NOW, secrets=(KEY,))
    check_carried(decoded.payload)
    check_waits(decoded)
    if decoded.problem is not None:
        check_text(decoded.problem.text, most=2000)
    for system, kinds in KINDS.items():
        for kind in kinds:
            check_job(system, kind, decoded)
        check_lists(system, decoded)
    if decoded.problem is None:
        check_actions(decoded.payload)


def check_waits(decoded: Decoded) -> None:
    """No header makes a shop wait for longer than an hour, nor gives it nothing or no end of points."""
    limit = decoded.rate_limit
    assert all(value is None or 0 <= value < 1e12 for value in (limit.limit, limit.remaining))
    assert limit.retry_after is None or 0 <= limit.retry_after <= LONGEST_WAIT
    assert limit.reset_in is None or (limit.reset_in >= 0 and math.isfinite(limit.reset_in))
    for system in KINDS:
        budget = PointsBudget(system.points)
        budget.update(limit, NOW, refused=True)
        assert budget.wait(system.points.write, NOW) <= max(LONGEST_WAIT, system.points.window)
    pause = Retries(RetryPolicy(), Request("GET", ORIGIN)).pause_after(decoded)
    assert pause is None or 0 <= pause <= LONGEST_PAUSE + LONGEST_WAIT


def check_job(system: System, kind: str, decoded: Decoded) -> None:
    """A response to a submission, and to a poll of one job or of several."""
    handles = [JobHandle(system.name, kind, job_id, f"/jobs/{job_id}", 3, NOW - 60) for job_id in JOBS]
    submission = Submission(kind, "/jobs", {"ids": [1, 2, 3]}, item_count=3)
    if decoded.problem is None:
        with suppress(MalformedResponse):
            handle = system.read_submission(decoded.payload, submission, NOW)
            check_form(handle)
            assert handle.result is None or check_form(handle.result)
            handles.append(handle)
        with suppress(MalformedResponse):
            system.was_stopped(decoded.payload)
    for handle in handles:
        with suppress(InvalidInput):  # a status URL that leads elsewhere
            system.status_request(ORIGIN, handle)
    asked = handles[:1] if system.poll_size == 1 else handles[:2]
    for given in (asked[:1], asked):
        for handle, result in zip(given, system.poll_results(decoded, given), strict=True):
            check_poll(system, handle, result)


def check_poll(system: System, handle: JobHandle, result: PollResult) -> None:
    """What one poll brought goes through the state machine, the trigger's event and the manifest."""
    check_text(result.text, most=2000)
    progress = advance(JobProgress(handle, NOW - 50), result, NOW, system.rules)
    if progress.status is not None:
        check_form(progress.status)
        check_text(progress.status.describe())
        changes_of(progress.status.details)
        system.file_request(ORIGIN, progress.status)
    if progress.ended:
        end = JobEnd.of(progress)
        check_form(end)
        ends = [end, end]
        check_carried(
            manifest(system=system.name, kind=handle.kind, ends=ends, started_at=NOW, finished_at=NOW)
        )


def check_lists(system: System, decoded: Decoded) -> None:
    """A page of a list in which a lost job is looked for, a login, and the URL of a file."""
    if decoded.problem is not None:
        return
    submission = Submission(KINDS[system][0], "/jobs", {})
    with suppress(MalformedResponse):
        found = system.read_found(decoded.payload, submission, "mark", NOW, 0)
        assert found.handle is None or check_form(found.handle)
        assert found.next_offset is None or found.next_offset > 0
    with suppress(MalformedResponse):
        assert system.read_file_url(decoded.payload)
    login = Login(ConnectionSettings(ORIGIN, KEY, login="me"), system)
    with suppress(LoginFailed):
        login.accept_token(decoded)
        assert (login.token or "").isprintable()
    with suppress(InvalidInput):
        for handle in system.read_handles(decoded.payload):
            check_form(handle)


def check_actions(payload: Any) -> None:
    """The live manifest, with whatever schemas."""
    with suppress(MalformedResponse):
        for action in read_manifest(payload):
            with suppress(MalformedResponse, InvalidInput):
                action.check({"id": 1, "name": "x", "ids": [1, "2"]})


def check_form(form: Any) -> bool:
    """The JSON form can be carried, and comes back as it was."""
    written = form.to_dict()
    check_carried(written)
    again = type(form).from_dict(json.loads(json.dumps(written)))
    assert again == _without_urls(form)
    return True


def _without_urls(form: Any) -> Any:
    if getattr(form, "status", None) is not None:
        return replace(form, status=_without_urls(form.status))
    return replace(form, download_url=None) if hasattr(form, "download_url") else form


def check_carried(value: Any) -> None:
    """
    Whether events and XComs can have it on their way and in a database.

    Airflow's processes speak MessagePack, with 64 bits for a number; PostgreSQL's JSON has no NUL and no NaN.
    """
    for leaf in _leaves(value):
        if isinstance(leaf, str):
            leaf.encode()
            assert "\0" not in leaf
        elif isinstance(leaf, float):
            assert math.isfinite(leaf)
        else:
            assert leaf is None or -(2**63) <= leaf < 2**63


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple, dict)):
        inner: Iterable[Any] = value
        if isinstance(value, dict):
            inner = (part for pair in value.items() for part in pair)
        for item in inner:
            yield from _leaves(item)
    else:
        yield value


def check_text(text: str, most: int | None = None) -> None:
    """A text for people is one line, can be printed, and shows no key."""
    text.encode()
    assert KEY not in text
    assert most is None or len(text) <= most
