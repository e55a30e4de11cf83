"""How Medusa v1 spells jobs; the answers are those of a real server."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest

from stoq_provider.core.http import Decoded, MalformedResponse, ProblemKind, Response, read
from stoq_provider.core.lifecycle import PollResultKind
from stoq_provider.core.models import JobHandle, JobState, JobStatus
from stoq_provider.core.records import RepeatSafety
from stoq_provider.core.validation import InvalidInput
from stoq_provider.systems.medusa.confirmation import Policy, changes_of, read_policy
from stoq_provider.systems.medusa.submission import CORRELATION, submission, with_file
from stoq_provider.systems.medusa.system import Medusa

MEDUSA = Medusa()
RECORDINGS = Path(__file__).parents[3] / "recordings" / "medusa"
ORIGIN = "https://shop.example"
NOW = 1_780_000_000.0


EXPRESS_PAGE = (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Error</title>\n</head>\n'
    "<body>\n<pre>{}<br> &nbsp; &nbsp;at readStream (/srv/node_modules/raw-body/index.js:163:17)<br> &nbsp; "
    "at x</pre>\n</body>\n</html>\n"
)
"""How a page looks of which the recordings keep the message only (M)."""
STORY = [entry for path in sorted(RECORDINGS.glob("*.json")) for entry in json.loads(path.read_text())]


def recorded(name):
    (entry,) = [entry for entry in STORY if entry["name"].startswith(name)]
    return entry


def answer(name):
    """A recorded answer, decoded as the transports do."""
    response = recorded(name)["response"]
    body = response.get("text", EXPRESS_PAGE.format(html.escape(response.get("page", ""), quote=True)))
    body = json.dumps(response["json"]) if "json" in response else body
    headers = {key.lower(): value for key, value in response.get("headers", {}).items()}
    return read(Response(response["status"], headers, body.encode()), now=NOW)


def course(name):
    """The job of each distinct answer of a recorded wait."""
    return [poll["batch_job"] for poll in recorded(name)["polled"]]


def handle_of(job, kind=None):
    return MEDUSA.handle(job["id"], kind or job["type"], NOW)


def status_of(job, kind=None):
    return MEDUSA.read_status({"batch_job": job}, handle_of(job, kind))


# -- who asks, and how often ----------------------------------------------------------------------------


def test_a_token_goes_in_its_own_header_and_a_login_gives_a_bearer_token():
    assert MEDUSA.auth_headers("abc") == {"x-medusa-access-token": "abc"}
    assert MEDUSA.token_headers("abc") == {"Authorization": "Bearer abc"}
    request = MEDUSA.login_request(ORIGIN, "a@b.c", "secret")
    asked = recorded("07-auth")["request"]
    assert (request.method, request.url) == (asked["method"], ORIGIN + asked["path"])
    assert set(request.json) == set(asked["body"])
    assert MEDUSA.read_login(answer("07-auth").payload) == "<jwt>"
    with pytest.raises(MalformedResponse, match="access_token"):
        MEDUSA.read_login({"user": {}})


def test_no_origin_is_a_default_because_every_shop_has_its_own():
    assert (MEDUSA.default_origin, MEDUSA.base_path) == (None, "")


def test_cadence_is_three_seconds_then_five_then_fifteen():
    ages = {0: 3, 0.9: 3, 3: 5, 59: 5, 60: 15, 3600: 15}
    assert {age: MEDUSA.cadence("product-export").interval(age) for age in ages} == ages


@pytest.mark.parametrize(
    ("kind", "safety"),
    [
        ("product-export", RepeatSafety.SAFE),
        ("order-export:dry_run", RepeatSafety.SAFE),
        ("product-import", RepeatSafety.NEVER),
        ("product-import:dry_run", RepeatSafety.NEVER),
        ("price-list-import", RepeatSafety.NEVER),
        ("a-plugins-own", RepeatSafety.NEVER),
        ("job", RepeatSafety.NEVER),
    ],
)
def test_exports_may_be_repeated_and_nothing_else(kind, safety):
    assert MEDUSA.repeat_safety(kind) is safety


# -- submissions ----------------------------------------------------------------------------------------


def test_a_submission_is_sent_as_recorded_and_its_answer_read():
    request = MEDUSA.submit_request(ORIGIN, submission("product-export", {}, dry_run=True))
    asked = recorded("50-dryrun-create")["request"]
    assert (request.method, request.url, request.json) == ("POST", ORIGIN + asked["path"], asked["body"])
    planned = submission("product-export", {}, dry_run=True)
    handle = MEDUSA.read_submission(answer("50-dryrun-create").payload, planned, NOW)
    job_id = recorded("50-dryrun-create")["response"]["json"]["batch_job"]["id"]
    assert handle == JobHandle(
        "medusa", "product-export:dry_run", job_id, f"/admin/batch-jobs/{job_id}", submitted_at=NOW
    )
    assert MEDUSA.status_request(ORIGIN, handle).url == f"{ORIGIN}/admin/batch-jobs/{job_id}"


@pytest.mark.parametrize("payload", [{}, {"batch_job": 1}, {"batch_job": {"id": "../users"}}, [], None])
def test_an_answer_without_a_job_is_none(payload):
    with pytest.raises(MalformedResponse):
        MEDUSA.read_submission(payload, submission("product-export"), NOW)


def test_the_mark_goes_into_context_and_changes_neither_the_rest_nor_the_identity():
    planned = submission("product-export", {"order": "-title"})
    marked = MEDUSA.mark(planned, "airflow-1")
    assert marked.body == {"type": "product-export", "context": {"order": "-title", CORRELATION: "airflow-1"}}
    assert planned.body["context"] == {"order": "-title"}


def test_the_identity_of_an_import_is_its_source_not_the_key_of_the_upload():
    planned = [submission("product-import", source=source) for source in ("s3://b/1", "s3://b/1", "s3://b/2")]
    first, again, other = [p.digest() for p in planned]
    assert first == again != other
    assert with_file(planned[0], "k.csv") == {"type": "product-import", "context": {"fileKey": "k.csv"}}


@pytest.mark.parametrize("context", [None, {}, {"filterable_fields": {"x": 1}, "limit": 10, "expand": "a"}])
def test_a_context_without_traps_is_sent_as_given(context):
    assert submission("product-export", json.dumps(context or {})).body["context"] == (context or {})
    assert submission("product-export", context).body["context"] == (context or {})


# -- states ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("21-export-poll", ["created:running", "confirmed:running", "completed:succeeded"]),
        ("48-failed", ["created:running", "failed:failed"]),
        ("52-dryrun-poll", ["created:running", "pre_processed:waiting"]),
        ("56-dryrun-poll", ["confirmed:running", "completed:succeeded"]),
        ("71-cancel-confirmed-aftermath", ["canceled:cancelled", "failed:cancelled"]),
        ("121-import-duplicate-sku-poll", ["created:running", "confirmed:running", "failed:failed"]),
    ],
)
def test_the_course_of_a_real_job(name, states):
    seen = [f"{(s := status_of(job)).word}:{s.state.value}" for job in course(name)]
    assert seen == states


def test_a_failed_job_that_is_cancelled_afterwards_has_failed():
    job = answer("74-cancel-failed").payload["batch_job"]
    assert job["canceled_at"]
    assert status_of(job).state is JobState.FAILED


def test_pre_processed_waits_only_where_the_job_was_a_dry_run():
    job = {**course("52-dryrun-poll")[-1], "dry_run": False}  # as a list shows it
    assert status_of(job).state is JobState.RUNNING
    assert status_of(job, "product-export:dry_run").state is JobState.WAITING
    assert status_of({**job, "dry_run": True}, "job").state is JobState.WAITING


def test_a_word_nobody_listed_is_unknown():
    assert status_of({**course("21-export-poll")[0], "status": "paused"}).state is JobState.UNKNOWN


def test_what_an_export_tells_at_its_end():
    job = course("21-export-poll")[-1]
    key = job["result"]["file_key"]
    status = status_of(job)
    assert (status.progress, status.total, status.processed, status.row_count) == (100.0, 36, 36, None)
    assert status.file_name == key.rpartition("/")[2]
    assert status.details == {
        "stat_descriptors": job["result"]["stat_descriptors"],
        "file_key": key,
        "file_size": 29967,
    }
    request = MEDUSA.file_request(ORIGIN, status)
    asked = recorded("22-export-download-url")["request"]
    assert (request.method, request.url) == (asked["method"], ORIGIN + asked["path"])
    assert request.json == {"file_key": key}
    assert request.reads_only
    assert MEDUSA.read_file_url(answer("22-export-download-url").payload).endswith(".csv")


def test_a_job_without_a_file_has_no_call_for_one():
    assert MEDUSA.file_request(ORIGIN, status_of(course("48-failed")[-1])) is None


def test_what_an_import_tells_when_it_fails():
    status = status_of(course("121-import-duplicate-sku-poll")[-1])
    (error,) = status.details["errors"]
    assert "(variant sku: LAB-02-BLACK)" in error["message"]
    assert "\n" not in error["message"]
    assert status.error_texts == (error["message"],)
    assert changes_of(status.details) == 7
    assert "files" not in status.details


def test_errors_are_texts_or_objects_and_never_too_many():
    errors = ["one", {"message": "two", "code": "x", "err": {"api_token": "s3cr3t"}}, {"err": {}}, 4]
    job = {**course("48-failed")[-1], "result": {"errors": errors + ["y" * 9000] * 40}}
    status = status_of(job)
    assert status.details["errors"][:4] == [
        {"message": "one"},
        {"message": "two", "code": "x"},
        {"message": "an error without a message"},
        {"message": "4"},
    ]
    assert len(json.dumps(status.to_dict())) < 12_000
    assert "s3cr3t" not in json.dumps(status.to_dict())


@pytest.mark.parametrize(
    "result", [None, [], "x", {"stat_descriptors": "x", "operations": [1], "errors": {}, "file_key": 7}]
)
def test_a_result_of_another_form_tells_nothing(result):
    status = status_of({**course("21-export-poll")[-1], "result": result})
    assert (status.state, status.details, status.total) == (JobState.SUCCEEDED, None, None)


def test_a_status_goes_through_an_event_with_its_details():
    status = status_of(course("111-import-poll")[-1])
    assert JobStatus.from_dict(json.loads(json.dumps(status.to_dict()))) == status


def test_an_answer_about_another_job_is_no_status():
    job = course("21-export-poll")[0]
    with pytest.raises(MalformedResponse, match="another job"):
        MEDUSA.read_status({"batch_job": job}, MEDUSA.handle("batch_x"))


# -- polls ----------------------------------------------------------------------------------------------


def test_one_job_is_asked_for_by_its_url_and_several_by_their_ids():
    one, two = MEDUSA.handle("batch_1"), MEDUSA.handle("batch_2")
    assert MEDUSA.poll_request(ORIGIN, [one]).url == f"{ORIGIN}/admin/batch-jobs/batch_1"
    request = MEDUSA.poll_request(ORIGIN, [one, two])
    assert request.url == f"{ORIGIN}/admin/batch-jobs"
    assert request.params == {"id[]": ["batch_1", "batch_2"], "limit": "2"}


def test_several_jobs_of_one_answer():
    found = answer("83-list-by-ids")
    dry, other = found.payload["batch_jobs"][1], found.payload["batch_jobs"][0]
    assert dry["dry_run"] is False  # M: a list does not tell
    handles = [handle_of(dry), MEDUSA.handle("batch_gone"), handle_of(other)]
    results = MEDUSA.poll_results(found, handles)
    assert [s.kind for s in results] == [PollResultKind.SEEN, PollResultKind.MISSING, PollResultKind.SEEN]
    assert "this user created" in results[1].text
    assert results[0].status.job_id == dry["id"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("01-auth-none-401", PollResultKind.DENIED),
        ("45-unknown-route-404", PollResultKind.BAD),
        ("90-list-fields-status-500", PollResultKind.BAD),
        ("20-export-create-201", PollResultKind.BAD),
    ],
)
def test_a_list_that_does_not_come_says_nothing_about_the_jobs(name, kind):
    handles = [MEDUSA.handle("batch_1"), MEDUSA.handle("batch_2")]
    assert [s.kind for s in MEDUSA.poll_results(answer(name), handles)] == [kind, kind]


def test_a_job_of_another_user_is_denied_and_a_bad_request_is_not():
    handle = MEDUSA.handle("batch_1")
    assert MEDUSA.poll_result(answer("94-other-user"), handle).kind is PollResultKind.DENIED
    assert MEDUSA.poll_result(answer("88-list-bad-limit"), handle).kind is PollResultKind.BAD
    assert MEDUSA.poll_result(answer("42-retrieve-404"), handle).kind is PollResultKind.MISSING


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("01-auth-none-401", ProblemKind.AUTHENTICATION, "HTTP 401: Unauthorized"),
        ("33-create-unknown", ProblemKind.NOT_FOUND, "Unable to find a BatchJob strategy with the type"),
        ("35-create-missing-context", ProblemKind.VALIDATION, "context"),
        ("39-create-malformed", ProblemKind.VALIDATION, "HTTP 400: SyntaxError"),
        ("41-create-170kB", ProblemKind.VALIDATION, "PayloadTooLargeError: request entity too large"),
        ("45-unknown-route", ProblemKind.NOT_FOUND, "Cannot GET /admin/"),
        ("103-upload-wrong-field", ProblemKind.UNAVAILABLE, "An unknown error occurred."),
    ],
)
def test_every_shape_of_a_real_error_is_read(name, kind, text):
    problem = answer(name).problem
    assert problem.kind is kind
    assert text in problem.text
    assert "node_modules" not in problem.text
    assert "<" not in problem.text


# -- finding again --------------------------------------------------------------------------------------


def test_a_submission_is_looked_for_among_the_jobs_of_its_type_and_age():
    request = MEDUSA.find_request(ORIGIN, submission("product-export", dry_run=True), NOW, 200)
    assert request.params == {
        "type[]": ["product-export"],
        "created_at[gte]": "2026-05-27T20:26:40.000Z",
        "order": "-created_at",
        "limit": "100",
        "offset": "200",
    }


def test_a_page_has_the_job_or_names_the_next_one():
    planned = submission("product-export", dry_run=True)
    page = answer("80-list-paged").payload
    nothing = MEDUSA.read_found(page, planned, "airflow-1", NOW, 1)
    assert (nothing.handle, nothing.next_offset) == (None, 3 if page["count"] > 3 else None)
    page["batch_jobs"][1]["context"][CORRELATION] = "airflow-1"
    found = MEDUSA.read_found(page, planned, "airflow-1", NOW, 1).handle
    assert (found.job_id, found.kind) == (page["batch_jobs"][1]["id"], "product-export:dry_run")
    last = MEDUSA.read_found({"batch_jobs": [], "count": 9}, planned, "airflow-1", NOW, 9)
    assert (last.handle, last.next_offset) == (None, None)


@pytest.mark.parametrize("payload", [{}, {"batch_jobs": {}}, {"batch_jobs": [1]}, {"batch_jobs": []}, None])
def test_what_is_no_list_proves_nothing(payload):
    with pytest.raises(MalformedResponse):
        MEDUSA.read_found(payload, submission("product-export"), "airflow-1", NOW, 0)


# -- handles and decisions ------------------------------------------------------------------------------


def test_jobs_are_taken_from_handles_manifests_urls_and_ids():
    handle = MEDUSA.handle("batch_1", "product-import:dry_run")
    manifest = {"schema_version": 1, "system": "medusa", "kind": handle.kind, "jobs": [{"job_id": "batch_1"}]}
    for given in (
        handle.to_dict(),
        [handle.to_dict()],
        manifest,
        [manifest],
        json.dumps(manifest),
        str(manifest),
    ):
        assert MEDUSA.read_handles(given) == [handle]
    for given in ("batch_1", "/admin/batch-jobs/batch_1", f"{ORIGIN}/admin/batch-jobs/batch_1"):
        (read_one,) = MEDUSA.read_handles(given)
        assert (read_one.job_id, read_one.kind) == ("batch_1", "job")
    for given in ("nothing", {"schema_version": 1, "system": "stoq", "kind": "x", "jobs": []}, []):
        with pytest.raises(InvalidInput):
            MEDUSA.read_handles(given)
    for job in (7, None, {}, {"job_id": None}, {"job_id": "a b"}):
        with pytest.raises(InvalidInput):
            MEDUSA.read_handles({**manifest, "jobs": [job]})


def test_decisions_are_sent_to_the_jobs_own_routes():
    handle = MEDUSA.handle("batch_1", "product-import:dry_run", NOW)
    assert MEDUSA.confirm_request(ORIGIN, handle).target == "POST /admin/batch-jobs/batch_1/confirm"
    assert MEDUSA.cancel_request(ORIGIN, handle).target == "POST /admin/batch-jobs/batch_1/cancel"
    assert MEDUSA.confirmed(handle).kind == "product-import"
    assert MEDUSA.was_stopped(answer("67-cancel-created").payload)
    done = answer("67-cancel-created").payload["batch_job"] | {"completed_at": "2026-11-21T01:45:02.238Z"}
    assert not MEDUSA.was_stopped({"batch_job": done})


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        (None, None),
        ("", None),
        ("None", None),
        (True, Policy(True)),
        ("True", Policy(True)),
        ("always", Policy(True)),
        (False, Policy(False)),
        ("never", Policy(False)),
        ("max_changes: 500", Policy(True, 500)),
        (" max_changes:0 ", Policy(True, 0)),
    ],
)
def test_policies(value, policy):
    assert read_policy(value) == policy


@pytest.mark.parametrize("value", ["perhaps", "max_changes: many", "max_changes: -1", 5, lambda job: True])
def test_what_is_no_policy(value):
    with pytest.raises(InvalidInput, match="max_changes: N"):
        read_policy(value)


@pytest.mark.parametrize(
    ("details", "changes"),
    [(None, None), ({}, None), ({"operations": {}}, None), ({"operations": {"A": 2, "B": 5}}, 7)],
)
def test_changes_are_the_sum_of_the_operations(details, changes):
    assert changes_of(details) == changes


def test_details_of_a_list_are_plain_answers():
    assert MEDUSA.poll_results(Decoded({"batch_jobs": []}), [MEDUSA.handle("a1"), MEDUSA.handle("b2")])[
        0
    ].kind is (PollResultKind.MISSING)
