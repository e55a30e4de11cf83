"""Hints in messages about what a caller may have meant."""

from __future__ import annotations

from collections.abc import Sequence


def near_misses(name: str, known: Sequence[str]) -> str:
    """Return a hint such as ``; did you mean 'revenue'?``, or nothing."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
