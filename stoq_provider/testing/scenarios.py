"""The sandbox of the fixture: what tests of DAGs do to it and ask of it, by the names of what they mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from stoq_provider.testing import Sandbox


class ScenarioSandbox(Sandbox):
    """Each scenario is made from `arm`, `jobs` and `state` of `Sandbox`, which can do more."""

    def fail_jobs(self, kind: str = "*", error: str = "The job failed.", *, times: int | None = 1) -> None:
        """
        Let the next jobs at STOQ fail.

        :param kind: `export`, `export:revenue`, `bulk_orders_release`, or a pattern such as `bulk_*`
        :param error: what STOQ says of it
        :param times: how many jobs; None means all from now on
        """
        self.jobs(kind, times=times, outcome="failed", error=error)

    def rate_limit(self, times: int | None = 3, *, retry_after: int = 0, system: str = "stoq") -> None:
        """
        Refuse the next requests with 429.

        :param times: how many requests; None means all until `disarm`
        :param retry_after: seconds that the client is told to wait; they are real ones
        :param system: `stoq`, `medusa`, `surecart` or `printstudio`
        """
        headers = {"Retry-After": str(retry_after)}
        self.arm("status", status=429, headers=headers, times=times, origin=_origin(system))

    def lose_response(
        self, method: str = "POST", path: str | None = None, *, times: int = 1, system: str = "stoq"
    ) -> None:
        """
        Carry out the next request of a method, but reset the connection instead of a response.

        :param path: regular expression, searched for in the path; None: any path
        """
        self.arm("reset_after", method=method, path=path, times=times, origin=_origin(system))

    def submitted(self, kind: str = "*", *, system: str = "stoq") -> list[dict[str, Any]]:
        """
        Return what a system has accepted, in order.

        STOQ: `kind`, `path`, `body`, `ids` of bulk actions, `job_id`. Medusa: `kind`, `dry_run`, `context`,
        `user`, `job_id`. SureCart: `kind`, `ids`, `job_id`. PrintStudio: `kind`, `items`, `count`.

        :param kind: as `fail_jobs` takes it
        """
        state = self.state
        entries = state["submissions"] if system == "stoq" else state[system]["submissions"]
        return [entry for entry in entries if any(fnmatchcase(name, kind) for name in _names(entry))]


def _origin(system: str) -> str:
    return "api" if system == "stoq" else system


def _names(entry: Mapping[str, Any]) -> list[str]:
    report = re.search(r"/reports/(\w+)/export$", entry.get("path", ""))
    return [entry["kind"], *([f"export:{report[1]}"] if report else [])]
