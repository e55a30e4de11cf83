"""
What a killed server leaves behind.

A step that waits in the queue is done after the restart, since the queue is a table. A step that was being
done is forgotten, and its job stays as it was for ever.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.medusa.client import Client
from tests.medusa.servers import Server

STEPS = 3.5
"""So many steps without a change count as for ever: a step is never later than one."""


@pytest.fixture(autouse=True)
def alive(server: Server, client: Client) -> Iterator[None]:
    """Whatever a test does to the server, the next one finds it alive."""
    yield
    try:
        client.listed({"limit": 1})
    except requests.RequestException:
        server.revive()


def crash(server: Server) -> None:
    server.kill()
    server.revive()


def stays(server: Server, client: Client, job: dict[str, Any]) -> bool:
    """Whether nothing happens to the job any more."""
    before = client.job(job["id"])
    time.sleep(STEPS * server.step)
    return client.job(job["id"]) == before


def await_look_at_queue(client: Client) -> None:
    """Return just after the server looked at its queue, so that nearly a whole step is left."""
    client.until(client.create(dry_run=True), "pre_processed")


def endless(client: Client) -> dict[str, Any]:
    """A job whose first step never ends: it counts to a size that is beyond the matches."""
    filters = {"title": "no product has this title"}
    return client.create("product-export", {"filterable_fields": filters, "batch_size": 5})


def test_a_killed_server_refuses_connections_until_it_is_back(server: Server, client: Client) -> None:
    server.kill()
    with pytest.raises(requests.ConnectionError):
        client.listed({"limit": 1})
    server.revive()
    assert client.listed({"limit": 1})["limit"] == 1


def test_a_created_job_in_the_queue_is_taken_up_after_a_crash(server: Server, client: Client) -> None:
    await_look_at_queue(client)
    job = client.create()
    crash(server)
    assert client.until(job, "completed")["result"]["file_key"]


def test_a_confirmed_job_in_the_queue_is_taken_up_after_a_crash(server: Server, client: Client) -> None:
    job = client.until(client.create(dry_run=True), "pre_processed")
    assert client.confirm(job).status_code == 200
    crash(server)
    assert client.until(job, "completed")["result"]["file_key"]


def test_a_waiting_dry_run_can_be_confirmed_after_a_crash(server: Server, client: Client) -> None:
    job = client.until(client.create(dry_run=True), "pre_processed")
    crash(server)
    assert client.job(job["id"]) == job
    assert client.confirm(job).status_code == 200
    assert client.until(job, "completed")["result"]["file_key"]


def test_a_batch_size_beyond_the_matches_never_ends(server: Server, client: Client) -> None:
    job = endless(client)
    assert stays(server, client, job)
    assert client.job(job["id"])["status"] == "created"
    crash(server)


def test_a_job_that_was_being_prepared_stays_created_for_ever(server: Server, client: Client) -> None:
    job = endless(client)
    await_look_at_queue(client)
    crash(server)
    assert stays(server, client, job)
    assert client.job(job["id"])["status"] == "created"
    assert client.cancel(job).status_code == 200
    assert stays(server, client, job)
    assert client.job(job["id"])["status"] == "canceled", "there is no step left that could fail"


def test_a_job_that_was_being_done_stays_confirmed_for_ever(server: Server, client: Client) -> None:
    for _ in range(5):
        server.drag()
        job = client.until(client.create("product-export", {"limit": 1}, dry_run=True), "pre_processed")
        assert client.confirm(job).status_code == 200
        await_look_at_queue(client)
        crash(server)
        if client.job(job["id"])["status"] == "confirmed" and stays(server, client, job):
            break
    assert client.job(job["id"])["status"] == "confirmed"
    assert client.job(job["id"])["processing_at"] is None


def test_logins_and_new_jobs_work_after_a_crash(server: Server, client: Client) -> None:
    bearer = Client(server).bearer(server.email, server.password)
    crash(server)
    assert Client(server, bearer).run()["result"]["file_key"], "the token is still good"


def test_an_import_of_a_file_that_is_not_there_kills_the_server(server: Server, client: Client) -> None:
    job = client.create("product-import", {"fileKey": "no-such-file.csv"})
    with pytest.raises(requests.ConnectionError):
        client.until(job, "completed")
    server.revive_without(job["id"])
    assert stays(server, client, job)
    assert client.job(job["id"])["status"] == "created"
