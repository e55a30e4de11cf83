"""What a sensor for print jobs and orders takes as ids."""

from __future__ import annotations

import json

import pytest

from stoq_provider.core.validation import InvalidInput
from stoq_provider.exceptions import ValidationRejected
from stoq_provider.jobs.items import watched_ids

MANIFEST = {"schema_version": 1, "orders": [{"id": "o1", "status": "paid"}, {"id": "o2"}]}


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        (["a", "b"], ["a", "b"]),
        ("a", ["a"]),
        (["a", {"id": "b"}, {"id": 7}], ["a", "b", "7"]),
        (MANIFEST, ["o1", "o2"]),
        ([MANIFEST, {"orders": [{"id": "o3"}]}], ["o1", "o2", "o3"]),
        (json.dumps(MANIFEST), ["o1", "o2"]),
        (str(MANIFEST), ["o1", "o2"]),
        ('["a"]', ["a"]),
        ([], []),
    ],
)
def test_forms(given, ids):
    assert watched_ids(given) == ids


@pytest.mark.parametrize("given", [7, None, [7], {}, {"jobs": []}, "[broken", [None]])
def test_what_is_none_of_them(given):
    with pytest.raises(InvalidInput):
        watched_ids(given)


def test_a_long_list_is_read_from_where_the_operator_stored_it(tmp_path):
    path = tmp_path / "orders.txt"
    path.write_text("o1\no2\n\n")
    assert watched_ids({**MANIFEST, "orders_uri": path.as_uri()}) == ["o1", "o2"]
    with pytest.raises(ValidationRejected, match="could not be read"):
        watched_ids({"orders_uri": (tmp_path / "gone").as_uri()})
