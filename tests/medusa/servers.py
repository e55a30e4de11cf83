"""The two servers that these tests run against, seen alike: a real Medusa and the sandbox."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from tests.medusa.lab import PAUSE, Medusa

PERIOD = 3.0
"""Seconds between two looks of a server at its queue; each step of a job waits for the next look."""

TICKS = 3
"""Moves of the sandbox's clock between two looks: the end of a step may come in between."""

DRIFT = 1e-6
"""Seconds more by which it is moved, so that no look is missed for a rounding error."""

TICKS_APART = 0.04
"""Real seconds between two moves."""

PATIENCE = 60.0
INTERVAL = 0.03
LOG_SHOWN = 4000


class Server(Protocol):
    """What a test may rest on, whichever server it is."""

    name: str
    step: float
    """Real seconds within which a job takes its next step, on a machine that is not busy."""

    origin: str
    api_token: str
    email: str
    password: str
    other_email: str
    """A second administrator, with the same password."""

    def hold(self) -> None:
        """Have the server leave its queue alone: no step of any job begins from now on."""

    def look(self) -> None:
        """Have a server that is held look at its queue once; return once all that was in it has begun."""

    def release(self) -> None:
        """Let the server look at its queue by itself again."""

    def kill(self) -> None:
        """End the server's process without warning; the step that it is doing is lost, the queue is not."""

    def revive(self) -> None:
        """Have the server answer again, after `kill` or a death of its own; its queue is not held."""

    def revive_with_empty_queue(self) -> None:
        """
        Have the server answer again after a job took its process along.

        A real server empties its queue after it began what is in it. One that died right at the beginning, as
        it often does of its first job after a start, finds the same step again, and dies after every restart.
        """

    def renew(self) -> None:
        """Leave nothing for whatever comes next: a server that answers, and that has nothing to do."""

    def endless_exports(self) -> AbstractContextManager[None]:
        """Within, an export that a server begins comes to no end; one that is held."""

    def log(self) -> str:
        """What a failed test should show."""


@contextmanager
def held(server: Server) -> Iterator[None]:
    """No step of any job begins within, unless the test has the server look at its queue."""
    server.hold()
    try:
        yield
    finally:
        server.release()


class RealServer:
    """A Medusa in processes of its own."""

    name = "medusa"
    step = 2 * PAUSE

    def __init__(self, medusa: Medusa) -> None:
        self._medusa = medusa
        self.origin = medusa.origin
        self.api_token = medusa.api_token
        self.email = medusa.email
        self.password = medusa.password
        self.other_email = medusa.other_email

    def hold(self) -> None:
        self._medusa.queue("hold")

    def look(self) -> None:
        self._medusa.queue("look")

    def release(self) -> None:
        self._medusa.queue("release")

    def kill(self) -> None:
        self._medusa.kill()

    def revive(self) -> None:
        self._medusa.restart()

    def revive_with_empty_queue(self) -> None:
        self._medusa.stop_server()
        self._medusa.empty_queue()
        self.revive()

    def renew(self) -> None:
        if not self._medusa.idle():
            self.revive_with_empty_queue()

    def endless_exports(self) -> AbstractContextManager[None]:
        return self._medusa.locked("product")

    def log(self) -> str:
        return self._medusa.log()


class SandboxServer:
    """The Medusa of a sandbox. Its clock stands still but for a thread that moves it, so it can be held."""

    name = "sandbox"
    step = TICKS * TICKS_APART

    def __init__(self, sandbox: Any) -> None:
        from stoq_provider.testing import MEDUSA_OTHER_EMAIL

        self.sandbox = sandbox
        self.origin = sandbox.medusa_origin
        self.api_token = sandbox.medusa_token
        self.email = sandbox.medusa_email
        self.password = sandbox.medusa_password
        self.other_email = MEDUSA_OTHER_EMAIL
        self._clock = threading.Lock()
        self._ticks = 0  # since the last look
        self._held = False
        self._closing = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self._ticker.start()
        # As a real server is configured; left out, the sandbox takes the address that it was asked at.
        sandbox.control("medusa", "backend_url", url=self.origin)
        sandbox.control("medusa", "down_seconds", seconds=None)

    def hold(self) -> None:
        with self._clock:
            # Just after a look; so the next one comes a whole period from here.
            while self._ticks:
                self._move()
            self._held = True

    def look(self) -> None:
        with self._clock:
            assert self._held
            for _ in range(TICKS):
                self._move()

    def release(self) -> None:
        with self._clock:
            self._held = False

    def kill(self, *, forget_queue: bool = False) -> None:
        with self._clock:
            # Its periods are counted from its return; a clock that is held until then leaves that now.
            self._held, self._ticks = True, 0
            self.sandbox.control("medusa", "kill", seconds=None, forget_queue=forget_queue)

    def revive(self, *, empty_queue: bool = False) -> None:
        self.kill(forget_queue=empty_queue)  # it may have died by itself, the moment unknown
        self.sandbox.disarm()
        self.release()

    def revive_with_empty_queue(self) -> None:
        self.revive(empty_queue=True)

    def renew(self) -> None:
        self.revive(empty_queue=True)

    def endless_exports(self) -> AbstractContextManager[None]:
        """It takes longer than no time, and the clock stands still."""
        return nullcontext()

    def log(self) -> str:
        return "\n".join(str(job) for job in self.sandbox.state["medusa"]["jobs"].values())[-LOG_SHOWN:]

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._ticker.join()

    def _tick(self) -> None:
        while not self._closing.wait(TICKS_APART):
            with self._clock:
                if not self._held:
                    self._move()

    def _move(self) -> None:
        self.sandbox.advance(PERIOD / TICKS + DRIFT)
        self._ticks = (self._ticks + 1) % TICKS


@contextmanager
def running(name: str) -> Iterator[Server]:
    """Start one of the two."""
    if name == "medusa":
        with Medusa() as medusa:
            yield RealServer(medusa)
        return
    from stoq_provider.testing import Sandbox

    with Sandbox(time_scale=0) as sandbox:
        server = SandboxServer(sandbox)
        try:
            yield server
        finally:
            server.close()
