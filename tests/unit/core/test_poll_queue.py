"""Whose turn it is: rule by rule, and against a model that sorts a plain list."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoq_provider.core.poll_queue import PollQueue

T0 = 1_000_000.0
HEAD_START = 60.0


def queue(*polls):
    made = PollQueue()
    for key, due_at, *priority in polls:
        made.add(key, T0 + due_at, priority=bool(priority))
    return made


def take(waiting, now, size=1):
    return waiting.take(T0 + now, size, head_start=HEAD_START)


def drain(waiting, now):
    """Take all that is due, one by one."""
    keys = []
    while taken := take(waiting, now):
        keys += taken
    return keys


class TestOrder:
    def test_the_earliest_due_comes_first(self):
        assert drain(queue(("c", 3), ("a", 1), ("b", 2)), 10) == ["a", "b", "c"]

    def test_of_two_due_at_once_the_one_that_was_added_first(self):
        assert drain(queue(("b", 1), ("a", 1), ("c", 1)), 10) == ["b", "a", "c"]

    def test_keys_need_no_order_of_their_own(self):
        one, two = object(), object()
        assert drain(queue((one, 1), (two, 1)), 10) == [one, two]

    def test_what_is_not_due_stays(self):
        waiting = queue(("a", 1), ("b", 20))
        assert drain(waiting, 10) == ["a"]
        assert (len(waiting), waiting.next_due()) == (1, T0 + 20)
        assert drain(waiting, 20) == ["b"]

    def test_one_with_priority_goes_before_those_that_were_due_a_little_sooner(self):
        assert drain(queue(("a", 0), ("b", HEAD_START - 1, "priority")), HEAD_START) == ["b", "a"]

    def test_but_not_before_those_that_were_due_much_sooner(self):
        assert drain(queue(("a", 0), ("b", HEAD_START + 1, "priority")), 2 * HEAD_START) == ["a", "b"]

    @pytest.mark.parametrize(("head_start", "first"), [(0.0, "a"), (98.0, "a"), (100.0, "b")])
    def test_by_how_much_is_said_when_they_are_taken(self, head_start, first):
        waiting = queue(("a", 0), ("b", 99, "priority"))
        assert waiting.take(T0 + 99, head_start=head_start) == [first]

    def test_one_with_priority_is_not_taken_before_it_is_due(self):
        assert drain(queue(("a", 10, "priority")), 9) == []


class TestAddingAgain:
    @pytest.mark.parametrize("dues", [(5, 9), (9, 5), (5, 5), (5, 9, 7), (9, 7, 5, 8)])
    def test_a_key_stands_once_and_the_earlier_time_counts(self, dues):
        waiting = queue(*(("a", due) for due in dues))
        assert (len(waiting), waiting.next_due()) == (1, T0 + 5)
        assert take(waiting, 4, 9) == []
        assert take(waiting, 50, 9) == ["a"]
        assert take(waiting, 50, 9) == []
        assert (len(waiting), waiting.next_due()) == (0, None)

    def test_later_and_with_priority_gives_the_priority_and_no_later_time(self):
        waiting = queue(("b", 1), ("a", 2), ("a", 40, "priority"))
        assert take(waiting, 2) == ["a"]

    def test_adding_it_without_takes_no_priority_away(self):
        waiting = queue(("b", 1), ("a", 2, "priority"), ("a", 2))
        assert drain(waiting, 5) == ["a", "b"]

    def test_a_key_that_is_due_already_can_become_due_sooner(self):
        waiting = queue(("x", 0), ("b", 1), ("a", 2))
        assert take(waiting, 5) == ["x"]
        waiting.add("a", T0 + 0.5)
        assert drain(waiting, 5) == ["a", "b"]

    def test_after_it_was_taken_a_later_time_counts(self):
        waiting = queue(("a", 5))
        take(waiting, 5)
        waiting.add("a", T0 + 15)
        assert waiting.next_due() == T0 + 15


class TestDiscard:
    def test_what_is_discarded_does_not_come(self):
        waiting = queue(("a", 1), ("b", 2), ("c", 3))
        waiting.discard("b")
        assert len(waiting) == 2
        assert drain(waiting, 10) == ["a", "c"]

    def test_also_when_it_was_due_already(self):
        waiting = queue(("x", 0), ("a", 1), ("b", 2))
        take(waiting, 5)
        waiting.discard("a")
        assert waiting.next_due() == T0 + 2
        assert drain(waiting, 5) == ["b"]

    def test_an_unknown_key_is_no_error(self):
        waiting = queue(("a", 1))
        waiting.discard("b")
        assert len(waiting) == 1

    def test_stale_entries_do_not_come_back(self):
        waiting = queue(("a", 1), ("b", 1))
        waiting.discard("a")
        waiting.add("a", T0 + 100)
        assert drain(waiting, 50) == ["b"]
        assert waiting.next_due() == T0 + 100
        waiting.add("a", T0 + 60)
        assert drain(waiting, 200) == ["a"]


class TestBatches:
    def test_what_is_due_next_comes_along(self):
        waiting = queue(("a", 1), ("b", 30), ("c", 20), ("d", 40))
        assert take(waiting, 5, 3) == ["a", "c", "b"]
        assert waiting.next_due() == T0 + 40

    def test_but_only_where_something_is_due(self):
        waiting = queue(("a", 10), ("b", 11))
        assert take(waiting, 9, 5) == []
        assert len(waiting) == 2

    def test_what_is_due_comes_before_what_is_not(self):
        waiting = queue(("later, with priority", 9, "priority"), ("a", 1), ("b", 2))
        assert take(waiting, 5, 2) == ["a", "b"]

    def test_no_more_than_wanted(self):
        waiting = queue(*((n, n) for n in range(10)))
        assert [len(take(waiting, 100, 4)) for _ in range(4)] == [4, 4, 2, 0]


@dataclass
class Wanted:
    due_at: float
    priority: bool
    number: int

    @property
    def rank(self) -> float:
        return self.due_at - HEAD_START * self.priority


class Model:
    """The same in the simplest way."""

    def __init__(self):
        self.keys: dict[str, Wanted] = {}
        self.number = 0

    def add(self, key, due_at, priority):
        old = self.keys.get(key)
        if old:
            due_at, priority = min(old.due_at, due_at), old.priority or priority
        self.number += 1
        self.keys[key] = Wanted(due_at, priority, self.number)

    def take(self, now, size):
        due = sorted((w.rank, w.number, k) for k, w in self.keys.items() if w.due_at <= now)
        later = sorted((w.due_at, w.number, k) for k, w in self.keys.items() if w.due_at > now)
        keys = [key for _, _, key in (due + later)[:size]] if due else []
        for key in keys:
            del self.keys[key]
        return keys


names = st.sampled_from("abcdefgh")
deeds = st.one_of(
    st.tuples(
        st.just("add"),
        names,
        st.sampled_from([-70, -5, 0, 1, 5, 5, 30, 59, 60, 61, 90]),
        st.booleans(),
    ),
    st.tuples(st.just("discard"), names),
    st.tuples(st.just("take"), st.sampled_from([0, 0, 1, 10, 60]), st.sampled_from([1, 1, 2, 5])),
)


@settings(max_examples=300)
@given(st.lists(deeds, max_size=50))
def test_it_does_what_the_model_does(history):
    waiting, model, now = PollQueue(), Model(), T0
    for what, *about in history:
        if what == "add":
            key, after, priority = about
            waiting.add(key, now + after, priority=priority)
            model.add(key, now + after, priority)
        elif what == "discard":
            waiting.discard(about[0])
            model.keys.pop(about[0], None)
        else:
            passed, size = about
            now += passed
            assert waiting.take(now, size, head_start=HEAD_START) == model.take(now, size)
        assert len(waiting) == len(model.keys)
        dues = [wanted.due_at for wanted in model.keys.values()]
        assert waiting.next_due() == min(dues, default=None)


@settings(max_examples=100)
@given(st.lists(deeds, max_size=50), st.lists(st.floats(-1e6, 1e6), min_size=50, max_size=50))
def test_whatever_the_clock_does_no_key_is_lost_and_none_comes_twice(history, jumps):
    waiting, now = PollQueue(), T0
    there: set[str] = set()
    for (what, *about), jump in zip(history, jumps, strict=False):
        if what == "add":
            waiting.add(about[0], now + about[1], priority=about[2])
            there.add(about[0])
        elif what == "discard":
            waiting.discard(about[0])
            there.discard(about[0])
        else:
            now += jump
            for key in waiting.take(now, about[1], head_start=HEAD_START):
                there.remove(key)
    assert len(waiting) == len(there)
    assert set(waiting.take(T0 + 1e9, 100)) == there


@settings(max_examples=100)
@given(st.lists(st.tuples(st.floats(0, 300), st.booleans()), min_size=1, max_size=60), st.integers(1, 5))
def test_the_head_start_is_bounded(polls, size):
    """Nobody is passed by one that became due more than the head start later."""
    waiting = queue(*((number, due, *["priority"] * first) for number, (due, first) in enumerate(polls)))
    order = []
    while taken := take(waiting, 300, size):
        order += [polls[number][0] for number in taken]
    assert len(order) == len(polls)
    for place, due_at in enumerate(order):
        assert all(due_at < other + HEAD_START + 1e-6 for other in order[place + 1 :])


def test_nobody_starves_where_more_come_with_priority_than_can_be_polled():
    waiting, served = queue(("patient", 0)), []
    for second in range(300):
        for more in range(2):
            waiting.add((second, more), T0 + second, priority=True)
        served += take(waiting, second)
    # 120 came within the head start, and go first; then it is its turn.
    assert served.index("patient") == 120
