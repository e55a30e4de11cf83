"""The self-description."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from stoq_provider.testing.api import build_registry


@pytest.fixture
def manifest(client):
    return client.get("/help").json()


def test_manifest_has_the_documented_shape(manifest):
    assert (manifest["version"], manifest["base_path"]) == ("v2", "/api/v2/external")
    for action in manifest["actions"]:
        assert {"name", "method", "path", "description", "aliases", "request_schema"} <= set(action)
        assert ("path_params" in action) == (":" in action["path"])
    release = next(a for a in manifest["actions"] if a["path"] == "/preorders/orders/:id/release")
    assert release["path_params"] == ["id"]


def test_request_schemas_are_json_schemas(manifest):
    for action in manifest["actions"]:
        Draft202012Validator.check_schema(action["request_schema"])
        assert action["request_schema"]["type"] == "object"


def test_method_and_path_name_an_action(manifest):
    keys = [(action["method"], action["path"]) for action in manifest["actions"]]
    assert len(keys) == len(set(keys)) == len(list(build_registry()))


def test_schema_in_the_manifest_is_the_one_that_validates(client, manifest):
    schema = next(
        a["request_schema"] for a in manifest["actions"] if a["path"] == "/preorders/orders/bulk_set_tags"
    )
    validator = Draft202012Validator(schema)
    for body in ({"order_ids": [1], "tags": ["a"]}, {"order_ids": [1]}, {"order_ids": [], "tags": []}):
        accepted = client.post("/preorders/orders/bulk_set_tags", json=body).status_code == 202
        assert accepted == validator.is_valid(body)


@pytest.mark.parametrize("path", ["/help?prefix=/preorders/orders", "/preorders/orders/help"])
def test_help_of_a_scope(client, manifest, path):
    expected = [a for a in manifest["actions"] if a["path"].startswith("/preorders/orders")]
    assert 0 < len(expected) < len(manifest["actions"])
    assert client.get(path).json()["actions"] == expected


def test_help_of_reports_has_the_filters(client):
    actions = client.get("/preorders/reports/help").json()["actions"]
    export = next(a for a in actions if a["path"] == "/preorders/reports/by_variant/export")
    assert {"from", "to", "offer_id", "offer_ids"} <= set(export["request_schema"]["properties"])
    assert len([a for a in actions if a["path"].endswith("/export")]) == 9


def test_help_of_nothing_is_404(client):
    assert client.get("/preorders/nothing/help").status_code == 404
    assert client.get("/help", headers={}).status_code == 401
