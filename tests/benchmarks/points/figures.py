"""Figures and tables."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version


@dataclass(frozen=True)
class Spread:
    """A few figures that tell a distribution."""

    mean: float
    median: float
    p99: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        ordered = sorted(values)
        return cls(sum(ordered) / len(ordered), at(ordered, 0.5), at(ordered, 0.99), ordered[-1])


def at(ordered: Sequence[float], part: float) -> float:
    """The smallest value that so large a part does not exceed."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def table(columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A table in Markdown, with the columns' names above."""
    lines = ["| " + " | ".join(("", *columns)) + " |", "| --- |" + " ---: |" * len(columns)]
    lines += ["| " + " | ".join((name, *cells)) + " |" for name, cells in rows]
    return "\n".join(lines)


def row(
    name: str, values: Sequence[float], form: str | Callable[[float], str] = "{:.2f}"
) -> tuple[str, list[str]]:
    write = form.format if isinstance(form, str) else form
    return name, [write(value) for value in values]


def machine() -> str:
    """What the figures were measured on."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("apache-airflow", "httpx", "uvicorn"))
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()}, "
        f"Python {platform.python_version()}, {packages}"
    )
