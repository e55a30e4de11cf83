"""Outcome table, Medusa's column: a submission whose answer is lost is found again, and never doubled."""

from __future__ import annotations

import pytest

from stoq_provider.core.records import RepeatSafety
from stoq_provider.exceptions import (
    ServiceUnavailable,
    SubmissionUncertain,
    ValidationRejected,
)
from stoq_provider.hooks.medusa import MedusaHook
from stoq_provider.jobs import lookup, send
from stoq_provider.operators.medusa import MedusaConfirmOperator
from stoq_provider.systems.medusa.submission import CORRELATION
from tests.harness import Killed

from .conftest import MODES, fails, in_turn
from .medusa_bench import MedusaBench, connect, die_at

SUBMIT = r"/admin/batch-jobs$"
# How an answer gets lost on the way, and whether the server has started the job all the same.
LOST = [
    pytest.param("reset_after", {}, True, id="reset-after"),
    pytest.param("reset_before", {}, False, id="reset-before"),
    pytest.param("delay", {"seconds": None, "processed": True}, True, id="timeout"),
    pytest.param("status", {"status": 500, "processed": True}, True, id="500-processed"),
    pytest.param("status", {"status": 502}, False, id="502"),
    pytest.param("garbage", {}, True, id="cut-json"),
    pytest.param("html", {}, True, id="html"),
    pytest.param("empty", {"status": 201}, True, id="empty"),
    pytest.param("json", {"body": {"ok": True}, "status": 201}, True, id="json-without-a-job"),
    pytest.param("truncated", {"after": 5}, True, id="truncated"),
]
KINDS = ("product-export", "product-import")


@pytest.fixture
def medusa(sandbox, tmp_path, monkeypatch):
    connect(monkeypatch, sandbox)
    monkeypatch.setattr(lookup, "LOOKS", (0.0, 0.02, 0.03))
    return MedusaBench(sandbox, tmp_path / "lake")


def job_of(medusa, kind, mode="worker", **options):
    return medusa.imports(mode, **options) if kind.endswith("import") else medusa.export(mode, **options)


def outcome(manifest):
    (job,) = manifest["jobs"]
    return job["outcome"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("fault", "options", "processed", "mode"), in_turn(LOST, MODES))
def test_submit_ambiguous_ends_with_one_job(medusa, sandbox, kind, mode, fault, options, processed, logs):
    sandbox.arm(fault, origin="medusa", method="POST", path=SUBMIT, **options)
    run = job_of(medusa, kind, mode)
    assert outcome(run.execute()) == "succeeded"
    assert medusa.submissions == 1
    assert ("was found in the list" in logs.text) is processed
    assert ("has no job of it, so it is sent again" in logs.text) is not processed
    assert outcome(run.retry()) == "succeeded"
    assert medusa.submissions == 1


def test_submit_ambiguous_and_the_list_can_not_be_read_an_import_is_not_repeated(medusa, sandbox):
    sandbox.arm("reset_after", origin="medusa", method="POST", path=SUBMIT)
    sandbox.arm("status", origin="medusa", method="GET", path=SUBMIT, status=503, times=None)
    run = medusa.imports()
    says = (
        "product-import was sent",
        "its list of jobs could not be read (HTTP 503",
        "perhaps runs",
        "not retried",
    )
    fails(run.execute, SubmissionUncertain, *says, final=True)
    assert medusa.submissions == 1


def test_submit_ambiguous_and_the_list_can_be_read_at_another_look_the_job_is_found(medusa, sandbox):
    """Each look asks a few times."""
    sandbox.arm("reset_after", origin="medusa", method="POST", path=SUBMIT)
    sandbox.arm("garbage", origin="medusa", method="GET", path=SUBMIT, times=5)
    assert outcome(medusa.imports().execute()) == "succeeded"
    assert medusa.submissions == 1


def test_submit_ambiguous_and_the_list_can_not_be_read_the_next_try_finds_the_job(medusa, sandbox):
    sandbox.arm("reset_after", origin="medusa", method="POST", path=SUBMIT)
    sandbox.arm("status", origin="medusa", method="GET", path=SUBMIT, status=503, times=None)
    run = medusa.imports()
    fails(run.execute, SubmissionUncertain, final=True)
    fails(run.retry, SubmissionUncertain, "was lost before it had a response", final=True)
    sandbox.disarm()
    assert outcome(run.retry()) == "succeeded"
    assert (medusa.submissions, medusa.uploads) == (1, 1)


