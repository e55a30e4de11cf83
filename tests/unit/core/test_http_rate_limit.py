"""What the headers say of the shop's points."""

from __future__ import annotations

import json
import math
import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoq_provider.core.http import RateLimit, Response, read, read_rate_limit

NOW = 1_780_000_000.0


def headers(**values):
    return {name.replace("_", "-"): str(value) for name, value in values.items()}


def limits(status=200, payload=None, now=NOW, **values):
    return read_rate_limit(Response(status, headers(**values), b""), payload, now)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({}, RateLimit(), id="no header"),
        pytest.param(
            {"x_ratelimit_limit": 360, "x_ratelimit_remaining": 12, "x_ratelimit_reset": int(NOW) + 40},
            RateLimit(360, 12, 40.0),
            id="all headers",
        ),
        pytest.param({"x_ratelimit_reset": int(NOW) - 5}, RateLimit(reset_in=0.0), id="reset has passed"),
        pytest.param({"x_ratelimit_remaining": "0"}, RateLimit(remaining=0), id="nothing left"),
        pytest.param({"x_ratelimit_remaining": "11.9"}, RateLimit(remaining=11), id="rounded down"),
        pytest.param({"retry_after": "24"}, RateLimit(retry_after=24.0), id="Retry-After in seconds"),
        pytest.param({"retry_after": "-3"}, RateLimit(retry_after=0.0), id="Retry-After negative"),
        pytest.param(
            {"retry_after": formatdate(NOW + 24, usegmt=True)},
            RateLimit(retry_after=24.0),
            id="Retry-After as a date",
        ),
        pytest.param(
            {"retry_after": formatdate(NOW - 24, usegmt=True)},
            RateLimit(retry_after=0.0),
            id="Retry-After as a past date",
        ),
    ],
)
def test_what_the_headers_mean(values, expected):
    assert limits(**values) == expected


@pytest.mark.parametrize("skew", [-86_400, -90, 90, 86_400])
def test_a_wrong_clock_on_either_side_does_no_harm(skew):
    server = NOW + skew
    got = limits(
        429,
        date=formatdate(server, usegmt=True),
        x_ratelimit_reset=int(server) + 40,
        retry_after=formatdate(server + 24, usegmt=True),
    )
    assert (got.reset_in, got.retry_after) == (40.0, 24.0)


@pytest.mark.parametrize(
    ("status", "payload", "values", "retry_after"),
    [
        pytest.param(
            429,
            {"retry_after": 30},
            {"retry_after": 24, "x_ratelimit_reset": int(NOW) + 50},
            24.0,
            id="the header first",
        ),
        pytest.param(
            429, {"retry_after": 30}, {"x_ratelimit_reset": int(NOW) + 50}, 30.0, id="then the body"
        ),
        pytest.param(429, {"retry_after": "30"}, {}, 30.0, id="the body as text"),
        pytest.param(429, {"retry_after": -1}, {}, 0.0, id="a negative body"),
        pytest.param(
            429, {"retry_after": "soon"}, {"x_ratelimit_reset": int(NOW) + 50}, 50.0, id="then the reset"
        ),
        pytest.param(429, [24], {}, None, id="a body that is a list"),
        pytest.param(429, None, {}, None, id="nothing"),
        pytest.param(503, {"retry_after": 30}, {"x_ratelimit_reset": int(NOW) + 50}, None, id="not a 429"),
        pytest.param(503, None, {"retry_after": 7}, 7.0, id="a 503 with the header"),
        pytest.param(429, {"retry_after": 30}, {"retry_after": "garbage"}, 30.0, id="a garbage header"),
    ],
)
def test_how_long_to_wait(status, payload, values, retry_after):
    assert limits(status, payload, **values).retry_after == retry_after


GARBAGE = ["", " ", "-", "nan", "inf", "-inf", "1e400", "9" * 400, "360, 360;w=60", "\x00", "0x10", "٣٦٠x"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # One reader of numbers for all; only after it Retry-After is tried as a date.
        *(("retry_after", value) for value in GARBAGE),
        *((f"x_ratelimit_{name}", "nan") for name in ("limit", "remaining", "reset")),
        ("x_ratelimit_limit", ""),
        ("x_ratelimit_remaining", "1e400"),
        ("x_ratelimit_reset", "9" * 400),
    ],
)
def test_garbage_says_nothing(name, value):
    assert limits(429, **{name: value}) == RateLimit()


@pytest.mark.parametrize("value", [*GARBAGE, "Thu, 99 Foo 2026", "Mon, 01 Jan 99999999999 00:00:00 GMT"])
def test_a_garbage_date_is_not_used(value):
    assert limits(date=value, x_ratelimit_reset=int(NOW) + 40).reset_in == 40.0


@pytest.mark.parametrize("name", ["x_ratelimit_limit", "x_ratelimit_remaining"])
def test_points_are_never_negative(name):
    assert limits(**{name: -4}) == RateLimit()


@pytest.mark.parametrize("value", ["1e999", "NaN", "Infinity", "9" * 400, "[]", "{}", "null"])
def test_a_body_that_says_nonsense(value):
    body = f'{{"error": "slow", "retry_after": {value}}}'.encode()
    got = read(Response(429, headers(x_ratelimit_reset=int(NOW) + 9), body), now=NOW)
    assert got.rate_limit.retry_after == 9.0


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="needs tzset")
@pytest.mark.parametrize("zone", ["", " -0000"])
def test_a_date_without_a_zone_is_in_gmt_whatever_the_machine_thinks(monkeypatch, zone):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        date = formatdate(NOW, usegmt=True).removesuffix(" GMT") + zone
        assert limits(date=date, x_ratelimit_reset=int(NOW) + 40).reset_in == 40.0
    finally:
        monkeypatch.undo()
        time.tzset()


ANY = st.characters()
"""What UTF-8 can't say is among them. To leave it out, Hypothesis tries each character, for seconds."""


@given(
    status=st.sampled_from([200, 202, 301, 404, 429, 500]),
    headers=st.dictionaries(
        st.sampled_from(
            ["date", "retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]
        ),
        st.one_of(st.text(ANY, max_size=40), st.floats().map(str), st.integers().map(str)),
    ),
    body=st.one_of(
        st.binary(max_size=40),
        st.recursive(
            st.one_of(st.none(), st.floats(), st.integers(), st.text(ANY, max_size=5)),
            lambda inner: (
                st.dictionaries(st.sampled_from(["errors", "error", "message", "retry_after"]), inner)
                | st.lists(inner, max_size=3)
            ),
            max_leaves=5,
        ).map(lambda value: json.dumps(value).encode()),
    ),
)
def test_whatever_the_headers_are_they_are_read(status, headers, body):
    got = read(Response(status, headers, body), now=NOW)
    for number in (got.rate_limit.reset_in, got.rate_limit.retry_after):
        assert number is None or (number >= 0 and math.isfinite(number))
    assert (got.problem is None) <= (200 <= status < 300)
