"""
What a later release has to read of this one: ``make freeze`` writes it to a file of its version.

Trigger rows, events, handles in XCom, manifests, records and notes outlive an upgrade. All values are fixed,
so that only a change of the format changes the file; those that stand here stay, since older files have them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from airflow.serialization.serialized_objects import BaseSerialization

from stoq_provider import __version__
from stoq_provider.core import notes
from stoq_provider.core.events import JobEnd, WaitEvent, WaitState
from stoq_provider.core.forms import JsonForm
from stoq_provider.core.lifecycle import JobProgress, Outcome
from stoq_provider.core.manifest import manifest
from stoq_provider.core.models import JobHandle, JobState, JobStatus
from stoq_provider.core.records import SubmissionRecord
from stoq_provider.triggers import jobs as triggers

FOLDER = Path(__file__).parent / "recordings"
NAME = "formats.json"
AT = 1_780_000_000.0
KEY = "0123456789abcdef" * 4

HANDLES = {
    "stoq": JobHandle("stoq", "export:revenue", "exp_1", "/api/v2/external/exports/exp_1", None, AT),
    "medusa": JobHandle("medusa", "product-import", "batch_1", "/admin/batch-jobs/batch_1", None, AT),
    "surecart": JobHandle("surecart", "delete_customers", "b1", "/v1/bulk_actions/b1", 3, AT),
    "printstudio": JobHandle("printstudio", "job:printed", "j1", "/v1/jobs/j1", 1, None),
}
TRIGGERS = {
    "stoq": triggers.StoqJobTrigger,
    "medusa": triggers.MedusaJobTrigger,
    "surecart": triggers.SureCartJobTrigger,
    "printstudio": triggers.PrintStudioJobTrigger,
}
START = {"seconds": 3600.0, "margin": 300.0, "limit": "timeout"}


def _end(handle: JobHandle) -> JobEnd:
    status = JobStatus(
        handle.job_id, "completed", JobState.SUCCEEDED, 100.0, 3, 3, None, "a.csv", 181, None, {"n": 1}
    )
    return JobEnd(handle, Outcome.SUCCEEDED, status, "", None, AT + 60)


def forms() -> dict[str, JsonForm]:
    """Return one object or more of each class that has a JSON form; a name begins with that of its class."""
    made: dict[str, JsonForm] = {}
    for system, handle in HANDLES.items():
        end = _end(handle)
        request = {"report": "revenue", "filters": {"from": "2026-05-01"}} if system == "stoq" else None
        state = WaitState(
            AT,
            "s3://lake/x/",
            AT + 3600,
            handle.kind,
            (end,),
            (KEY,),
            (KEY[::-1],),
            4,
            True,
            "timeout",
            request,
        )
        submitted = SubmissionRecord(2, AT, correlation="airflow-1").submitted(handle)
        made |= {
            f"JobHandle {system}": handle,
            f"WaitState {system}": state,
            f"WaitEvent {system}": WaitEvent((end,), 1, state, 357),
            f"SubmissionRecord {system} submitted": submitted,
            f"SubmissionRecord {system} ended": submitted.ended(end),
        }
    return {
        **made,
        "SubmissionRecord intent": SubmissionRecord(2, AT),
        "SubmissionRecord verified": submitted.ended(end).verified([1, "a"]),
        "PlanNote": notes.PlanNote((KEY,)),
        "ListNote": notes.ListNote(1, 7, 0),
        "PieceNote": notes.PieceNote((1, "a")),
        "PreparedNote": notes.PreparedNote({"file_key": "a.csv"}),
        "ResponseNote called": notes.ResponseNote(),
        "ResponseNote answered": notes.ResponseNote(answered=True, payload={"id": "a"}),
        "PokeNote": notes.PokeNote(1, AT, AT + 1, 2),
    }


def payloads() -> dict[str, Any]:
    """Return what is frozen: the JSON forms, manifests, and trigger rows as Airflow serializes them."""
    objects = forms()
    rows = {}
    for system, cls in TRIGGERS.items():
        conn_id, handle = f"{system}_default", HANDLES[system]
        arguments = triggers.job_arguments([JobProgress(handle, AT, AT + 1)])
        waiting = cls(
            conn_id=conn_id,
            jobs=arguments,
            deadline=AT + 3600,
            state=objects[f"WaitState {system}"].to_dict(),
            poll_interval=5.0,
        )
        for name, trigger in {
            "wait": waiting,
            "start": cls(conn_id=conn_id, job=[handle.to_dict()], start=START),
        }.items():
            path, kwargs = trigger.serialize()
            rows[f"{system} {name}"] = {"classpath": path, "kwargs": BaseSerialization.serialize(kwargs)}
    manifests = {
        system: manifest(
            system=system,
            kind=handle.kind,
            ends=[_end(handle)],
            files=[{"uri": "s3://lake/a.csv", "file_name": "a.csv", "bytes": 9, "rows": 2, "sha256": KEY}],
            request={"report": "revenue", "filters": {}} if system == "stoq" else None,
            points_spent=5,
            started_at=AT,
            finished_at=AT + 60,
        )
        for system, handle in HANDLES.items()
    }
    return {
        "forms": {name: form.to_dict() for name, form in objects.items()},
        "triggers": rows,
        "manifests": manifests,
    }


def main() -> None:
    """Write the file of this version; one that is there is left alone without ``--again``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--again", action="store_true", help="replace the file: this version is not released yet"
    )
    again = parser.parse_args().again
    path = FOLDER / __version__ / NAME
    if path.exists() and not again:
        parser.exit(
            1, f"{path} is there. A release keeps its own; --again replaces that of a version to come.\n"
        )
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(payloads(), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
