"""What is kept of a server's words."""

from __future__ import annotations

import pytest

from stoq_provider.core.error_text import code_of, hide_queries, message_of, messages_of, plain_text


@pytest.mark.parametrize(
    ("payload", "messages"),
    [
        ({"type": "not_found", "message": "no such type"}, ("no such type",)),
        ({"error": "No", "code": "NO_JOB", "details": {"jobId": "x"}}, ("No", "jobId x")),
        ({"error": {"message": "no"}}, ("no",)),
        (
            {"errors": ["a", {"message": "b"}, {"code": "c"}, {}]},
            ("a", "b", "c", "an error without a message"),
        ),
        (
            {"message": "invalid", "validation_errors": [{"attribute": "x", "message": "x is bad"}]},
            ("invalid", "x is bad"),
        ),
        ({"message": "same", "error": "same", "validation_errors": {}}, ("same",)),
        ({"created_by_user": {"api_token": "secret"}}, ()),
        ([], ()),
        (None, ()),
    ],
)
def test_messages_of_every_system(payload, messages):
    assert messages_of(payload) == messages


def test_an_object_gives_its_message_and_nothing_else():
    assert message_of({"err": {"api_token": "secret"}, "message": "no"}) == "no"
    assert message_of({"message": {"api_token": "secret"}}) == "an error without a message"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"type": "not_allowed", "code": "x"}, "not_allowed"),
        ({"code": "ORDER_LIMIT"}, "ORDER_LIMIT"),
        ({"type": 5}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_the_servers_name_of_an_error(payload, code):
    assert code_of(payload) == code


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"Unauthorized", "Unauthorized"),
        (b"<pre>Cannot GET /x</pre>", "Cannot GET /x"),
        (b"<title>Error</title><pre>Too large<br> &nbsp;at f (/srv/a.js:1)</pre>", "Too large"),
        (b"<pre>it&#39;s &lt;bad&gt;", "it's <bad>"),
        (b"<pre> </pre><p>else</p>", "else"),
        (b"<style>x{}</style><h1>502</h1>\n<p>Bad\tGateway</p>", "502 Bad Gateway"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
    ],
)
def test_text_of_a_page(body, text):
    assert plain_text(body) == text


@pytest.mark.parametrize(
    "text",
    [
        "see https://s3/x.csv?X-Amz-Signature=5ecre7&b=1 please",
        "see HTTPS://s3/x.csv?sig=5ecre7",
        r'"url":"https:\/\/s3\/x.csv?X-Goog-Signature=5ecre7"',
        "s3.example/x.csv?X-Amz-Security-Token=5ecre7",
        "https://s3/a b.csv?Signature=5ecre7",
        "https://s3/it's.csv?AWSAccessKeyId=5ecre7&Signature=5ecre7",
        "https://user:5ecre7@s3/x",
        "token=5ecre7",
    ],
)
def test_what_signs_a_url_is_struck_out(text):
    assert "5ecre7" not in hide_queries(text)


@pytest.mark.parametrize("text", ["a?b=1", "key=value", "mail@host", "https://s3/x.csv", "signature wanted"])
def test_other_words_are_left(text):
    assert hide_queries(text) == text


def test_striking_out_twice_changes_nothing():
    once = hide_queries("https://s3/x?Signature=5ecre7 token=5ecre7")
    assert hide_queries(once) == once == "https://s3/x?*** token=***"
