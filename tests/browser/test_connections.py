"""Connections that are made, tried out and mended in Airflow's forms."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from stoq_provider.get_provider_info import connection
from tests.browser.conftest import Picture
from tests.browser.connections import Connections
from tests.cluster.airflow import Cluster

CLOSED = "http://127.0.0.1:9"
"""Where nobody listens."""


def test_a_stoq_connection(page: Page, cluster: Cluster, picture: Picture) -> None:
    connections = Connections(page)
    connections.begin("STOQ", "acme_shop", {})
    expect(connections.form.get_by_label("Host", exact=True)).to_be_visible()
    for label in ("Port", "Login", "Schema"):
        expect(connections.form.get_by_label(label, exact=True)).to_be_hidden()
    picture("connection-form", connections.form)
    connections.fill({"Host": cluster.sandbox.origin, "API key": cluster.sandbox.key})
    connections.open("Extra Fields")
    connections.fill({"Timeout": "25", "Share of the rate limit": "0.5"})
    connections.save()
    extra = json.loads(cluster.api.call("GET", "/connections/acme_shop")["extra"])
    fields = connection("stoq")["conn-fields"]
    defaults = {name: field["schema"].get("default") for name, field in fields.items()}
    assert extra == defaults | {"timeout": 25, "points_share": 0.5}
    expect(connections.test("acme_shop")).to_contain_text("accepted the key; 359 of 360 points are left")


def test_a_medusa_connection_by_port(page: Page, cluster: Cluster) -> None:
    connections = Connections(page)
    at = urlsplit(cluster.sandbox.medusa_origin)
    fields = {
        "Host": f"http://{at.hostname}",
        "Port": str(at.port),
        "API token or password": cluster.sandbox.medusa_token,
    }
    connections.begin("Medusa", "acme_medusa", fields)
    connections.save()
    expect(connections.test("acme_medusa")).to_contain_text(
        "accepted the key; this user has made 0 batch jobs"
    )


@pytest.mark.parametrize("wrong", ["key", "host"])
def test_what_is_wrong_is_said(page: Page, cluster: Cluster, wrong: str) -> None:
    connections = Connections(page)
    shop, key = cluster.sandbox.origin, cluster.sandbox.key
    fields, words = {
        "key": (
            {"Host": shop, "API key": "a-wrong-key"},
            f"STOQ at {shop} refused the key (HTTP 401: Unauthorized).",
        ),
        "host": ({"Host": CLOSED, "API key": key}, f"STOQ at {CLOSED} can't be reached"),
    }[wrong]
    connections.begin("STOQ", f"wrong_{wrong}", fields)
    connections.save()
    said = connections.test(f"wrong_{wrong}")
    expect(said).to_contain_text(words)
    expect(said).not_to_contain_text(fields["API key"])
