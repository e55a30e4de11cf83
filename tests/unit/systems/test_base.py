"""What all systems share: addresses, queries, and the forms in which users give jobs."""

from __future__ import annotations

import json

import pytest

from stoq_provider.core.http import Decoded, MalformedResponse, Problem, ProblemKind, RateLimit
from stoq_provider.core.lifecycle import PollResultKind
from stoq_provider.core.models import JobHandle
from stoq_provider.core.submission import Submission
from stoq_provider.core.validation import InvalidInput
from stoq_provider.systems.base import Assumption
from stoq_provider.systems.payload import optional_int, origin_of, query_pairs, require
from stoq_provider.systems.stoq.system import JOB_PATHS, Stoq

ORIGIN = "https://app.stoqapp.com"
STOQ = Stoq()
JOB = "/api/v2/external/preorders/orders/jobs/bulk_1"
MANIFEST = {"schema_version": 1, "system": "stoq", "kind": "export", "jobs": [{"job_id": "exp_1"}]}


def handle(status_url=JOB, job_id="bulk_1", system="stoq"):
    return JobHandle(system, "bulk", job_id, status_url)


@pytest.mark.parametrize(
    ("origin", "status_url", "url"),
    [
        pytest.param(ORIGIN, JOB, ORIGIN + JOB, id="host-relative"),
        pytest.param(ORIGIN, JOB + "?page=2", ORIGIN + JOB + "?page=2", id="with a query"),
        pytest.param(ORIGIN, ORIGIN + JOB, ORIGIN + JOB, id="absolute"),
        pytest.param(ORIGIN, "https://APP.stoqapp.com" + JOB, "https://APP.stoqapp.com" + JOB, id="capitals"),
        pytest.param(
            ORIGIN, "https://app.stoqapp.com:443" + JOB, "https://app.stoqapp.com:443" + JOB, id="own port"
        ),
        pytest.param(ORIGIN, "//app.stoqapp.com" + JOB, ORIGIN + JOB, id="own host without scheme"),
        pytest.param(ORIGIN, "jobs/bulk_1", ORIGIN + "/jobs/bulk_1", id="relative to the root"),
        pytest.param("http://[::1]:8080", JOB, "http://[::1]:8080" + JOB, id="IPv6"),
        pytest.param("http://localhost:8080", JOB, "http://localhost:8080" + JOB, id="a port"),
    ],
)
def test_the_status_url_is_followed(origin, status_url, url):
    request = STOQ.status_request(origin, handle(status_url))
    assert (request.method, request.url, request.params, request.json) == ("GET", url, None, None)
    assert request.url.count("/api/v2/external") <= 1


@pytest.mark.parametrize(
    "status_url",
    [
        pytest.param("https://evil.example" + JOB, id="another host"),
        pytest.param("https://app.stoqapp.com.evil.example/x", id="a longer host"),
        pytest.param("https://app.stoqapp.com@evil.example/x", id="own host as user"),
        pytest.param("https://api.app.stoqapp.com/x", id="a host below"),
        pytest.param("https://app.stoqapp.com:8443" + JOB, id="another port"),
        pytest.param("https://app.stoqapp.com:80" + JOB, id="the port of http"),
        pytest.param("http://app.stoqapp.com" + JOB, id="plain http"),
        pytest.param("http://app.stoqapp.com:443" + JOB, id="plain http, own port"),
        pytest.param("//evil.example" + JOB, id="no scheme"),
        pytest.param(" //evil.example" + JOB, id="no scheme after a blank"),
        pytest.param("/\t/evil.example/x", id="hidden by a tab"),
        pytest.param("http:\\\\evil.example\\x", id="backslashes"),
        pytest.param("https://evil.example\\@app.stoqapp.com/x", id="a backslash before our host"),
        pytest.param("ftp://app.stoqapp.com/x", id="another scheme"),
        pytest.param("javascript:alert(1)", id="no address"),
        pytest.param("https://app.stoqapp.com:99999/x", id="no such port"),
        pytest.param("https://app.stoqapp.com:x/x", id="a port that is none"),
        pytest.param("https://[evil/x", id="broken brackets"),
    ],
)
def test_the_key_goes_to_no_other_origin(status_url):
    with pytest.raises(InvalidInput, match="bulk_1") as caught:
        STOQ.status_request(ORIGIN, handle(status_url))
    assert "evil" not in str(caught.value)


