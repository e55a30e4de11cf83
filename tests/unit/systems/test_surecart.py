"""How SureCart spells jobs: submissions, status words, many jobs in one request."""

from __future__ import annotations

import math
import uuid

import pytest

from stoq_provider.core.http import Decoded, MalformedResponse, Problem, ProblemKind
from stoq_provider.core.lifecycle import PollResultKind
from stoq_provider.core.models import JobHandle, JobState
from stoq_provider.core.records import RepeatSafety
from stoq_provider.core.validation import InvalidInput
from stoq_provider.systems import surecart
from stoq_provider.systems.surecart import ASSUMPTIONS, SureCart

SYSTEM = SureCart()
ORIGIN = "https://api.surecart.com"
IDS = [str(uuid.UUID(int=number, version=4)) for number in range(1, 6)]


def handle(job_id=IDS[0], kind="delete_customers", **fields):
    return JobHandle("surecart", kind, job_id, f"/v1/bulk_actions/{job_id}", **fields)


def action(status, job_id=IDS[0], **fields):
    return {"id": job_id, "object": "bulk_action", "status": status, **fields}


def test_contract():
    assert (SYSTEM.default_origin, SYSTEM.base_path) == (ORIGIN, "/v1")
    assert (SYSTEM.points.limit, SYSTEM.points.window, SYSTEM.points.write) == (150, 10.0, 1)
    assert SYSTEM.auth_headers("k") == {"Authorization": "Bearer k"}
    assert SYSTEM.rules.record_life == math.inf
    assert [SYSTEM.cadence("x").interval(age) for age in (0, 59, 60)] == [5, 5, 10]
    assert {assumption.mark for assumption in ASSUMPTIONS.values()} <= {"D", "I", "S", "U"}


@pytest.mark.parametrize("name", ["delete_customers", "delete_products"])
def test_a_submission_wraps_action_and_ids(name):
    built = surecart.submission(name, [IDS[1].upper(), IDS[0], IDS[1]])
    assert (built.kind, built.path, built.item_count) == (name, "/bulk_actions", 2)
    assert built.body == {"bulk_action": {"action_type": name, "record_ids": [IDS[1], IDS[0]]}}
    assert SYSTEM.submit_request(ORIGIN, built).url == f"{ORIGIN}/v1/bulk_actions"
    assert SYSTEM.repeat_safety(name) is RepeatSafety.SAFE


def test_an_action_that_is_not_known_is_never_repeated():
    assert SYSTEM.repeat_safety("delete_everything") is RepeatSafety.NEVER


def test_extra_body_goes_within_the_action():
    built = surecart.submission("delete_customers", IDS[:1], extra_body={"record_ids": None, "dry": True})
    assert built.body == {"bulk_action": {"action_type": "delete_customers", "dry": True}}


def test_extra_body_as_text_is_read_and_other_text_refused():
    built = surecart.submission("delete_customers", IDS[:1], extra_body='{"record_ids": null, "dry": true}')
    assert built.body == {"bulk_action": {"action_type": "delete_customers", "dry": True}}
    with pytest.raises(InvalidInput, match=r"^extra_body given as text"):
        surecart.submission("delete_customers", IDS[:1], extra_body="dry")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("delete_customer", IDS), "did you mean 'delete_customers'"),
        (("delete_customer", IDS), r"products'\? Known are delete_customers"),
        (("zz", IDS), r"no bulk action 'zz'\. Known are delete_customers"),
        ((["delete_customers"], IDS), "no bulk action"),
        (("delete_customers", []), "without record_ids would do nothing"),
        (("delete_customers", ["7"]), "no UUIDs: '7'"),
        (("delete_customers", "7"), "list of UUIDs, not str"),
    ],
)
def test_wrong_submissions(arguments, says):
    with pytest.raises(InvalidInput, match=says):
        surecart.submission(*arguments)


def test_the_answer_to_a_submission_gives_id_and_path():
    built = surecart.submission("delete_products", IDS)
    read = SYSTEM.read_submission(action("processing"), built, 100.0)
    assert read == handle(kind="delete_products", item_count=5, submitted_at=100.0)
    assert SYSTEM.status_request(ORIGIN, read).url == f"{ORIGIN}/v1/bulk_actions/{IDS[0]}"
    with pytest.raises(MalformedResponse, match="no 'id'"):
        SYSTEM.read_submission({"id": None}, built, 100.0)


