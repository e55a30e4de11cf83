"""Turn a file name a server gave into one that is safe to write. Pure."""

from __future__ import annotations

import re
import unicodedata

MAX_BYTES = 200
"""Length of a cleaned name in bytes of UTF-8; file systems end at 255."""

_LAST_RESORT = "export.csv"
_MAX_EXTENSION_BYTES = 16
_FORBIDDEN = re.compile(r'[<>:"|?*]')
_SPACES = re.compile(r"\s+")
# Names Windows takes for devices, with any extension; the superscript digits count there too.
_DEVICE = re.compile(r"(con|prn|aux|nul|clock\$|conin\$|conout\$|(com|lpt)[0-9¹²³])", re.IGNORECASE)


def clean_file_name(name: str | None, fallback: str = _LAST_RESORT) -> str:
    """
    Return a plain file name for an untrusted ``name``: no folder, nothing invisible, nothing reserved.

    Only the last part of a path is kept. Control and formatting characters go (a right-to-left override
    would show a false extension), ``<>:"|?*`` become ``_``, leading dots and trailing dots and spaces go,
    names of Windows devices get a leading ``_``. Text is in Unicode's composed form and has at most
    :data:`MAX_BYTES` bytes of UTF-8, where the extension is kept.

    :param name: what the server said; ``None`` or nothing left of it: the ``fallback``.
    :param fallback: cleaned just the same, because it may hold a job id, which the server made.
    """
    return _clean(name or "") or _clean(fallback) or _LAST_RESORT


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
    if len(name.encode()) <= MAX_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension.encode()) > _MAX_EXTENSION_BYTES:
        stem, dot, extension = name, "", ""
    room = MAX_BYTES - len(f"{dot}{extension}".encode())
    # "ignore" drops the character that the cut went through.
    stem = stem.encode()[:room].decode(errors="ignore").rstrip(". ")
    return f"{stem}{dot}{extension}"
