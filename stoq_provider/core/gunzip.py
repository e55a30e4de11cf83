"""Decode gzip while it streams, in constant memory. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

PIECE_BYTES = 1024 * 1024
"""Most that one step decodes: a small body may hold gigabytes."""

MOST_RATIO = 200
"""Of length decoded and as sent: tables come to 5 to 50, gzip that was made to fill a disk to 1,000."""

FREE_BYTES = 256 * 1024 * 1024
"""Length decoded from which on the ratio counts; a small table may be all alike."""

_GZIP = 16 + zlib.MAX_WBITS


class Gunzip:
    """
    Decodes a gzip stream of one or more members.

    ``ended``: whether a member is complete and nothing of another has come; at the end of a body it must
    be, or the body was cut short where it was made. An empty body has not ended. ``damage``: what is wrong
    with the stream, or nothing; each member has a checksum, and what becomes more than :data:`MOST_RATIO`
    times as long is no table. Nothing more is decoded then.
    """

    def __init__(self) -> None:
        self.ended = False
        self.damage = ""
        self._member = zlib.decompressobj(_GZIP)
        self._taken = self._made = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what ``chunk`` decodes to, in pieces of at most :data:`PIECE_BYTES`."""
        self._taken += len(chunk)
        try:
            for piece in self._pieces(chunk):
                self._made += len(piece)
                if self._made > max(FREE_BYTES, MOST_RATIO * self._taken):
                    self.damage = f"more than {MOST_RATIO} times as long when decoded"
                    return
                yield piece
        except zlib.error as error:
            self.damage = str(error)

    def _pieces(self, chunk: bytes) -> Iterator[bytes]:
        while True:
            if self.ended:
                # Zeros may fill up the end; anything else begins another member.
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    return
                self._member = zlib.decompressobj(_GZIP)
            piece = self._member.decompress(chunk, PIECE_BYTES)
            if piece:
                yield piece
            self.ended = self._member.eof
            chunk = self._member.unused_data or self._member.unconsumed_tail
            # A full piece may not be all that the decoder holds, although its input is used up.
            if not chunk and len(piece) < PIECE_BYTES:
                return
