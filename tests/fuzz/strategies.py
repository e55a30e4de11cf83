"""What a server may send, for hypothesis: near to what is documented, and far from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from hypothesis import strategies as st

from stoq_provider.core.http import Response
from tests.fuzz.answers import JOBS, KEY, KINDS

RECORDED = Path(__file__).parents[1] / "recordings" / "first_house"
WAITS, RECORDS, NOTES = (
    json.loads((RECORDED / f"{name}.json").read_text()) for name in ("waits", "records", "notes")
)
TRIGGERS = [wait["trigger"]["arguments"] for wait in WAITS.values()]
"""What the first release wrote."""

KEYS = (
    # jobs, of each system
    *(
        "id",
        "job_id",
        "status",
        "status_url",
        "batch_job",
        "order_count",
        "variant_count",
        "total",
        "processed",
    ),
    *("progress", "file_name", "row_count", "download_url", "result", "context", "dry_run", "canceled_at"),
    *("failed_at", "completed_at", "operations", "stat_descriptors", "file_key", "file_size", "count"),
    *("advancement_count", "record_ids", "skipped_record_ids", "created", "failed", "results", "success"),
    # lists, logins, manifests
    *("data", "batch_jobs", "orders", "jobs", "order", "job", "state", "airflow_correlation", "access_token"),
    *("schema_version", "system", "kind", "actions", "name", "aliases", "request_schema", "$ref", "pattern"),
    *("properties", "items", "type", "anyOf"),
    # errors
    *("error", "errors", "message", "code", "validation_errors", "attribute", "details", "retry_after"),
)
WORDS = (
    *JOBS,
    *sorted({word for system in KINDS for word in system.status_words}),
    *(
        "shipped",
        "cancelled",
        "mark",
        "medusa",
        KEY,
        "not_allowed",
        "object",
        "#",
        "(",
        "2026-05-28T10:00:00Z",
    ),
    *(
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:59",
        "https://shop.example/jobs/job_1",
        "//x:y/",
        "[",
    ),
    *("https://u:p@bucket.example/x?X-Amz-Signature=5ecre7", "half \ud83d", "NUL \0", "\u2028", ""),
)
NUMBERS = (0, 1, 3, -1, 100, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400)
FLOATS = (0.5, -0.0, 1e308, float("inf"), float("-inf"), float("nan"), 12.0)

texts = st.sampled_from(WORDS) | st.text(st.characters(), max_size=20)
leaves = (
    st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.integers() | st.sampled_from(FLOATS) | texts
)
any_json = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | texts, inner, max_size=4)
    ),
    max_leaves=5,
)
objects = st.dictionaries(st.sampled_from(KEYS), leaves | any_json, max_size=8)
jobs = st.builds(
    lambda job_id, word, rest: {"job_id": job_id, **rest, "id": job_id, "status": word},
    st.sampled_from(JOBS) | any_json,
    st.sampled_from(WORDS) | any_json,
    objects,
)
answers = (
    any_json
    | objects
    | jobs
    | jobs.map(lambda job: {"batch_job": job})
    | st.builds(lambda key, found: {key: found}, st.sampled_from(KEYS), st.lists(jobs | any_json, max_size=3))
)


def _written(payload: object, encoding: str) -> bytes:
    plain = encoding == "ascii"
    return json.dumps(payload, ensure_ascii=plain).encode(encoding, "surrogatepass")


json_bodies = st.builds(
    _written, answers, st.sampled_from(["ascii", "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
)
bodies = (
    json_bodies
    | st.binary(max_size=200)
    | st.builds(
        lambda body, at, put: body[: at % (len(body) + 1)] + put + body[at % (len(body) + 1) + len(put) :],
        json_bodies,
        st.integers(0, 1000),
        st.binary(max_size=4)
        | st.sampled_from(
            [b"1e400", b"-1e999", b"NaN", b"\\ud83d", b"\\u0000", b"9" * 5000, b"9" * 40, KEY.encode()]
        ),
    )
)

digits = st.sampled_from(
    ["9" * 20, "9" * 5000, "0" * 5000 + "1", "１２", "²", "1_0", "-1", "1e400", "nan", "inf", "0x1"]
)
dates = st.sampled_from(
    [
        "Fri, 29 May 2026 10:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -9999",
        "Mon, 01 Jan 0001 00:00:00 +9999",
        "Fri, 29 May 99999999999999999999 10:00:00 GMT",
        "29 May",
        "Fri, 29 Foo 2026 25:61:61 XYZ",
        ",",
    ]
)
header_texts = (
    st.integers(-5, 10**13).map(str)
    | st.floats().map(str)
    | digits
    | dates
    | st.sampled_from(
        ["gzip", "gzip, gzip", "identity", "utf-8", "chunked", '"e"', 'W/"e"', "bytes 3-9/10", "bytes 3-*/*"]
    )
    | st.text(st.characters(max_codepoint=255), max_size=30)
)
NAMES = (
    *(
        "retry-after",
        "date",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "content-type",
    ),
    *("content-range", "content-length", "content-encoding", "transfer-encoding", "etag", "location"),
)
headers = st.dictionaries(st.sampled_from(NAMES), header_texts, max_size=6)
statuses = st.sampled_from(
    [200, 202, 206, 301, 400, 401, 403, 404, 409, 410, 416, 422, 429, 500, 503]
) | st.integers(100, 999)
responses = st.builds(
    Response, statuses | st.just(200), headers, bodies, st.sampled_from(["", "", "cut short"])
)


@st.composite
def changed(draw: st.DrawFn, form: object) -> object:
    """Return a copy of a JSON value in which something is another value, or is missing."""
    whole = json.loads(json.dumps(form))
    found = [*places(whole)]
    for _ in range(draw(st.integers(1, 2))):
        inside, key = draw(st.sampled_from(found))
        if draw(st.booleans()) or key not in inside:
            inside[key] = draw(leaves | any_json)
        else:
            del inside[key]
    return whole


def places(value: object) -> Iterator[tuple[dict[str, object], str]]:
    """Give each object of a JSON value with each of its keys."""
    if isinstance(value, dict):
        for key in [*value]:
            yield value, key
            yield from places(value[key])
    elif isinstance(value, list):
        for item in value:
            yield from places(item)
