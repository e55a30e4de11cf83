"""How the files of jobs are wanted: checked before anything is sent, used when the jobs are done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stoq_provider.core.manifest import parquet_name
from stoq_provider.core.validation import near_misses
from stoq_provider.exceptions import ValidationRejected
from stoq_provider.jobs.results import at_once_problem, store_all

if TYPE_CHECKING:
    from stoq_provider.core.events import WaitEvent
    from stoq_provider.hooks.base import JobHook

FORMATS = ("csv", "parquet")

POLICY = (
    "on_mismatch",
    "on_empty",
    "min_rows",
    "header_counted",
    "encoding",
    "stall_timeout",
    "max_resumes",
    "deadline",
)
"""Options that are fields of ``download.options.DownloadPolicy``, where they are described."""

OWN = ("at_once", "keep_csv", "column_types")


@dataclass(frozen=True, slots=True)
class Fetching:
    """
    What a task wants of the files.

    :param format: ``"csv"`` as the server made it, or ``"parquet"`` (extra ``parquet``).
    :param overwrite: ``True``, ``False``, or ``"if_different"``.
    :param options: any of :data:`POLICY`; ``at_once``: downloads at the same time; with Parquet also
        ``keep_csv`` and ``column_types``. What ``overwrite`` and ``on_empty`` do to Parquet:
        ``download.parquet.parquet``.
    """

    format: str = "csv"
    overwrite: Any = True
    options: Any = field(default_factory=dict)

    def check(self, destination: Any = None) -> None:
        """
        Check everything that can be checked before a job is started.

        :raises ValidationRejected: naming what is wrong.
        """
        from stoq_provider.download.download import DownloadPolicy

        if self.format not in FORMATS:
            self._refuse(f"format is one of {', '.join(FORMATS)}, not {self.format!r}")
        if not isinstance(self.options, Mapping):
            self._refuse(f"download_options is a mapping, not {type(self.options).__name__}")
        for name in self.options:
            if name not in POLICY + OWN:
                self._refuse(f"download_options has no {name!r}{near_misses(str(name), POLICY + OWN)}")
        if self.format != "parquet" and {"keep_csv", "column_types"} & set(self.options):
            self._refuse("keep_csv and column_types go with format='parquet'")
        DownloadPolicy(overwrite=self.overwrite, **self._policy)
        problem = at_once_problem(self.options.get("at_once"))
        if problem:
            self._refuse(problem)
        self._others()
        if destination is not None:
            self._check_places(destination)

    def store(self, hook: JobHook, event: WaitEvent, destination: str) -> list[dict[str, Any]]:
        """Store the files of all jobs; the entries of the manifest."""
        return store_all(
            hook,
            event,
            destination,
            at_once=self.options.get("at_once"),
            also=self._others(),
            store=self._stores_csv,
            overwrite=self.overwrite,
            **self._policy,
        )

    def _check_places(self, destination: Any) -> None:
        from stoq_provider.download.download import check_destination

        check_destination(destination, overwrite=self.overwrite or not self._stores_csv)
        if self.format != "parquet" or str(destination).endswith("/"):
            return
        place = _parquet_of(destination)
        if self._stores_csv and str(place) == str(destination):
            self._refuse(f"with keep_csv, {destination} can't be both the CSV and the Parquet")
        check_destination(place, overwrite=self.overwrite)

    @property
    def _stores_csv(self) -> bool:
        return self.format == "csv" or bool(self.options.get("keep_csv"))

    @property
    def _policy(self) -> dict[str, Any]:
        return {name: value for name, value in self.options.items() if name in POLICY}

    def _others(self) -> list[Any]:
        if self.format != "parquet":
            return []
        from stoq_provider.download.parquet import parquet

        return [
            parquet(
                column_types=self.options.get("column_types"),
                overwrite=self.overwrite,
                on_empty=self.options.get("on_empty", "keep"),
            )
        ]

    def _refuse(self, text: str) -> None:
        end = "" if text.endswith("?") else "."
        raise ValidationRejected(f"{text}{end} Nothing was sent, and the task is not retried.")


def _parquet_of(destination: Any) -> Any:
    if isinstance(destination, str):
        return parquet_name(destination)
    # A path object keeps its connection this way.
    return destination.with_name(parquet_name(destination.name))
