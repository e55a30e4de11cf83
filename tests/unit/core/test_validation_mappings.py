"""Mappings and JSON that a user gives, and the caller's keys laid over ours."""

from __future__ import annotations

import json
from collections import OrderedDict
from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest

from stoq_provider.core.validation import InvalidInput, check_json, merge, read_mapping, read_text


@pytest.mark.parametrize(
    ("base", "extra", "merged"),
    [
        ({"a": 1}, None, {"a": 1}),
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1, "b": 2}, {"a": None, "c": None}, {"b": 2}),
        ({"a": 1}, {"a": False}, {"a": False}),
        ({"a": [1]}, {"a": []}, {"a": []}),
        ({"a": 1}, {"a": 0}, {"a": 0}),
    ],
)
def test_the_callers_keys_lie_over_ours(base, extra, merged):
    kept = dict(base)
    assert merge(base, extra) == merged
    assert base == kept


# -- text in the place of a mapping -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "read"),
    [
        pytest.param('{"a": [1, null], "b": true}', {"a": [1, None], "b": True}, id="JSON"),
        pytest.param("{'a': [1, None], 'b': True}", {"a": [1, None], "b": True}, id="as Python writes it"),
        pytest.param(' \n{"a": 1}\n', {"a": 1}, id="blanks around JSON"),
        pytest.param("  {'a': 1} ", {"a": 1}, id="blanks around Python"),
        pytest.param("{}", {}, id="empty"),
    ],
)
def test_text_of_an_object_is_read_as_one(text, read):
    assert read_mapping(text, "body") == read
    assert merge({"z": 0}, text) == {"z": 0, **read}


def test_a_mapping_is_read_as_json_has_it_and_none_stays_none():
    assert read_mapping(OrderedDict(a=(1, date(2026, 5, 1))), "body") == {"a": [1, date(2026, 5, 1)]}
    assert read_mapping({"a": UUID(int=1)}, "body") == {"a": str(UUID(int=1))}
    assert read_mapping(None, "body") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "None",
        "null",
        "x",
        "7",
        "[1]",
        '["a"]',
        "{1, 2}",
        "{'a': 1",
        "{{ var.value.x }}",
        "{[]: 1}",
        "{'a': open('/etc/passwd')}",
        pytest.param("[" * 200_000, id="deep JSON"),
        pytest.param("{'a': " * 5_000, id="deep Python"),
        pytest.param("{'a': '\x00'}\x00", id="NUL"),
    ],
)
def test_other_text_is_refused_by_the_parameters_name(text):
    for refuse in (lambda: read_mapping(text, "filters"), lambda: merge({}, text, "filters")):
        with pytest.raises(InvalidInput, match=r"^filters given as text must be a JSON object") as caught:
            refuse()
        assert len(str(caught.value)) < 200


def test_a_refused_text_is_not_shown():
    with pytest.raises(InvalidInput) as caught:
        read_mapping('{"token": "s3cret"', "body")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "kind"), [([("a", 1)], "list"), (7, "int"), (False, "bool"), (b"{}", "bytes"), ([], "list")]
)
def test_what_is_neither_text_nor_mapping_is_refused(value, kind):
    with pytest.raises(InvalidInput, match=rf"^extra_body must be an object \(a mapping\), not {kind}$"):
        merge({}, value)


@pytest.mark.parametrize("given", [{1: "x"}, "{1: 'x', 'a': 2}", {None: 1}])
def test_keys_that_are_no_text_are_refused(given):
    with pytest.raises(InvalidInput, match="keys of query must be texts"):
        read_mapping(given, "query")


def test_text_that_is_nothing_raises_what_the_caller_says():
    assert read_text("[1, 'a']", "no") == [1, "a"]
    assert read_text(json.dumps(["ü"]), "no") == ["ü"]
    with pytest.raises(InvalidInput, match=r"^no; where a template makes it, render_template_as"):
        read_text("[1,", "no")


@pytest.mark.parametrize(
    "bad",
    [{1}, object(), b"x", 1j, [[{1}]], {"b": {1: 2}}, "\ud800", (one for one in ())],
    ids=lambda value: type(value).__name__,
)
def test_what_json_has_nothing_like_is_refused_by_its_place(bad):
    with pytest.raises(InvalidInput, match="'a' in body"):
        read_mapping({"a": bad}, "body")


@pytest.mark.parametrize("value", [date(2026, 5, 1), Decimal("1.50")])
def test_what_a_query_takes_and_a_body_does_not_stays(value):
    assert read_mapping({"a": [value]}, "query") == {"a": [value]}
    with pytest.raises(InvalidInput, match="can't be sent as JSON"):
        check_json({"a": value}, "x")


def test_a_mapping_without_an_end_is_refused():
    endless = {}
    endless["a"] = endless
    with pytest.raises(InvalidInput, match="without an end"):
        read_mapping(endless, "body")


def test_numbers_of_numpy_are_sent_as_numbers():
    numpy = pytest.importorskip("numpy")
    read = read_mapping({"a": [numpy.int64(7), numpy.float64(0.5)]}, "body")
    assert json.dumps(read) == '{"a": [7, 0.5]}'
