"""Records of submissions: whole, exclusive, and never taken for absent where they cannot be read."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from stoq_provider.exceptions import StateError
from stoq_provider.jobs.state_store import PathStateStore
from tests.stores.choice import on, on_disk, on_each_file_system
from tests.stores.running import AWS_WORDS
from tests.stores.stores import Store

KEY = "v1/3f2a/chunk-0"
WORKERS = 8
refusing = on("file", "s3", *AWS_WORDS, "gs", "abfs")
"""For what depends on the words in which a store refuses to write once more."""


@pytest.fixture
def records(store: Store) -> PathStateStore:
    return _open(store.uri("records"))


def _open(root: str) -> PathStateStore:
    return PathStateStore(ObjectStoragePath(root))


@on_each_file_system
def test_a_record_that_was_never_written_is_none(records: PathStateStore) -> None:
    assert records.load(KEY) is None


@on_each_file_system
def test_a_record_comes_back_as_it_was_written(store: Store, records: PathStateStore) -> None:
    value = {"job_id": "8f14e45f", "ids": list(range(2_000)), "name": "Grüße \u2028"}
    records.save(KEY, value)
    assert records.load(KEY) == value
    assert store.visible() == [f"records/{KEY}.json"]


@on_each_file_system
def test_a_record_is_seen_by_another_worker(store: Store, records: PathStateStore) -> None:
    other = _open(store.uri("records"))
    assert other.load(KEY) is None  # and nothing remembers that
    records.save(KEY, {"step": "intent"})
    assert other.load(KEY) == {"step": "intent"}
    other.save(KEY, {"step": "submitted"})
    assert records.load(KEY) == {"step": "submitted"}


@refusing
def test_a_record_is_created_once(records: PathStateStore) -> None:
    assert records.create(KEY, {"worker": 1})
    assert not records.create(KEY, {"worker": 2})
    assert records.load(KEY) == {"worker": 1}


@refusing
def test_a_record_that_appears_after_the_look_is_not_replaced(
    store: Store, records: PathStateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.save(KEY, {"worker": 1})
    if store.remote:
        fs = ObjectStoragePath(store.uri("records")).fs
        monkeypatch.setattr(type(fs), "exists", lambda *args, **kwargs: False)
    assert not records.create(KEY, {"worker": 2})
    assert records.load(KEY) == {"worker": 1}


# Elsewhere it is the store that lets one of them win. That it was asked to is what the test above is about;
# some of the servers here look and write in two steps.
@on_disk
def test_of_many_workers_one_begins(store: Store) -> None:
    for turn in range(5):
        barrier = threading.Barrier(WORKERS)

        def begin(worker: int, key: str = f"{KEY}-{turn}", barrier: threading.Barrier = barrier) -> bool:
            records = _open(store.uri("records"))
            barrier.wait()
            return records.create(key, {"worker": worker})

        with ThreadPoolExecutor(WORKERS) as pool:
            began = list(pool.map(begin, range(WORKERS)))
        assert began.count(True) == 1
        assert _open(store.uri("records")).load(f"{KEY}-{turn}") == {"worker": began.index(True)}


@on_each_file_system
def test_a_deleted_record_is_gone_and_may_be_deleted_again(store: Store, records: PathStateStore) -> None:
    records.save(KEY, {})
    records.delete(KEY)
    assert records.load(KEY) is None
    assert store.visible() == []
    records.delete(KEY)
    assert records.create(KEY, {"worker": 3})


@pytest.mark.parametrize(
    ("session_store", "damage"),
    [("file", b""), ("file", b"[1]"), *((name, b'{"job_id": "8f') for name in ("file", "s3", "gs", "abfs"))],
    ids=["file-empty", "file-list", *(f"{name}-cut-short" for name in ("file", "s3", "gs", "abfs"))],
    indirect=["session_store"],
)
def test_a_damaged_record_is_an_error(store: Store, records: PathStateStore, damage: bytes) -> None:
    store.put(f"records/{KEY}.json", damage)
    with pytest.raises(StateError):
        records.load(KEY)
    assert not records.create(KEY, {})


@on_each_file_system
@pytest.mark.parametrize("act", ["create", "save"])
def test_a_store_that_can_not_be_written_is_an_error(store: Store, act: str) -> None:
    arguments: tuple[Any, ...] = (KEY, {})
    with pytest.raises(StateError):
        getattr(_open(store.missing()), act)(*arguments)
