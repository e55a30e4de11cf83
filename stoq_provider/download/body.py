"""Read the body of one answer in large chunks, without going deaf on a slow connection."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

from stoq_provider.download.session import describe

CHUNK_BYTES = 2 * 1024 * 1024
"""
Size of a chunk: large reads are what makes a transfer in Python as fast as in C, and every chunk that other
threads are handed costs a change of turns.
"""

_PIECE_BYTES = 512 * 1024
_KEPT_BYTES = 31 * 1024 * 1024
_PATIENCE_SECONDS = 1.0
_FAST_SECONDS = 0.5


class Body:
    """
    Hands out the raw (not decoded) bytes of an answer.

    While the connection is fast, one call reads a whole chunk, which costs the least. Such a call returns
    only when the chunk is full, and on a slow line that takes minutes. So a connection is first, and again
    whenever it was slow, read as the bytes come, for a second at most; stops and deadlines are heard in
    between. A line that turns slow within a chunk is heard after that chunk, or when it stalls.

    :param raw: urllib3's response.
    """

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._fast = False
        _keep_freed_memory()

    def next_chunk(self) -> tuple[bytes, str, bool]:
        """Return the next bytes, why the connection broke (or ``""``), and whether this was the end."""
        from urllib3.exceptions import HTTPError

        parts: list[bytes] = []
        began = time.monotonic()
        trouble, ended = "", False
        try:
            ended = self._gather(parts, began)
        except (HTTPError, OSError, ValueError) as error:
            # What came before is good: only the read that broke is lost, and will be fetched again.
            trouble = describe(error)
        chunk = parts[0] if len(parts) == 1 else b"".join(parts)
        full = len(chunk) >= CHUNK_BYTES
        self._fast = full and time.monotonic() - began < _FAST_SECONDS
        return chunk, trouble, ended

    def _gather(self, parts: list[bytes], began: float) -> bool:
        size = 0
        while size < CHUNK_BYTES and time.monotonic() - began < _PATIENCE_SECONDS:
            part = self._read(CHUNK_BYTES - size)
            if not part:
                return True
            parts.append(part)
            size += len(part)
        return False

    def _read(self, size: int) -> bytes:
        if self._fast:
            return self._raw.read(size, decode_content=False) or b""
        read1 = getattr(self._raw, "read1", None)
        if read1 is None:  # urllib3 1.26 has nothing that returns early; a small read is not as deaf
            return self._raw.read(16 * 1024, decode_content=False) or b""
        return read1(min(_PIECE_BYTES, size), decode_content=False) or b""


@cache
def _keep_freed_memory() -> None:
    """
    Have the allocator keep the memory of chunks that are done with, for the chunks to come.

    The C library of Linux gives large blocks back to the system at once, and getting them again, page by
    page, takes as long as decrypting what they hold. It stops doing so for blocks up to the size of the
    largest one that it has seen freed, 32 MiB at most. This one is never touched, so that it costs neither
    memory nor time; other C libraries see nothing in it. Once for a process: it keeps to what it learned,
    and a second block would be made of kept memory, which has to be cleared and is in use from then on.
    """
    bytes(_KEPT_BYTES)
