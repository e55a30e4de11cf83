"""Every test here runs on every store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stores.bodies import KEY, STANDING
from tests.stores.origin import Origin
from tests.stores.running import STORES, running
from tests.stores.stores import Store


@pytest.fixture(scope="session", params=STORES)
def session_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with running(request.param) as store:
        yield store


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


@pytest.fixture(scope="session")
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin
