"""The first of three books: what DAG runs of a storm ask for. No two ask for the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from typing import Any

from stoq_provider.testing import Sandbox
from stoq_provider.testing.shop import FIRST_DAY

EXPORTS = {
    "storm_exports": 3,
    "storm_exports_on_worker": 3,
    "storm_large_export": 1,
    "storm_sensor_rescheduled": 1,
    "storm_sensor_from_trigger": 1,
}
"""DAG to the number of its exports."""

TAGS = ("storm_tags", "storm_tags_on_worker")
LINKS = ("storm_links", "storm_links_on_worker")
DAGS = (*EXPORTS, *TAGS, *LINKS)
CAP = 1000
"""Orders in one action (documented)."""

ORDERS = 4
"""Unpaid orders of the shop in each action; the others are none of it, which an action passes over."""

MORE = 2 * CAP + 100
INTERVAL = 5.0
"""Seconds between the begins of two runs, at most; each DAG runs in the shortest storm."""


@dataclass(frozen=True)
class Asked:
    """A DAG run: ``days`` of each export, or the ``orders`` of an action, some of them the shop's."""

    name: str
    dag_id: str
    days: list[dict[str, str]] = field(default_factory=list)
    orders: list[int] = field(default_factory=list)
    first: int = 0

    @property
    def run_id(self) -> str:
        """The name of the run."""
        return self.name

    @property
    def conf(self) -> dict[str, Any]:
        """What the DAG is begun with."""
        more = MORE if self.orders else 0
        return {
            "name": self.name,
            "days": self.days,
            "orders": self.orders,
            "first": self.first,
            "more": more,
        }

    @property
    def chunks(self) -> list[tuple[int, ...]]:
        """The ids of each action that must reach the shop."""
        ids = [*self.orders, *range(self.first, self.first + MORE)] if self.orders else []
        return [tuple(ids[start : start + CAP]) for start in range(0, len(ids), CAP)]


class Asking:
    """
    What is begun when: each DAG in turn, from a place that depends on the seed.

    :param seconds: no run begins later.
    """

    def __init__(self, sandbox: Sandbox, seed: int, seconds: float) -> None:
        orders = sandbox._world.tenants[sandbox.key].shop.orders
        self._last = max(orders)
        self._unpaid = iter([key for key, order in orders.items() if order.state == "awaiting_balance"])
        dags = Random(seed).sample(DAGS, len(DAGS))
        interval = min(INTERVAL, seconds / len(DAGS))
        self._due = [
            (number * interval, self._asked(seed, number, dags[number % len(dags)]))
            for number in range(round(seconds / interval))
        ]

    @property
    def left(self) -> bool:
        """Whether some are not begun."""
        return bool(self._due)

    def due(self, now: float) -> Asked | None:
        """Return the next run that is due."""
        return self._due[0][1] if self._due and self._due[0][0] <= now else None

    def begun(self) -> None:
        """Note that it was begun."""
        del self._due[0]

    def _asked(self, seed: int, number: int, dag_id: str) -> Asked:
        name = f"{dag_id}_{seed}_{number}"
        if dag_id in EXPORTS:
            begin = FIRST_DAY.date()
            # The number of the run is the first day, the number of the export in it how many there are.
            days = [_days(begin, number, length) for length in range(EXPORTS[dag_id])]
            return Asked(name, dag_id, days)
        orders = [order for _, order in zip(range(ORDERS), self._unpaid, strict=False)]
        assert len(orders) == ORDERS, "the shop has too few unpaid orders for so long a storm"
        return Asked(name, dag_id, orders=orders, first=self._last + 1 + number * CAP * CAP)


def _days(begin: date, first: int, length: int) -> dict[str, str]:
    start = begin + timedelta(days=first)
    return {"from": start.isoformat(), "to": (start + timedelta(days=length)).isoformat()}
