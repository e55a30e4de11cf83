"""Whatever lies where records are kept: a record, or an error that says that nothing was sent."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from stoq_provider.core.lifecycle import JobProgress
from stoq_provider.core.models import JobHandle
from stoq_provider.core.notes import ListNote, PieceNote, PlanNote, PokeNote, PreparedNote, ResponseNote
from stoq_provider.core.records import SubmissionRecord
from stoq_provider.exceptions import ProtocolError, StateError
from stoq_provider.jobs.records import Records, TaskIdentity
from stoq_provider.jobs.state_store import PathStateStore
from stoq_provider.systems.stoq.system import Stoq
from stoq_provider.triggers.jobs import StoqJobTrigger
from tests.fuzz.strategies import NOTES, RECORDS, TRIGGERS, any_json, bodies, changed

KINDS = (ListNote, PieceNote, PlanNote, PokeNote, PreparedNote, ResponseNote)
CLIENT = SimpleNamespace(system=Stoq(), conn_id="c", log=logging.getLogger("tests.any_input"))


class File:
    """Stands for the folder, its one file, and the store it is in."""

    def __init__(self, data):
        self.fs, self.path, self.protocol, self.data = self, "x", "mem", data

    def __truediv__(self, name):
        return self

    def cat_file(self, path):
        return self.data

    def pipe_file(self, path, data, **options):
        self.data = data


kept = st.sampled_from([*RECORDS.values(), *NOTES.values()])
files = bodies | kept.flatmap(changed).map(json.dumps).map(str.encode)


@given(files, st.sampled_from(KINDS), st.sampled_from(["resubmit", "reuse"]))
def test_any_bytes_in_the_place_of_a_record(data, kind, on_clear):
    store = PathStateStore(File(data))
    records = Records(CLIENT, store, TaskIdentity("d", "t", "r", -1, clears=2), on_clear)
    with suppress(StateError, ProtocolError):
        assert isinstance(records.load("key"), SubmissionRecord)
    with suppress(StateError, ProtocolError):
        assert isinstance(records.load_note("key", kind), (kind, type(None)))
    records.hold(["key"])
    records.release(["key"])


handles = st.sampled_from([job for trigger in TRIGGERS for job in trigger["jobs"]])


@given(st.lists(handles.flatmap(changed) | any_json, max_size=3) | any_json)
def test_any_jobs_that_a_trigger_carries(jobs):
    trigger = StoqJobTrigger(conn_id="c", jobs=jobs)
    with suppress(ProtocolError):
        for progress in trigger._progress("stoq", 0.0):
            assert isinstance(progress, JobProgress)
            assert JobHandle.from_dict(progress.handle.to_dict()) == progress.handle
