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

import pytest

from tests.stores.bodies import KEY, MIB, STANDING, fetch, large
from tests.stores.children import Job, Nursery, OnTerm
from tests.stores.kills import MOMENTS, SIGNALS, kill_at_random_moments, usual_seconds
from tests.stores.origin import Break, Origin
from tests.stores.stores import Store

WAYS: list[tuple[str, signal.Signals, OnTerm]] = [
    ("sigterm-raises", signal.SIGTERM, "raise"),
    ("sigterm-stops", signal.SIGTERM, "stop"),
    ("sigterm-returns", signal.SIGTERM, "return"),
    ("sigterm-unhandled", signal.SIGTERM, "die"),
    ("sigkill", signal.SIGKILL, "die"),
]


@pytest.fixture(scope="session")
def nursery(session_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    path: Path = tmp_path_factory.mktemp("children") / "log.txt"
    with path.open("ab") as log, Nursery(session_store.name, log) as nursery:
        yield nursery


@pytest.mark.parametrize(
    ("offset", "standing"),
    [(MIB, None), (large().late, STANDING)],
    ids=["early", "late-over-an-old-one"],
    indirect=["standing"],
)
@pytest.mark.parametrize(("number", "on_term"), [pytest.param(*way[1:], id=way[0]) for way in WAYS])
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
    file.breaks = [Break(offset, "stall", then=lambda: os.kill(child.result(30), number))]
    child.set_result(nursery.start(Job(file.url(), store.uri(KEY), body.rows, on_term)))
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
    nursery.start(Job(file.url(), store.uri(KEY), body.rows, "raise"))
    assert nursery.wait().code == 0
    assert store.get(KEY) == body.content
    assert store.leftovers() == []


def test_no_moment_of_a_kill_publishes_a_part(store: Store, nursery: Nursery, origin: Origin) -> None:
    usual = usual_seconds(store, nursery, origin)
    for number in SIGNALS:
        counts = kill_at_random_moments(store, nursery, origin, number, usual=usual, moments=MOMENTS)
        assert counts.bad() == []
        assert counts.moments == MOMENTS
