"""The header line of a CSV."""

from __future__ import annotations

import csv

from stoq_provider.download.options import verification_error
from stoq_provider.exceptions import VerificationError

DELIMITERS = (",", ";", "\t")

CARRIAGE_RETURNS = (
    "The CSV has lines that end with a carriage return alone, so it can't become Parquet, which needs line "
    "feeds; format='csv' stores the bytes as they are."
)

NOT_UTF_8 = (
    "is not UTF-8. Name its encoding as charset, such as 'windows-1252'; format='csv' stores the bytes as "
    "they are"
)

LONGEST_NAME = 128 * 1024
"""Characters of a column's name; a longer one is no header line, but a quote that is never closed."""

HEAD_BYTES = 64 * 1024
"""What is kept of the beginning of a text, for the names of its columns."""


def first_record_end(text: bytes) -> int:
    """Return the length of the first record of a text, or of what there is of it."""
    inside, begin = 0, 0
    while (at := text.find(b"\n", begin)) >= 0:
        inside ^= text.count(b'"', begin, at) % 2
        if not inside:
            return at + 1
        begin = at + 1
    return len(text)


def read_header(header: bytes) -> tuple[list[str], str]:
    """Return the columns' names, and the delimiter: the one that there is most of outside of quotes."""
    try:
        text = header.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise verification_error(f"The CSV can't become Parquet: its header line {NOT_UTF_8}.") from None
    outside_quotes = "".join(text.split('"')[::2])
    delimiter = max(DELIMITERS, key=outside_quotes.count)
    try:
        names = next(csv.reader([text], delimiter=delimiter), [])
        # The standard library has this limit too, but anybody in the process may have raised it.
        if len(max(names, key=len, default="")) > LONGEST_NAME:
            raise csv.Error(f"field larger than field limit ({LONGEST_NAME})")
        return names, delimiter
    except csv.Error as error:
        message = f"The CSV can't become Parquet: its header line can't be read: {error}."
        raise verification_error(CARRIAGE_RETURNS if "\r" in outside_quotes else message) from None


def column_names(head: bytes) -> list[str]:
    """Return the names of the columns that a text begins with; none where they can't be read."""
    head = head.removeprefix(b"\xef\xbb\xbf")
    end = first_record_end(head)
    if end == len(head) >= HEAD_BYTES - 3:
        return []  # cut short
    try:
        names, _ = read_header(head[:end])
    except VerificationError:
        return []
    return names if any(names) else []
