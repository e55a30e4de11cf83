"""
Processes that end in the middle of a download.

Whatever ends them, nothing is visible, and they end. Those that have a chance to clean up leave no upload
open either; after a SIGKILL, and a SIGTERM that nobody handles, that is up to the rules of the bucket.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Literal

import pytest

from tests.stores.bodies import KEY, MIB, STANDING, fetch, large
from tests.stores.children import EXIT_SECONDS, Job, Nursery, OnTerm
from tests.stores.origin import Break, Origin
from tests.stores.running import STORES
from tests.stores.stores import LATE, Store

WAYS: dict[str, tuple[signal.Signals, OnTerm]] = {
    "sigterm-raises": (signal.SIGTERM, "raise"),
    "sigterm-stops": (signal.SIGTERM, "stop"),
    "sigterm-returns": (signal.SIGTERM, "return"),
    "sigterm-unhandled": (signal.SIGTERM, "die"),
    "sigkill": (signal.SIGKILL, "die"),
}
# Early, no upload has begun, so that all stores are alike. And to a process, a SIGTERM that nobody handles is
# as good as a SIGKILL.
CASES = [
    *(pytest.param("file", *way, MIB, None, id=f"file-{name}-early") for name, way in WAYS.items()),
    *(
        pytest.param(store, *way, LATE, STANDING, id=f"{store}-{name}-late-over-an-old-one")
        for store in STORES
        for name, way in WAYS.items()
        if store == "file" or name != "sigterm-unhandled"
    ),
]


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    path: Path = tmp_path_factory.mktemp("children") / "log.txt"
    with path.open("ab") as log, Nursery(STORES, log) as nursery:
        yield nursery


@pytest.mark.parametrize(
    ("session_store", "number", "on_term", "offset", "standing"),
    CASES,
    indirect=["session_store", "standing"],
)
def test_a_process_that_ends_publishes_nothing(
    store: Store,
    nursery: Nursery,
    origin: Origin,
    standing: bytes | None,
    number: signal.Signals,
    on_term: OnTerm,
    offset: int,
) -> None:
    body = large()
    file = origin.serve(body.content)
    child: Future[int] = Future()

    def end() -> None:
        os.kill(child.result(EXIT_SECONDS), number)

    file.breaks = [Break(offset, "hold", then=end)]
    job = Job(file.url(), store.uri(KEY), body.rows, on_term, store.connections)
    child.set_result(nursery.start(job))
    ended = nursery.wait()
    assert ended.code == {"raise": 1, "stop": 1, "return": 0, "die": -number}[on_term]
    assert store.get(KEY) == standing
    assert store.visible() == ([] if standing is None else [KEY])
    if on_term != "die":
        assert store.leftovers() == []
    # Whatever it left does not stand in the way of the next try.
    again = origin.serve(body.content)
    assert fetch(store, again, rows=body.rows).sha256 == body.sha256
    assert store.get(KEY) == body.content


def test_a_process_that_is_left_alone_publishes_the_file(
    store: Store, nursery: Nursery, origin: Origin
) -> None:
    body = large()
    file = origin.serve(body.content)
    nursery.start(Job(file.url(), store.uri(KEY), body.rows, "raise", store.connections))
    assert nursery.wait().code == 0
    assert store.get(KEY) == body.content
    assert store.leftovers() == []


@pytest.mark.parametrize("killed", ["before", "after"])
def test_a_kill_at_publication_leaves_the_old_file_or_the_new_one(
    store: Store, nursery: Nursery, origin: Origin, killed: Literal["before", "after"]
) -> None:
    body = large()
    file = origin.serve(body.content)
    store.put(KEY, STANDING)
    nursery.start(Job(file.url(), store.uri(KEY), body.rows, "die", store.connections, killed))
    assert nursery.wait().code == -signal.SIGKILL
    assert store.get(KEY) == (STANDING if killed == "before" else body.content)
    assert store.visible() == [KEY]
