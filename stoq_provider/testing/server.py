"""The sandbox as a Python object: a server in a thread of its own, and the controls over it."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from starlette.types import ASGIApp

from stoq_provider.testing import (
    MEDUSA_EMAIL,
    MEDUSA_OTHER_EMAIL,
    MEDUSA_PASSWORD,
    MEDUSA_TOKEN,
    PRINTSTUDIO_KEYS,
    SANDBOX_KEY,
    SURECART_KEY,
    api,
    files,
)
from stoq_provider.testing.control import Control
from stoq_provider.testing.layer import FaultLayer
from stoq_provider.testing.listener import Listener
from stoq_provider.testing.medusa import api as medusa
from stoq_provider.testing.printstudio import api as printstudio
from stoq_provider.testing.shop import ShopSize
from stoq_provider.testing.surecart import api as surecart
from stoq_provider.testing.world import Options, World

T = TypeVar("T")
START_TIMEOUT = 30.0


class Sandbox:
    """
    A running sandbox on loopback: STOQ's API and file origins, and an origin for each other system.

    :param time_scale: how much faster than real time jobs live and records and links expire; 0: they do so
        only by `advance`
    :param seed: makes the shop; the same seed gives the same records
    :param points_limit: points per window and key
    :param window_seconds: length of a window, in real seconds whatever the time scale
    :param host: address to listen on
    :param port: port of the API origin; 0 takes a free one
    :param files_port: port of the file origin; 0 takes a free one
    :param medusa_port: port of the Medusa origin; 0 takes a free one
    :param surecart_port: port of the SureCart origin; 0 takes a free one
    :param printstudio_port: port of the PrintStudio origin; 0 takes a free one
    :param extra_keys: keys of further shops, each with its own records and points
    :param size: how many records a shop has
    """

    def __init__(
        self,
        *,
        time_scale: float = 1.0,
        seed: int = 7,
        points_limit: int = 360,
        window_seconds: float = 60.0,
        host: str = "127.0.0.1",
        port: int = 0,
        files_port: int = 0,
        medusa_port: int = 0,
        surecart_port: int = 0,
        printstudio_port: int = 0,
        extra_keys: tuple[str, ...] = (),
        size: ShopSize | None = None,
    ) -> None:
        options = Options(time_scale, seed, points_limit, window_seconds, size or ShopSize(), extra_keys)
        self.key = SANDBOX_KEY
        self.medusa_token = MEDUSA_TOKEN
        self.medusa_email, self.medusa_password = MEDUSA_EMAIL, MEDUSA_PASSWORD
        self.medusa_other_email = MEDUSA_OTHER_EMAIL
        self.surecart_key = SURECART_KEY
        self.printstudio_keys = dict(PRINTSTUDIO_KEYS)
        self.printstudio_key = PRINTSTUDIO_KEYS["admin"]
        self._host = host
        self._world = World(options, self.refuse)
        self._control = Control(self._world, self)
        apps: dict[str, tuple[ASGIApp, int]] = {
            "api": (api.build_app(self._world, self._control.routes()), port),
            "files": (files.build_app(self._world), files_port),
            "medusa": (medusa.build_app(lambda: self._site("medusa")), medusa_port),
            "surecart": (surecart.build_app(lambda: self._site("surecart")), surecart_port),
            "printstudio": (printstudio.build_app(lambda: self._site("printstudio")), printstudio_port),
        }
        self._listeners = {
            name: Listener(FaultLayer(app, self._world, name), host, its_port)
            for name, (app, its_port) in apps.items()
        }
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Sandbox:
        """Start and return the running sandbox."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def origin(self) -> str:
        """Origin of the API, without a path."""
        return self._origin_of("api")

    @property
    def files_origin(self) -> str:
        """Origin of the downloads."""
        return self._origin_of("files")

    @property
    def medusa_origin(self) -> str:
        """Origin of Medusa's Admin API and of its files."""
        return self._origin_of("medusa")

    @property
    def surecart_origin(self) -> str:
        """Origin of SureCart's API, without `/v1`."""
        return self._origin_of("surecart")

    @property
    def printstudio_origin(self) -> str:
        """Origin of PrintStudio's API, without `/api`."""
        return self._origin_of("printstudio")

    def start(self) -> None:
        """Listen on all ports and return once the server answers."""
        if self._thread is not None:
            raise RuntimeError("the sandbox is running already")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="stoq-sandbox", daemon=True)
        self._thread.start()
        try:
            for listener in self._listeners.values():
                asyncio.run_coroutine_threadsafe(listener.open(), self._loop).result(START_TIMEOUT)
            self._world.set_files_port(self._listeners["files"].port)
            self._ask_once()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Close all ports and end the thread; stopping twice is no error."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        for listener in self._listeners.values():
            asyncio.run_coroutine_threadsafe(listener.close(), loop).result(START_TIMEOUT)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_TIMEOUT)
        loop.close()
        self._loop = self._thread = None

    def arm(self, fault: str, **options: Any) -> None:
        """
        Arm a fault for requests that match.

        :param fault: one of `stoq_provider.testing.faults.KINDS`
        :param options: `method`, `path` (regex), `origin` (`api`, `files`, or a system's name),
            `times` (None: always), `skip` (let so many matching requests pass first), and the options of
            the kind, such as `seconds` of `delay`, `stall` and `refuse` (None: until disarmed)
        """
        self._call(lambda: self._control.arm(fault, **options))

    def disarm(self) -> None:
        """Forget all faults; requests that are held are dropped, refused connections accepted again."""
        self._run_in_loop(self._control.disarm())

    @property
    def held(self) -> int:
        """How many requests were left without a response since the last reset: faults with `seconds=None`."""
        return self._world.faults.held

    @property
    def stalled(self) -> int:
        """How many responses stopped in the middle since the last reset: `stall` with `seconds=None`."""
        return self._world.faults.stalled

    def jobs(self, kind: str = "*", *, times: int | None = 1, **settings: Any) -> None:
        """
        Bend the next jobs of a kind.

        :param kind: `export`, `export:revenue`, `bulk_orders_release`, or a pattern such as `*`
        :param times: how many jobs; None means all from now on
        :param settings: `duration`, `outcome`, `error`, `item_errors`, `rows`, `row_count_lie`,
            `status_word`, `url_expires`, `file_name`
        """
        self._call(lambda: self._control.jobs(kind, times, **settings))

    def start_jobs(self, durations: list[float], **options: Any) -> list[dict[str, Any]]:
        """Start a job for each duration at once, without points; options as in `crowd.start_crowd`."""
        return self._call(lambda: self._control.start(durations, **options))

    def end_job(self, job_id: str, outcome: str = "completed", *, error: str | None = None) -> None:
        """Force the end of a running job."""
        change = {"end": outcome} if error is None else {"end": outcome, "error": error}
        self._call(lambda: self._control.job(job_id, **change))

    def forget_job(self, job_id: str) -> None:
        """Make the API answer 404 for a job."""
        self._call(lambda: self._control.job(job_id, forget=True))

    def control(self, system: str, action: str, **options: Any) -> Any:
        """
        Bend a system next to STOQ.

        :param system: `medusa`, `surecart` or `printstudio`
        :param action: one of the names that the `controls()` of that system lists, such as Medusa's `kill`
        :param options: what that control takes
        :raises ValueError: no such system or control, or options it does not take
        """
        return self._call(lambda: self._control.site(system, action, **options))

    def advance(self, seconds: float) -> None:
        """Move the job clock forward."""
        self._call(lambda: self._control.advance(seconds))

    def reset(self) -> None:
        """Back to the seeded state; connections that are refused are accepted again."""
        self._run_in_loop(self._control.reset())

    @property
    def state(self) -> dict[str, Any]:
        """Counters and true lives of jobs, as `GET /_sandbox/state` shows them."""
        return self._call(self._control.state)

    @property
    def submissions(self) -> list[dict[str, Any]]:
        """What was submitted, in order: kind, path, body, ids and job id."""
        return self._call(lambda: list(self._world.counters.submissions))

    def refuse(self, origin: str, seconds: float | None) -> None:
        """Refuse connections to one origin; called in the event loop, use `arm("refuse")` elsewhere."""
        self._listeners[origin].refuse(seconds)

    async def reopen(self) -> None:
        """Accept connections again everywhere; called in the event loop, use `disarm` elsewhere."""
        for listener in self._listeners.values():
            await listener.reopen()

    def _origin_of(self, side: str) -> str:
        if self._thread is None:
            raise RuntimeError("the sandbox is not running")
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self._listeners[side].port}"

    def _site(self, name: str) -> Any:
        return self._world.site(name)

    def _run(self) -> None:
        assert self._loop is not None
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, function: Callable[[], T]) -> T:
        """Run in the server's loop, which alone touches the state."""

        async def run() -> T:
            return function()

        return self._run_in_loop(run())

    def _run_in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise RuntimeError("the sandbox is not running")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_TIMEOUT)

    def _ask_once(self) -> None:
        address = self.origin.removeprefix("http://")
        connection = http.client.HTTPConnection(address, timeout=START_TIMEOUT)
        try:
            connection.request("GET", "/_sandbox/state")
            if connection.getresponse().status != 200:
                raise RuntimeError("the sandbox does not answer")
        finally:
            connection.close()
