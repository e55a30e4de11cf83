"""What a store says of an object that stands in the way."""

from __future__ import annotations

import pytest

from stoq_provider.download.destination import Target
from stoq_provider.download.output import same_content
from stoq_provider.download.store_errors import says_exists


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


@pytest.mark.parametrize("step", ["info", "open"])
@pytest.mark.parametrize("error", [FileNotFoundError, PermissionError])
def test_what_can_not_be_looked_at_is_not_the_same(step, error):
    def refuse(*_, **__):
        raise error("no")

    class Store:
        invalidate_cache = staticmethod(lambda: None)
        info = staticmethod(lambda path: {"size": 3})

    setattr(Store, step, staticmethod(refuse))
    assert not same_content(Target("s3://b/x", "s3", "b/x", Store()), 3, "digest", lambda: None)
