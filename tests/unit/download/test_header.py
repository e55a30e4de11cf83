"""The names of a CSV's columns, for lineage; for Parquet they are in ``test_columns``."""

from __future__ import annotations

import pytest

from stoq_provider.download.header import HEAD_BYTES, column_names


@pytest.mark.parametrize(
    ("head", "names"),
    [
        (b"id,note\r\n1,x", ["id", "note"]),
        (b"\xef\xbb\xbfid;note\n", ["id", "note"]),
        (b'"two\nlines",note\n1,x\n', ["two\nlines", "note"]),
        (b"id", ["id"]),
        (b"", []),
        (b"\n1\n", []),
        (b"id\xff\n", []),
        (b"id,note\r1,x\r", []),
        (b"x" * HEAD_BYTES, []),
        (b"\xef\xbb\xbf" + b"x" * (HEAD_BYTES - 3), []),
        (b",\n1,2\n", []),
        (b"a,a\n", ["a", "a"]),
    ],
    ids=[
        "crlf",
        "mark",
        "quoted",
        "no end",
        "empty",
        "no names",
        "no utf-8",
        "cr",
        "too long",
        "too long, mark",
        "blank",
        "twice",
    ],
)
def test_names_are_those_of_the_header_line_where_it_can_be_read(head, names):
    assert column_names(head) == names
