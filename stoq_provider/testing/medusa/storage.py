"""The local file service: a folder that is served as it is."""

from __future__ import annotations

from stoq_provider.testing.medusa.basics import millis


class Blob:
    """
    One file, readable as `content.Content` is.

    The tag is weak, of size and time, as Express makes it (M).
    """

    def __init__(self, data: bytes, modified: float) -> None:
        self.data = data
        self.modified = modified
        self.size = len(data)
        self.rows = data.count(b"\n")
        self.etag = f'W/"{self.size:x}-{millis(modified):x}"'

    def read(self, start: int, length: int) -> bytes:
        """Part of the file."""
        return self.data[start : start + length]


class Storage:
    """Files by key."""

    def __init__(self) -> None:
        self.files: dict[str, Blob] = {}

    def put(self, folder: str, name: str, data: bytes, now: float) -> str:
        """Store a file; its key is the time and the name (M)."""
        stamp = millis(now)
        while f"{folder}{stamp}-{name}" in self.files:
            stamp += 1
        key = f"{folder}{stamp}-{name}"
        self.files[key] = Blob(data, now)
        return key
