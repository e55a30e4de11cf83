"""The CSV files that are downloaded."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

MB = 1_000_000
_HEADER = b"id,order,sku,title,note,quantity,amount,updated_at\r\n"
_BLOCK_ROWS = 20_000
_READ_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class CsvFile:
    """One file; ``rows`` without the header line."""

    name: str
    bytes: int
    rows: int
    sha256: str


def write_file(folder: Path, size: int) -> CsvFile:
    """Write a file of about ``size`` bytes, and read it once, so that the page cache holds it."""
    block = _block()
    path = folder / f"{size // MB}mb.csv"
    times, part = divmod(size - len(_HEADER), len(block))
    rest = b"" if not part else block[: block.rindex(b"\r\n", 0, part) + 2]
    rows = times * _BLOCK_ROWS + _rows(rest)
    with path.open("wb") as file:
        file.write(_HEADER)
        for _ in range(times):
            file.write(block)
        file.write(rest)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            digest.update(piece)
    return CsvFile(path.name, path.stat().st_size, rows, digest.hexdigest())


def _block() -> bytes:
    """About two megabytes of rows; one note of 25 holds a quoted newline, others hold quotes or commas."""
    chance = random.Random(5)
    notes = ('"call before\ndelivery"', '"said ""soon"", twice"', '"gift, wrapped"', *[""] * 12, *["ok"] * 10)
    rows = []
    for number in range(_BLOCK_ROWS):
        note = chance.choice(notes)
        sku = f"SKU-{chance.randrange(10**6):06d}"
        amount = f"{chance.randrange(1, 500_00) / 100:.2f}"
        when = f"2026-{chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d}T08:15:{number % 60:02d}Z"
        order = 5_500_000_000_000 + chance.randrange(10**9)
        rows.append(
            f"{number},{order},{sku},Linen shirt / size {number % 9},{note},{number % 7},{amount},{when}\r\n"
        )
    return "".join(rows).encode()


def _rows(text: bytes) -> int:
    # A row ends with CRLF, and no note holds one.
    return text.count(b"\r\n")
