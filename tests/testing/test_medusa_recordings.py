"""The sandbox answers as a real Medusa 1.20.11 did."""

from __future__ import annotations

import re

import pytest

from stoq_provider.testing import Sandbox

from .replay import RECORDINGS, Story, masked, recordings

ALL = recordings()
SINGLE = [entry for entry in ALL if "response" in entry]
POLLED = [entry for entry in ALL if "polled" in entry]
_IDS = re.compile(r"(prod|variant)_[0-9A-Z]{26}")


@pytest.fixture(scope="session")
def story():
    # Time stands still, and the story moves it: so no step is ever due between two of its requests.
    with Sandbox(seed=11, time_scale=0) as sandbox:
        told = Story(sandbox)
        told.tell()
        yield told


@pytest.mark.parametrize("entry", SINGLE, ids=[entry["name"] for entry in SINGLE])
def test_answers_as_recorded(story, entry):
    wanted, answer = entry["response"], story.answers[entry["name"]]
    assert answer.status == wanted["status"]
    for name, value in wanted.get("headers", {}).items():
        assert answer.headers.get(name) == value
    if "Content-Type" not in wanted.get("headers", {}):
        assert "Content-Type" not in answer.headers
    if "json" in wanted:
        assert masked(answer.body) == masked(wanted["json"])
    if "text" in wanted:
        assert answer.text == wanted["text"]
    if "page" in wanted:
        told = re.search(r"<pre>(.*?)(<br>|</pre>)", answer.text, re.DOTALL)
        assert told is not None
        assert masked(told[1]).startswith(masked(wanted["page"]))


@pytest.mark.parametrize("entry", POLLED, ids=[entry["name"] for entry in POLLED])
def test_jobs_run_their_course_as_recorded(story, entry):
    assert masked(story.polled[entry["name"]]) == masked(entry["polled"])


@pytest.mark.parametrize("entry", SINGLE, ids=[entry["name"] for entry in SINGLE])
def test_every_answer_sets_a_cookie_unless_one_was_sent(story, entry):
    cookie = story.answers[entry["name"]].headers.get("Set-Cookie")
    if "Cookie" in entry["request"].get("headers", {}):
        assert cookie is None
    else:
        assert cookie is not None
        assert re.fullmatch(r"connect\.sid=s%3A\w+; Path=/; Expires=[^;]+ GMT; HttpOnly", cookie)


def test_cookies_are_fresh_each_time(story):
    cookies = [
        answer.headers["Set-Cookie"] for answer in story.answers.values() if "Set-Cookie" in answer.headers
    ]
    assert len(set(cookies)) == len(cookies) > 50


def test_export_is_the_recorded_file_but_for_ids(story):
    recorded = (RECORDINGS / "export.csv").read_bytes().decode()
    assert _IDS.sub("<id>", story.csv.decode()) == _IDS.sub("<id>", recorded)


def test_recordings_hold_no_secret():
    text = "".join(path.read_text() for path in RECORDINGS.iterdir())
    assert not re.search(r"eyJ|connect\.sid|/srv/|password\":\s*\"(?!<password>|nope)", text)
