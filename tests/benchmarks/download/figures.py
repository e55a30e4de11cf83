"""Tables in Markdown, and targets."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median

from tests.benchmarks.download.files import MB
from tests.benchmarks.download.measure import CURL, CURL_DIGEST, CURL_NULL, CURL_SYNC, Cell, Run

MIB = 1024 * 1024
NAMES = {
    "ours": "**ours**: verified, published at once",
    "boto3_fileobj": "boto3 `upload_fileobj`",
    "object_storage_path": "`ObjectStoragePath`, 1 MiB",
    "http_to_s3": "`HttpToS3Operator`",
    CURL: "`curl -o` a file",
    CURL_NULL: "`curl -o /dev/null`",
    CURL_SYNC: "`curl -o` a file, `sync` it",
    CURL_DIGEST: "`curl -o` a file, `openssl dgst -sha256` it",
}
Results = dict[str, list[Run]]
"""The runs of a cell by way; the n-th of all ways are of the same round."""


@dataclass(frozen=True)
class Target:
    """``way`` takes at most ``limit`` times what ``than`` takes."""

    text: str
    way: str
    than: str
    limit: float


def targets(cell: Cell) -> list[Target]:
    if cell.place == "file":
        return [Target("at most 1.5 x the same work by curl and openssl", "ours", CURL_DIGEST, 1.5)]
    if cell.place == "discard":
        return [
            Target("at most 1.3 x boto3 without checks", "ours", "boto3_fileobj", 1.3),
            Target("2 x as fast as HttpToS3Operator", "ours", "http_to_s3", 1 / 2),
        ]
    return []


def ratios(results: Results, way: str, than: str) -> list[float]:
    """How many times as long ``way`` took, round by round."""
    return [one.copy / other.copy for one, other in zip(results[way], results[than], strict=True)]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "| --- |" + " ---: |" * (len(columns) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def cell_table(cell: Cell, results: Results) -> str:
    base = {"file": CURL_DIGEST, "disk": CURL_SYNC}.get(cell.place, "boto3_fileobj")
    rows = [_row(way, cell, results, base) for way in cell.ways]
    columns = ("", "x base", "(least-most)", "copy s", "MB/s", "CPU s", "whole s", "whole CPU s", "peak MiB")
    return table(columns, rows)


def _row(way: str, cell: Cell, results: Results, base: str) -> list[str]:
    runs, times = results[way], ratios(results, way, base)

    def middle(value: Callable[[Run], float]) -> float:
        return median(map(value, runs))

    copy = middle(lambda run: run.copy)
    return [
        NAMES[way],
        f"**{median(times):.2f}**",
        f"{min(times):.2f}-{max(times):.2f}",
        f"{copy:.3f}",
        f"{cell.size / MB / copy:.0f}",
        f"{middle(lambda run: run.copy_cpu):.3f}",
        f"{middle(lambda run: run.wall):.2f}",
        f"{middle(lambda run: run.cpu):.2f}",
        f"{middle(lambda run: run.peak) / MIB:.0f}",
    ]


def verdicts(cell: Cell, results: Results) -> list[list[str]]:
    """One row of the table of targets for each target of a cell."""
    found = []
    for target in targets(cell):
        got = median(ratios(results, target.way, target.than))
        shown = f"{got:.2f} x" if target.limit >= 1 else f"{1 / got:.1f} x"
        found.append([f"{title(cell)}: {target.text}", shown, passed(got <= target.limit)])
    return found


def passed(good: bool) -> str:
    return "pass" if good else "**FAIL**"


def title(cell: Cell) -> str:
    places = {
        "file": "file",
        "disk": "file on disk",
        "discard": "S3 that discards",
        "store": "real S3 (SeaweedFS)",
    }
    source = "TLS" if cell.scheme == "https" else "http"
    return f"{cell.size // MB:,} MB, {source} to {places[cell.place]}"


def memory(results: dict[Cell, Results], largest: int, limit: int) -> tuple[str, list[list[str]]]:
    """Return the table of peak memory by size, and the rows for the targets."""
    rows, found = [], []
    for place in ("file", "discard"):
        cells = {c.size: runs for c, runs in results.items() if c.place == place and c.scheme == "http"}
        if not {MB, largest} <= set(cells):
            continue
        for way in cells[MB]:
            peaks = [median(run.peak for run in cells[size][way]) / MIB for size in (MB, largest)]
            more = peaks[1] - peaks[0]
            rows.append([f"{NAMES[way]}, {place}", *(f"{peak:.0f}" for peak in peaks), f"**{more:+.0f}**"])
            if way == "ours":
                text = f"{place}: {largest // MB:,} MB takes at most {limit} MiB more than 1 MB"
                found.append([text, f"{more:+.0f} MiB", passed(more <= limit)])
    return table(("peak MiB, whole process", "1 MB", f"{largest // MB:,} MB", "more"), rows), found


def machine(source: str) -> str:
    names = ("apache-airflow", "requests", "urllib3", "boto3", "s3fs")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    curl = " ".join(subprocess.run(["curl", "--version"], capture_output=True, text=True).stdout.split()[:2])
    cores = f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()}"
    software = f"Python {platform.python_version()}, {packages}, {curl}"
    return f"{cores}, {software}; the files come from {source} on loopback, out of the page cache."
