"""Actions of a live manifest: found, filled in, checked."""

from __future__ import annotations

import pytest

from stoq_provider.core.http import MalformedResponse
from stoq_provider.core.validation import InvalidInput
from stoq_provider.systems.stoq.actions import Action, find, read_manifest

MANIFEST = {
    "version": "v2",
    "base_path": "/api/v2/external",
    "actions": [
        {"name": "read", "method": "GET", "path": "/preorders/offers/:id"},
        {"name": "read", "method": "GET", "path": "/preorders/offers/:id/widget"},
        {
            "name": "enable",
            "method": "post",
            "path": "/preorders/offers/:id/enable",
            "description": "Make it live",
            "aliases": ["publish", "go_live"],
            "path_params": ["id"],
            "request_schema": {"type": "object", "properties": {}},
        },
        {
            "name": "disable",
            "method": "POST",
            "path": "/preorders/offers/:id/disable",
            "aliases": ["unpublish"],
        },
        {"name": "add", "method": "POST", "path": "/a/:offer_id/variants/:variant_id", "aliases": 7},
        {
            "name": "schedule",
            "method": "POST",
            "path": "/preorders/offers/:id/schedule",
            "aliases": ["go_live"],
        },
        "not an action",
    ],
}
ACTIONS = read_manifest(MANIFEST)


def test_the_manifest_is_read():
    assert [action.key for action in ACTIONS] == [
        "GET /preorders/offers/:id",
        "GET /preorders/offers/:id/widget",
        "POST /preorders/offers/:id/enable",
        "POST /preorders/offers/:id/disable",
        "POST /a/:offer_id/variants/:variant_id",
        "POST /preorders/offers/:id/schedule",
    ]
    enable = ACTIONS[2]
    assert enable.aliases == ("publish", "go_live")
    assert enable.schema == {"type": "object", "properties": {}}
    assert ACTIONS[3].schema == {}


@pytest.mark.parametrize("payload", [None, [], {}, {"actions": None}, {"actions": {}}, "actions", 7])
def test_what_is_no_manifest(payload):
    with pytest.raises(MalformedResponse, match="actions"):
        read_manifest(payload)


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        pytest.param("POST /preorders/offers/:id/enable", "/preorders/offers/:id/enable", id="as listed"),
        pytest.param(
            "post /preorders/offers/:id/enable/", "/preorders/offers/:id/enable", id="case, last slash"
        ),
        pytest.param(" POST   /preorders/offers/:id/enable ", "/preorders/offers/:id/enable", id="blanks"),
        pytest.param(
            "POST /preorders/offers/:offer_id/enable", "/preorders/offers/:id/enable", id="other name"
        ),
        pytest.param("POST /preorders/offers/{id}/enable", "/preorders/offers/:id/enable", id="braces"),
        pytest.param("POST /a/:x/variants/{y}", "/a/:offer_id/variants/:variant_id", id="two placeholders"),
        pytest.param("enable", "/preorders/offers/:id/enable", id="by name"),
        pytest.param(" enable ", "/preorders/offers/:id/enable", id="by name with blanks"),
        pytest.param("unpublish", "/preorders/offers/:id/disable", id="by alias"),
        pytest.param("GET /preorders/offers/:id", "/preorders/offers/:id", id="of several with one name"),
    ],
)
def test_an_action_is_found(wanted, path):
    assert find(iter(ACTIONS), wanted).path == path


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        pytest.param(
            "read", "fits 2 actions.*GET /preorders/offers/:id, GET /preorders/offers/:id/widget", id="name"
        ),
        pytest.param("go_live", "fits 2 actions.*enable.*schedule", id="alias"),
        pytest.param("enabel", "did you mean 'enable'", id="a slip"),
        pytest.param(
            "POST /preorders/offers/:id/enabled",
            "did you mean 'POST /preorders/offers/:id/enable'",
            id="path",
        ),
        pytest.param("PATCH /preorders/offers/:id/enable", "has no action", id="another method"),
        pytest.param("POST /preorders/offers/enable", "has no action", id="placeholder left out"),
        pytest.param("POST /preorders/offers/123/enable", "has no action", id="placeholder filled in"),
    ],
)
def test_an_action_is_not_found(wanted, message):
    with pytest.raises(InvalidInput, match=message):
        find(ACTIONS, wanted)


def test_without_near_misses_none_are_named():
    with pytest.raises(InvalidInput) as caught:
        find(ACTIONS, "zzzzqqqq")
    assert "did you mean" not in str(caught.value)


