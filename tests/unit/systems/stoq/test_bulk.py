"""The table of STOQ's bulk actions: names, paths, caps, bodies, repeat safety, and what a read tells."""

from __future__ import annotations

import pytest

from stoq_provider.core.records import RepeatSafety
from stoq_provider.core.validation import InvalidInput
from stoq_provider.systems.stoq import bulk
from stoq_provider.systems.stoq.bulk import REPEAT_SAFETY
from stoq_provider.systems.stoq.system import Stoq

ALL = {**bulk.ORDER_ACTIONS, **bulk.VARIANT_ACTIONS}
ORDERS = ("release", "cancel", "set_tags", "send_payment_collection_url")
VARIANTS = ("recalculate_preorder_counts", "sync_metafields", "reset_metafields")
BODIES = {"set_tags": {"tags": ["late"]}}


def build(name, ids=(1, 2), **options):
    return bulk.submission(ALL[name], ids, options.pop("body", BODIES.get(name)), **options)


def test_the_two_tables_hold_the_promised_actions():
    assert sorted(bulk.ORDER_ACTIONS) == sorted(ORDERS)
    assert sorted(bulk.VARIANT_ACTIONS) == sorted(VARIANTS)


@pytest.mark.parametrize("name", ORDERS)
def test_orders_path_and_ids(name):
    built = build(name)
    assert (built.kind, built.path) == (f"bulk_{name}", f"/preorders/orders/bulk_{name}")
    assert built.body == {"order_ids": [1, 2], **BODIES.get(name, {})}
    assert (built.item_count, built.query) == (2, {})


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_path_and_ids(name):
    built = build(name)
    assert (built.kind, built.path) == (f"bulk_{name}", f"/preorders/product_variants/bulk_{name}")
    assert (built.body, built.item_count) == ({"variant_ids": [1, 2]}, 2)


@pytest.mark.parametrize("name", ALL)
def test_every_action_has_its_row_in_the_table_of_repeat_safety(name):
    assert ALL[name].kind in REPEAT_SAFETY


@pytest.mark.parametrize(
    ("name", "safety"),
    [
        ("release", RepeatSafety.SAFE),
        ("cancel", RepeatSafety.SAFE),
        ("set_tags", RepeatSafety.SAFE),
        ("send_payment_collection_url", RepeatSafety.NEVER),
        ("recalculate_preorder_counts", RepeatSafety.SAFE),
        ("sync_metafields", RepeatSafety.SAFE),
        ("reset_metafields", RepeatSafety.WARN),
        ("something_new", RepeatSafety.NEVER),
    ],
)
def test_repeat_safety(name, safety):
    assert Stoq().repeat_safety(f"bulk_{name}") is safety


@pytest.mark.parametrize(("name", "cap"), [("release", 1000), ("sync_metafields", 5000)])
def test_one_submission_takes_no_more_than_the_cap(name, cap):
    assert build(name, range(1, cap + 1)).item_count == cap
    with pytest.raises(InvalidInput, match=f"{cap + 1:,} ids"):
        build(name, range(1, cap + 2))
    with pytest.raises(InvalidInput, match="without ids would do nothing"):
        build(name, ())


@pytest.mark.parametrize(
    ("name", "table", "words"),
    [
        ("relaese", bulk.ORDER_ACTIONS, ["'relaese'", "release", "Known are release, cancel"]),
        ("sync_metafield", bulk.VARIANT_ACTIONS, ["sync_metafields"]),
        ("release", bulk.VARIANT_ACTIONS, ["no bulk action 'release'", "recalculate_preorder_counts"]),
        ("", bulk.ORDER_ACTIONS, ["no bulk action ''"]),
        ("relaese", bulk.ORDER_ACTIONS, ["did you mean 'release'? Known are release"]),
        ("zz", bulk.ORDER_ACTIONS, ["no bulk action 'zz'. Known are release"]),
        (["release"], bulk.ORDER_ACTIONS, ["no bulk action ['release']"]),
        (None, bulk.ORDER_ACTIONS, ["no bulk action None"]),
    ],
)
def test_an_unknown_action_is_named_with_near_misses(name, table, words):
    with pytest.raises(InvalidInput) as caught:
        bulk.find_action(name, table)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        (
            "release",
            {"forse": True},
            ["no key 'forse'", "did you mean 'force'? Known are force", "extra_body"],
        ),
        ("release", {"zz": True}, ["no key 'zz'. Known are force"]),
        ("release", "force", ["body given as text must be a JSON object"]),
        ("release", ["force"], ["body must be an object"]),
        ("set_tags", "", ["body given as text"]),
        ("cancel", {"force": True}, ["no key 'force'", "Known are none"]),
        ("set_tags", None, ["needs 'tags'"]),
        ("set_tags", {}, ["needs 'tags'"]),
        ("set_tags", {"tags": None}, ["needs 'tags'"]),
        ("set_tags", {"tags": []}, ["needs 'tags'"]),
        ("set_tags", {"tags": "late"}, ["must be a list of texts"]),
        ("set_tags", {"tags": ["late", 5]}, ["must be a list of texts"]),
        ("set_tags", {"tags": ["late", " "]}, ["must be a list of texts"]),
        ("set_tags", {"tag": ["late"]}, ["no key 'tag'", "tags"]),
        ("sync_metafields", {"variant_ids": [1]}, ["no key 'variant_ids'"]),
    ],
)
def test_a_body_that_is_wrong(name, body, words):
    with pytest.raises(InvalidInput) as caught:
        bulk.check_body(ALL[name], body)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_extra_body_and_query_are_laid_over_unchecked():
    built = build(
        "release", extra_body={"notify": False, "order_ids": None, "ids": [9]}, extra_query={"v": 3}
    )
    assert (built.body, built.query) == ({"notify": False, "ids": [9]}, {"v": 3})


