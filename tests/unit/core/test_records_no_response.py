"""What is done about a submission without a clear response: the table, row by row."""

from __future__ import annotations

import pytest

from stoq_provider.core.records import Lookup, RepeatSafety, RetryDecision, after_no_response

SAFE, WARN, NEVER = RepeatSafety.SAFE, RepeatSafety.WARN, RepeatSafety.NEVER


@pytest.mark.parametrize(
    ("lookup", "repeat", "decision"),
    [
        pytest.param(Lookup.FOUND, SAFE, RetryDecision.REATTACH, id="found, safe"),
        pytest.param(Lookup.FOUND, WARN, RetryDecision.REATTACH, id="found, with a warning"),
        pytest.param(Lookup.FOUND, NEVER, RetryDecision.REATTACH, id="found, never"),
        pytest.param(Lookup.ABSENT, SAFE, RetryDecision.SUBMIT, id="absent, safe"),
        pytest.param(Lookup.ABSENT, WARN, RetryDecision.SUBMIT, id="absent, with a warning"),
        pytest.param(Lookup.ABSENT, NEVER, RetryDecision.SUBMIT, id="absent, never"),
        pytest.param(Lookup.UNKNOWN, SAFE, RetryDecision.REPEAT, id="unknown, safe"),
        pytest.param(Lookup.UNKNOWN, WARN, RetryDecision.REPEAT, id="unknown, with a warning"),
        pytest.param(Lookup.UNKNOWN, NEVER, RetryDecision.STOP, id="unknown, never"),
    ],
)
def test_a_submission_without_a_clear_response(lookup, repeat, decision):
    assert after_no_response(lookup, repeat) is decision
