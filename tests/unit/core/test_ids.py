"""Lists of ids: checked whole, cut without loss, read from the lines of a file."""

from __future__ import annotations

import csv
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoq_provider.core.ids import LARGEST_FIELD, IdList, check_ids, chunks, read_ids
from stoq_provider.core.validation import InvalidInput, some

MANY = 10**6


def check(values, most=MANY):
    return check_ids(values, what="order_ids", most=most)


def refused(call, *says):
    with pytest.raises(InvalidInput) as caught:
        call()
    missing = [part for part in says if part not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"
    return str(caught.value)


@pytest.mark.parametrize("values", [[3, 1, 2], (3, 1, 2), iter([3, 1, 2])])
def test_any_iterable_of_ids_is_taken_in_its_order(values):
    assert check(values) == IdList((3, 1, 2), 0)


def test_an_empty_list_is_no_error_here():
    assert check([]) == IdList((), 0)


def test_duplicates_are_dropped_and_counted_and_the_order_is_kept():
    assert check([5, 1, 5, 2, 1, 5]) == IdList((5, 1, 2), 3)


@pytest.mark.parametrize("good", [1, 2**31, 4_500_000_000_128, 2**63 - 1])
def test_ids_of_any_size_that_the_server_can_hold(good):
    assert check([good]).ids == (good,)


@pytest.mark.parametrize(
    "bad",
    [
        0,
        -1,
        2**63,
        1.0,
        1.5,
        Decimal(1),
        float("nan"),
        True,
        False,
        None,
        "",
        "x",
        "12.0",
        b"12",
        [12],
        {"id": 12},
    ],
    ids=repr,
)
def test_what_is_no_id(bad):
    text = refused(lambda: check([7, bad]), "order_ids", "1 of 2 entries", f"{bad!r} at position 1")
    assert "They are text" not in text


def test_ids_as_text_get_a_hint():
    refused(
        lambda: check(["12", " 13 "]), "2 of 2 entries", "'12' at position 0", "give numbers, such as [int(i)"
    )


@pytest.mark.parametrize("bad", ["gid://shopify/Order/12", "gid://shopify/ProductVariant/7"])
def test_ids_of_shopifys_other_api_get_a_hint(bad):
    refused(lambda: check([bad]), "1 of 1 entries", "int(i.split('/')[-1])")
    assert "int(" not in refused(lambda: check([bad, None]))


def test_ids_as_text_are_perhaps_a_templates():
    refused(lambda: check(["12"]), "render_template_as_native_obj=True")


@pytest.mark.parametrize("kind", ["int8", "uint16", "int64", "uint64"])
def test_numbers_of_numpy_are_whole_numbers(kind):
    numpy = pytest.importorskip("numpy")
    ids = check([getattr(numpy, kind)(3), *numpy.array([1, 3], kind)]).ids
    assert ids == (3, 1)
    assert {type(one) for one in ids} == {int}


@pytest.mark.parametrize(
    ("kind", "value"), [("bool_", True), ("float64", 1.0), ("array", [1]), ("str_", "1")]
)
def test_what_else_numpy_has_is_none(kind, value):
    numpy = pytest.importorskip("numpy")
    refused(lambda: check([getattr(numpy, kind)(value)]), "1 of 1 entries")


def test_a_set_is_taken_in_the_same_order_in_every_process():
    assert check({7, 2**40, 1, 8}) == IdList((1, 7, 8, 2**40), 0)


def test_text_among_other_offenders_gets_no_hint():
    assert "They are text" not in refused(lambda: check(["12", None]))


def test_the_first_offenders_are_named_and_all_are_counted():
    values = [1, "a", 2, "b", 3, "c", "d", *range(4, 2000), -5]
    text = refused(
        lambda: check(values), "5 of 2,004", "'a' at position 1", "'b' at position 3", "'c' at", "and 2 more"
    )
    assert "'d'" not in text


@pytest.mark.parametrize(
    "values",
    ["12,13", b"12", bytearray(b"12"), memoryview(b"12"), {3: 0}, 12, None, 1.5],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_list(values):
    refused(lambda: check(values), "must be a list of whole numbers", type(values).__name__)


def test_more_than_the_most_is_refused_with_both_numbers_before_anything_else():
    refused(lambda: check(["x"] * 11, most=10), "holds 11 ids", "at most 10", "max_items")
    assert len(check(range(1, 11), most=10).ids) == 10


def test_a_million_ids_are_checked_in_no_time():
    found = check(range(1, MANY + 1))
    assert (len(found.ids), found.duplicates) == (MANY, 0)
    refused(lambda: check(range(1, MANY + 2)), "1,000,001 ids")


IDS = st.lists(st.integers(1, 50))


@given(ids=IDS)
def test_checked_ids_are_the_same_set_in_order_of_first_sight(ids):
    found = check(ids)
    assert list(found.ids) == sorted(set(ids), key=ids.index)
    assert len(found.ids) + found.duplicates == len(ids)


@given(ids=IDS, size=st.integers(1, 7))
def test_chunks_hold_every_id_once_in_order_and_none_exceeds_the_size(ids, size):
    pieces = chunks(ids, size)
    assert [item for piece in pieces for item in piece] == ids
    assert all(len(piece) == size for piece in pieces[:-1])
    assert all(0 < len(piece) <= size for piece in pieces)


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (1, [1]), (999, [999]), (1000, [1000]), (1001, [1000, 1])]
)
def test_chunks_at_the_cap(count, sizes):
    assert [len(piece) for piece in chunks(range(count), 1000)] == sizes


