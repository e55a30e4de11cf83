"""The control endpoint below `/_sandbox/`: no key, no points, never a fault."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stoq_provider.testing.crowd import start_crowd
from stoq_provider.testing.faults import make_fault
from stoq_provider.testing.jobs import OUTCOMES, Job
from stoq_provider.testing.protocol import CONTROL_PATH
from stoq_provider.testing.site import control
from stoq_provider.testing.world import SITE_KINDS, World


class Doors(Protocol):
    """What can close a listening socket for a while."""

    def refuse(self, origin: str, seconds: float | None) -> None:
        """Refuse connections to one origin; `None`: until it is reopened."""

    async def reopen(self) -> None:
        """Accept connections again everywhere."""


class Control:
    """Everything that bends a sandbox; the endpoint and the Python methods both come here."""

    def __init__(self, world: World, doors: Doors) -> None:
        self._world = world
        self._doors = doors

    def arm(self, kind: str, **options: Any) -> dict[str, Any]:
        """Arm a fault; `refuse` happens at once."""
        fault = make_fault(kind, **options)
        self._world.faults.arm(fault)
        if fault.kind == "refuse":
            fault.times, fault.fired = 0, 1
            self._doors.refuse(fault.origin, fault.seconds)
        return fault.view()

    async def disarm(self) -> None:
        """Forget all faults, and accept connections again."""
        self._world.faults.clear()
        await self._doors.reopen()

    def jobs(self, kind: str = "*", times: int | None = 1, **settings: Any) -> None:
        """Bend the next jobs of a kind."""
        self._world.jobs.prepare(kind, times, settings)

    def start(self, durations: list[float], **options: Any) -> list[dict[str, Any]]:
        """Start many jobs at once; see `crowd`."""
        return start_crowd(self._world, durations, **options)

    def advance(self, seconds: float) -> None:
        """Move the job clock."""
        self._world.clock.advance(seconds)
        self._world.settle()

    async def reset(self) -> None:
        """Back to the start."""
        self._world.reset()
        await self._doors.reopen()

    def state(self) -> dict[str, Any]:
        """Counters and true results."""
        return self._world.state()

    def site(self, name: str, action: str, **options: Any) -> Any:
        """Run a control of a system next to STOQ."""
        if name not in SITE_KINDS:
            raise ValueError(f"system must be one of: {', '.join(SITE_KINDS)}")
        return control(self._world.site(name), action, options)

    def job(self, job_id: str, **change: Any) -> dict[str, Any]:
        """Force the end of a job, forget it, or change its status word or error."""
        job = self._world.jobs.jobs.get(job_id)
        if job is None:
            raise KeyError(job_id)
        self._world.jobs.settle()
        unknown = set(change) - {"end", "error", "status_word", "forget"}
        if unknown:
            raise ValueError(f"unknown changes: {', '.join(sorted(unknown))}")
        job.settings |= {name: change[name] for name in ("error", "status_word") if name in change}
        job.forgotten = bool(change.get("forget", job.forgotten))
        self._end(job, change.get("end"))
        return job.view()

    def _end(self, job: Job, end: str | None) -> None:
        if end is None:
            return
        if end not in OUTCOMES or end == "forever":
            raise ValueError("end must be one of: completed, ready, failed, cancelled")
        if job.ended_at is not None:
            raise ValueError(f"job {job.job_id} has ended already")
        job.end(OUTCOMES[end], self._world.clock.now())

    def routes(self) -> list[Route]:
        """Routes of the endpoint."""
        return [
            Route(f"{CONTROL_PATH}state", self._get_state, methods=["GET"]),
            Route(f"{CONTROL_PATH}faults", _post(self._post_fault), methods=["POST"]),
            Route(f"{CONTROL_PATH}faults", _post(lambda request, body: self.disarm()), methods=["DELETE"]),
            Route(f"{CONTROL_PATH}reset", _post(lambda request, body: self.reset()), methods=["POST"]),
            Route(f"{CONTROL_PATH}clock", _post(self._post_clock), methods=["POST"]),
            Route(f"{CONTROL_PATH}jobs", _post(lambda request, body: self.jobs(**body)), methods=["POST"]),
            Route(f"{CONTROL_PATH}start", _post(lambda request, body: self.start(**body)), methods=["POST"]),
            Route(f"{CONTROL_PATH}systems/{{name}}", _post(self._post_site), methods=["POST"]),
            Route(f"{CONTROL_PATH}jobs/{{job_id}}", _post(self._post_job), methods=["POST"]),
        ]

    async def _get_state(self, request: Request) -> Response:
        return _json(self.state())

    def _post_fault(self, request: Request, body: dict[str, Any]) -> Any:
        match = body.pop("match", {})
        return self.arm(body.pop("fault", ""), **match, **body)

    def _post_clock(self, request: Request, body: dict[str, Any]) -> Any:
        seconds = body.get("advance")
        if not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
            raise ValueError("advance must be a number of seconds")
        self.advance(seconds)
        return {"now": self._world.clock.now()}

    def _post_site(self, request: Request, body: dict[str, Any]) -> Any:
        return self.site(request.path_params["name"], body.pop("control", ""), **body)

    def _post_job(self, request: Request, body: dict[str, Any]) -> Any:
        return self.job(request.path_params["job_id"], **body)


def _json(payload: Any, status: int = 200) -> Response:
    # Without keep-alive, a socket that is closed next is not still in a client's pool.
    return Response(json.dumps(payload), status, {"Connection": "close"}, "application/json")


def _post(change: Callable[[Request, dict[str, Any]], Any]) -> Callable[[Request], Awaitable[Response]]:
    """Wrap a change: JSON in, JSON out, and 422 for what can't be done."""

    async def endpoint(request: Request) -> Response:
        try:
            body = json.loads(await request.body() or b"{}")
            if not isinstance(body, dict):
                raise ValueError("body must be an object")
            done = change(request, body)
            return _json((await done if isawaitable(done) else done) or {"ok": True})
        except KeyError as error:
            return _json({"errors": [f"no such job: {error.args[0]}"]}, 404)
        except (ValueError, TypeError) as error:
            return _json({"errors": [str(error)]}, 422)

    return endpoint
