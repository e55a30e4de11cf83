"""What ours is compared with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
from airflow.triggers.base import BaseTrigger, TriggerEvent

from stoq_provider.core.forms import from_iso
from stoq_provider.hooks.stoq import StoqHook
from stoq_provider.transport import client_pool
from tests.benchmarks.points.probe import Probe

FIXED_INTERVAL = 15.0


def share_nothing() -> None:
    """Give each trigger of this process a registry, and so a client, limiter and scheduler, of its own."""

    class NoRegistry:
        def setdefault(self, loop: Any, new: client_pool._Loop) -> client_pool._Loop:
            return new

    client_pool._LOOPS = NoRegistry()  # type: ignore[assignment]


class FixedIntervalTrigger(BaseTrigger):
    """
    Polls its one job at an interval of its own, and sleeps on after whatever is no good answer.

    So do the triggers of the job providers of Apache Airflow. It is given what they often lack: a client
    that all triggers share, with connections that stay open.

    :param documented: whether the interval is what the vendor documents for the age of the job.
    """

    client: httpx.AsyncClient

    def __init__(self, conn_id: str, job: dict[str, Any], documented: bool) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.job = job
        self.documented = documented

    def serialize(self) -> tuple[str, dict[str, Any]]:
        path = f"{__name__}.{type(self).__qualname__}"
        return path, {"conn_id": self.conn_id, "job": self.job, "documented": self.documented}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        settings = await StoqHook(self.conn_id).asettings()
        url, key = settings.origin + self.job["status_url"], settings.key
        while True:
            status = await self._poll(url, key)
            if status in ("completed", "ready", "failed", "cancelled"):
                break
            await asyncio.sleep(self._interval())
        yield TriggerEvent({"status": status})

    async def _poll(self, url: str, key: str) -> str:
        try:
            response = await self.client.get(url, headers={"X-Auth-Token": key})
            response.raise_for_status()
            return str(response.json()["status"])
        except httpx.HTTPError as error:
            self.log.warning("Polling failed: %s", error)
            return "unknown"

    def _interval(self) -> float:
        if not self.documented:
            return FIXED_INTERVAL
        age = time.time() - from_iso(self.job["submitted_at"])
        return StoqHook.system.cadence(self.job["kind"]).interval(age)


def give_client(probe: Probe) -> None:
    """Make the client of the fixed-interval triggers; no TLS, the sandbox speaks plain HTTP."""
    FixedIntervalTrigger.client = probe.attach(
        httpx.AsyncClient(verify=False, timeout=30, limits=httpx.Limits(max_keepalive_connections=100))
    )


class EmptyTrigger(BaseTrigger):
    """Does nothing: what any trigger costs."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.{type(self).__qualname__}", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.sleep(3600)
        yield TriggerEvent({})
