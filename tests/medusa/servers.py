"""The two servers that these tests run against, seen alike: a real Medusa and the sandbox."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import requests

from tests.medusa.lab import Medusa

STEP = 3.0
"""Seconds between two looks of a server at its queue; each step of a job waits for the next look."""

TIME_SCALE = 20.0
"""How much faster the sandbox lives; a request is still much shorter than a step."""

BACK_AFTER = 0.2
"""Seconds for which the sandbox refuses connections when it is killed."""

PATIENCE = 60.0
INTERVAL = 0.03
LOG_SHOWN = 4000


class Server(Protocol):
    """What a test may rest on, whichever server it is."""

    name: str
    step: float
    """Real seconds within which a job takes its next step."""

    origin: str
    api_token: str
    email: str
    password: str
    other_email: str
    """A second administrator, with the same password."""

    def kill(self) -> None:
        """End the server's process without warning; the step that it is doing is lost, the queue is not."""

    def revive(self) -> None:
        """Have the server answer again, after `kill` or a death of its own."""

    def revive_without(self, job_id: str) -> None:
        """
        Have the server answer again after this job took its process along.

        A real server empties its queue after it began what is in it. One that died right at the beginning, as
        it often does of its first job after a start, finds the same step again, and dies after every restart.
        """

    def drag(self) -> None:
        """Have the next export in pages of one product take its time."""

    def log(self) -> str:
        """What a failed test should show."""


class RealServer:
    """A Medusa in processes of its own."""

    name = "medusa"
    step = STEP

    def __init__(self, medusa: Medusa) -> None:
        self._medusa = medusa
        self.origin = medusa.origin
        self.api_token = medusa.api_token
        self.email = medusa.email
        self.password = medusa.password
        self.other_email = medusa.other_email

    def kill(self) -> None:
        self._medusa.kill()

    def revive(self) -> None:
        self._medusa.restart()

    def revive_without(self, job_id: str) -> None:
        self._medusa.forget(job_id)
        self.revive()

    def drag(self) -> None:
        """It does: 36 pages take most of a second."""

    def log(self) -> str:
        return self._medusa.log()


class SandboxServer:
    """The Medusa of a sandbox."""

    name = "sandbox"
    step = STEP / TIME_SCALE

    def __init__(self, sandbox: Any) -> None:
        from stoq_provider.sandbox import MEDUSA_OTHER_EMAIL

        self.sandbox = sandbox
        self.origin = sandbox.medusa_origin
        self.api_token = sandbox.medusa_token
        self.email = sandbox.medusa_email
        self.password = sandbox.medusa_password
        self.other_email = MEDUSA_OTHER_EMAIL
        # As a real server is configured; left out, the sandbox takes the address that it was asked at.
        sandbox.control("medusa", "backend_url", url=self.origin)

    def kill(self) -> None:
        self.sandbox.control("medusa", "kill", seconds=BACK_AFTER)

    def revive(self) -> None:
        """It comes back by itself."""
        deadline = time.monotonic() + PATIENCE
        while not self._healthy():
            assert time.monotonic() < deadline, "the sandbox's Medusa does not come back"
            time.sleep(INTERVAL)

    def revive_without(self, job_id: str) -> None:
        """Its queue is emptied before."""
        self.revive()

    def drag(self) -> None:
        self.sandbox.control("medusa", "next_job", kind="product-export", processing_seconds=2 * STEP)

    def log(self) -> str:
        return "\n".join(str(job) for job in self.sandbox.state["medusa"]["jobs"].values())[-LOG_SHOWN:]

    def _healthy(self) -> bool:
        try:
            return requests.get(f"{self.origin}/health", timeout=5).ok
        except requests.RequestException:
            return False


@contextmanager
def running(name: str) -> Iterator[Server]:
    """Start one of the two."""
    if name == "medusa":
        with Medusa() as medusa:
            yield RealServer(medusa)
        return
    from stoq_provider.sandbox import Sandbox

    with Sandbox(time_scale=TIME_SCALE) as sandbox:
        yield SandboxServer(sandbox)
