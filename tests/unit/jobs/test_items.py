"""Items from a list, a file or the API's own lists, and how what was found is kept for the next try."""

from __future__ import annotations

import json
import random
import uuid

import pytest

from stoq_provider.core.ids import UUIDS, IdList
from stoq_provider.core.validation import InvalidInput
from stoq_provider.exceptions import StateError, ValidationRejected
from stoq_provider.jobs.items import PIECE, Items, Selection
from stoq_provider.jobs.records import TaskIdentity
from stoq_provider.jobs.state_store import KEY_PREFIX, TaskStateStore
from stoq_provider.jobs.submit import Submitter
from stoq_provider.systems.stoq.bulk import ORDERS, VARIANTS
from tests.harness import MemoryStateStore
from tests.unit.hooks.conftest import API

MOST = 200_000


def select(hook, given, family=ORDERS, most=MOST):
    return Selection(hook, family, given, most=most)


def orders(api, *pages, key="orders", path="/preorders/orders", item="shopify_order_id"):
    answers = [
        {"json": {key: [{item: n} for n in page], "meta": {"total_pages": len(pages)}}} for page in pages
    ]
    api.get(f"{API}{path}", answers)


@pytest.fixture
def store():
    return MemoryStateStore()


def submitter(hook, store, *, clears=0, on_clear="resubmit"):
    return Submitter(hook, TaskStateStore(store), TaskIdentity("d", "t", "r", -1, clears), on_clear=on_clear)


# -- where ids come from --------------------------------------------------------------------------------


def test_a_list_costs_no_call_and_is_stable(hook, api):
    chosen = select(hook, [3, 1, 3])
    assert chosen.resolve() == IdList((3, 1), 1)
    assert chosen.stable
    assert api.call_count == 0


@pytest.mark.parametrize(
    "text",
    ["[3, 1, 3]", " [3,1,3]\n", "[\n3,\n1,\n3\n]", "[3, 1, 3,]"],
    ids=["list", "blanks", "lines", "Python"],
)
def test_text_of_a_list_is_the_list(hook, api, text):
    chosen = select(hook, text)
    assert chosen.resolve() == IdList((3, 1), 1)
    assert chosen.stable
    assert api.call_count == 0


@pytest.mark.parametrize("write", [json.dumps, repr], ids=["JSON", "Python"])
def test_text_of_a_mapping_is_the_mapping(hook, api, store, tmp_path, write):
    file = tmp_path / "ids.csv"
    file.write_text("order_id\n9\n")
    given = {"path": str(file), "column": "order_id"}
    chosen = select(hook, write(given))
    assert chosen.resolve().ids == (9,)
    assert not chosen.stable
    keeper = submitter(hook, store)
    chosen.kept(keeper)
    assert chosen.note_keys(keeper) == select(hook, given).note_keys(keeper)
    orders(api, [7])
    assert select(hook, write({"state": "placed"})).resolve().ids == (7,)


def test_a_list_of_uuids_as_a_template_renders_it():
    ids = [str(uuid.UUID(int=n, version=4)) for n in (1, 2)]
    items = Items(str(ids), what="record_ids", resource="x", most=9, kind=UUIDS)
    assert items.resolve().ids == tuple(ids)


@pytest.mark.parametrize("form", [str, lambda path: {"path": path}], ids=["text", "mapping"])
def test_a_file_with_one_id_a_line(hook, tmp_path, form):
    file = tmp_path / "ids.txt"
    file.write_bytes(b"\xef\xbb\xbf5\r\n\r\n7\r\n5\r\n")
    chosen = select(hook, form(f"file://{file}"))
    assert chosen.resolve() == IdList((5, 7), 1)
    assert not chosen.stable