def test_submit_ambiguous_and_the_list_can_not_be_read_an_export_is_repeated(medusa, sandbox):
    sandbox.arm("reset_after", origin="medusa", method="POST", path=SUBMIT)
    sandbox.arm("garbage", origin="medusa", method="GET", path=SUBMIT, times=None)
    assert outcome(medusa.export().execute()) == "succeeded"
    assert medusa.submissions == 2


def test_submit_ambiguous_three_times_and_never_processed_says_that_no_job_was_started(medusa, sandbox):
    sandbox.arm("status", origin="medusa", method="POST", path=SUBMIT, status=502, times=3)
    run = medusa.imports()
    error = fails(run.execute, ServiceUnavailable, "No remote job was started", "A retry submits it")
    assert error.job_started is False
    assert outcome(run.retry()) == "succeeded"
    assert (medusa.submissions, medusa.uploads) == (1, 1)


def test_submit_ambiguous_and_the_job_stands_on_a_later_page(medusa, sandbox, monkeypatch):
    monkeypatch.setattr("stoq_provider.systems.medusa.system.PAGE_SIZE", 3)
    sandbox.arm("reset_after", origin="medusa", method="POST", path=SUBMIT)
    real = send.look_up

    def others_come_first(hook, *arguments):
        for _ in range(7):
            MedusaHook().submit_batch_job("product-import", {"fileKey": "other"}, dry_run=True)
        monkeypatch.setattr(send, "look_up", real)
        return real(hook, *arguments)

    medusa.bend("next_job", kind="product-import", times=None, stuck=True)
    monkeypatch.setattr(send, "look_up", others_come_first)
    (handle,) = medusa.submitted("product-import", source=medusa.source.as_uri())
    (mine,) = [s for s in medusa.state["submissions"] if s["job_id"] == handle["job_id"]]
    assert mine["context"][CORRELATION].startswith("airflow-")
    assert mine["context"]["fileKey"].endswith("new.csv")
    assert medusa.submissions == 8
    assert medusa.sent("GET /admin/batch-jobs") == 3


@pytest.mark.parametrize(("kind", "mode"), in_turn(KINDS, MODES))
@pytest.mark.parametrize("after", [False, True], ids=["before-the-post", "after-the-post"])
def test_worker_killed_around_the_post_ends_with_one_job(medusa, monkeypatch, kind, mode, after):
    run = job_of(medusa, kind, mode)
    with monkeypatch.context() as patch:
        die_at(patch, "/admin/batch-jobs", after=after)
        with pytest.raises(Killed):
            run.execute()
    assert medusa.submissions == (1 if after else 0)
    (record,) = [r for r in run.store.records() if "intent_at" in r]
    assert (record["handle"], record["correlation"][:8]) == (None, "airflow-")
    assert outcome(run.retry()) == "succeeded"
    assert medusa.submissions == 1
    assert medusa.state["submissions"][0]["context"][CORRELATION] == record["correlation"]
    assert medusa.uploads == (1 if kind.endswith("import") else 0)


