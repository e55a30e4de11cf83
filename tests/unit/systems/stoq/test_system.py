"""How STOQ spells jobs; the answers are those of its documentation."""

from __future__ import annotations

import dataclasses
import json

import pytest

from stoq_provider.core.http import MalformedResponse
from stoq_provider.core.models import JobHandle, JobState, JobStatus
from stoq_provider.core.records import RepeatSafety
from stoq_provider.core.submission import Submission
from stoq_provider.core.validation import InvalidInput
from stoq_provider.systems.stoq.bulk import REPEAT_SAFETY
from stoq_provider.systems.stoq.reports import export
from stoq_provider.systems.stoq.system import ASSUMPTIONS, Stoq

STOQ = Stoq()
NOW = 1_780_000_000.0
URL = "/api/v2/external/preorders/orders/jobs/bulk_orders_release_a8c3f01b9d2e4471"
ACCEPTED = {"job_id": "bulk_orders_release_a8c3f01b9d2e4471", "status_url": URL, "order_count": 47}
RELEASE = Submission("bulk_release", "/preorders/orders/bulk_release", {"order_ids": [1]}, item_count=1)
HANDLE = JobHandle("stoq", "bulk_release", ACCEPTED["job_id"], URL, 47, NOW)


def test_where_and_how():
    assert STOQ.default_origin + STOQ.base_path == "https://app.stoqapp.com/api/v2/external"
    assert STOQ.auth_headers("abc") == {"X-Auth-Token": "abc"}


def test_price():
    assert (STOQ.points.limit, STOQ.points.window) == (360, 60.0)
    assert (STOQ.points.price(reads_only=True), STOQ.points.price(reads_only=False)) == (1, 2)


@pytest.mark.parametrize(
    ("kind", "ages"),
    [
        ("export", {0: 10, 59: 10, 3600: 10}),
        ("export:revenue", {0: 10, 61: 10}),
        ("bulk_release", {0: 5, 59.9: 5, 60: 15, 3600: 15}),
        ("bulk_sync_metafields", {0: 5, 60: 15}),
        ("bulk", {0: 5, 60: 15}),
        ("job", {0: 5, 60: 15}),
    ],
)
def test_cadence_as_documented(kind, ages):
    assert {age: STOQ.cadence(kind).interval(age) for age in ages} == ages


@pytest.mark.parametrize(
    ("kind", "safety"),
    [
        ("export", "safe"),
        ("export:revenue", "safe"),
        ("bulk_recalculate_preorder_counts", "safe"),
        ("bulk_sync_metafields", "safe"),
        ("bulk_release", "safe"),
        ("bulk_set_tags", "safe"),
        ("bulk_cancel", "safe"),
        ("bulk_reset_metafields", "warn"),
        ("bulk_send_payment_collection_url", "never"),
        ("bulk_of_tomorrow", "never"),
        ("", "never"),
        ("exports", "never"),
    ],
)
def test_repeat_safety(kind, safety):
    assert STOQ.repeat_safety(kind) is RepeatSafety(safety)


def test_the_table_of_repeat_safety_holds_the_documented_actions_and_no_more():
    assert set(REPEAT_SAFETY) == {
        "export",
        "bulk_release",
        "bulk_cancel",
        "bulk_set_tags",
        "bulk_send_payment_collection_url",
        "bulk_recalculate_preorder_counts",
        "bulk_reset_metafields",
        "bulk_sync_metafields",
    }


class TestSubmission:
    @pytest.mark.parametrize(
        ("more", "count"),
        [
            ({"order_count": 47}, 47),
            ({"order_count": None, "variant_count": 5000}, 5000),
            ({"order_count": 0}, 0),
            ({"order_count": "47"}, None),
            ({"order_count": None}, None),
            ({"order_count": True}, None),
        ],
        ids=str,
    )
    def test_an_accepted_job(self, more, count):
        got = STOQ.read_submission({**ACCEPTED, **more}, RELEASE, NOW)
        assert got == dataclasses.replace(HANDLE, item_count=count)

    def test_an_accepted_export(self):
        answer = {"job_id": "exp_1", "status_url": "/api/v2/external/preorders/reports/exports/exp_1"}
        got = STOQ.read_submission(answer, export("revenue"), NOW)
        assert (got.kind, got.job_id, got.item_count) == ("export:revenue", "exp_1", None)

    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(None, id="null"),
            pytest.param([ACCEPTED], id="a list"),
            pytest.param("accepted", id="text"),
            pytest.param({}, id="empty"),
            pytest.param({"id": "offer", "name": "Preorder"}, id="a finished write"),
            pytest.param({**ACCEPTED, "job_id": None}, id="no job id"),
            pytest.param({**ACCEPTED, "job_id": 47}, id="a number for a job id"),
            pytest.param({**ACCEPTED, "status_url": ""}, id="an empty status URL"),
            pytest.param({**ACCEPTED, "status_url": {"href": "/x"}}, id="an object for a status URL"),
        ],
    )
    def test_a_success_without_a_job(self, answer):
        with pytest.raises(MalformedResponse, match="bulk_release"):
            STOQ.read_submission(answer, RELEASE, NOW)


