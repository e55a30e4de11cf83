"""File names: what is left of a server's, and names that keep files apart."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import count

MAX_BYTES = 200
"""Length of a cleaned name in bytes of UTF-8; file systems end at 255."""

_LAST_RESORT = "export.csv"
_MAX_EXTENSION_BYTES = 16
_FORBIDDEN = re.compile(r'[<>:"|?*]')
_SPACES = re.compile(r"\s+")
# A download may add one of them or put it in place of another, such as .parquet for .csv.
_SUFFIXES = re.compile(r"(\.(csv|gz|parquet))+\Z")
# Names Windows takes for devices, with any extension; the superscript digits count there too.
_DEVICE = re.compile(r"(con|prn|aux|nul|clock\$|conin\$|conout\$|(com|lpt)[0-9¹²³])", re.IGNORECASE)


def clean_file_name(name: str | None, fallback: str = _LAST_RESORT) -> str:
    """
    Return a plain file name for an untrusted ``name``: no folder, nothing invisible, nothing reserved.

    Only the last part of a path is kept. Control and formatting characters go (a right-to-left override
    would show a false extension), ``<>:"|?*`` become ``_``, leading dots and trailing dots and spaces go,
    names of Windows devices get a leading ``_``. Text is in Unicode's composed form and has at most
    :data:`MAX_BYTES` bytes of UTF-8, where the extension is kept.

    :param name: the server's; ``None`` or nothing left of it: the ``fallback``.
    :param fallback: cleaned just the same, because it may hold a job id, which the server made.
    """
    return _clean(name or "") or _clean(fallback) or _LAST_RESORT


def add_job_id(name: str, job_id: str, number: int = 0) -> str:
    """
    Return a cleaned name with a job id before the extension, and after that a number unless it is 0.

    Where the whole gets too long, the stem gives way, then the id, the number never.

    :param name: cleaned already.
    :param job_id: cleaned here; nothing is added where nothing is left of it.
    """
    stem, extension = _split(name)
    count = f"-{number}" if number else ""
    room = MAX_BYTES - len(f"{count}{extension}".encode())
    cleaned = _clean(job_id)
    tail = _cut(f"-{cleaned}", room) if cleaned else ""
    return f"{_cut(stem, room - len(tail.encode()))}{tail}{count}{extension}"


def _clean(name: str) -> str:
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    # Categories C*: control, format, surrogate, private use, unassigned. A tab or a newline is one of them,
    # but stays a gap between words.
    shown = (" " if c.isspace() else c for c in last)
    visible = "".join(c for c in shown if not unicodedata.category(c).startswith("C"))
    plain = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", visible))
    trimmed = _SPACES.sub(" ", plain).strip(". ")
    if _DEVICE.fullmatch(trimmed.split(".")[0].rstrip()):
        trimmed = f"_{trimmed}"
    return _shorten(trimmed)


def _shorten(name: str) -> str:
    stem, extension = _split(name)
    return f"{_cut(stem, MAX_BYTES - len(extension.encode()))}{extension}"


def _split(name: str) -> tuple[str, str]:
    """Return the stem and the extension with its dot, if what follows the last dot is short enough."""
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension.encode()) > _MAX_EXTENSION_BYTES:
        return name, ""
    return stem, f".{extension}"


def _cut(text: str, max_bytes: int) -> str:
    encoded = text.encode()
    if len(encoded) <= max_bytes:
        return text
    # "ignore" drops the character that the cut went through.
    return encoded[:max_bytes].decode(errors="ignore").rstrip(". ")


def distinct_names(given: Sequence[tuple[str | None, str | None]]) -> list[str]:
    """
    Return cleaned file names of which no two are the same, nor those of files made of them.

    Names that several files share get the id of their job before the extension, all of them, so that they
    do not depend on the order; a number follows where that is not enough.

    :param given: the server's name and the job id of each file.
    """
    named = [
        (clean_file_name(name, fallback=f"{job_id}.csv" if job_id else ""), job_id or "")
        for name, job_id in given
    ]
    seen = Counter(collision_key(name) for name, _ in named)
    taken = {text for text, times in seen.items() if times == 1}
    names = [name for name, _ in named]
    # Sorted, so that it is not the order of the jobs that says which of them get a number.
    for n in sorted(range(len(named)), key=named.__getitem__):
        name, job_id = named[n]
        if seen[collision_key(name)] > 1:
            candidates = (add_job_id(name, job_id, number) for number in count())
            names[n] = next(text for text in candidates if collision_key(text) not in taken)
            taken.add(collision_key(names[n]))
    return names


def collision_key(name: str) -> str:
    """Return what two names or paths have in common that may become the same file."""
    # Some file systems take names that differ in case, or in how accents are composed, for the same.
    return _SUFFIXES.sub("", unicodedata.normalize("NFD", name.casefold()))
