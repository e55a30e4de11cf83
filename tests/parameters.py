"""docs/parameters.md, made of signatures and docstrings: ``make docs`` writes it anew."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TypeVar

from airflow.providers.common.compat.sdk import BaseOperator

from stoq_provider.download.options import GIVEN, DownloadOptions
from stoq_provider.get_provider_info import INTEGRATIONS
from tests.documents import ROOT

PAGE = ROOT / "docs" / "parameters.md"
HEAD = """\
# Parameters

Every parameter of every operator and sensor, with its default, made of the docstrings by `make docs`.

What Airflow gives to every operator (`task_id`, `retries`, `pool`, `execution_timeout`) and to every sensor
(`timeout`, `soft_fail`, `mode`) is not listed. Templates are rendered when the task runs; options that are no
templates are checked when the DAG is parsed."""
OPTIONS = """\
## DownloadOptions

The keys of `download_options`. What a download does is in [Downloads](downloads.md)."""
MADE = {"deferrable": "`[operators] default_deferrable`", "column_types": "`{}`"}
"""Defaults that are no constants."""
NONE = inspect.Parameter.empty

T = TypeVar("T")


def public() -> list[type[BaseOperator]]:
    """Return the operators and sensors that a DAG names: those of which no other one is made."""
    modules = [f"operators.{name}" for one in INTEGRATIONS.values() for name in one.operators]
    found = [
        cls
        for name in (*modules, "sensors.jobs")
        for cls in vars(import_module(f"stoq_provider.{name}")).values()
        if isinstance(cls, type)
        and issubclass(cls, BaseOperator)
        and cls.__module__ == f"stoq_provider.{name}"
    ]
    return [cls for cls in found if not any(cls in other.__mro__[1:] for other in found)]


def own(cls: type) -> dict[str, object]:
    """Return the parameters that a class names itself, with their defaults."""
    if "__init__" not in vars(cls) or not cls.__module__.startswith("stoq_provider."):
        return {}
    found = inspect.signature(cls.__init__).parameters.values()
    return {p.name: p.default for p in found if p.kind is p.KEYWORD_ONLY or cls is DownloadOptions}


def described(cls: type) -> dict[str, str]:
    """Return what the docstring of a class says of its parameters."""
    text = inspect.getdoc(cls) if cls.__doc__ else ""
    return dict(re.findall(r"^:param (\w+): (.*?)(?=\n\n|\n:|\Z)", text or "", re.MULTILINE | re.DOTALL))


def together(find: Callable[[type], dict[str, T]], classes: Sequence[type]) -> dict[str, T]:
    """Return what classes say of their parameters, each before those behind it."""
    return {name: value for cls in reversed(classes) for name, value in find(cls).items()}


def parents(cls: type) -> list[type]:
    """Return where a reader finds the other parameters: the nearest bases that have some."""
    found = [one for base in cls.__bases__ for one in ([base] if own(base) else parents(base))]
    return [one for one in dict.fromkeys(found) if not any(one in other.__mro__[1:] for other in found)]


def markdown(text: str) -> str:
    text = re.sub(r":\w+:`~?(?:\w+\.)*(\w+)`", r"`\1`", text).replace("``", "`")
    return " ".join(text.split()).replace("|", r"\|")


def table(cls: type, names: Sequence[str]) -> str:
    lines = ["| parameter | default | |", "| --- | --- | --- |"]
    defaults, texts = (together(find, cls.__mro__) for find in (own, described))
    for name in names:
        default = defaults[name]
        shown = f'"{default}"' if isinstance(default, str) else repr(default)
        cell = MADE.get(name) or ("required" if default is NONE else f"`{shown}`")
        lines.append(f"| `{name}` | {cell} | {markdown(texts[name])} |")
    return "\n".join(lines)


def section(cls: type) -> str:
    summary = inspect.getdoc(cls).partition("\n\n")[0]
    # What only repeats a base stands there.
    inherited = together(own, cls.__mro__[1:])
    repeated = {
        name for name, default in own(cls).items() if name in inherited and inherited[name] is default
    }
    names = [n for n in {**own(cls), **described(cls)} if n in described(cls) or n not in repeated]
    parts = [f"## {cls.__name__}", markdown(summary), table(cls, names)]
    if links := [f"[`{base.__name__}`](#{base.__name__.lower()})" for base in parents(cls)]:
        more = re.search(r"^The other parameters .*`([;.].*)", inspect.getdoc(cls), re.MULTILINE | re.DOTALL)
        parts.append(f"And those of {' and '.join(links)}{markdown(more[1]) if more else '.'}")
    return "\n\n".join(parts)


def page() -> str:
    """Return what the page should hold."""
    leaves = public()
    bases = dict.fromkeys(base for cls in leaves for base in cls.__mro__ if base not in leaves and own(base))
    parts = [HEAD]
    for cls in leaves:
        parts += [section(cls), f"Templates: {', '.join(f'`{name}`' for name in cls.template_fields)}."]
    parts += [section(cls) for cls in bases]
    return "\n\n".join([*parts, OPTIONS, table(DownloadOptions, GIVEN)]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