@pytest.mark.parametrize("header", ["name,order_id", '"order_id",name', "order_id,name"])
def test_a_file_with_a_column_as_spreadsheets_write_it(hook, tmp_path, header):
    file = tmp_path / "ids.csv"
    row = "x,9" if header.startswith("name") else "9,x"
    file.write_text(f"\ufeff{header}\n{row}\n", encoding="utf-8")
    assert select(hook, {"path": str(file), "column": "order_id"}).resolve().ids == (9,)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ("ids", InvalidInput, "must be the path of a file"),
        ("12,13", InvalidInput, "must be the path of a file: '12,13'; a list stands in brackets"),
        ("['1', '2']", InvalidInput, "2 of 2 entries .* They are text"),
        ("[1, 2", InvalidInput, r"order_ids given as text that begins with '\[' must be a list or a mapping"),
        ("[x]/ids.txt", InvalidInput, "order_ids given as text that begins"),
        ("{{ ti.xcom_pull('ids') }}", InvalidInput, "order_ids given as text that begins with '{'"),
        ("{'ofer_id': 'x'}", InvalidInput, "one or more of state, offer_id.*unknown: .'ofer_id'."),
        ("{}", InvalidInput, "one or more of state"),
        ("None", InvalidInput, "must be the path of a file"),
        ("", InvalidInput, "must be the path of a file"),
        (
            "/nowhere/ids.txt",
            ValidationRejected,
            "could not be read from '/nowhere/ids.txt' .FileNotFoundError",
        ),
        ({"path": "/nowhere/x", "colunm": "id"}, InvalidInput, "unknown: .'colunm'."),
        ({"ofer_id": "x"}, InvalidInput, "one or more of state, offer_id.*unknown: .'ofer_id'."),
        ({}, InvalidInput, "one or more of state"),
        ({"state": "placed", "variant_ids": [1]}, InvalidInput, "unknown: .'variant_ids'."),
        (None, InvalidInput, "must be a list of whole numbers, not NoneType"),
        (5, InvalidInput, "must be a list of whole numbers, not int"),
    ],
)
def test_what_no_items_come_from(hook, api, given, error, words):
    with pytest.raises(error, match=words):
        select(hook, given).resolve()
    assert api.call_count == 0


def test_a_file_that_is_no_text(hook, tmp_path):
    file = tmp_path / "ids.bin"
    file.write_bytes(b"1\n\xff\xfe\n")
    with pytest.raises(ValidationRejected, match=r"UnicodeDecodeError.*Nothing was sent"):
        select(hook, str(file)).resolve()


def test_a_folder_is_no_file(hook, tmp_path):
    with pytest.raises(ValidationRejected, match="Nothing was sent"):
        select(hook, str(tmp_path)).resolve()


def test_a_selection_is_read_through_short_and_empty_pages(hook, api):
    orders(api, [1, 2], [], [3, 1], [])
    assert select(hook, {"state": "placed", "from": "2026-05-01"}).resolve() == IdList((1, 2, 3), 1)
    assert [request.qs["page"] for request in api.request_history] == [["1"], ["2"], ["3"], ["4"]]
    assert all(r.qs["state"] == ["placed"] and r.qs["from"] == ["2026-05-01"] for r in api.request_history)


def test_a_selection_of_variants(hook, api):
    orders(api, [8], key="product_variants", path="/preorders/product_variants", item="shopify_variant_id")
    assert select(hook, {"product_id": 4}, VARIANTS).resolve().ids == (8,)
    with pytest.raises(InvalidInput, match=r"offer_id, product_id; unknown: .'state'."):
        select(hook, {"state": "placed"}, VARIANTS).resolve()


@pytest.mark.parametrize("row", [{}, {"shopify_order_id": None}, {"shopify_order_id": "12"}])
def test_a_row_without_an_id_ends_the_selection(hook, api, row):
    api.get(
        f"{API}/preorders/orders", json={"orders": [{"shopify_order_id": 1}, row], "meta": {"total_pages": 1}}
    )
    with pytest.raises(InvalidInput, match="no whole number 'shopify_order_id'"):
        select(hook, {"state": "placed"}).resolve()


def test_more_than_the_most(hook, api, tmp_path):
    orders(api, [1, 2, 3])
    (tmp_path / "f").write_text("1\n2\n3\n")
    for given in ([1, 2, 3], "[1, 2, 3]", str(tmp_path / "f"), {"state": "placed"}):
        with pytest.raises(InvalidInput, match="max_items"):
            select(hook, given, most=2).resolve()


# -- kept for the next try ------------------------------------------------------------------------------


def test_what_the_first_try_found_counts_for_the_next(hook, api, store):
    orders(api, [4, 2, 4])
    first = select(hook, {"state": "placed"}).kept(submitter(hook, store))
    orders(api, [2])
    assert select(hook, {"state": "placed"}).kept(submitter(hook, store)) == first == IdList((4, 2), 1)


def test_a_list_is_not_kept(hook, store):
    chosen = select(hook, [1, 2])
    assert chosen.kept(submitter(hook, store)).ids == (1, 2)
    assert chosen.note_keys(submitter(hook, store)) == []
    assert store.rows == {}


def test_another_selection_is_another_note(hook, api, store):
    orders(api, [1])
    select(hook, {"state": "placed"}).kept(submitter(hook, store))
    orders(api, [2])
    assert select(hook, {"state": "released"}).kept(submitter(hook, store)).ids == (2,)


