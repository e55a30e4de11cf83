"""Waiting for a state: what counts as reached, what as an end."""

from __future__ import annotations

import pytest

from stoq_provider.core.models import JobState
from stoq_provider.core.validation import InvalidInput
from stoq_provider.systems.printstudio.states import ORDER, PRINT_JOB, Goal

R, S, F, C, U = (
    JobState.RUNNING,
    JobState.SUCCEEDED,
    JobState.FAILED,
    JobState.CANCELLED,
    JobState.UNKNOWN,
)


@pytest.mark.parametrize(
    ("goal", "states"),
    [
        (
            Goal(PRINT_JOB, ("PRINTING",)),
            {"CREATED": R, "QUEUED": R, "PRINTING": S, "POST_PROCESS": S, "SHIPPED": S, "FAILED": R}
            | {"CANCELLED": C, "MELTED": U},
        ),
        (Goal(PRINT_JOB, ("READY",), True), {"FAILED": F, "QUEUED": R, "ready": S}),
        (Goal(PRINT_JOB, ("FAILED",)), {"FAILED": S, "PRINTING": R, "SHIPPED": F, "CANCELLED": C}),
        (Goal(PRINT_JOB, ("SHIPPED", "CANCELLED")), {"CANCELLED": S, "SHIPPED": S, "READY": R}),
        (Goal(ORDER, ("ready",)), {"paid": R, "shipped": S, "cancelled": C, "refunded": C, "printing": R}),
        (Goal(ORDER, ("refunded",)), {"refunded": S, "cancelled": C, "shipped": F}),
    ],
)
def test_what_a_state_means(goal, states):
    assert {word: goal.judge(word)[0] for word in states} == states


def test_ends_say_why():
    assert Goal(PRINT_JOB, ("READY",)).judge("cancelled")[1] == "it is CANCELLED and will not be READY"
    assert Goal(PRINT_JOB, ("READY",), True).judge("FAILED")[1] == "it is FAILED"
    assert Goal(PRINT_JOB, ("READY",)).judge("PRINTING")[1] is None


@pytest.mark.parametrize(
    "goal",
    [
        Goal(PRINT_JOB, ("READY", "SHIPPED")),
        Goal(PRINT_JOB, ("READY",), True),
        Goal(ORDER, ("post_processing",)),
    ],
)
def test_a_goal_survives_in_the_kind_of_a_handle(goal):
    assert Goal.of_kind(goal.kind) == goal


@pytest.mark.parametrize("kind", ["create_orders", "print_job", "print_job:", "skus:x", "import_skus:upsert"])
def test_other_kinds_have_no_goal(kind):
    assert Goal.of_kind(kind) is None


@pytest.mark.parametrize("given", ["post-process", " POST_PROCESS ", ["post_process", "POST_PROCESS"]])
def test_states_are_taken_in_any_spelling(given):
    assert Goal.checked(PRINT_JOB, given).states == ("POST_PROCESS",)


@pytest.mark.parametrize(
    ("course", "given", "says"),
    [
        (PRINT_JOB, "PRINTED", "did you mean 'PRINTING'"),
        (ORDER, ["ready", "QUEUED"], "can't wait for orders in state 'QUEUED'"),
        (ORDER, [None], "None"),
        (ORDER, [], "target_states is empty"),
        (ORDER, None, "target_states must be a list of states, not NoneType"),
        (ORDER, 7, "must be a list of states, not int"),
    ],
)
def test_unknown_states(course, given, says):
    with pytest.raises(InvalidInput, match=says):
        Goal.checked(course, given)
