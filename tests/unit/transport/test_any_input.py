"""Any body, in any pieces, is the same response."""

from __future__ import annotations

import gzip
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoq_provider.transport.limits import Body
from tests.fuzz.strategies import header_texts


def received(data, encoding, cuts=()):
    body = Body(200, {"Content-Encoding": encoding})
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        body.feed(data[start:end])
        if body.flaw:
            break
    return body.response()


def put(data, at, what):
    at %= len(data) + 1
    return data[:at] + what + data[at + len(what) :]


packed = st.lists(st.binary(max_size=80), max_size=3).map(
    lambda members: b"".join(map(gzip.compress, members))
)
sent = packed | st.binary(max_size=80) | st.builds(put, packed, st.integers(0, 300), st.binary(max_size=3))


@given(sent, st.sampled_from(["gzip", "GZip", ""]) | header_texts, st.lists(st.integers(0, 300), max_size=6))
def test_any_body_in_any_pieces(data, encoding, cuts):
    whole, cut = received(data, encoding), received(data, encoding, cuts)
    assert (cut.body, bool(cut.flaw)) == (whole.body, bool(whole.flaw))
    if "gzip" not in encoding.lower():
        assert whole.body == data
    elif not whole.flaw:
        assert whole.body == (gzip.decompress(data) if data else b"")
    else:
        with pytest.raises((EOFError, OSError, zlib.error)):
            gzip.decompress(data or b"\x1f")
