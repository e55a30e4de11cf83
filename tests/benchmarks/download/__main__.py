"""Measure downloads against curl and others, and print tables in Markdown."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from tests.benchmarks.download.figures import Results, cell_table, machine, memory, table, title, verdicts
from tests.benchmarks.download.files import MB
from tests.benchmarks.download.measure import CURL, CURL_DIGEST, CURL_NULL, CURL_SYNC, Bench, Cell

PLACES = ("file", "disk", "discard", "store")
MEMORY_MIB = 64
TO_FILE = (CURL, CURL_DIGEST, "ours", "object_storage_path")
TO_DISK = (CURL_SYNC, CURL, "ours")
TO_S3 = (CURL, CURL_NULL, "ours", "boto3_fileobj", "object_storage_path", "http_to_s3")
FOR_MEMORY = {"file": ("ours", "object_storage_path"), "discard": TO_S3[2:]}
CAPTION = """
`x base` is the time of the copy against a base in the same round: the median of the rounds, then the least
and the most. The base of a file in memory is the same work, the whole process of `curl -o` and then of
`openssl dgst -sha256`; on disk it is `curl -o` and then `sync`; of S3 boto3's `upload_fileobj`, unchecked.
The time of a copy leaves out the start of Python, the imports (Airflow takes seconds) and a first copy of
10 MB, after which sessions are there; all else is in it. `whole` is the process from its start to its end,
with all that. For curl both are the same. CPU is user and system of all threads. Ours checks length, SHA-256
and the number of CSV records; no other does.
The processes that serve and swallow the bytes run on the same cores. A large file in memory gets the memory
of the one before.
"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.download", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small: shows that it runs, not how well")
    parser.add_argument("--rounds", type=int, help="of each cell, instead of 5, 3 or 1")
    parser.add_argument("--sizes", type=int, nargs="+", metavar="MB", help="instead of 10 200 1000")
    parser.add_argument("--only", nargs="+", choices=PLACES, default=PLACES, help="destinations")
    parser.add_argument("--schemes", nargs="+", choices=("http", "https"), default=("http", "https"))
    parser.add_argument(
        "--folder", type=Path, help="where all files go, instead of temporary folders and memory"
    )
    return parser.parse_args()


def sizes(options: argparse.Namespace) -> list[int]:
    return [size * MB for size in options.sizes or ([10, 50] if options.quick else [10, 200, 1000])]


def plan(options: argparse.Namespace) -> list[Cell]:
    """Return the cells, place by place."""
    large = sizes(options)
    cells = []
    for place in options.only:
        if place in FOR_MEMORY and "http" in options.schemes:
            cells.append(Cell(place, "http", MB, FOR_MEMORY[place], 1 if options.quick else 2))
        cells += [
            Cell(place, scheme, size, *_what(place, size, options))
            for size, scheme in _inputs(place, large, options)
        ]
    return cells


def _inputs(place: str, large: list[int], options: argparse.Namespace) -> list[tuple[int, str]]:
    # What the disk or the store sets the pace of is measured once.
    schemes = options.schemes if place in ("file", "discard") else options.schemes[:1]
    chosen = large if place != "disk" else large[-2:-1] or large
    return [(size, scheme) for size in chosen for scheme in schemes]


def _what(place: str, size: int, options: argparse.Namespace) -> tuple[tuple[str, ...], int]:
    ways = {"file": TO_FILE, "disk": TO_DISK}.get(place, TO_S3)
    usual = 5 if 100 * MB <= size < 500 * MB else 3
    if place == "store":
        usual = 3 if size < 500 * MB else 1
    return ways, options.rounds or (2 if options.quick else usual)


def measure(bench: Bench, cells: list[Cell]) -> dict[Cell, Results]:
    """Measure all cells, and print each as soon as it is done."""
    found: dict[Cell, Results] = {}
    for place in dict.fromkeys(cell.place for cell in cells):
        with bench.s3(place):
            for cell in (each for each in cells if each.place == place):
                results: Results = {way: [] for way in cell.ways}
                for way, run in bench.measure(cell):
                    results[way].append(run)
                found[cell] = results
                if cell.size > MB:
                    rounds = "1 round" if cell.rounds == 1 else f"{cell.rounds} rounds"
                    print(f"\n### {title(cell)} ({rounds})\n\n{cell_table(cell, results)}", flush=True)
    return found


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # so that files and servers go
    began = time.monotonic()
    with Bench(sizes(options), options.folder) as bench:
        print(machine(bench.source.kind))
        if not bench.in_memory:
            print("\nFiles are written to disk: `file` measures the disk as well.")
        print(CAPTION, flush=True)
        found = measure(bench, plan(options))
    rows = [row for cell, results in found.items() if cell.size > MB for row in verdicts(cell, results)]
    peaks, more = memory(found, max(sizes(options)), MEMORY_MIB)
    if more:
        print(f"\n### Memory\n\n{peaks}")
    if rows or more:
        print(f"\n### Targets\n\n{table(('', 'measured', ''), [*rows, *more])}")
    print(f"\nMeasured in {(time.monotonic() - began) / 60:.0f} minutes.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