ADD = ACTIONS[4]


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"offer_id": "o-1", "variant_id": 47}, "/a/o-1/variants/47"),
        ({"offer_id": "a/b?c#d", "variant_id": "ü %"}, "/a/a%2Fb%3Fc%23d/variants/%C3%BC%20%25"),
        ({"offer_id": 0, "variant_id": ":offer_id"}, "/a/0/variants/%3Aoffer_id"),
    ],
)
def test_a_path_is_filled_in(params, path):
    assert ADD.fill(params) == path


@pytest.mark.parametrize("params", [None, {}])
def test_a_path_without_placeholders_needs_nothing(params):
    assert Action("list", "GET", "/preorders/offers").fill(params) == "/preorders/offers"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        pytest.param(None, r"missing: \['offer_id', 'variant_id'\]", id="all missing"),
        pytest.param({"offer_id": 1}, r"missing: \['variant_id'\]", id="one missing"),
        pytest.param({"offer_id": 1, "variant_id": ""}, r"missing: \['variant_id'\]", id="one empty"),
        pytest.param({"offer_id": 1, "variant_id": None}, r"missing: \['variant_id'\]", id="one null"),
        pytest.param({"offer_id": 1, "variant_id": 2, "id": 3}, r"unknown: \['id'\]", id="one left over"),
        pytest.param({"offer_id": "..", "variant_id": 2}, "offer_id", id="a step up"),
        pytest.param({"offer_id": 1, "variant_id": "."}, "variant_id", id="no step"),
    ],
)
def test_a_path_is_not_filled_in(params, message):
    with pytest.raises(InvalidInput, match=message):
        ADD.fill(params)


def action(**schema):
    return Action("set", "POST", "/x", schema=schema)


NOT_NULL = {"not": {"type": "null"}}
DOCUMENTED = action(
    type="object",
    properties={
        "text": NOT_NULL,
        "mode": {"enum": ["auto", "manual"]},
        "limit": {"type": "integer", "minimum": 1, "maximum": 5},
        "variant_ids": {"type": "array", "items": {"type": "integer"}, "maxItems": 3},
    },
    required=["text"],
)


@pytest.mark.parametrize(
    "body",
    [
        {"text": "Preorder"},
        {"text": ""},
        {"text": 0},
        {"text": "x", "mode": "auto", "limit": 5, "variant_ids": [1, 2, 3], "newer": "key"},
    ],
)
def test_a_body_that_fits(body):
    DOCUMENTED.check(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param({}, "in 1 points: body: 'text' is a required property", id="required"),
        pytest.param({"text": None}, "in 1 points: text: None should not be valid under", id="null"),
        pytest.param({"text": "x", "mode": "both"}, "mode: 'both' is not one of", id="enum"),
        pytest.param({"text": "x", "limit": 0}, "limit: 0 is less than the minimum of 1", id="bound"),
        pytest.param(
            {"text": "x", "variant_ids": [1, "2"]}, "variant_ids.1: '2' is not of type", id="in a list"
        ),
        pytest.param(
            {"text": None, "mode": 1, "limit": 9, "variant_ids": ["a", "b", "c", "d"]},
            "refuses this body in 8 points",
            id="many",
        ),
    ],
)
def test_a_body_that_does_not_fit(body, message):
    with pytest.raises(InvalidInput) as caught:
        DOCUMENTED.check(body)
    assert message in str(caught.value)
    assert str(caught.value).count("; ") <= 4


def test_a_huge_value_is_not_repeated_in_full():
    with pytest.raises(InvalidInput) as caught:
        action(properties={"a": {"type": "integer"}}).check({"a": "x" * 100_000})
    assert len(str(caught.value)) < 500


def test_without_a_schema_every_body_fits():
    action().check({"anything": object()})


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"type": "no such type"}, id="unknown type"),
        pytest.param({"required": "text"}, id="required is no list"),
        pytest.param({"$ref": "#/$defs/missing"}, id="a reference into nowhere"),
        pytest.param({"$ref": "http://127.0.0.1:9/schema.json"}, id="a reference abroad"),
        pytest.param({"$ref": "#"}, id="a circle"),
        pytest.param({"$id": {}}, id="an id that is no text"),
        pytest.param({"not": {"$schema": "http://["}}, id="an id that is no address"),
        pytest.param(
            {"properties": {"text": {"pattern": r"\A(?<x>a)\z"}}}, id="a pattern of another language"
        ),
    ],
)
def test_a_broken_schema_is_the_servers_fault(schema, monkeypatch):
    asked = []
    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **_: asked.append(args))
    with pytest.raises(MalformedResponse, match="POST /x"):
        action(**schema).check({"text": "x"})
    assert asked == [], "a schema fetches nothing from the network"
