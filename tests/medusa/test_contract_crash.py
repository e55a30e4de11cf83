"""
What a killed server leaves behind.

A step that waits in the queue is done after the restart, since the queue is a table. A step that was being
done is forgotten, and its job stays as it was for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.medusa.client import Client
from tests.medusa.servers import Server

KILLS_SERVERS = True
DIED = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
"""What a request meets while the server dies; the second in the middle of an answer."""


@pytest.fixture(autouse=True)
def renewed(server: Server) -> Iterator[None]:
    """Whatever a test does to the server, the next one finds it alive, and its queue empty."""
    yield
    server.renew()


def endless(client: Client) -> dict[str, Any]:
    """A job whose first step never ends: it counts to a size that is beyond the matches."""
    filters = {"title": "no product has this title"}
    return client.create("product-export", {"filterable_fields": filters, "batch_size": 5})


class Crash:
    """One death of a server, with a job at each place of its life."""

    def __init__(self, server: Server, client: Client) -> None:
        self.bearer = Client(server).bearer(server.email, server.password)
        self.waiting, self.confirmed, self.done = (client.waiting() for _ in range(3))
        server.hold()
        self.prepared = endless(client)
        assert client.confirm(self.done).status_code == 200
        with server.endless_exports():
            server.look()
            self.created = client.create()
            assert client.confirm(self.confirmed).status_code == 200
            server.kill()
            with pytest.raises(requests.ConnectionError):
                client.listed({"limit": 1})
        server.revive()
        self.listed = client.listed({"limit": 1})
        self.created = client.until(self.created, "completed")
        self.confirmed = client.until(self.confirmed, "completed")


@pytest.fixture(scope="module")
def crash(server: Server, client: Client) -> Crash:
    return Crash(server, client)


def test_a_killed_server_refuses_connections_until_it_is_back(crash: Crash) -> None:
    assert crash.listed["limit"] == 1


def test_a_created_job_in_the_queue_is_taken_up_after_a_crash(crash: Crash) -> None:
    assert crash.created["result"]["file_key"]


def test_a_confirmed_job_in_the_queue_is_taken_up_after_a_crash(crash: Crash) -> None:
    assert crash.confirmed["result"]["file_key"]


def test_a_waiting_dry_run_can_be_confirmed_after_a_crash(crash: Crash, client: Client) -> None:
    assert client.job(crash.waiting["id"]) == crash.waiting
    assert client.confirm(crash.waiting).status_code == 200
    assert client.until(crash.waiting, "completed")["result"]["file_key"]


@pytest.mark.usefixtures("only_real")
def test_a_job_that_was_being_prepared_stays_created_for_ever(crash: Crash, client: Client) -> None:
    assert client.outlived(crash.prepared)["status"] == "created"
    assert client.cancel(crash.prepared).status_code == 200
    assert client.outlived(crash.prepared)["status"] == "canceled", "there is no step left that could fail"


def test_a_job_that_was_being_done_stays_confirmed_for_ever(crash: Crash, client: Client) -> None:
    left = client.outlived(crash.done)
    assert (left["status"], left["processing_at"]) == ("confirmed", None)


def test_logins_and_new_jobs_work_after_a_crash(crash: Crash, server: Server) -> None:
    assert Client(server, crash.bearer).run()["result"]["file_key"], "the token is still good"


@pytest.mark.usefixtures("only_real")
def test_a_batch_size_beyond_the_matches_never_ends(client: Client) -> None:
    assert client.outlived(endless(client))["status"] == "created"


def test_an_import_of_a_file_that_is_not_there_kills_the_server(server: Server, client: Client) -> None:
    job = client.create("product-import", {"fileKey": "no-such-file.csv"})
    with pytest.raises(DIED):
        client.until(job, "completed")
    server.revive_with_empty_queue()
    assert client.outlived(job)["status"] == "created"