def test_bodies_and_queries_as_text_are_read():
    built = build(
        "set_tags", body='{"tags": ["late"]}', extra_body="{'notify': False}", extra_query='{"v": 3}'
    )
    assert built.body == {"order_ids": [1, 2], "tags": ["late"], "notify": False}
    assert built.query == {"v": 3}
    assert built.digest() == build("set_tags", extra_body={"notify": False}, extra_query={"v": 3}).digest()


@pytest.mark.parametrize("name", ["extra_body", "extra_query"])
def test_what_is_laid_over_must_be_a_mapping(name):
    with pytest.raises(InvalidInput, match=rf"^{name} given as text must be a JSON object"):
        build("release", **{name: "x"})


def test_rounds_keep_submissions_of_the_same_items_apart():
    digests = {build("release", round_=number).digest() for number in range(3)}
    assert len(digests) == 3
    assert build("release").digest() == build("release").digest() != build("cancel").digest()


# -- what a read tells ----------------------------------------------------------------------------------


def meta(**values):
    return {"metafields": values}


CHANGED = [
    ("release", {"state": "released"}, True),
    ("release", {"state": "fulfilled"}, True),
    ("release", {"state": "awaiting_balance"}, False),
    ("release", {"state": "placed"}, False),
    ("release", {}, None),
    ("release", {"state": 5}, None),
    ("cancel", {"state": "cancelled"}, True),
    ("cancel", {"state": "refunded"}, True),
    ("cancel", {"state": "fulfilled"}, False),
    ("cancel", {}, None),
    ("set_tags", {"tags": ["late", "vip"]}, True),
    ("set_tags", {"tags": ["vip"]}, False),
    ("set_tags", {"tags": []}, False),
    ("set_tags", {"tags": "late"}, None),
    ("set_tags", {}, None),
    ("recalculate_preorder_counts", meta(drift=False), True),
    ("recalculate_preorder_counts", meta(drift=True), False),
    ("recalculate_preorder_counts", meta(drift="no"), None),
    ("recalculate_preorder_counts", {"metafields": None}, None),
    ("sync_metafields", {"preorder_count": 3, **meta(preorder_count=3, drift=True)}, True),
    ("sync_metafields", {"preorder_count": 3, **meta(preorder_count=2, drift=False)}, False),
    ("sync_metafields", {"preorder_count": 3, **meta(preorder_count=None)}, False),
    ("sync_metafields", meta(drift=False), True),
    ("sync_metafields", meta(drift=True), False),
    ("sync_metafields", {}, None),
    ("reset_metafields", meta(preorder_count=None), True),
    ("reset_metafields", meta(preorder_count=0), False),
    ("reset_metafields", {}, None),
]


@pytest.mark.parametrize(("name", "item", "verdict"), CHANGED)
def test_what_a_read_tells(name, item, verdict):
    assert ALL[name].changed(item, BODIES.get(name, {})) is verdict


def test_every_action_but_payment_links_can_be_read_back_and_all_say_what_is_read():
    assert [name for name, action in ALL.items() if action.changed is None] == ["send_payment_collection_url"]
    assert "no read tells" in ALL["send_payment_collection_url"].reads
    assert all(action.reads for action in ALL.values())
