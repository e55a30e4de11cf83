"""Measure how a shop's points are spent, print tables in Markdown, draw pictures; about half an hour."""

from __future__ import annotations

import argparse
import time

from tests.benchmarks.points import cadence, crowd, fleet, fleet_picture, idle, picture
from tests.benchmarks.points.children import Stage
from tests.benchmarks.points.figures import machine

PARTS = ("picture", "fleet", "crowd", "pair", "cadence", "idle")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.points", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small: shows that it runs, not how well")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    return parser.parse_args()


def show(title: str, table: str) -> None:
    print(f"\n### {title}\n\n{table}", flush=True)


def crowds(parts: tuple[str, ...], *, quick: bool) -> None:
    """The parts that wait most of their time, side by side: they take little of the machine."""
    ways = (crowd.WAYS if "crowd" in parts else ()) + (crowd.PAIR if "pair" in parts else ())
    size = crowd.Size(400, 60, 120) if quick else crowd.Size(1000, 600, 240)
    with Stage() as stage:
        small = cadence.start(stage, 60 if quick else 240) if "cadence" in parts else []
        results = crowd.measure(stage, ways, size) if ways else []
        delays = [run.collect() for run in small]
    if "crowd" in parts:
        title = f"{size.jobs:,} jobs end at random within {size.seconds:g} s; another client spends 0-30 %"
        show(title, crowd.crowd_table(crowd.WAYS, results[: len(crowd.WAYS)]))
    if "pair" in parts:
        show(f"Two processes share the shop, half of {size.jobs:,} jobs each", crowd.pair_table(results[-1:]))
    if delays:
        show(f"{cadence.JOBS} jobs of one shop, {cadence.ROUNDS} times", cadence.cadence_table(delays))


def fleets(*, quick: bool) -> None:
    """In virtual time: it takes one processor, and comes out the same each time."""
    found = fleet.measure(fleet.one_shop(quick=quick))
    show(f"{found[0].case.crowds[0].jobs:,} jobs of one shop", fleet.fleet_table(found))
    if not quick:
        print(f"\nDrawn: {fleet_picture.draw(found)}")
    found = fleet.measure(fleet.many_shops(quick=quick))
    crowds = found[0].case.crowds
    title = f"{sum(crowd.jobs for crowd in crowds):,} jobs of {len(crowds):,} shops"
    show(title, fleet.fleet_table(found))


def idles(*, quick: bool) -> None:
    """Alone, since the lag of a loop is measured."""
    size = idle.Size(5, 100, 5, 20) if quick else idle.Size(100, 100, 45, 90)
    title = f"{size.shops * size.jobs:,} triggers of {size.shops} shops that wait"
    show(title, idle.idle_table(size, idle.measure(size)))


def main() -> None:
    args = arguments()
    began = time.monotonic()
    print(machine())
    parts = tuple(args.only)
    if "picture" in parts:
        print(f"Drawn: {picture.draw()}")
    if "fleet" in parts:
        fleets(quick=args.quick)
    if "idle" in parts:
        idles(quick=args.quick)
    if set(parts) - {"fleet", "idle", "picture"}:
        crowds(parts, quick=args.quick)
    print(f"\nMeasured in {(time.monotonic() - began) / 60:.0f} minutes.")


if __name__ == "__main__":
    main()
