from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from stoq_provider.sandbox import Sandbox
from stoq_provider.sandbox.world import BASE_PATH


class Client:
    """A client of one sandbox: paths are relative to the base path of the API."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.session = requests.Session()
        self.session.trust_env = False
        self.headers = {"X-Auth-Token": sandbox.key}

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("headers", self.headers)
        options.setdefault("timeout", 10)
        return self.session.request(method, f"{self.sandbox.origin}{BASE_PATH}{path}", **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.call("GET", path, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self.call("POST", path, **options)

    def control(self, method: str, path: str, **options: Any) -> requests.Response:
        url = f"{self.sandbox.origin}/_sandbox/{path}"
        return self.session.request(method, url, timeout=10, **options)

    def poll(self, submitted: requests.Response) -> requests.Response:
        url = self.sandbox.origin + submitted.json()["status_url"]
        return self.session.get(url, headers=self.headers, timeout=10)

    def export(self, report: str = "customers", **body: Any) -> dict[str, Any]:
        """Submit an export that is ready at once, and return its status."""
        self.sandbox.jobs("export", duration=0)
        ready: dict[str, Any] = self.poll(self.post(f"/preorders/reports/{report}/export", json=body)).json()
        return ready

    def file(self, url: str, method: str = "GET", **headers: str) -> requests.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.request(method, url, headers={"Accept-Encoding": "identity"} | names, timeout=10)

    def orders(self, state: str, count: int | None = None) -> list[int]:
        """Ids of orders in a state, read without spending points."""
        shop = next(iter(self.sandbox._world.tenants.values())).shop
        found = [order.shopify_order_id for order in shop.orders.values() if order.state == state]
        assert len(found) >= (count or 1)
        return found[:count]


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[Sandbox]:
    with Sandbox(seed=7) as running:
        yield running


@pytest.fixture
def sandbox(shared_sandbox: Sandbox) -> Sandbox:
    """A sandbox in real time in its seeded state; tests move its clock themselves."""
    shared_sandbox.reset()
    return shared_sandbox


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    made = Client(sandbox)
    yield made
    made.session.close()


def wait_until(condition: Any, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)