@pytest.mark.parametrize(("on_clear", "found"), [("resubmit", (9,)), ("reuse", (1,))])
def test_a_clear_selects_anew_unless_it_reuses(hook, api, store, on_clear, found):
    orders(api, [1])
    select(hook, {"state": "placed"}).kept(submitter(hook, store))
    orders(api, [9])
    cleared = submitter(hook, store, clears=1, on_clear=on_clear)
    assert select(hook, {"state": "placed"}).kept(cleared).ids == found


@pytest.mark.parametrize("count", [1, PIECE, PIECE + 1, 3 * PIECE])
def test_lists_of_any_length_come_back_whole(hook, store, tmp_path, count):
    ids = random.Random(5).sample(range(1, 2**63), count)
    file = tmp_path / "ids.txt"
    file.write_text("".join(f"{item}\n" for item in ids))
    chosen = select(hook, str(file))
    kept = chosen.kept(submitter(hook, store))
    file.unlink()
    assert chosen.kept(submitter(hook, store)) == kept
    assert list(kept.ids) == ids
    assert len(store.rows) == 1 + -(-count // PIECE)
    assert sorted(KEY_PREFIX + key for key in chosen.note_keys(submitter(hook, store))) == sorted(store.rows)


def test_an_empty_list_is_not_kept_so_that_a_person_may_fill_it(hook, store, tmp_path):
    file = tmp_path / "ids.txt"
    file.write_text("")
    chosen = select(hook, str(file))
    assert chosen.kept(submitter(hook, store)).ids == ()
    assert store.rows == {}
    file.write_text("7\n")
    assert chosen.kept(submitter(hook, store)).ids == (7,)


@pytest.mark.parametrize("value", [None, "", "  ", "None", [], [None], ["1", ""]])
def test_a_filter_without_a_value_is_refused(api, hook, value):
    with pytest.raises(InvalidInput, match="offer_id has no value"):
        select(hook, {"offer_id": value, "state": "placed"}).resolve()
    assert api.call_count == 0


def test_ids_as_a_shop_has_them_take_little_room(hook, store, tmp_path):
    (tmp_path / "ids").write_text("".join(f"{4_500_000_000_000 + n * 37}\n" for n in range(100_000)))
    select(hook, str(tmp_path / "ids")).kept(submitter(hook, store))
    assert max(len(row) for row in store.rows.values()) < 20_000


def test_a_piece_that_is_gone_stops_the_task(hook, store, tmp_path):
    (tmp_path / "ids").write_text("1\n2\n")
    chosen = select(hook, str(tmp_path / "ids"))
    chosen.kept(submitter(hook, store))
    _, piece = chosen.note_keys(submitter(hook, store))
    del store.rows[KEY_PREFIX + piece]
    with pytest.raises(ValidationRejected, match=r"no longer whole. Nothing was sent now.*clear the task"):
        chosen.kept(submitter(hook, store))


def test_pieces_without_their_head_are_nothing(hook, api, store):
    orders(api, [1])
    chosen = select(hook, {"state": "placed"})
    chosen.kept(submitter(hook, store))
    head, _ = chosen.note_keys(submitter(hook, store))
    del store.rows[KEY_PREFIX + head]
    orders(api, [2])
    assert chosen.kept(submitter(hook, store)).ids == (2,)


def test_a_store_that_cannot_be_read_is_not_an_empty_one(hook, api, store):
    orders(api, [1])
    store.broken = True
    with pytest.raises(StateError, match="could not be read"):
        select(hook, {"state": "placed"}).kept(submitter(hook, store))
    assert api.call_count == 0


# -- ids of the other systems ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, PIECE, 2 * PIECE + 1])
def test_uuids_of_a_file_come_back_whole_in_small_pieces(hook, store, tmp_path, count):
    numbers = random.Random(5)
    ids = [str(uuid.UUID(int=numbers.getrandbits(128), version=4)) for _ in range(count)]
    file = tmp_path / "ids.csv"
    file.write_text("id\n" + "".join(f"{item.upper()}\n" for item in [*ids, ids[0]]))
    given = {"path": str(file), "column": "id"}
    chosen = Items(given, what="record_ids", resource="delete_customers", most=MOST, kind=UUIDS)
    assert chosen.kept(submitter(hook, store)) == IdList(tuple(ids), 1)
    file.unlink()
    assert chosen.kept(submitter(hook, store)) == IdList(tuple(ids), 1)
    assert len(chosen.note_keys(submitter(hook, store))) == 1 + -(-count // PIECE)
    assert max(map(len, store.rows.values())) < 41_000


def test_items_take_no_filters():
    with pytest.raises(InvalidInput, match=r"record_ids is a list of ids, .* unknown: \['email'\]"):
        Items({"email": "x"}, what="record_ids", resource="x", most=9, kind=UUIDS).resolve()
