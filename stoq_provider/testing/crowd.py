"""Many jobs at once, as if another client had submitted them: for measuring how they are waited for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stoq_provider.testing.bulk import handle
from stoq_provider.testing.jobs import Family, Job
from stoq_provider.testing.world import World

_NAMES: dict[str, Family] = {"bulk_orders_set_tags": "orders", "export": "exports"}


def start_crowd(
    world: World,
    durations: Sequence[float],
    *,
    kind: str = "bulk_orders_set_tags",
    key: str | None = None,
    progress_powers: Sequence[float] | None = None,
) -> list[dict[str, Any]]:
    """
    Start a job for each duration, now, without a request: it costs no points and changes no record.

    :param durations: seconds on the job clock
    :param kind: `bulk_orders_set_tags` or `export`; an export made here has no file
    :param key: whose jobs they are; default: the sandbox's first shop
    :param progress_powers: for each job how its progress runs, as `Job.power`
    :raises ValueError: another kind or key, or a duration or power that is none
    """
    key = next(iter(world.tenants)) if key is None else key
    powers = [1.0] * len(durations) if progress_powers is None else list(progress_powers)
    if kind not in _NAMES:
        raise ValueError(f"kind must be one of: {', '.join(_NAMES)}")
    if key not in world.tenants:
        raise ValueError("no shop has this key")
    if len(powers) != len(durations) or min((*durations, *powers), default=1) <= 0:
        raise ValueError("durations and progress_powers must be positive, and as many")
    return [_start(world, kind, key, *values) for values in zip(durations, powers, strict=True)]


def _start(world: World, kind: str, key: str, duration: float, power: float) -> dict[str, Any]:
    job = Job(
        job_id=world.jobs.new_id("exp" if kind == "export" else kind),
        kind=kind,
        family=_NAMES[kind],
        path=_NAMES[kind],
        key=key,
        created_at=world.clock.now(),
        duration=duration,
        items=[],
        apply=bool,
        finish=lambda job: None,
        power=power,
    )
    world.jobs.add(job)
    return {**handle(job), "created_at": job.created_at}
