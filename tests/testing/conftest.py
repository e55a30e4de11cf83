from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from stoq_provider.testing import Sandbox, points
from stoq_provider.testing.world import BASE_PATH

PATIENCE = 60.0
"""Real seconds after which something hangs that would otherwise have happened."""


class Client:
    """A client of one sandbox: paths are relative to the base path of the API."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.session = requests.Session()
        self.session.trust_env = False
        self.headers = {"X-Auth-Token": sandbox.key}

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("headers", self.headers)
        options.setdefault("timeout", PATIENCE)
        return self.session.request(method, f"{self.sandbox.origin}{BASE_PATH}{path}", **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.call("GET", path, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self.call("POST", path, **options)

    def control(self, method: str, path: str, **options: Any) -> requests.Response:
        url = f"{self.sandbox.origin}/_sandbox/{path}"
        return self.session.request(method, url, timeout=PATIENCE, **options)

    def poll(self, submitted: requests.Response) -> requests.Response:
        url = self.sandbox.origin + submitted.json()["status_url"]
        return self.session.get(url, headers=self.headers, timeout=PATIENCE)

    def export(self, report: str = "customers", **body: Any) -> dict[str, Any]:
        """Submit an export that is ready at once, and return its status."""
        self.sandbox.jobs("export", duration=0)
        ready: dict[str, Any] = self.poll(self.post(f"/preorders/reports/{report}/export", json=body)).json()
        return ready

    def file(self, url: str, method: str = "GET", **headers: str) -> requests.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.request(
            method, url, headers={"Accept-Encoding": "identity"} | names, timeout=PATIENCE
        )

    def orders(self, state: str, count: int | None = None) -> list[int]:
        """Ids of orders in a state, read without spending points."""
        shop = next(iter(self.sandbox._world.tenants.values())).shop
        found = [order.shopify_order_id for order in shop.orders.values() if order.state == state]
        assert len(found) >= (count or 1)
        return found[:count]


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[Sandbox]:
    with Sandbox(seed=7, time_scale=0) as running:
        yield running


@pytest.fixture
def sandbox(shared_sandbox: Sandbox) -> Sandbox:
    """A sandbox in its seeded state whose clock stands still; tests move it."""
    shared_sandbox.reset()
    return shared_sandbox


class Wall:
    """The clock of the windows of points."""

    def __init__(self) -> None:
        self.now = time.time()

    def forward(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """No window of points ends while a slow machine works on a test."""
    made = Wall()
    monkeypatch.setattr(points, "time", SimpleNamespace(time=lambda: made.now))
    return made


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    made = Client(sandbox)
    yield made
    made.session.close()


def wait_until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def address(url: str) -> tuple[str, int]:
    """Where to connect to."""
    parts = urlsplit(url)
    assert parts.hostname
    return parts.hostname, parts.port or 80


def connects(url: str) -> bool:
    """Whether a connection is accepted."""
    with socket.socket() as probe:
        return probe.connect_ex(address(url)) == 0


class Site:
    """A client of one of the other systems: keyed by default, paths from the origin on."""

    def __init__(self, sandbox: Sandbox, name: str) -> None:
        self.sandbox = sandbox
        self.name = name
        self.origin: str = getattr(sandbox, f"{name}_origin")
        self.headers = {
            "medusa": {"x-medusa-access-token": sandbox.medusa_token},
            "surecart": {"Authorization": f"Bearer {sandbox.surecart_key}"},
            "printstudio": {"X-API-Key": sandbox.printstudio_key},
        }[name]

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("headers", self.headers)
        options.setdefault("timeout", PATIENCE)
        return requests.request(method, self.origin + path, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        return self.call("POST", path, json=body, **options)

    def do(self, action: str, **options: Any) -> Any:
        return self.sandbox.control(self.name, action, **options)

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.sandbox.state[self.name]
        return found


class MedusaClient(Site):
    """A client of the sandbox's Medusa."""

    def create(
        self, kind: str = "product-export", *, dry_run: bool = False, **context: Any
    ) -> dict[str, Any]:
        made = self.post("/admin/batch-jobs", {"type": kind, "dry_run": dry_run, "context": context})
        assert made.status_code == 201, made.text
        job: dict[str, Any] = made.json()["batch_job"]
        return job

    def job(self, job: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/admin/batch-jobs/{job['id']}").json()["batch_job"]
        return found

    def upload(self, content: str | bytes, name: str = "file.csv") -> str:
        answer = self.call("POST", "/admin/uploads/protected", files={"files": (name, content, "text/csv")})
        return str(answer.json()["uploads"][0]["key"])

    def download(self, job: dict[str, Any], **headers: str) -> requests.Response:
        body = {"file_key": job["result"]["file_key"]}
        url = self.post("/admin/uploads/download-url", body).json()["download_url"]
        return requests.get(url, headers=headers, timeout=PATIENCE)

    def finished(self, kind: str = "product-export", **context: Any) -> dict[str, Any]:
        """A job that has run its course."""
        made = self.create(kind, **context)
        self.sandbox.advance(10)
        return self.job(made)


@pytest.fixture
def medusa(sandbox: Sandbox) -> MedusaClient:
    return MedusaClient(sandbox, "medusa")


@pytest.fixture
def surecart(sandbox: Sandbox) -> Site:
    return Site(sandbox, "surecart")


@pytest.fixture
def printstudio(sandbox: Sandbox) -> Site:
    return Site(sandbox, "printstudio")
