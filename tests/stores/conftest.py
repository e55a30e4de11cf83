"""Every test here runs on every store, unless it says on which."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from stoq_provider.download import resume
from tests.stores.bodies import KEY, STANDING
from tests.stores.origin import Origin
from tests.stores.running import STORES, running
from tests.stores.stores import Store
from tests.unit.transport.silence import silence

__all__ = ["silence"]


@pytest.fixture(scope="session")
def kept() -> Iterator[tuple[ExitStack, dict[str, Store]]]:
    """
    Servers live as long as the run, each once a process.

    Workers of xdist come back to a store after another; file systems are cached by Airflow, and a server that
    was started anew would be on another port.
    """
    with ExitStack() as stack:
        yield stack, {}


@pytest.fixture(scope="session", params=STORES)
def session_store(request: pytest.FixtureRequest, kept: tuple[ExitStack, dict[str, Store]]) -> Store:
    stack, stores = kept
    if request.param not in stores:
        stores[request.param] = stack.enter_context(running(request.param))
    return stores[request.param]


@pytest.fixture
def store(session_store: Store) -> Iterator[Store]:
    yield session_store
    session_store.clear()


@pytest.fixture(params=[None, STANDING], ids=["new", "over-an-old-one"])
def standing(request: pytest.FixtureRequest, store: Store) -> bytes | None:
    """What lies under the key before the download."""
    if request.param is not None:
        store.put(KEY, request.param)
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resume at once: how long to wait for that is tested without a store."""
    monkeypatch.setattr(resume, "_BACKOFF_SECONDS", 0.01)


@pytest.fixture(scope="session")
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin
