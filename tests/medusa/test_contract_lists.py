"""Lists of batch jobs: what they can be asked for, and what they hide."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.medusa.client import JOBS, Client
from tests.medusa.servers import Server


def ids_of(listing: dict[str, Any]) -> list[str]:
    return [job["id"] for job in listing["batch_jobs"]]


@pytest.fixture(scope="module")
def three(server: Server, client: Client) -> list[dict[str, Any]]:
    """A dry run that waits, a completed export, a failed one: in the order in which they were made."""
    waiting = client.waiting()
    completed = client.until(client.create("order-export"), "completed")
    failed = client.fails("product-export", filterable_fields={"nope": "x"})
    return [waiting, completed, failed]


def test_a_page_says_where_it_is(client: Client, three: list[dict[str, Any]]) -> None:
    page = client.listed({"limit": 1, "offset": 1})
    assert set(page) == {"batch_jobs", "count", "offset", "limit"}
    assert (len(page["batch_jobs"]), page["offset"], page["limit"]) == (1, 1, 1)
    assert page["count"] >= len(three)


def test_a_page_holds_ten_jobs_by_default(client: Client) -> None:
    page = client.listed({})
    assert (page["limit"], page["offset"]) == (10, 0)


def test_the_newest_job_comes_first(client: Client, three: list[dict[str, Any]]) -> None:
    wanted = [job["id"] for job in three]
    query = {"id[]": wanted, "limit": 3}
    assert ids_of(client.listed(query)) == wanted[::-1]
    assert ids_of(client.listed({**query, "order": "created_at"})) == wanted


def test_several_jobs_are_asked_for_at_once(client: Client, three: list[dict[str, Any]]) -> None:
    wanted = {job["id"]: job["status"] for job in three}
    page = client.listed({"id[]": [*wanted, "batch_does_not_exist"], "limit": 4})
    assert {job["id"]: job["status"] for job in page["batch_jobs"]} == wanted
    assert page["count"] == 3


def test_twenty_ids_fit_into_one_query(client: Client, three: list[dict[str, Any]]) -> None:
    query = {"id[]": [three[0]["id"], *(f"batch_{number}" for number in range(19))], "limit": 20}
    assert ids_of(client.listed(query)) == [three[0]["id"]]


def test_a_single_id_must_still_be_a_list(client: Client, three: list[dict[str, Any]]) -> None:
    answer = client.get(JOBS, params={"id": three[0]["id"]})
    assert answer.status_code == 400
    assert answer.json() == {"type": "invalid_data", "message": "id must be an array"}
    assert ids_of(client.listed({"id[]": three[0]["id"]})) == [three[0]["id"]]


def test_a_list_hides_that_a_job_is_a_dry_run(client: Client, three: list[dict[str, Any]]) -> None:
    (listed,) = client.listed({"id[]": three[0]["id"]})["batch_jobs"]
    assert (listed["status"], listed["dry_run"]) == ("pre_processed", False)
    assert client.job(three[0]["id"])["dry_run"] is True


def test_but_for_that_a_list_tells_the_same(client: Client, three: list[dict[str, Any]]) -> None:
    (listed,) = client.listed({"id[]": three[0]["id"]})["batch_jobs"]
    assert {**listed, "dry_run": True} == client.job(three[0]["id"])


def test_jobs_of_a_type_are_asked_for(client: Client, three: list[dict[str, Any]]) -> None:
    everything = {"id[]": [job["id"] for job in three], "limit": 3}
    found = client.listed({**everything, "type[]": ["order-export"]})
    assert ids_of(found) == [three[1]["id"]]
    assert client.listed({**everything, "type[]": ["order-export", "product-export"]})["count"] == 3


@pytest.mark.parametrize(
    ("bound", "found"),
    [("gte", [2, 1]), ("gt", [2]), ("lte", [1, 0]), ("lt", [0])],
)
def test_jobs_are_asked_for_by_their_age(
    client: Client, three: list[dict[str, Any]], bound: str, found: list[int]
) -> None:
    # Stored to the microsecond, shown to the millisecond: ask a little beside what is shown.
    moment = three[1]["created_at"]
    near = {"gt": "999Z", "lte": "999Z"}.get(bound)
    moment = moment[:-1] + near if near else moment
    query = {"id[]": [job["id"] for job in three], f"created_at[{bound}]": moment, "limit": 3}
    assert ids_of(client.listed(query)) == [three[place]["id"] for place in found]


def test_jobs_without_a_stamp_are_asked_for(client: Client, three: list[dict[str, Any]]) -> None:
    query = {"id[]": [job["id"] for job in three], "failed_at": "null", "limit": 3}
    assert ids_of(client.listed(query)) == [three[1]["id"], three[0]["id"]]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"status": "completed"}, "property status should not exist"),
        ({"limit": "abc"}, "limit must be a number conforming to the specified constraints"),
    ],
)
def test_a_list_refuses_what_it_does_not_know(client: Client, query: dict[str, str], message: str) -> None:
    answer = client.get(JOBS, params=query)
    assert answer.status_code == 400
    assert answer.json() == {"type": "invalid_data", "message": message}


@pytest.mark.parametrize("job_type", ["product-export", "order-export"])
def test_a_mark_in_the_context_survives_to_the_end(client: Client, job_type: str) -> None:
    mark = {"correlation_id": uuid.uuid4().hex, "nested": {"kept": [1, "two", None]}}
    job = client.create(job_type, mark)
    assert mark.items() <= job["context"].items()
    listing = client.listed({"type[]": [job_type], "created_at[gte]": job["created_at"], "limit": 100})
    found = [entry for entry in listing["batch_jobs"] if mark.items() <= entry["context"].items()]
    assert [entry["id"] for entry in found] == [job["id"]]
    assert mark.items() <= client.until(job, "completed")["context"].items()