@pytest.mark.parametrize("status_url", ["/\\evil.example/x", "\\\\evil.example/x", "///evil.example/x"])
def test_what_browsers_might_take_for_another_host_stays_on_ours(status_url):
    try:
        url = STOQ.status_request(ORIGIN, handle(status_url)).url
    except InvalidInput:
        return
    assert origin_of(url) == origin_of(ORIGIN)
    assert url.startswith(ORIGIN + "/")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Host.example/x", ("https", "host.example", 443)),
        ("HTTP://host.example", ("http", "host.example", 80)),
        ("https://user:pw@host.example:8443/x?y#z", ("https", "host.example", 8443)),
        ("http://[::1]:80/", ("http", "::1", 80)),
        ("", ("", "", None)),
    ],
)
def test_origin(url, origin):
    assert origin_of(url) == origin


@pytest.mark.parametrize("path", ["", "x", "//evil.example/x", "https://evil.example"])
def test_a_path_is_relative_to_the_base_path(path):
    assert STOQ.url(ORIGIN, "/help") == "https://app.stoqapp.com/api/v2/external/help"
    with pytest.raises(InvalidInput):
        STOQ.url(ORIGIN, path)


def test_a_submission_as_a_request():
    request = STOQ.submit_request(
        ORIGIN, Submission("export:x", "/reports/x/export", {"from": "2026-05-28"}, {"offer_ids": ["a", "b"]})
    )
    assert request.method == "POST"
    assert request.url == "https://app.stoqapp.com/api/v2/external/reports/x/export"
    assert request.params == {"offer_ids[]": ["a", "b"]}
    assert request.json == {"from": "2026-05-28"}
    assert STOQ.submit_request(ORIGIN, Submission("k", "/p")).params is None


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ({}, None),
        ({"a": None}, None),
        ({"a": True, "b": False}, {"a": "true", "b": "false"}),
        ({"offer_ids": ["x", "y"]}, {"offer_ids[]": ["x", "y"]}),
        ({"offer_ids[]": ("x",)}, {"offer_ids[]": ["x"]}),
        ({"ids": [1, 2]}, {"ids[]": ["1", "2"]}),
        ({"page": 2, "rate": 0.5, "name": "ü &"}, {"page": "2", "rate": "0.5", "name": "ü &"}),
        ({"empty": ""}, {"empty": ""}),
    ],
)
def test_query_spelling(query, pairs):
    assert query_pairs(query) == pairs


A, B = handle(job_id="a").to_dict(), handle(job_id="b").to_dict()


