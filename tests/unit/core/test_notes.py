"""What is kept for the next try: JSON there and back, and a typed error for anything else."""

from __future__ import annotations

import base64
import json
import zlib

import pytest

from stoq_provider.core.events import WaitState
from stoq_provider.core.http import MalformedResponse
from stoq_provider.core.notes import ListNote, PieceNote, PlanNote, PokeNote, PreparedNote, ResponseNote

NOTES = [
    PlanNote(("a", "b")),
    ListNote(pieces=2, count=1001, duplicates=3),
    PieceNote((1, 2)),
    PieceNote(("x", "y")),
    PreparedNote({"file_key": "k"}),
    ResponseNote(),
    ResponseNote(answered=True, payload=None),
    ResponseNote(answered=True, payload=[1]),
    PokeNote(2, seen_at=1.5, bad_since=2.5, bad_count=3),
    PokeNote(1),
]


@pytest.mark.parametrize("note", NOTES, ids=repr)
def test_a_note_goes_there_and_back_with_what_lies_beside_it(note):
    form = json.loads(json.dumps({**note.to_dict(), "clears": 2, "held": True}))
    assert type(note).from_dict(form) == note


@pytest.mark.parametrize("value", [None, [], "keys", 7, {}, {"keys": 7, "ids": 7, "made": 7, "answer": 7}])
@pytest.mark.parametrize("kind", [PlanNote, ListNote, PieceNote, PreparedNote, ResponseNote, PokeNote])
def test_what_is_no_note(kind, value):
    with pytest.raises(MalformedResponse):
        kind.from_dict(value)


@pytest.mark.parametrize(
    "form",
    [{"keys": [1]}, {"keys": [None]}, {"keys": "text"}, {"ids": [True]}, {"ids": [{}]}, {"answer": {}}],
)
def test_what_is_wrong_within_a_note(form):
    kind = {"keys": PlanNote, "ids": PieceNote, "answer": ResponseNote}[next(iter(form))]
    with pytest.raises(MalformedResponse):
        kind.from_dict(form)


@pytest.mark.parametrize(
    "packed",
    ['{"a": 1}', '"text"', "7", "null", "", "[" * 5000, "[" + "9" * 5000 + "]"],
    ids=lambda text: text[:9],
)
def test_ids_of_the_first_release_that_are_no_list(packed):
    ids = base64.b64encode(zlib.compress(packed.encode())).decode()
    with pytest.raises(MalformedResponse, match="can't be unpacked"):
        PieceNote.from_dict({"ids": ids})


STATE = WaitState(5.0, "s3://lake/", 10.0, "export:revenue", (), ("r",), ("n",), 3, True, "execution_timeout")


def test_a_state_goes_there_and_back_and_passes_over_what_a_newer_release_adds():
    form = json.loads(json.dumps({**STATE.to_dict(), "added_later": {"x": 1}}))
    assert WaitState.from_dict(form) == STATE


def test_a_state_needs_only_when_the_try_began():
    assert WaitState.from_dict({"started_at": 5}) == WaitState(5)


@pytest.mark.parametrize(
    "change",
    [
        {"started_at": None},
        {"started_at": "now"},
        {"deadline": "later"},
        {"ended": 7},
        {"ended": [7]},
        {"ended": [{}]},
        {"records": "r"},
        {"notes": [1]},
        {"points_spent": True},
        {"decided": 1},
        {"destination": 7},
    ],
    ids=str,
)
def test_what_is_no_state(change):
    with pytest.raises(MalformedResponse):
        WaitState.from_dict({**STATE.to_dict(), **change})
