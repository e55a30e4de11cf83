"""Who may ask: the three ways to show it, and how everybody else is refused."""

from __future__ import annotations

import base64
import json

import pytest
import requests

from tests.medusa.client import JOBS, Client
from tests.medusa.servers import Server

DAY = 24 * 3600


def is_refused(answer: requests.Response) -> bool:
    """The refusal is a bare word, no JSON, and without a content type."""
    return (answer.status_code, answer.text, answer.headers.get("Content-Type")) == (
        401,
        "Unauthorized",
        None,
    )


def test_nobody_is_refused_in_plain_text(server: Server) -> None:
    assert is_refused(Client(server).get(JOBS))


def test_a_wrong_token_is_refused_in_plain_text(server: Server) -> None:
    assert is_refused(Client(server, {"x-medusa-access-token": "wrong"}).get(JOBS))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", JOBS),
        ("GET", f"{JOBS}/batch_none"),
        ("POST", f"{JOBS}/batch_none/confirm"),
        ("POST", f"{JOBS}/batch_none/cancel"),
        ("POST", "/admin/uploads/protected"),
        ("POST", "/admin/uploads/download-url"),
    ],
)
def test_every_route_wants_to_know_who_asks(server: Server, method: str, path: str) -> None:
    assert is_refused(Client(server).ask(method, path))


def test_the_api_token_has_a_header_of_its_own(server: Server, client: Client) -> None:
    assert client.get(JOBS).status_code == 200


def test_the_api_token_as_a_bearer_token_is_refused(server: Server) -> None:
    assert is_refused(Client(server, {"Authorization": f"Bearer {server.api_token}"}).get(JOBS))


def test_a_login_gives_a_bearer_token(server: Server) -> None:
    bearer = Client(server).bearer(server.email, server.password)
    assert Client(server, bearer).get(JOBS).status_code == 200


def test_a_bearer_token_names_its_end_a_day_ahead(server: Server) -> None:
    token = Client(server).bearer(server.email, server.password)["Authorization"].split(" ")[1]
    head, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    assert head["alg"] == "HS256"
    assert claims["exp"] - claims["iat"] == DAY


def test_an_altered_bearer_token_is_refused(server: Server) -> None:
    header = Client(server).bearer(server.email, server.password)["Authorization"]
    middle = len(header) // 2
    altered = header[:middle] + ("A" if header[middle] != "A" else "B") + header[middle + 1 :]
    assert is_refused(Client(server, {"Authorization": altered}).get(JOBS))


@pytest.mark.parametrize("email", [None, "nobody@shop.test"])
def test_a_wrong_login_is_refused(server: Server, email: str | None) -> None:
    answer = Client(server).post("/admin/auth/token", {"email": email or server.email, "password": "wrong"})
    assert answer.status_code == 401
    assert answer.text == "Unauthorized"


def test_half_a_login_is_a_bad_request(server: Server) -> None:
    answer = Client(server).post("/admin/auth/token", {"email": server.email})
    assert answer.status_code == 400
    assert answer.json() == {
        "type": "invalid_data",
        "message": "password should not be empty, password must be a string",
    }


@pytest.mark.usefixtures("only_real")
def test_a_login_for_a_cookie_gives_a_session(server: Server) -> None:
    answer = Client(server).post("/admin/auth", {"email": server.email, "password": server.password})
    assert answer.status_code == 200
    assert answer.json()["user"]["email"] == server.email
    cookie = {"Cookie": f"connect.sid={answer.cookies['connect.sid']}"}
    assert Client(server, cookie).get(JOBS).status_code == 200


@pytest.mark.usefixtures("only_real")
def test_every_answer_sets_a_cookie_even_a_refusal(server: Server, client: Client) -> None:
    assert "connect.sid" in client.get(JOBS).cookies
    assert "connect.sid" in Client(server).get(JOBS).cookies


@pytest.mark.usefixtures("only_real")
def test_the_api_token_comes_back_in_clear(server: Server, client: Client) -> None:
    client.create()
    listing = client.listed({"limit": 1, "expand": "created_by_user"})
    assert listing["batch_jobs"][0]["created_by_user"]["api_token"] == server.api_token
    assert client.get("/admin/auth").json()["user"]["api_token"] == server.api_token


def test_a_job_of_somebody_else_is_a_bad_request(client: Client, other_client: Client) -> None:
    job = client.create()
    refusals = [
        other_client.get(f"{JOBS}/{job['id']}"),
        other_client.confirm(job),
        other_client.cancel(job),
    ]
    for answer in refusals:
        assert answer.status_code == 400
        assert answer.json() == {
            "type": "not_allowed",
            "message": "Cannot access a batch job that does not belong to the logged in user",
        }


def test_a_list_holds_the_jobs_of_who_asks_only(client: Client, other_client: Client) -> None:
    mine, theirs = client.create(), other_client.create()
    assert theirs["created_by"] != mine["created_by"]
    both = {"id[]": [mine["id"], theirs["id"]]}
    assert [job["id"] for job in client.listed(both)["batch_jobs"]] == [mine["id"]]
    assert [job["id"] for job in other_client.listed(both)["batch_jobs"]] == [theirs["id"]]