class Lazy:
    """As the results of mapped tasks reach a template: iterable, and no list."""

    def __init__(self, *items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


@pytest.mark.parametrize(
    ("job", "ids"),
    [
        pytest.param(A, ["a"], id="a handle"),
        pytest.param([A, B], ["a", "b"], id="a list"),
        pytest.param((B, A), ["b", "a"], id="order is kept"),
        pytest.param([A, B, A], ["a", "b"], id="twice the same"),
        pytest.param([[A], [[B]]], ["a", "b"], id="lists of mapped tasks"),
        pytest.param(Lazy([A], [B]), ["a", "b"], id="lazy lists"),
        pytest.param(JOB, ["bulk_1"], id="a status URL"),
        pytest.param(f" {ORIGIN}{JOB}/ ", ["bulk_1"], id="an absolute one"),
        pytest.param([JOB, A], ["bulk_1", "a"], id="mixed"),
        pytest.param("exp_1", ["exp_1"], id="an id"),
        pytest.param(["bulk_1", " bulk_orders_2"], ["bulk_1", "bulk_orders_2"], id="ids"),
        pytest.param("['exp_1', 'exp_2']", ["exp_1", "exp_2"], id="ids, as a template renders them"),
        pytest.param({"job_id": "exp_1"}, ["exp_1"], id="a response with an id"),
        pytest.param({"job_id": "x", "status_url": JOB}, ["bulk_1"], id="a response with a status URL"),
        pytest.param(json.dumps(A), ["a"], id="JSON of a handle"),
        pytest.param(f"\n {json.dumps([A, B])}", ["a", "b"], id="JSON of a list"),
        pytest.param(str([A, B]), ["a", "b"], id="what a template renders"),
        pytest.param(json.dumps([JOB]), ["bulk_1"], id="JSON of URLs"),
    ],
)
def test_how_jobs_are_given(job, ids):
    assert [h.job_id for h in STOQ.read_handles(job)] == ids


@pytest.mark.parametrize(
    ("job", "message"),
    [
        pytest.param([], "empty", id="an empty list"),
        pytest.param([[], []], "empty", id="empty lists"),
        pytest.param("[]", "empty", id="JSON of an empty list"),
        pytest.param(None, "the task that was to hand it over pushed nothing", id="nothing"),
        pytest.param(" None ", "pushed nothing", id="nothing, as a template renders it"),
        pytest.param([None, A], "pushed nothing", id="nothing of one of several tasks"),
        pytest.param(MANIFEST, "a task that has waited for its jobs already", id="a manifest"),
        pytest.param([[A], MANIFEST], "has waited for its jobs already", id="a manifest in a list"),
        pytest.param(json.dumps(MANIFEST), "has waited for its jobs already", id="JSON of a manifest"),
        pytest.param(47, "int", id="a number"),
        pytest.param([A, None], "pushed nothing", id="nothing in a list"),
        pytest.param(b"/x", "bytes", id="bytes"),
        pytest.param("", "pushed nothing", id="empty text"),
        pytest.param("job_1", "'job_1' is neither a status URL nor an id", id="an id of an unknown kind"),
        pytest.param("bulk_", "neither a status URL nor an id", id="half an id"),
        pytest.param("exp_1/../../x", "neither a status URL nor an id", id="an id with a path in it"),
        pytest.param("exp_1\0", "neither a status URL nor an id", id="an id with NUL in it"),
        pytest.param("x/exp_1", "neither a status URL nor an id", id="half a path"),
        pytest.param("/x/\ud800", "neither a status URL nor an id", id="half a character"),
        pytest.param(ORIGIN, "neither a status URL nor an id", id="an origin"),
        pytest.param("https://[x/y", "neither a status URL nor an id", id="a broken URL"),
        pytest.param("{not json", "neither JSON nor", id="broken JSON"),
        pytest.param("[__import__('os')]", "neither JSON nor", id="code"),
        pytest.param({"job_id": "a"}, "'a' is neither", id="half a handle"),
        pytest.param({"job_id": 7}, "JobHandle", id="an object that is no handle"),
        pytest.param({**A, "submitted_at": "x"}, "ISO 8601", id="a broken handle"),
        pytest.param(
            [A, {**A, "status_url": "/other/a"}], "two different jobs have the id a", id="one id twice"
        ),
        pytest.param({**A, "system": "medusa"}, "'medusa', not to 'stoq'", id="of another system"),
    ],
)
def test_what_is_no_job(job, message):
    with pytest.raises(InvalidInput, match=message):
        STOQ.read_handles(job)


def test_a_list_of_jobs_that_holds_itself():
    jobs = [A]
    jobs.append(jobs)
    with pytest.raises(InvalidInput, match="lists in lists without an end"):
        STOQ.read_handles(jobs)


def test_a_handle_whose_url_is_no_address_is_read_and_not_asked_for():
    (broken,) = STOQ.read_handles([{**A, "status_url": "http://["}] * 2)
    with pytest.raises(InvalidInput, match="is no address"):
        STOQ.status_request(ORIGIN, broken)


@pytest.mark.parametrize(
    ("job_id", "path", "kind"),
    [
        ("bulk_orders_release_1", "/preorders/orders/jobs/", "bulk"),
        ("bulk_sync_metafields_1", "/preorders/product_variants/jobs/", "bulk"),
        ("exp_a8c3", "/preorders/reports/exports/", "export"),
    ],
)
def test_a_bare_id_is_asked_for_where_its_beginning_is_documented(job_id, path, kind, caplog):
    with caplog.at_level("INFO"):
        (handle,) = STOQ.read_handles(job_id)
    assert handle.status_url == f"/api/v2/external{path}{job_id}"
    assert handle.kind == kind
    assert f"Of job {job_id} only the id is given; {handle.status_url} is asked for" in caplog.text


def test_the_table_of_job_endpoints_can_be_changed(monkeypatch):
    monkeypatch.setitem(JOB_PATHS, "exp_", Assumption("/back_in_stock/exports/{job_id}", "U", "tried"))
    (handle,) = STOQ.read_handles("exp_1")
    assert handle.status_url == "/api/v2/external/back_in_stock/exports/exp_1"


def test_a_status_url_is_followed_whatever_the_id_looks_like(caplog):
    url = "/api/v2/external/back_in_stock/reports/exports/exp_1"
    for given in (url, {"job_id": "exp_1", "status_url": url}, {**A, "job_id": "exp_1", "status_url": url}):
        assert [handle.status_url for handle in STOQ.read_handles(given)] == [url]
    assert "only the id" not in caplog.text


@pytest.mark.parametrize("value", [-1, True, 1.0, "7", None, [7]])
def test_what_is_no_count(value):
    assert optional_int({"rows": value}, "rows") is None
    assert optional_int({"rows": value, "other": 0}, "rows", "other") == 0


@pytest.mark.parametrize(("payload", "fault"), [({"a": 7}, "int"), ({"a": ["x"]}, "list")])
def test_a_field_of_another_kind_is_not_missing(payload, fault):
    with pytest.raises(MalformedResponse, match=f"it has 'a' as {fault}, not as text"):
        require(payload, "a", "it")


@pytest.mark.parametrize("payload", [None, [], "x", 7, {}, {"a": None}, {"a": ""}])
def test_a_field_that_must_be_there(payload):
    assert require({"a": "x"}, "a", "it") == "x"
    with pytest.raises(MalformedResponse, match="it has no 'a'"):
        require(payload, "a", "it")


@pytest.mark.parametrize(
    ("value", "number"), [(7, 7), (0, 0), (True, None), ("7", None), (7.0, None), (None, None)]
)
def test_a_number_that_may_be_there(value, number):
    assert optional_int({"a": value}, "a") == number
    assert optional_int({}, "a") is None


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (Decoded({"status": "running"}), PollResultKind.SEEN, ""),
        (Decoded({"state": "running"}), PollResultKind.BAD, "the status of the job has no 'status'"),
        (Decoded(None), PollResultKind.BAD, "the status of the job has no 'status'"),
        (
            Decoded(problem=Problem(ProblemKind.NOT_FOUND, ("no",), 404)),
            PollResultKind.MISSING,
            "HTTP 404: no",
        ),
        (
            Decoded(
                problem=Problem(ProblemKind.RATE_LIMITED, (), 429), rate_limit=RateLimit(retry_after=9.0)
            ),
            PollResultKind.THROTTLED,
            "HTTP 429: rate limited",
        ),
    ],
)
def test_what_a_poll_brought(answer, kind, text):
    result = STOQ.poll_result(answer, handle())
    assert (result.kind, result.text, result.retry_after) == (kind, text, answer.rate_limit.retry_after)
