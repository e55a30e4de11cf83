"""What the first release wrote, frozen as its code made it, is still read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stoq_provider.core.events import WaitEvent, WaitState
from stoq_provider.core.http import MalformedResponse
from stoq_provider.core.lifecycle import Outcome
from stoq_provider.core.models import JobHandle
from stoq_provider.core.notes import ListNote, PieceNote, PokeNote, PreparedNote, ResponseNote
from stoq_provider.core.records import SubmissionRecord

FOLDER = Path(__file__).parents[2] / "recordings" / "first_house"
WAITS, RECORDS, NOTES = (
    json.loads((FOLDER / f"{name}.json").read_text()) for name in ("waits", "records", "notes")
)


@pytest.mark.parametrize(
    ("name", "kind", "destination", "decided"),
    [
        ("operator", "export:revenue", "s3://lake/stoq/", False),
        ("sensor", "", "s3://lake/stoq/", False),
        ("decided", "product-import", None, True),
    ],
)
def test_what_triggers_of_the_first_release_carry_is_read(name, kind, destination, decided):
    arguments = WAITS[name]["trigger"]["arguments"]
    state = WaitState.from_dict(arguments["state"])
    assert (state.kind, state.destination, state.decided) == (kind, destination, decided)
    assert (state.ended, state.notes) == ((), ())
    assert bool(state.records) is (name != "sensor")
    assert [JobHandle.from_dict(job).job_id for job in arguments["jobs"]]


@pytest.mark.parametrize("name", WAITS)
def test_events_of_the_first_release_are_read(name):
    event = WaitEvent.from_dict(WAITS[name]["event"])
    assert [end.outcome for end in event.ends] == [Outcome.SUCCEEDED]
    assert event.ends[0].status is not None
    assert event.state == WaitState.from_dict(WAITS[name]["trigger"]["arguments"]["state"])


@pytest.mark.parametrize(
    ("name", "submitted", "outcome", "unchanged"),
    [
        ("intent", False, None, None),
        ("submitted", True, None, None),
        ("ended", True, Outcome.SUCCEEDED, None),
        ("verified", True, Outcome.SUCCEEDED, ()),
    ],
)
def test_records_of_the_first_release_are_read(name, submitted, outcome, unchanged):
    record = SubmissionRecord.from_dict(RECORDS[name])
    assert (record.handle is not None, record.outcome, record.unchanged) == (submitted, outcome, unchanged)
    assert record.to_dict() == RECORDS[name]


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("head", ListNote(pieces=1, count=7, duplicates=0)),
        ("piece_of_numbers", PieceNote(tuple(5801200000000 + 137 * n for n in range(7)))),
        (
            "piece_of_texts",
            PieceNote(("0b6d7b52-95b1-4d25-9f6f-6d0c3f1d2a11", "5f1c2d64-2d0a-4c3f-8a53-0a1d0e6d2b7e")),
        ),
        ("made", PreparedNote({"file_key": "1796005994917-new.csv"})),
    ],
)
def test_notes_of_the_first_release_are_read(name, note):
    assert type(note).from_dict(NOTES[name]) == note


def test_an_answer_that_the_first_release_noted_is_read():
    note = ResponseNote.from_dict(NOTES["answer"])
    assert note.answered
    assert note.payload["state"] == "balance_collected"


def test_what_a_poke_of_the_first_release_saw_is_read():
    (note,) = map(PokeNote.from_dict, NOTES["poke"].values())
    assert (note.try_number, note.bad_count) == (1, 2)
    assert note.seen_at is not None
    assert note.bad_since is not None


@pytest.mark.parametrize("text", ["", "no base64", "eNqLNrUwMDQyg"])
def test_a_packed_piece_that_is_cut_is_malformed(text):
    with pytest.raises(MalformedResponse):
        PieceNote.from_dict({"ids": text})
