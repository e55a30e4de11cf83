"""Statuses, bodies, records and pages."""

from __future__ import annotations

import re

import pytest

from stoq_provider.testing import SANDBOX_KEY, Sandbox

from .conftest import PATIENCE

OFFERS = "/preorders/offers"
ORDERS = "/preorders/orders"
VARIANTS = "/preorders/product_variants"


def test_key_has_the_documented_format():
    assert re.fullmatch(r"stoq_api_key_.{32}", SANDBOX_KEY)


@pytest.mark.parametrize(
    "headers", [{}, {"X-Auth-Token": "wrong"}, {"Authorization": f"Bearer {SANDBOX_KEY}"}]
)
def test_without_the_key_is_401_and_costs_nothing(client, sandbox, headers):
    answer = client.get(OFFERS, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["errors"]
    assert answer.headers["X-RateLimit-Limit"] == "360"
    assert sandbox.state["points_spent"] == 0
    assert sandbox.state["unauthorized"] == 1


def test_unknown_action_names_verb_and_path(client):
    answer = client.post(f"{OFFERS}/nope")
    assert answer.status_code == 404
    assert answer.json() == {"errors": ["No v2 action registered for POST /preorders/offers/nope"]}


@pytest.mark.parametrize(
    "path", [f"{OFFERS}/nope", f"{ORDERS}/1", f"{ORDERS}/x", f"{VARIANTS}/1", f"{ORDERS}/jobs/x"]
)
def test_unknown_record_is_404(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert isinstance(answer.json()["errors"][0], str)
    assert "registered" not in answer.json()["errors"][0]


def test_bad_json_is_400_and_no_object_is_422(client):
    assert client.post(OFFERS, data="{").status_code == 400
    assert client.post(OFFERS, json=[1]).status_code == 422


def test_all_problems_come_in_one_answer(client):
    answer = client.get(f"{ORDERS}?state=lost&per_page=0&variant_id=abc")
    assert answer.status_code == 422
    assert sorted(answer.json()["errors"]) == [
        "per_page must be greater than or equal to 1",
        "state must be one of: placed, awaiting_balance, balance_collected, released, fulfilled, "
        "cancelled, refunded",
        "variant_id must be an integer",
    ]


def test_life_of_an_offer(client):
    created = client.post(OFFERS, json={})
    assert created.status_code == 202
    offer = created.json()
    assert (offer["name"], offer["internal_name"]) == ("Preorder", "Preorder")
    assert "job_id" not in offer
    path = f"{OFFERS}/{offer['id']}"
    assert client.call("PATCH", path, json={"name": "Spring"}).json()["name"] == "Spring"
    assert client.post(f"{path}/enable").json()["status"] == "enabled"
    assert client.post(f"{path}/disable").json()["status"] == "disabled"
    assert client.post(f"{path}/discard").json()["status"] == "discarded"
    assert client.post(f"{path}/enable").status_code == 409
    assert client.post(f"{path}/restore").status_code == 202
    read = client.get(path)
    assert read.status_code == 200
    assert read.json()["status"] == "disabled"
    assert "widget" in read.json()["capabilities"]


def test_offers_are_listed_newest_first_25_a_page(client):
    answer = client.get(OFFERS).json()
    created = [offer["created_at"] for offer in answer["offers"]]
    assert created == sorted(created, reverse=True)
    assert answer["meta"] == {"total_count": 30, "page": 1, "per_page": 25, "total_pages": 2}
    enabled = client.get(f"{OFFERS}?status=enabled").json()
    assert {offer["status"] for offer in enabled["offers"]} == {"enabled"}
    assert enabled["meta"]["total_count"] == 24


def test_state_filter_leaves_short_and_empty_pages(client):
    """The filter runs after a page was fetched, so `meta` counts unfiltered rows."""
    sizes = []
    for page in range(1, 13):
        answer = client.get(f"{ORDERS}?state=fulfilled&per_page=100&page={page}").json()
        assert {order["state"] for order in answer["orders"]} <= {"fulfilled"}
        assert answer["meta"] == {"total_count": 1200, "page": page, "per_page": 100, "total_pages": 12}
        sizes.append(len(answer["orders"]))
    assert sizes[0] == 0
    assert 0 < sizes[-1] < 100
    assert sum(sizes) == len(client.orders("fulfilled"))


def test_pages_cover_all_orders_once(client):
    seen = []
    for page in range(1, 7):
        seen += [
            o["shopify_order_id"] for o in client.get(f"{ORDERS}?per_page=200&page={page}").json()["orders"]
        ]
    assert len(seen) == len(set(seen)) == 1200


def test_filters_of_orders(client):
    order = client.get(f"{ORDERS}?per_page=1&page=700").json()["orders"][0]
    line = order["line_items"][0]
    day = order["created_at"][:10]
    for query, holds in (
        (
            f"offer_id={line['offer_id']}",
            lambda o: line["offer_id"] in [x["offer_id"] for x in o["line_items"]],
        ),
        (
            f"variant_id={line['shopify_variant_id']}",
            lambda o: line["shopify_variant_id"] in [x["shopify_variant_id"] for x in o["line_items"]],
        ),
        (f"customer_id={order['customer']['id']}", lambda o: o["customer"] == order["customer"]),
        (f"from={day}&to={day}", lambda o: o["created_at"].startswith(day)),
    ):
        answer = client.get(f"{ORDERS}?per_page=200&{query}").json()
        ids = [found["shopify_order_id"] for found in answer["orders"]]
        assert order["shopify_order_id"] in ids
        assert all(holds(found) for found in answer["orders"])
        assert answer["meta"]["total_count"] < 1200
    assert client.get(f"{ORDERS}?from=yesterday").status_code == 422


def test_release_waits_for_the_balance(client):
    order_id = client.orders("awaiting_balance", 1)[0]
    path = f"{ORDERS}/{order_id}"
    refused = client.post(f"{path}/release")
    assert refused.status_code == 409
    assert "force: true" in refused.json()["errors"][0]
    assert client.get(path).json()["state"] == "awaiting_balance"
    charged = client.post(f"{path}/payments/charge_balance")
    assert (charged.status_code, charged.json()["state"]) == (202, "balance_collected")
    assert charged.json()["payments"]["total_outstanding"] == "0.00"
    assert client.post(f"{path}/payments/charge_balance").status_code == 409
    assert client.post(f"{path}/release").json()["state"] == "released"


def test_release_can_be_forced(client):
    order_id = client.orders("awaiting_balance", 1)[0]
    released = client.post(f"{ORDERS}/{order_id}/release", json={"force": True})
    assert (released.status_code, released.json()["state"]) == (202, "released")


def test_tags_are_replaced(client):
    order_id = client.orders("placed", 1)[0]
    assert client.post(f"{ORDERS}/{order_id}/tags", json={"tags": ["a", "b"]}).json()["tags"] == ["a", "b"]
    assert client.post(f"{ORDERS}/{order_id}/tags").json()["errors"] == ["tags is missing"]


def test_variants_show_drift_until_recalculated(client):
    rows = client.get(f"{VARIANTS}?per_page=200").json()["product_variants"]
    assert len(rows) == 150
    drifted = [row for row in rows if row["metafields"]["drift"]]
    assert 0 < len(drifted) < 150
    path = f"{VARIANTS}/{drifted[0]['shopify_variant_id']}"
    after = client.post(f"{path}/recalculate_preorder_count")
    assert after.status_code == 202
    assert after.json()["metafields"]["drift"] is False
    assert after.json()["preorder_count"] == after.json()["active_preorder_count"]
    assert client.get(path).json() == after.json()


def test_filters_of_variants(client):
    first, second = client.get(f"{VARIANTS}?per_page=2").json()["product_variants"]
    ids = [first["shopify_variant_id"], second["shopify_variant_id"]]
    for query in (f"variant_ids[]={ids[0]}&variant_ids[]={ids[1]}", f"variant_ids={ids[0]},{ids[1]}"):
        found = client.get(f"{VARIANTS}?{query}").json()["product_variants"]
        assert [row["shopify_variant_id"] for row in found] == ids
    found = client.get(f"{VARIANTS}?product_id={first['shopify_product_id']}").json()["product_variants"]
    assert {row["shopify_product_id"] for row in found} == {first["shopify_product_id"]}
    offer = client.get(OFFERS).json()["offers"][0]["id"]
    found = client.get(f"{VARIANTS}?offer_id={offer}").json()["product_variants"]
    assert found
    assert all(offer in row["offer_ids"] for row in found)
    states = client.get(f"{VARIANTS}/{found[0]['shopify_variant_id']}/offers").json()["offers"]
    assert offer in [entry["id"] for entry in states]


def test_add_variants_works_in_the_background_without_a_handle(client, sandbox):
    offer = client.post(OFFERS, json={"name": "New"}).json()["id"]
    variant = client.get(f"{VARIANTS}?per_page=1").json()["product_variants"][0]["shopify_variant_id"]
    path = f"{OFFERS}/{offer}/products/add_variants"
    answer = client.post(path, json={"variant_ids": [variant]})
    assert answer.status_code == 202
    assert not {"job_id", "status_url"} & set(answer.json())
    assert client.get(f"{OFFERS}/{offer}").json()["capabilities"]["products"]["count"] == 0
    assert "another job is in progress" in client.post(path, json={"variant_ids": [variant]}).text.lower()
    sandbox.advance(60)
    assert client.get(f"{OFFERS}/{offer}").json()["capabilities"]["products"]["variant_ids"] == [variant]
    assert sandbox.submissions[0]["kind"] == "products_add_variants"
    assert sandbox.submissions[0]["job_id"] is None


def test_same_seed_same_shop(client):
    with Sandbox(seed=7) as twin, Sandbox(seed=8) as other:
        orders = [
            client.session.get(
                f"{one.origin}/api/v2/external{ORDERS}?per_page=200&page=3",
                headers=client.headers,
                timeout=PATIENCE,
            ).json()["orders"]
            for one in (client.sandbox, twin, other)
        ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_extra_keys_are_shops_of_their_own(client):
    with Sandbox(extra_keys=("stoq_api_key_" + "b" * 32,)) as two:
        url = f"{two.origin}/api/v2/external{ORDERS}?per_page=1"
        answers = [
            client.session.get(url, headers={"X-Auth-Token": key}, timeout=PATIENCE)
            for key in (two.key, "stoq_api_key_" + "b" * 32)
        ]
    assert answers[0].json() != answers[1].json()
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["359", "359"]
