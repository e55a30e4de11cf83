"""Lists, the live manifest, and any action of it."""

from __future__ import annotations

import pytest

from stoq_provider.exceptions import ProtocolError, ValidationRejected

from .conftest import API

LISTS = [
    ("iter_orders", "/preorders/orders", "orders"),
    ("iter_variants", "/preorders/product_variants", "product_variants"),
    ("iter_offers", "/preorders/offers", "offers"),
]


def pages(api, path: str, key: str, *rows: list) -> None:
    answers = [{"json": {key: page, "meta": {"total_pages": len(rows)}}} for page in rows]
    api.get(f"{API}{path}", answers)


@pytest.mark.parametrize(("method", "path", "key"), LISTS)
def test_pages_are_followed_to_the_last_also_over_short_and_empty_ones(hook, api, method, path, key):
    pages(api, path, key, [{"id": 1}, {"id": 2}], [], [{"id": 3}], [])
    assert [row["id"] for row in getattr(hook, method)()] == [1, 2, 3]
    assert [request.qs["page"] for request in api.request_history] == [["1"], ["2"], ["3"], ["4"]]


@pytest.mark.parametrize(("method", "path", "key"), LISTS)
def test_an_empty_list_is_no_error(hook, api, method, path, key):
    api.get(f"{API}{path}", json={key: [], "meta": {"total_pages": 0}})
    assert list(getattr(hook, method)()) == []
    assert api.call_count == 1


def test_pages_are_fetched_only_as_they_are_needed(hook, api):
    pages(api, "/preorders/orders", "orders", [{"id": 1}], [{"id": 2}])
    assert next(hook.iter_orders())["id"] == 1
    assert api.call_count == 1


def test_filters_go_into_the_query_of_every_page(hook, api):
    pages(api, "/preorders/orders", "orders", [], [])
    assert list(hook.iter_orders(state="placed", from_="2026-05-01", customer_id=None)) == []
    for request in api.request_history:
        assert request.qs["state"] == ["placed"]
        assert request.qs["from"] == ["2026-05-01"]
        assert "customer_id" not in request.qs


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"orders": None, "meta": {"total_pages": 1}},
        {"orders": []},
        {"orders": [], "meta": {}},
        {"orders": [], "meta": {"total_pages": "2"}},
    ],
)
def test_a_page_of_another_shape_is_no_end_of_the_list(hook, api, body):
    api.get(f"{API}/preorders/orders", json=body)
    with pytest.raises(ProtocolError, match="Reading stopped; nothing was changed"):
        list(hook.iter_orders())


# -- the manifest and its actions -----------------------------------------------------------------------


def entry(method: str, path: str, name: str, schema=None, aliases=()) -> dict:
    return {"name": name, "method": method, "path": path, "aliases": list(aliases), "request_schema": schema}


SCHEMA = {
    "type": "object",
    "required": ["note"],
    "properties": {"note": {"type": "string"}, "level": {"type": "integer"}},
}
ACTIONS = [
    entry("POST", "/preorders/offers/:id/enable", "enable", aliases=["activate"]),
    entry("POST", "/preorders/offers/:id/note", "note", SCHEMA),
    entry("GET", "/preorders/offers", "list"),
    entry("GET", "/preorders/orders", "list"),
]


@pytest.fixture
def listed(api):
    api.get(f"{API}/help", json={"version": "v2", "actions": ACTIONS})
    api.post(f"{API}/preorders/offers/7/enable", json={"id": 7})
    api.post(f"{API}/preorders/offers/7/note", json={"id": 7})
    return api


def test_manifest_is_returned_as_it_is_and_narrowed_by_a_prefix(hook, listed):
    assert hook.manifest("/preorders/offers")["actions"] == ACTIONS
    assert listed.last_request.qs == {"prefix": ["/preorders/offers"]}
    hook.manifest()
    assert listed.last_request.qs == {}


@pytest.mark.parametrize(
    "action",
    ["POST /preorders/offers/:id/enable", "post /preorders/offers/{id}/enable", "enable", "activate"],
)
def test_call_finds_an_action_by_method_and_path_name_or_alias(hook, listed, action):
    assert hook.call(action, path_params={"id": 7}) == {"id": 7}
    assert listed.last_request.json() == {}


def test_call_quotes_what_goes_into_the_path(hook, listed):
    listed.post(f"{API}/preorders/offers/a%2F..%2Fb/enable", json={})
    hook.call("enable", path_params={"id": "a/../b"})
    assert listed.last_request.path.endswith("/offers/a%2f..%2fb/enable")


def test_call_checks_the_body_against_the_schema(hook, listed):
    with pytest.raises(ValidationRejected, match=r"in 2 points") as caught:
        hook.call("note", path_params={"id": 7}, body={"level": "high"})
    assert "'note' is a required property" in str(caught.value)
    assert "level" in str(caught.value)
    assert "Nothing was sent" in str(caught.value)
    assert {request.method for request in listed.request_history} == {"GET"}
    assert hook.call("note", path_params={"id": 7}, body={"note": "x"}) == {"id": 7}


@pytest.mark.parametrize(
    ("action", "params", "words"),
    [
        ("enabel", {}, "did you mean 'enable'"),
        ("list", {}, "fits 2 actions"),
        ("enable", {}, "missing: .'id'."),
        ("enable", {"id": 7, "di": 8}, "unknown: .'di'."),
        ("DELETE /preorders/offers/:id/enable", {"id": 7}, "no action"),
    ],
)
def test_call_refuses_what_does_not_fit_before_sending(hook, listed, action, params, words):
    with pytest.raises(ValidationRejected, match=words):
        hook.call(action, path_params=params)
    assert {request.method for request in listed.request_history} == {"GET"}


def test_call_says_so_where_there_is_no_manifest(hook, api):
    api.get(f"{API}/help", json={"version": "v2"})
    with pytest.raises(ProtocolError, match="no list 'actions'"):
        hook.call("enable")


# -- test_connection ------------------------------------------------------------------------------------


def test_test_connection_names_the_reports(hook, api):
    api.get(f"{API}/preorders/reports", json={"reports": [{"name": "revenue"}]})
    assert hook.test_connection() == (
        True,
        "STOQ at https://app.stoqapp.com accepted the key; its reports are revenue.",
    )


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_test_connection_returns_problems_instead_of_raising_them(hook, api, status):
    api.get(f"{API}/preorders/reports", status_code=status, json={"errors": ["The words"]})
    good, text = hook.test_connection()
    assert good is False
    assert "The words" in text
    assert str(status) in text