@pytest.mark.parametrize(
    ("word", "state", "processed", "error"),
    [
        ("pending", JobState.RUNNING, None, None),
        ("processing", JobState.RUNNING, None, None),
        ("succeeded", JobState.SUCCEEDED, 3, None),
        ("completed", JobState.PARTIAL, 3, None),
        ("invalid", JobState.FAILED, 0, "no record id fits the action"),
        ("archived", JobState.UNKNOWN, None, None),
    ],
)
def test_status_words(word, state, processed, error):
    status = SYSTEM.read_status(action(word, record_ids=IDS, skipped_record_ids=IDS[3:]), handle())
    assert (status.word, status.state, status.total) == (word, state, 5)
    assert (status.processed, status.error) == (processed, error)
    assert status.details == {"skipped_record_ids": IDS[3:]}


def test_a_status_without_lists_falls_back_on_the_handle():
    status = SYSTEM.read_status({"status": "succeeded", "skipped_record_ids": None}, handle(item_count=7))
    assert (status.total, status.processed, status.details) == (7, 7, None)


@pytest.mark.parametrize("payload", [None, [], {}, {"status": 1}, action("pending", IDS[1])])
def test_what_is_no_status_of_this_action(payload):
    with pytest.raises(MalformedResponse):
        SYSTEM.read_status(payload, handle())


# -- many jobs, one request -------------------------------------------------------------------------------


def test_one_action_is_asked_for_by_its_url():
    assert SYSTEM.poll_request(ORIGIN, [handle()]).url == f"{ORIGIN}/v1/bulk_actions/{IDS[0]}"


def test_several_actions_are_asked_for_by_ids():
    request = SYSTEM.poll_request(ORIGIN, [handle(item) for item in IDS])
    assert (request.method, request.url) == ("GET", f"{ORIGIN}/v1/bulk_actions")
    assert request.params == {"ids[]": IDS, "limit": "5"}
    assert SYSTEM.poll_size == 50


def test_a_handle_of_another_origin_is_refused_in_a_list_too():
    odd = JobHandle("surecart", "x", "y", "https://evil.example/v1/bulk_actions/y")
    with pytest.raises(InvalidInput, match="another origin"):
        SYSTEM.poll_request(ORIGIN, [handle(), odd])


def test_a_list_gives_a_sight_of_each_in_their_order():
    rows = [action("succeeded", IDS[2]), action("pending", IDS[0]), action(None, IDS[3])]
    found = SYSTEM.poll_results(
        Decoded(payload={"object": "list", "data": rows}), [handle(i) for i in IDS[:4]]
    )
    assert [result.kind for result in found] == [
        PollResultKind.SEEN,
        PollResultKind.MISSING,
        PollResultKind.SEEN,
        PollResultKind.BAD,
    ]
    assert found[2].status.state is JobState.SUCCEEDED


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Decoded(payload={"rows": []}), PollResultKind.BAD),
        (Decoded(payload={"data": ["x"]}), PollResultKind.BAD),
        (Decoded(payload={"data": [{"id": []}, {"id": {}}, {}]}), PollResultKind.MISSING),
        (Decoded(problem=Problem(ProblemKind.NOT_FOUND, (), 404)), PollResultKind.BAD),
        (Decoded(problem=Problem(ProblemKind.RATE_LIMITED, (), 429)), PollResultKind.THROTTLED),
        (Decoded(problem=Problem(ProblemKind.AUTHENTICATION, (), 401)), PollResultKind.DENIED),
    ],
)
def test_a_list_that_is_none_says_the_same_of_each(answer, kind):
    """A 404 of the list says nothing about the actions in it; that of one action does."""
    assert [result.kind for result in SYSTEM.poll_results(answer, [handle(IDS[0]), handle(IDS[1])])] == [
        kind
    ] * 2
    single = SYSTEM.poll_results(Decoded(problem=Problem(ProblemKind.NOT_FOUND, (), 404)), [handle()])
    assert [result.kind for result in single] == [PollResultKind.MISSING]


@pytest.mark.parametrize("given", [IDS[0], f" {IDS[0]} ", f"/v1/bulk_actions/{IDS[0]}"])
def test_handles_from_an_id_or_a_url(given):
    (read,) = SYSTEM.read_handles(given)
    assert (read.job_id, read.status_url) == (IDS[0], f"/v1/bulk_actions/{IDS[0]}")


def test_what_is_neither_id_nor_url():
    with pytest.raises(InvalidInput, match="neither a status URL nor an id"):
        SYSTEM.read_handles("12")
