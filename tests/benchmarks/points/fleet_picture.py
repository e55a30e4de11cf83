"""A picture for the documentation: what several triggerers at one shop cost each other, and others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import nan
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.benchmarks.points.fleet import Figures
from tests.benchmarks.points.picture import FILE as OTHER
from tests.benchmarks.points.picture import STYLE

FILE = OTHER.with_name("fleet.svg")
COLOURS = ("#1f77b4", "#2ca02c", "#d62728")


def _lines(
    axes: Axes,
    found: Sequence[Figures],
    curves: Sequence[tuple[str, Callable[[Figures], float]]],
) -> None:
    """Draw a line for each number of triggerers and each curve, which are a style and a value."""
    for colour, count in zip(COLOURS, sorted({one.case.triggerers for one in found}), strict=False):
        cases = [one for one in found if one.case.triggerers == count]
        for style, value in curves:
            label = f"{count} triggerers" if style == "-" else None
            parts = [one.case.foreign * 100 for one in cases]
            axes.plot(parts, [value(one) for one in cases], style, color=colour, marker=".", label=label)


def draw(found: Sequence[Figures]) -> str:
    """Draw the cases with workers and an undivided share, and return the name of the file."""
    found = [one for one in found if one.case.crowds[0].workers and not one.case.divided]
    with mpl.rc_context({**STYLE, "svg.hashsalt": "fleet"}):
        figure = Figure(figsize=(7, 6), layout="constrained")
        above, below = figure.subplots(2, sharex=True)
        _lines(above, found, [("-", lambda one: one.deferred.mean), (":", lambda one: one.ideal.mean)])
        above.set_ylabel("mean delay in seconds")
        above.set_title(
            "From a job's end until its deferred task knows (dotted: ideal round-robin)", loc="left"
        )
        _lines(
            below,
            found,
            [
                ("-", lambda one: 100 * one.refused[2] if one.case.foreign else nan),
                ("--", lambda one: 100 * one.refused[1]),
                (":", lambda one: 100 * one.refused[0]),
            ],
        )
        below.set_ylabel("% of calls")
        below.set_xlabel("% of the points that another client wants")
        below.set_title("Refused (solid: other client, dashed: workers, dotted: triggerers)", loc="left")
        below.set_xticks([0, 10, 20, 30])
        for axes in (above, below):
            axes.set_ylim(bottom=0)
            axes.grid(color="#dddddd", linewidth=0.5)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False)
        figure.savefig(FILE, metadata={"Date": None})
    return str(FILE.relative_to(Path.cwd()))
