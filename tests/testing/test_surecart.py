"""SureCart's bulk actions in the sandbox."""

from __future__ import annotations

import uuid

import pytest

OBJECT = {
    "id",
    "object",
    "action_type",
    "record_ids",
    "skipped_record_ids",
    "status",
    "created_at",
    "updated_at",
}


@pytest.fixture
def act(surecart):
    """Submit an action and return it."""

    def submit(ids, action_type="delete_customers"):
        body = {"bulk_action": {"action_type": action_type, "record_ids": ids}}
        answer = surecart.post("/v1/bulk_actions", body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return submit


@pytest.fixture
def ended(surecart, act):
    """Submit an action and return it once it has ended."""

    def submit(ids, action_type="delete_customers"):
        made = act(ids, action_type)
        surecart.sandbox.advance(60)
        return surecart.get(f"/v1/bulk_actions/{made['id']}").json()

    return submit


def test_an_action_is_a_bare_object_in_the_documented_shape(surecart, act):
    made = act(surecart.state["customers"][:2])
    assert set(made) == OBJECT
    assert (made["object"], made["status"], made["skipped_record_ids"]) == ("bulk_action", "pending", [])
    assert str(uuid.UUID(made["id"])) == made["id"]
    assert isinstance(made["created_at"], int)


def test_an_action_goes_from_pending_to_succeeded(surecart, act):
    made = act(surecart.state["customers"][:2])
    seen = []
    for _ in range(40):
        word = surecart.get(f"/v1/bulk_actions/{made['id']}").json()["status"]
        if not seen or seen[-1] != word:
            seen.append(word)
        surecart.sandbox.advance(0.25)
    assert seen == ["pending", "processing", "succeeded"]


@pytest.mark.parametrize(
    ("action_type", "kind"), [("delete_customers", "customers"), ("delete_products", "products")]
)
def test_deleted_records_are_not_found_any_more(surecart, ended, action_type, kind):
    gone, kept = surecart.state[kind][:2]
    assert surecart.get(f"/v1/{kind}/{gone}").json()["id"] == gone
    assert ended([gone], action_type)["status"] == "succeeded"
    missing = surecart.get(f"/v1/{kind}/{gone}")
    assert (missing.status_code, missing.json()["code"]) == (404, f"{kind[:-1]}.not_found")
    listed = surecart.get(f"/v1/{kind}?ids[]={gone}&ids[]={kept}").json()
    assert [record["id"] for record in listed["data"]] == [kept]


def test_unknown_records_are_skipped(surecart, ended):
    known = surecart.state["customers"][0]
    done = ended([known, "nobody"])
    assert (done["status"], done["skipped_record_ids"]) == ("succeeded", ["nobody"])


def test_an_action_that_fits_no_record_is_invalid(surecart, ended):
    product = surecart.state["products"][0]
    done = ended([product])
    assert (done["status"], done["skipped_record_ids"]) == ("invalid", [product])
    assert product in surecart.state["products"]


def test_completed_means_some_were_not_deleted_and_nobody_says_which(surecart, ended):
    ids = surecart.state["customers"][:3]
    surecart.do("next_action", fail_ids=[ids[1]])
    done = ended(ids)
    assert (done["status"], done["skipped_record_ids"]) == ("completed", [])
    assert [surecart.get(f"/v1/customers/{new}").status_code for new in ids] == [404, 200, 404]


def test_repeating_a_deletion_harms_nothing(surecart, ended):
    ids = surecart.state["customers"][:2]
    ended(ids)
    assert ended(ids)["status"] == "invalid"
    assert len(surecart.state["customers"]) == 238


@pytest.mark.parametrize(
    ("settings", "status"), [({"outcome": "forever"}, "processing"), ({"status_word": "x"}, "x")]
)
def test_actions_can_be_bent(surecart, ended, settings, status):
    surecart.do("next_action", kind="delete_customers", **settings)
    assert ended(surecart.state["customers"][:1])["status"] == status


def test_a_list_has_pages_and_takes_ids(surecart, act):
    made = [act([new])["id"] for new in surecart.state["customers"][:3]]
    page = surecart.get("/v1/bulk_actions?limit=2&page=2").json()
    assert set(page) == {"object", "pagination", "data"}
    assert page["pagination"] == {"count": 3, "limit": 2, "page": 2, "url": "/v1/bulk_actions"}
    assert [found["id"] for found in page["data"]] == made[:1]
    query = f"ids[]={made[0]}&ids[]={made[2]}"
    assert {found["id"] for found in surecart.get(f"/v1/bulk_actions?{query}").json()["data"]} == {
        made[0],
        made[2],
    }


def test_a_list_shows_twenty_and_a_hundred_at_most(surecart):
    assert len(surecart.get("/v1/customers").json()["data"]) == 20
    assert len(surecart.get("/v1/customers?limit=500").json()["data"]) == 100


def test_errors_have_the_documented_shape(surecart):
    wrong = {"bulk_action": {"action_type": "delete_everything", "record_ids": []}}
    refused = surecart.post("/v1/bulk_actions", wrong)
    body = refused.json()
    assert refused.status_code == 422
    assert set(body) == {"http_status", "type", "code", "message", "validation_errors"}
    assert body["http_status"] == "unprocessable_entity"
    assert [problem["attribute"] for problem in body["validation_errors"]] == ["action_type", "record_ids"]
    assert set(body["validation_errors"][0]) == {"attribute", "type", "code", "options", "message"}
    assert surecart.state["submissions"] == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/bulk_actions/nobody", 404),
        ("DELETE", "/v1/bulk_actions/nobody", 404),
        ("GET", "/v1/orders", 404),
        ("GET", "/bulk_actions", 404),
        ("POST", "/v1/bulk_actions", 400),
    ],
)
def test_what_is_not_there_is_refused(surecart, method, path, status):
    answer = surecart.call(method, path)
    assert answer.status_code == status
    assert answer.json()["message"]


def test_a_hundred_and_fifty_in_ten_seconds(surecart):
    surecart.do("rate", limit=3, window_seconds=60)
    answers = [surecart.get("/v1/bulk_actions") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert not {"Retry-After", "X-RateLimit-Limit"} & set(answers[-1].headers)
    assert surecart.state["rate_limited"] == 1


def test_the_limit_can_say_how_long_to_wait(surecart):
    surecart.do("rate", limit=1, window_seconds=30, retry_after=True)
    surecart.get("/v1/bulk_actions")
    assert surecart.get("/v1/bulk_actions").headers["Retry-After"] == "30"


def test_the_documented_limit_is_the_default(surecart):
    bucket = surecart.sandbox._world.site("surecart").bucket
    assert (bucket.limit, bucket.window_seconds) == (150, 10.0)


def test_a_forgotten_action_is_not_found(surecart, act):
    made = act(surecart.state["customers"][:1])
    surecart.do("action", action_id=made["id"], forget=True)
    assert surecart.get(f"/v1/bulk_actions/{made['id']}").status_code == 404
