"""Reading back: which calls it takes, and what it makes of the answers."""

from __future__ import annotations

import pytest

from stoq_provider.exceptions import AuthenticationError, ProtocolError
from stoq_provider.jobs.read_back import IDS_IN_A_QUERY, most_reads, read_back
from stoq_provider.systems.stoq.bulk import ORDER_ACTIONS, VARIANT_ACTIONS
from tests.unit.hooks.conftest import API

RELEASE = ORDER_ACTIONS["release"]
SYNC = VARIANT_ACTIONS["sync_metafields"]
ORDERS = f"{API}/preorders/orders"
VARIANTS = f"{API}/preorders/product_variants"


def order(number, state="released"):
    return {"shopify_order_id": number, "state": state}


def variant(number, count=1, stored=1):
    return {"shopify_variant_id": number, "preorder_count": stored, "metafields": {"preorder_count": count}}


def listed(api, url, key, *pages, total=None):
    total = total or len(pages)
    api.get(url, [{"json": {key: page, "meta": {"total_pages": total}}} for page in pages])


def singles(api, *found):
    for item in found:
        api.get(f"{ORDERS}/{item['shopify_order_id']}", json=item)


def paths(api):
    return [
        (r.path.removeprefix("/api/v2/external/preorders/"), r.qs.get("page", [""])[0])
        for r in api.request_history
    ]


# -- orders ---------------------------------------------------------------------------------------------


def test_pages_are_read_until_everything_was_seen(hook, api):
    listed(api, ORDERS, "orders", [order(1), order(9)], [order(2), order(3, "placed"), order(4)], total=3)
    found = read_back(hook, RELEASE, [1, 2, 3, 4], {})
    assert (found.unchanged, found.unclear) == ((3,), ())
    assert paths(api) == [("orders", "1"), ("orders", "2")]


def test_pages_stop_where_single_reads_cost_no_more(hook, api):
    """The first page may show many of the items; then two are missing, and nine pages left."""
    listed(api, ORDERS, "orders", [order(1)], total=10)
    singles(api, order(2), order(3, "awaiting_balance"))
    found = read_back(hook, RELEASE, [1, 2, 3], {})
    assert found.unchanged == (3,)
    assert paths(api) == [("orders", "1"), ("orders/2", ""), ("orders/3", "")]


def test_pages_go_on_where_they_are_cheaper(hook, api):
    ids = list(range(1, 21))
    listed(api, ORDERS, "orders", [order(1)], [order(2)], [order(n) for n in ids[2:]], total=3)
    assert read_back(hook, RELEASE, ids, {}).unchanged == ()
    assert paths(api) == [("orders", "1"), ("orders", "2"), ("orders", "3")]


def test_items_that_moved_between_pages_are_read_one_by_one(hook, api):
    listed(api, ORDERS, "orders", [order(1)], [order(1)])
    singles(api, order(2, "placed"))
    assert read_back(hook, RELEASE, [1, 2], {}).unchanged == (2,)


def test_an_item_that_no_longer_exists_is_unchanged(hook, api):
    listed(api, ORDERS, "orders", [order(1)])
    api.get(f"{ORDERS}/2", status_code=404, json={"errors": ["Order not found"]})
    assert read_back(hook, RELEASE, [1, 2], {}).unchanged == (2,)


@pytest.mark.parametrize("single", [{}, {"shopify_order_id": 2}, [], "text", {"state": 7}])
def test_an_item_that_does_not_tell_is_unclear_and_not_unchanged(hook, api, single):
    listed(api, ORDERS, "orders", [order(1)])
    api.get(f"{ORDERS}/2", json=single)
    found = read_back(hook, RELEASE, [1, 2], {})
    assert (found.unchanged, found.unclear) == ((), (2,))


def test_both_come_in_the_order_of_the_ids(hook, api):
    rows = [
        order(4, "placed"),
        order(2),
        order(5, "placed"),
        {"shopify_order_id": 3},
        {"shopify_order_id": 1},
    ]
    listed(api, ORDERS, "orders", rows)
    found = read_back(hook, RELEASE, [5, 4, 3, 2, 1], {})
    assert (found.unchanged, found.unclear) == ((5, 4), (3, 1))


def test_the_body_that_was_sent_says_what_to_look_for(hook, api):
    rows = [{"shopify_order_id": 1, "tags": ["late"]}, {"shopify_order_id": 2, "tags": ["early"]}]
    listed(api, ORDERS, "orders", rows)
    assert read_back(hook, ORDER_ACTIONS["set_tags"], [1, 2], {"tags": ["late"]}).unchanged == (2,)


@pytest.mark.parametrize(("status", "error"), [(401, AuthenticationError), (403, AuthenticationError)])
def test_a_read_that_is_refused_is_no_unchanged_item(hook, api, status, error):
    listed(api, ORDERS, "orders", [order(1)])
    api.get(f"{ORDERS}/2", status_code=status)
    with pytest.raises(error):
        read_back(hook, RELEASE, [1, 2], {})


def test_a_list_that_cannot_be_read_is_no_verdict(hook, api):
    api.get(ORDERS, json={"orders": None})
    with pytest.raises(ProtocolError):
        read_back(hook, RELEASE, [1], {})


# -- variants -------------------------------------------------------------------------------------------


def test_variants_are_asked_for_by_their_ids_a_hundred_at_a_time(hook, api):
    ids = list(range(1, 251))

    def answer(request, context):
        asked = [int(text) for text in request.qs["variant_ids[]"]]
        return {"product_variants": [variant(n, count=n % 50) for n in asked], "meta": {"total_pages": 1}}

    api.get(VARIANTS, json=answer)
    found = read_back(hook, SYNC, ids, {})
    assert [len(r.qs["variant_ids[]"]) for r in api.request_history] == [IDS_IN_A_QUERY, IDS_IN_A_QUERY, 50]
    assert set(ids) - set(found.unchanged) == {1, 51, 101, 151, 201}
    assert max(len(request.url) for request in api.request_history) < 4000


def test_a_variant_that_its_list_left_out_is_asked_for_alone(hook, api):
    listed(api, VARIANTS, "product_variants", [variant(1)])
    api.get(f"{VARIANTS}/2", json=variant(2, count=5))
    api.get(f"{VARIANTS}/3", status_code=404)
    assert read_back(hook, SYNC, [1, 2, 3], {}).unchanged == (2, 3)


def test_a_list_that_ignores_the_filter_names_no_foreign_items(hook, api):
    listed(api, VARIANTS, "product_variants", [variant(8, count=0)], [variant(1)], [variant(9)])
    found = read_back(hook, SYNC, [1], {})
    assert (found.unchanged, found.unclear) == ((), ())


@pytest.mark.parametrize(
    ("action", "items", "reads"), [(RELEASE, 250, 250), (SYNC, 250, 3), (SYNC, 100, 1), (SYNC, 0, 0)]
)
def test_the_price_of_reading_back(action, items, reads):
    assert most_reads(action, items) == reads
