"""Ids that are no numbers: UUIDs in one spelling, opaque texts."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoq_provider.core.ids import NUMBERS, TEXTS, UUIDS, IdList, check_ids, read_ids
from stoq_provider.core.validation import InvalidInput

ONE, TWO = (str(uuid.UUID(int=number, version=4)) for number in (1, 2))


def test_uuids_are_sent_in_lower_case_and_two_spellings_are_one():
    given = [TWO.upper(), f" {ONE}", TWO, ONE]
    assert check_ids(given, what="record_ids", most=9, kind=UUIDS) == IdList((TWO, ONE), 2)


@pytest.mark.parametrize("bad", [7, None, "", ONE[:-1], ONE.replace("-", ""), f"{{{ONE}}}", ONE[:-1] + "g"])
def test_what_is_no_uuid(bad):
    with pytest.raises(
        InvalidInput, match=r"record_ids: 1 of 2 entries are no UUIDs: .* at position 1"
    ) as error:
        check_ids([ONE, bad], what="record_ids", most=9, kind=UUIDS)
    assert "They are text" not in str(error.value)


@pytest.mark.parametrize("bad", [7, None, "", "  ", "a b", "a\nb", "x" * 201, ".", ".."])
def test_what_is_no_opaque_id(bad):
    with pytest.raises(InvalidInput, match="no ids"):
        check_ids(["job_1", bad], what="job_ids", most=9, kind=TEXTS)


def test_opaque_ids_keep_their_case():
    assert check_ids(["a", "A", "a"], what="x", most=9, kind=TEXTS) == IdList(("a", "A"), 1)


@pytest.mark.parametrize(("kind", "noun"), [(NUMBERS, "whole numbers"), (UUIDS, "UUIDs"), (TEXTS, "texts")])
def test_one_text_is_no_list(kind, noun):
    with pytest.raises(InvalidInput, match=f"must be a list of {noun}, not str"):
        check_ids(ONE, what="x", most=9, kind=kind)


def test_a_file_of_uuids():
    lines = ["id,name\n", f"{ONE.upper()},a\n", ",b\n", f"{TWO},c\n"]
    assert read_ids(lines, column="id", what="f", most=9, kind=UUIDS).ids == (ONE, TWO)
    with pytest.raises(InvalidInput, match=r"1 of 2 lines hold no id: '12' in line 2"):
        read_ids([f"{ONE}\n", "12\n"], column=None, what="f", most=9, kind=UUIDS)


@given(st.lists(st.uuids(), max_size=40))
def test_all_uuids_are_taken_without_loss(values):
    found = check_ids([str(value) for value in values], what="x", most=99, kind=UUIDS)
    assert list(found.ids) == list(dict.fromkeys(str(value) for value in values))
    assert len(found.ids) + found.duplicates == len(values)