class TestStatus:
    def test_running(self):
        payload = {"job_id": HANDLE.job_id, "status": "running", "progress": 25, "total": 47, "processed": 12}
        assert STOQ.read_status(payload, HANDLE) == JobStatus(
            HANDLE.job_id, "running", JobState.RUNNING, 25.0, 47, 12
        )

    def test_ready(self):
        payload = {
            "job_id": "exp_1",
            "status": "ready",
            "download_url": "https://b.s3.amazonaws.com/x?sig=5ecre7",
            "file_name": "preorders_revenue.csv",
            "row_count": 22,
            "progress": 100,
        }
        got = STOQ.read_status(payload, dataclasses.replace(HANDLE, job_id="exp_1"))
        assert got == JobStatus(
            "exp_1",
            "ready",
            JobState.SUCCEEDED,
            100.0,
            file_name="preorders_revenue.csv",
            row_count=22,
            download_url="https://b.s3.amazonaws.com/x?sig=5ecre7",
        )
        assert "5ecre7" not in repr(got)

    @pytest.mark.parametrize(
        ("word", "state"),
        [
            ("running", JobState.RUNNING),
            ("completed", JobState.SUCCEEDED),
            ("ready", JobState.SUCCEEDED),
            ("failed", JobState.FAILED),
            ("cancelled", JobState.CANCELLED),
            ("queued", JobState.UNKNOWN),
            ("Completed", JobState.UNKNOWN),
            ("canceled", JobState.UNKNOWN),
        ],
    )
    def test_words(self, word, state):
        got = STOQ.read_status({"status": word}, HANDLE)
        assert (got.word, got.state, got.job_id) == (word, state, HANDLE.job_id)

    @pytest.mark.parametrize(
        ("error", "kept"),
        [
            ("no offer", "no offer"),
            (None, None),
            ("", None),
            (["a", "b"], "['a', 'b']"),
            ({"message": "m"}, "{'message': 'm'}"),
            ("x" * 5000, "x" * 1000),
        ],
    )
    def test_error_of_any_kind(self, error, kept):
        assert STOQ.read_status({"status": "failed", "error": error}, HANDLE).error == kept

    @pytest.mark.parametrize(
        "fields",
        [
            {"progress": "25"},
            {"progress": None},
            {"progress": True},
            {"progress": float("nan")},
            {"progress": float("inf")},
            {"progress": 10**400},
            {"total": "47", "processed": 1.5},
            {"row_count": [], "file_name": 7, "download_url": {}},
            {"file_name": "", "download_url": ""},
        ],
        ids=lambda fields: str(fields)[:40],
    )
    def test_a_field_of_the_wrong_kind_is_left_out(self, fields):
        got = STOQ.read_status({"status": "running", **fields}, HANDLE)
        assert got == JobStatus(HANDLE.job_id, "running", JobState.RUNNING)
        json.dumps(got.to_dict(), allow_nan=False)

    def test_a_long_word_is_shortened(self):
        assert len(STOQ.read_status({"status": "x" * 5000}, HANDLE).word) == 80

    @pytest.mark.parametrize(
        "payload",
        [
            pytest.param(None, id="null"),
            pytest.param([], id="a list"),
            pytest.param({}, id="empty"),
            pytest.param({"status": None}, id="status null"),
            pytest.param({"status": 1}, id="status a number"),
            pytest.param({"status": ["running"]}, id="status a list"),
            pytest.param({"status": "running", "job_id": "bulk_other"}, id="another job"),
            pytest.param({"status": "running", "job_id": None}, id="job id null"),
            pytest.param({"status": "running", "job_id": 47}, id="job id a number"),
        ],
    )
    def test_no_status(self, payload):
        with pytest.raises(MalformedResponse):
            STOQ.read_status(payload, HANDLE)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (URL, "bulk"),
        ("/api/v2/external/preorders/reports/exports/exp_1", "export"),
        ("https://app.stoqapp.com/api/v2/external/back_in_stock/reports/exports/exp_1", "export"),
    ],
)
def test_a_status_url_tells_the_kind(url, kind):
    handle = STOQ.handle_of_url(url)
    assert (handle.kind, handle.status_url, handle.submitted_at) == (kind, url, None)


class TestExport:
    def test_as_assumed(self):
        assert export("by_variant", {"offer_ids[]": ["o1"], "from": "2026-05-28"}) == Submission(
            "export:by_variant",
            "/preorders/reports/by_variant/export",
            {"offer_ids": ["o1"], "from": "2026-05-28"},
        )

    def test_assumptions_can_be_corrected(self):
        got = export(
            "summary",
            {"from": "2026-05-01", "offer_ids": ["o1"]},
            extra_body={"offer_ids": None, "newer": 1},
            extra_query={"offer_ids": ["o1"], "gone": None},
        )
        assert (got.body, got.query) == ({"from": "2026-05-01", "newer": 1}, {"offer_ids": ["o1"]})
        assert STOQ.submit_request("https://x", got).params == {"offer_ids[]": ["o1"]}

    def test_without_filters(self):
        assert export("customers").body == {}

    def test_filters_are_checked(self):
        with pytest.raises(InvalidInput, match="by_variant"):
            export("by_variant")


@pytest.mark.parametrize("name", ASSUMPTIONS)
def test_an_assumption_is_marked_and_explained(name):
    assumption = ASSUMPTIONS[name]
    assert assumption.mark in ("D", "I", "U")
    assert assumption.value
    assert assumption.reason
