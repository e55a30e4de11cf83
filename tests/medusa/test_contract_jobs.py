"""The life of a batch job: creation, dry run, decision, cancellation, and what is refused on the way."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.medusa.client import JOBS, Client, job_of, rows_of
from tests.medusa.servers import Server, held

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
STAMPS = ("pre_processed_at", "confirmed_at", "processing_at", "completed_at", "canceled_at", "failed_at")
FIELDS = {
    *("id", "type", "status", "dry_run", "context", "result", "created_by"),
    *("created_at", "updated_at", "deleted_at"),
    *STAMPS,
}
TOO_EARLY = "Cannot confirm processing for a batch job that is not pre processed"


def stamps_of(job: dict[str, Any]) -> list[str]:
    return [name for name in STAMPS if job[name] is not None]


@pytest.fixture(scope="module")
def completed(client: Client) -> dict[str, Any]:
    return client.run()


@pytest.fixture(scope="module")
def failed(client: Client) -> dict[str, Any]:
    return client.fails("product-export", filterable_fields={"nope": "x"})


# -- creation


def test_a_new_job_is_created_and_has_done_nothing(client: Client) -> None:
    answer = client.post(JOBS, {"type": "product-export", "context": {}})
    assert answer.status_code == 201
    job = job_of(answer)
    assert set(job) == FIELDS
    assert (job["status"], job["type"], job["dry_run"]) == ("created", "product-export", False)
    assert (job["result"], stamps_of(job)) == (None, [])
    assert re.fullmatch(r"batch_[0-9A-HJKMNP-TV-Z]{26}", job["id"])
    assert MOMENT.fullmatch(job["created_at"])


def test_a_job_that_is_asked_for_has_the_same_fields(client: Client) -> None:
    made = client.create()
    asked = client.job(made["id"])
    assert set(asked) == FIELDS
    constant = ("id", "type", "dry_run", "created_by", "created_at", "deleted_at")
    assert {name: asked[name] for name in constant} == {name: made[name] for name in constant}


@pytest.mark.parametrize(
    ("body", "status", "error", "message"),
    [
        (
            {"type": "delete-products", "context": {}},
            404,
            "not_found",
            "Unable to find a BatchJob strategy with the type delete-products",
        ),
        ({"context": {}}, 400, "invalid_data", "type must be a string"),
        ({"type": "product-export"}, 400, "invalid_data", "context must be an object"),
        ({"type": "product-export", "context": "x"}, 400, "invalid_data", "context must be an object"),
        (
            {"type": "product-export", "context": {}, "more": 1},
            400,
            "invalid_data",
            "property more should not exist",
        ),
        (
            {"type": "product-export", "context": {}, "dry_run": "yes"},
            400,
            "invalid_data",
            "dry_run must be a boolean value",
        ),
        ({}, 400, "invalid_data", "type must be a string, context must be an object"),
    ],
    ids=[
        "unknown type",
        "no type",
        "no context",
        "text as context",
        "unknown key",
        "text as flag",
        "nothing",
    ],
)
def test_a_bad_creation_is_refused_with_the_reason(
    client: Client, body: dict[str, Any], status: int, error: str, message: str
) -> None:
    answer = client.post(JOBS, body)
    assert answer.status_code == status
    assert answer.json() == {"type": error, "message": message}


@pytest.mark.usefixtures("only_real")
def test_a_body_that_is_no_json_is_answered_with_a_page(client: Client) -> None:
    answer = client.ask("POST", JOBS, data="{oops", headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "SyntaxError" in answer.text


@pytest.mark.usefixtures("only_real")
def test_a_body_over_100_kb_is_answered_with_a_page(client: Client) -> None:
    body = {"type": "product-export", "context": {"note": "x" * 102_400}}
    answer = client.post(JOBS, body)
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_a_body_just_under_100_kb_is_taken(client: Client) -> None:
    client.create("product-export", {"note": "x" * 102_000})


def test_the_same_idempotency_key_makes_two_jobs(client: Client) -> None:
    bodies = {"type": "product-export", "context": {}}
    key = {"Idempotency-Key": "the-same-key"}
    first, second = (job_of(client.post(JOBS, bodies, headers=key)) for _ in range(2))
    assert first["id"] != second["id"]


# -- jobs and routes that do not exist


@pytest.mark.parametrize(("method", "tail"), [("GET", ""), ("POST", "/confirm"), ("POST", "/cancel")])
def test_a_job_that_does_not_exist_is_not_found_in_json(client: Client, method: str, tail: str) -> None:
    answer = client.ask(method, f"{JOBS}/batch_does_not_exist{tail}")
    assert answer.status_code == 404
    assert answer.json() == {
        "type": "not_found",
        "message": "Batch job with id batch_does_not_exist was not found",
    }


@pytest.mark.parametrize(("method", "path"), [("GET", "/admin/no-such-thing"), ("DELETE", f"{JOBS}/{{id}}")])
def test_a_route_that_does_not_exist_is_answered_with_a_page(
    client: Client, completed: dict[str, Any], method: str, path: str
) -> None:
    path = path.format(**completed)
    answer = client.ask(method, path)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert f"Cannot {method} {path}" in answer.text


# -- the course of a job


def test_an_export_goes_from_created_to_completed(client: Client, completed: dict[str, Any]) -> None:
    assert stamps_of(completed) == ["pre_processed_at", "confirmed_at", "processing_at", "completed_at"]
    moments = [completed[name] for name in ("created_at", *stamps_of(completed))]
    assert moments == sorted(moments)
    assert all(MOMENT.fullmatch(moment) for moment in moments)
    assert client.job(completed["id"]) == completed


def test_a_dry_run_waits_until_it_is_confirmed(client: Client) -> None:
    job = client.waiting()
    assert job["dry_run"] is True
    assert stamps_of(job) == ["pre_processed_at"]
    assert [set(entry) for entry in job["result"]["stat_descriptors"]] == [{"key", "name", "message"}]
    assert client.outlived(job) == job

    answer = client.confirm(job)
    assert answer.status_code == 200
    confirmed = job_of(answer)
    assert (confirmed["status"], confirmed["dry_run"]) == ("confirmed", True)
    done = client.until(job, "completed")
    assert done["result"]["file_key"]
    assert done["dry_run"] is True


def test_confirming_too_early_is_refused_and_changes_nothing(server: Server, client: Client) -> None:
    with held(server):
        job = client.create(dry_run=True)
        answer = client.confirm(job)
    assert answer.status_code == 400
    assert answer.json() == {"type": "not_allowed", "message": TOO_EARLY}
    assert stamps_of(client.until(job, "pre_processed")) == ["pre_processed_at"]


def test_confirming_twice_is_refused(client: Client) -> None:
    job = client.waiting()
    assert client.confirm(job).status_code == 200
    assert (answer := client.confirm(job)).status_code == 400
    assert answer.json() == {"type": "not_allowed", "message": TOO_EARLY}
    client.until(job, "completed")


def test_confirming_a_completed_job_is_refused(client: Client, completed: dict[str, Any]) -> None:
    assert (answer := client.confirm(completed)).status_code == 400
    assert answer.json() == {"type": "not_allowed", "message": TOO_EARLY}


# -- cancellation


def test_a_waiting_dry_run_that_is_cancelled_stays_cancelled(client: Client) -> None:
    job = client.waiting()
    answer = client.cancel(job)
    assert answer.status_code == 200
    assert job_of(answer)["status"] == "canceled"
    assert client.cancel(job).status_code == 200, "cancelling again is no error"
    assert (refusal := client.confirm(job)).status_code == 400
    assert refusal.json() == {"type": "not_allowed", "message": TOO_EARLY}
    assert stamps_of(client.outlived(job)) == ["pre_processed_at", "canceled_at"]


def test_a_created_job_that_is_cancelled_turns_failed(server: Server, client: Client) -> None:
    with held(server):
        job = client.create()
        answer = client.cancel(job)
    assert answer.status_code == 200
    assert job_of(answer)["status"] == "canceled"
    ended = client.until(job, "failed")
    assert stamps_of(ended) == ["canceled_at", "failed_at"]
    assert ended["canceled_at"] < ended["failed_at"]
    message = "Cannot mark a batch job as pre processed if it is not in created status"
    assert ended["result"]["errors"] == [message]


def test_a_confirmed_job_that_is_cancelled_turns_failed(server: Server, client: Client) -> None:
    job = client.waiting()
    with held(server):
        assert client.confirm(job).status_code == 200
        answer = client.cancel(job)
    assert answer.status_code == 200
    assert job_of(answer)["status"] == "canceled"
    ended = client.until(job, "failed")
    assert stamps_of(ended) == ["pre_processed_at", "confirmed_at", "canceled_at", "failed_at"]
    message = "Cannot mark a batch job as processing if the status is different that confirmed"
    assert ended["result"]["errors"] == [message]


def test_cancelling_a_completed_job_is_refused(client: Client, completed: dict[str, Any]) -> None:
    assert (answer := client.cancel(completed)).status_code == 400
    assert answer.json() == {"type": "not_allowed", "message": "Cannot cancel completed batch job"}
    assert client.job(completed["id"]) == completed


def test_a_failed_job_that_is_cancelled_stays_failed(client: Client, failed: dict[str, Any]) -> None:
    answer = client.cancel(failed)
    assert answer.status_code == 200
    assert job_of(answer)["status"] == "failed"
    assert stamps_of(client.job(failed["id"])) == ["canceled_at", "failed_at"]


def test_a_failed_job_tells_why_in_words(failed: dict[str, Any]) -> None:
    (message,) = failed["result"]["errors"]
    assert 'Property "nope" was not found' in message
    assert "file_key" not in failed["result"]


# -- polling


@pytest.mark.usefixtures("only_real")
def test_an_answer_that_did_not_change_can_be_asked_for_by_its_tag(
    client: Client, completed: dict[str, Any]
) -> None:
    path = f"{JOBS}/{completed['id']}"
    tag = client.get(path).headers["ETag"]
    answer = client.get(path, headers={"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_five_jobs_at_once_all_complete(client: Client) -> None:
    jobs = [client.create() for _ in range(5)]
    files = [client.file_of(client.until(job, "completed")) for job in jobs]
    # Their keys are made of the time in milliseconds: on a real server two may share one (M).
    assert {len(rows_of(file)) for file in files} == {len(rows_of(files[0]))}