@pytest.mark.parametrize("point", ["after-the-upload", "after-the-handle", "after-the-confirmation"])
def test_worker_killed_elsewhere_neither_uploads_nor_imports_twice(medusa, monkeypatch, point):
    run = medusa.imports(dry_run=True, confirm=True)
    with monkeypatch.context() as patch:
        if point == "after-the-confirmation":
            die_at(patch, "/confirm", after=True)
        else:
            name = "_wait_for" if point == "after-the-handle" else "submit"
            owner = MedusaConfirmOperator.__mro__[2] if point == "after-the-handle" else MedusaHook
            patch.setattr(owner, name, lambda *a, **k: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            run.execute()
    assert medusa.uploads == 1
    assert outcome(run.retry()) == "succeeded"
    assert (medusa.submissions, medusa.uploads, medusa.state["products"]) == (1, 1, 37)


def test_worker_killed_after_the_intent_and_then_the_server_dies(medusa, sandbox, monkeypatch):
    """The job is in the list and stays ``created`` for ever; it is waited for, and no other is made."""
    medusa.bend("next_job", stuck=True)
    run = medusa.imports(timeout=0.4)
    with monkeypatch.context() as patch:
        die_at(patch, "/admin/batch-jobs", after=True)
        with pytest.raises(Killed):
            run.execute()
    with pytest.raises(Exception, match="did not end in time"):
        run.retry()
    assert medusa.submissions == 1


def test_a_clear_makes_a_job_of_its_own_and_reuse_does_not(medusa):
    run = medusa.export()
    run.execute()
    run.clear()
    run.execute()
    assert medusa.submissions == 2
    marks = {s["context"][CORRELATION] for s in medusa.state["submissions"]}
    assert len(marks) == 2
    again = medusa.imports(on_clear="reuse")
    again.execute()
    again.clear()
    again.execute()
    assert (medusa.submissions, medusa.uploads) == (3, 1)


# -- refused before anything is sent --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        pytest.param("product-export", {"context": {"batch_size": 5}}, "loops for ever", id="batch_size"),
        pytest.param("product-export", {"context": {"list_config": {}}}, "overwrites it", id="list_config"),
        pytest.param("product-export", {"context": {"shape": {}}}, "works it out itself", id="shape"),
        pytest.param("product-export", {"context": {CORRELATION: "x"}}, "set by this package", id="mark"),
        pytest.param("product-export", {"context": ["x"]}, "must be an object", id="no object"),
        pytest.param("product-export", {"context": {"x": "y" * 100_001}}, "less than 100,000", id="large"),
        pytest.param(
            "product-export", {"context": {"x": {1, 2}}}, "'x' in context can't be sent as JSON", id="a set"
        ),
        pytest.param("product-export", {"source": "file:///x"}, "reads no file", id="source of an export"),
        pytest.param("product-import", {}, "its process dies", id="no file"),
        pytest.param("product-import", {"context": {"fileKey": ""}}, "its process dies", id="no file key"),
        pytest.param(
            "product-import",
            {"context": {"fileKey": "k"}, "source": "file:///x"},
            "not both",
            id="source and key",
        ),
        pytest.param(
            "product-import", {"source": "file:///nowhere.csv"}, "FileNotFoundError", id="missing file"
        ),
        pytest.param("price-list-import", {"context": {"fileKey": "k"}}, "price_list_id", id="no price list"),
        pytest.param("product-export", {"confirm": True}, "dry_run=True", id="confirm without a dry run"),
        pytest.param(
            "product-export", {"dry_run": True, "confirm": "perhaps"}, "'max_changes: N'", id="policy"
        ),
        pytest.param(
            "product-export", {"dry_run": True, "confirm": "max_changes: 1"}, "changes nothing", id="export"
        ),
        pytest.param(
            "product-export",
            {"dry_run": True, "confirm": True, "wait_for_completion": False},
            "wait_for_completion",
            id="no waiting",
        ),
        pytest.param(
            "product-import",
            {"context": {"fileKey": "k"}, "destination": "file:///tmp/x/"},
            "makes no file",
            id="destination of an import",
        ),
        pytest.param(" ", {}, "must be a text", id="no type"),
    ],
)
def test_what_the_server_would_choke_on_is_refused_before_anything_is_sent(medusa, kind, options, says):
    fails(medusa.run(kind, **options).execute, ValidationRejected, says, "Nothing was sent", final=True)
    assert medusa.state["requests"] == {}


def test_an_unknown_type_is_refused_by_the_server_and_no_job_is_started(medusa):
    error = fails(
        medusa.run("delete-products").execute,
        ValidationRejected,
        "Unable to find a BatchJob strategy",
        "No remote job was started",
        final=True,
    )
    assert error.http_status == 404
    assert MedusaHook.system.repeat_safety("delete-products") is RepeatSafety.NEVER


# -- uploads --------------------------------------------------------------------------------------------


def test_upload_is_tried_again_after_a_broken_connection(medusa, sandbox):
    sandbox.arm("reset_before", origin="medusa", path="/admin/uploads/protected$")
    large = medusa.source.with_name("large.csv")
    large.write_bytes(b"x" * 3_000_000)
    key = MedusaHook().upload(large.as_uri())
    assert medusa.state["files"][key] == 3_000_000


def test_upload_with_an_expired_token_is_sent_once_more(medusa, sandbox, monkeypatch):
    connect(monkeypatch, sandbox, login=sandbox.medusa_email)
    hook = MedusaHook()
    hook.test_connection()
    medusa.bend("expire_tokens")
    assert hook.upload(medusa.source.as_uri()) in medusa.state["files"]


def test_upload_that_is_refused_starts_no_job(medusa, sandbox):
    sandbox.arm("status", origin="medusa", path="/admin/uploads/protected$", status=500, times=None)
    run = medusa.imports()
    fails(run.execute, ServiceUnavailable, "new.csv could not be uploaded", "No remote job was started")
    assert (medusa.submissions, run.store.records()) == (0, [])


def test_a_submission_that_is_refused_keeps_the_upload_for_the_retry(medusa, sandbox):
    sandbox.arm("status", origin="medusa", method="POST", path=SUBMIT, status=409, body={"message": "no"})
    run = medusa.imports()
    with pytest.raises(Exception, match="A retry submits it"):
        run.execute()
    assert outcome(run.retry()) == "succeeded"
    assert (medusa.submissions, medusa.uploads) == (1, 1)
