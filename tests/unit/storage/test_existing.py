"""What a store says of an object that stands in the way."""

from __future__ import annotations

import pytest

from stoq_provider.storage.existing import says_exists


class Refusal(Exception):
    """As botocore's ``ClientError``."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


@pytest.mark.parametrize(
    ("code", "exists"),
    [("PreconditionFailed", True), ("ConditionalRequestConflict", True), ("AccessDenied", False)],
)
def test_a_refusal_of_a_conditional_put_is_read_through_what_wraps_it(code, exists):
    error = OSError(22, "wrapped")
    error.__cause__ = Refusal(code)
    assert says_exists(error) is exists
    assert says_exists(FileExistsError("there"))
