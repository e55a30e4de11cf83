"""
Kills downloads at random moments and counts what is visible afterwards.

``python -m tests.stores.kills --moments 100`` prints a table and fails if an object was seen in part, or a
process did not end. It is no test, as it depends on when a kill comes: :mod:`tests.stores.test_ends` kills at
bytes that are always the same.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.stores.bodies import KEY, STANDING, large
from tests.stores.children import EXIT_SECONDS, Hung, Job, Nursery
from tests.stores.origin import Origin
from tests.stores.running import STORES, running
from tests.stores.stores import Store

SIGNALS = (signal.SIGKILL, signal.SIGTERM)
_UNDISTURBED_RUNS = 2
_LATEST = 1.1  # the last moments lie just behind the publication


@dataclass
class Counts:
    """
    What was seen after the kills.

    :param untouched: nothing, or the object that stood there before.
    :param whole: the whole new object: the kill came after it was published.
    :param partial: anything else; must not happen.
    :param late: downloads that were over before the kill; they are among ``whole``.
    :param hung: processes that did not end in time; must not happen.
    :param left_over: kills after which an upload or a temporary file was left. Nothing can be done about it
        in a process that is shot.
    :param slowest: seconds from the kill to the end of the process, at most.
    """

    store: str
    number: signal.Signals
    untouched: int = 0
    whole: int = 0
    partial: int = 0
    late: int = 0
    hung: int = 0
    left_over: int = 0
    slowest: float = 0.0
    remarks: list[str] = field(default_factory=list)

    @property
    def moments(self) -> int:
        return self.untouched + self.whole + self.partial

    def bad(self) -> list[str]:
        """Say what must not have happened."""
        cleans_up = self.number is not signal.SIGKILL
        wrong = {
            "partial objects": self.partial,
            "processes that hang": self.hung,
            "left over": self.left_over if cleans_up else 0,
        }
        return [f"{count} {what}: {self.remarks}" for what, count in wrong.items() if count]

    def row(self) -> str:
        return (
            f"{self.store:<10} {self.number.name:<8} {self.moments:>6} {self.untouched:>10} {self.whole:>6} "
            f"{self.late:>6} {self.partial:>8} {self.hung:>5} {self.left_over:>10} {self.slowest:>9.2f}"
        )


HEADER = (
    f"{'store':<10} {'signal':<8} {'kills':>6} {'untouched':>10} {'whole':>6} {'(late)':>6} {'partial':>8} "
    f"{'hung':>5} {'left over':>10} {'exit s':>9}"
)


def kill_at_random_moments(
    store: Store,
    nursery: Nursery,
    origin: Origin,
    number: signal.Signals,
    *,
    usual: float,
    moments: int,
    seed: int = 5,
) -> Counts:
    """
    Kill ``moments`` downloads, every other one over an object that stands there.

    The moments are spread evenly over the time until an undisturbed download shows, one to each slice.
    A SIGTERM raises an exception in the child, as Airflow's task timeout does.

    :param usual: that time, see :func:`usual_seconds`.
    """
    # The same moments each time, as far as the machine allows.
    chance = random.Random(seed)
    counts = Counts(store.name, number)
    for turn in range(moments):
        store.clear()
        standing = STANDING if turn % 2 else None
        if standing is not None:
            store.put(KEY, standing)
        pause = (turn + chance.random()) / moments * usual * _LATEST
        _kill_one(store, nursery, origin, counts, pause)
        _look(store, counts, standing, pause)
    return counts


def _kill_one(store: Store, nursery: Nursery, origin: Origin, counts: Counts, pause: float) -> None:
    pid = nursery.start(_job(store, origin))
    time.sleep(pause)
    with suppress(ProcessLookupError):
        # The nursery reaps its child, so the pid might be another's by now, but not within seconds.
        os.kill(pid, counts.number)
    try:
        ended = nursery.wait()
    except Hung as error:
        counts.hung += 1
        counts.remarks.append(f"{error} (killed after {pause:.3f} s)")
        return
    counts.slowest = max(counts.slowest, ended.seconds)
    counts.late += ended.code == 0


def _look(store: Store, counts: Counts, standing: bytes | None, pause: float) -> None:
    seen = store.get(KEY)
    others = [key for key in store.visible() if key != KEY]
    if seen == standing and not others:
        counts.untouched += 1
    elif seen == large().content and not others:
        counts.whole += 1
    else:
        counts.partial += 1
        size = "no object" if seen is None else f"{len(seen)} bytes"
        counts.remarks.append(f"{size} and {others} after {pause:.3f} s")
    left = store.leftovers()
    if left:
        counts.left_over += 1
        counts.remarks.append(f"{left} after {pause:.3f} s")


def usual_seconds(store: Store, nursery: Nursery, origin: Origin) -> float:
    """Return the seconds from the start of an undisturbed download until its object is visible."""
    taken = []
    for _ in range(_UNDISTURBED_RUNS):
        store.clear()
        job = _job(store, origin)
        nursery.start(job)
        began = time.monotonic()
        while KEY not in store.visible():
            if time.monotonic() - began > EXIT_SECONDS:
                raise RuntimeError(f"an undisturbed download to {store.name} does not show")
            time.sleep(0.01)
        taken.append(time.monotonic() - began)
        nursery.wait()
    return statistics.median(taken)


def _job(store: Store, origin: Origin) -> Job:
    url = origin.serve(large().content).url()
    return Job(url, store.uri(KEY), large().rows, "raise", store.connections)


def main() -> int:
    """Run on every store and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=100, help="kills of each store and signal")
    parser.add_argument("--stores", nargs="*", choices=STORES, default=list(STORES))
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    bad = []
    print(HEADER, flush=True)  # noqa: T201
    for name in options.stores:
        with (
            tempfile.TemporaryDirectory(prefix="stores-kills-") as folder,
            (Path(folder) / "log.txt").open("ab") as log,
            running(name) as store,
            Origin() as origin,
            Nursery([name], log) as nursery,
        ):
            usual = usual_seconds(store, nursery, origin)
            for number in SIGNALS:
                counts = kill_at_random_moments(
                    store,
                    nursery,
                    origin,
                    number,
                    usual=usual,
                    moments=options.moments,
                    seed=options.seed,
                )
                print(counts.row(), flush=True)  # noqa: T201
                bad += [f"{name}, {number.name}: {text}" for text in counts.bad()]
    for text in bad:
        print(f"\nWRONG: {text}", file=sys.stderr)  # noqa: T201
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
