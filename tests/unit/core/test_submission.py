"""What is going to be sent: digests, and the caller's keys laid over ours."""

from __future__ import annotations

from datetime import date

import pytest

from stoq_provider.core.submission import Submission

BASE = Submission("bulk_release", "/orders/bulk_release", {"order_ids": [1, 2], "force": True}, {"a": "b"}, 2)


def test_equal_input_gives_an_equal_digest_whatever_the_order_of_keys():
    same = Submission(
        "bulk_release", "/orders/bulk_release", {"force": True, "order_ids": [1, 2]}, {"a": "b"}, 2
    )
    assert same.digest() == BASE.digest()
    assert len(BASE.digest()) == 64


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(Submission("bulk_cancel", BASE.path, BASE.body, BASE.query), id="kind"),
        pytest.param(Submission(BASE.kind, "/other", BASE.body, BASE.query), id="path"),
        pytest.param(
            Submission(BASE.kind, BASE.path, {**BASE.body, "order_ids": [2, 1]}, BASE.query), id="order"
        ),
        pytest.param(
            Submission(BASE.kind, BASE.path, {**BASE.body, "force": False}, BASE.query), id="a value"
        ),
        pytest.param(
            Submission(BASE.kind, BASE.path, {**BASE.body, "force": "true"}, BASE.query), id="a type"
        ),
        pytest.param(Submission(BASE.kind, BASE.path, BASE.body, {}), id="query"),
        pytest.param(Submission(BASE.kind, BASE.path, BASE.query, BASE.body), id="query for body"),
    ],
)
def test_other_input_gives_another_digest(other):
    assert other.digest() != BASE.digest()


def test_values_that_are_no_json_have_a_digest_too():
    assert (
        Submission("k", "/p", {"from": date(2026, 5, 28)}).digest()
        == Submission("k", "/p", {"from": "2026-05-28"}).digest()
    )


def test_a_source_is_part_of_what_a_submission_is_and_its_preparation_is_not():
    plain = Submission("product-import", "/x", {"a": 1})
    one, two = (
        Submission("product-import", "/x", {"a": 1}, source=name) for name in ("s3://b/1", "s3://b/2")
    )
    assert len({plain.digest(), one.digest(), two.digest()}) == 3
    prepared = Submission("product-import", "/x", {"a": 1}, source="s3://b/1", preparation=object())
    assert prepared.digest() == one.digest()
    assert prepared == one