# -- files ----------------------------------------------------------------------------------------------


def lines(text, column=None, most=MANY):
    return read_ids(text.splitlines(keepends=True), column=column, what="the file f.csv", most=most)


@pytest.mark.parametrize(
    "text",
    ["1\n2\n3\n", "1\n2\n3", "\ufeff1\n2\n3\n", "1\r\n2\r\n3\r\n", "\n1\n\n  2 \n\t3\n\n", " 1\n2\n3\n"],
    ids=["plain", "no last newline", "BOM", "CRLF", "blank lines", "spaces"],
)
def test_one_id_a_line(text):
    assert lines(text) == IdList((1, 2, 3), 0)


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"], ids=["empty", "blank lines", "BOM only"])
def test_a_file_without_ids_is_an_empty_list(text):
    assert lines(text).ids == ()


def test_duplicates_in_a_file_are_dropped_and_counted():
    assert lines("7\n8\n7\n7\n") == IdList((7, 8), 2)


@pytest.mark.parametrize(
    "bad", ["x", "-1", "0", "1.0", "1 2", "1,2", "1e3", "٣", "1_000", "+1", "9" * 30, "9" * 5000]
)
def test_lines_that_hold_no_id(bad):
    refused(
        lambda: lines(f"1\n\n{bad}\n"), "the file f.csv", "1 of 2 lines hold no id", f"{bad[:40]!r} in line 3"
    )


def test_the_first_bad_lines_are_named_and_all_are_counted():
    text = "".join(f"{n}\n" for n in range(1, 500)) + "a\nb\nc\nd\n"
    message = refused(lambda: lines(text), "4 of 503 lines", "'a' in line 500", "'c' in line 502")
    assert "'d'" not in message


def test_a_long_bad_line_is_shortened():
    assert len(refused(lambda: lines("x" * 5000))) < 200


def test_a_file_is_given_up_once_it_holds_more_than_the_most():
    def endless():
        number = 0
        while True:
            number += 1
            assert number < 20, "read on although it was too long already"
            yield f"{number}\n"

    refused(lambda: read_ids(endless(), column=None, what="f", most=10), "more than 10 ids", "max_items")
    refused(lambda: read_ids(endless(), column=None, what="f", most=10), "f holds")


CSV = 'name,order_id,qty\nA,11,1\n"B, long\nname",12,2\nC,,3\nD,11,4\n'


@pytest.mark.parametrize("bom", ["", "\ufeff"], ids=["plain", "BOM"])
def test_a_column_of_a_csv_with_quoted_newlines_and_empty_cells(bom):
    assert lines(bom + CSV, column="order_id") == IdList((11, 12), 1)


def test_the_first_column_is_found_behind_a_bom():
    assert lines("\ufefforder_id,x\n5,y\n", column="order_id").ids == (5,)


def test_a_csv_with_two_columns_of_that_name_is_refused():
    refused(lambda: lines("id,id\n1,2\n", column="id"), "2 columns 'id'")


def test_a_csv_without_the_column_names_those_it_has():
    refused(lambda: lines(CSV, column="id"), "no column 'id'", "name, order_id, qty")
    refused(lambda: lines("", column="id"), "no column 'id'", "none")


def test_a_bad_cell_is_named_with_its_line():
    refused(lambda: lines(CSV + "E,oops,5\n", column="order_id"), "1 of 4 lines", "'oops' in line 7")


@pytest.mark.parametrize("rows", [1, 50_000], ids=["short", "longer than a field may be"])
def test_a_quote_that_is_never_closed_does_not_swallow_the_rows_behind_it(rows):
    text = 'name,order_id\nA,11\n"B,12\n' + "C,13\n" * rows
    refused(lambda: lines(text, column="order_id"), "the file f.csv is no CSV that can be read", "in line")


@pytest.mark.parametrize("size", [2**17 - 1, 2**17, 2**17 + 1, 2**21])
def test_a_long_field_beside_the_ids_is_no_error(size):
    limit = csv.field_size_limit()
    try:
        assert lines(f"id,note\n1,{'x' * size}\n2,y\n", column="id").ids == (1, 2)
        assert csv.field_size_limit() == max(limit, LARGEST_FIELD)
    finally:
        csv.field_size_limit(limit)


def test_a_limit_that_somebody_else_raised_stays():
    limit = csv.field_size_limit(2 * LARGEST_FIELD)
    try:
        lines("id\n1\n", column="id")
        assert csv.field_size_limit() == 2 * LARGEST_FIELD
    finally:
        csv.field_size_limit(limit)


@given(ids=st.lists(st.integers(1, 2**63 - 1)))
def test_what_was_written_is_read(ids):
    text = "".join(f"{item}\n" for item in ids)
    assert lines(text) == check(ids)
    assert lines("order_id,n\n" + re.sub("\n", ",x\n", text), column="order_id") == check(ids)


def test_the_first_of_many_are_named():
    assert some(range(1, 4)) == "1, 2, 3"
    assert some(range(1, 9)) == "1, 2, 3, 4, 5 and 3 more"
    assert some(range(1, 9), between="; ") == "1; 2; 3; 4; 5; and 3 more"
