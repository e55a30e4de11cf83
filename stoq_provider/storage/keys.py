"""Placeholders in a destination, such as ``s3://lake/{report}/{job_id}.csv``. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from stoq_provider.storage.names import clean_file_name
from stoq_provider.storage.policy import destination_error

PLACEHOLDERS = ("file_name", "job_id", "kind", "report", "system")
"""What may stand in braces."""

_TOKEN = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]")


def report_of(kind: str | None) -> str | None:
    """Return the report of a kind like ``export:revenue``; other kinds have none."""
    return (kind or "").partition(":")[2] or None


def fill_in(destination: str, values: Mapping[str, str | None]) -> str:
    """
    Return the destination with every placeholder replaced. ``{{`` and ``}}`` become single braces.

    A value becomes one part of a path: it is cleaned as a file name is, because a server made it.

    :raises ValidationRejected: a name that nobody knows, one that has no value here, or a single brace.
    """

    def value(match: re.Match[str]) -> str:
        name = _name(match)
        if not name:
            return match[0][0]
        text = values.get(name)
        if not text:
            raise destination_error(f"The destination has {{{name}}}, which this job has no value for.")
        return clean_file_name(text, fallback=name)

    return _TOKEN.sub(value, destination)


def _name(match: re.Match[str]) -> str:
    """Return the name in braces, or nothing for a doubled brace."""
    name = match[1] or ""
    known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    if name and name not in PLACEHOLDERS:
        raise destination_error(
            f"The destination has {{{name}}}, which is no placeholder: there are {known}."
        )
    if match[0] in ("{", "}"):
        raise destination_error(
            f"The destination has a single {match[0]!r}: write it twice for a brace, or one of {known}."
        )
    return name
