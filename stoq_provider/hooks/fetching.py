"""How the files of jobs are wanted: checked before anything is sent, used when the jobs are done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stoq_provider.core.hints import near_misses
from stoq_provider.exceptions import ValidationRejected
from stoq_provider.hooks.storing import store_all

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
"""Options that are fields of ``storage.policy.DownloadPolicy``, where they are described."""

OWN = ("at_once", "keep_csv", "column_types")


@dataclass(frozen=True, slots=True)
class Fetching:
    """
    What a task wants of the files.

    :param format: ``"csv"`` as the server made it, or ``"parquet"`` (extra ``parquet``).
    :param overwrite: ``True``, ``False``, or ``"if_different"``.
    :param options: any of :data:`POLICY`; ``at_once``: downloads at the same time; with Parquet also
        ``keep_csv`` and ``column_types``.
    """

    format: str = "csv"
    overwrite: Any = True
    options: Any = field(default_factory=dict)

    def check(self, destination: Any = None) -> None:
        """
        Check everything that can be checked before a job is started.

        :raises ValidationRejected: naming what is wrong.
        """
        from stoq_provider.storage.download import DownloadPolicy, check_destination

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
        self._others()
        if destination is not None:
            check_destination(destination, overwrite=self.overwrite)

    def store(self, hook: JobHook, event: WaitEvent, destination: str) -> list[dict[str, Any]]:
        """Store the files of all jobs; the entries of the manifest."""
        return store_all(
            hook,
            event,
            destination,
            at_once=self.options.get("at_once"),
            also=self._others(),
            store=self.format == "csv" or bool(self.options.get("keep_csv")),
            overwrite=self.overwrite,
            **self._policy,
        )

    @property
    def _policy(self) -> dict[str, Any]:
        return {name: value for name, value in self.options.items() if name in POLICY}

    def _others(self) -> list[Any]:
        if self.format != "parquet":
            return []
        from stoq_provider.storage.parquet import parquet

        return [parquet(column_types=self.options.get("column_types"), overwrite=self.overwrite is not False)]

    def _refuse(self, text: str) -> None:
        end = "" if text.endswith("?") else "."
        raise ValidationRejected(f"{text}{end} Nothing was sent, and the task is not retried.")
