"""Records of submissions: whole, exclusive, and never taken for absent where they cannot be read."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from stoq_provider.storage.state import PathStateStore, StateError
from tests.stores.running import AWS_WORDS, STORES
from tests.stores.stores import Store

pytestmark = pytest.mark.parametrize("session_store", [*STORES, *AWS_WORDS], indirect=True)

KEY = "v1/3f2a/chunk-0"
WORKERS = 8


@pytest.fixture
def records(store: Store) -> PathStateStore:
    return _open(store.uri("records"))


def _open(root: str) -> PathStateStore:
    return PathStateStore(ObjectStoragePath(root))


def test_a_record_that_was_never_written_is_none(records: PathStateStore) -> None:
    assert records.load(KEY) is None


def test_a_record_comes_back_as_it_was_written(store: Store, records: PathStateStore) -> None:
    value = {"job_id": "8f14e45f", "ids": list(range(2_000)), "name": "Grüße \u2028"}
    records.save(KEY, value)
    assert records.load(KEY) == value
    assert store.visible() == [f"records/{KEY}.json"]


def test_a_record_is_seen_by_another_worker(store: Store, records: PathStateStore) -> None:
    other = _open(store.uri("records"))
    assert other.load(KEY) is None  # and nothing remembers that
    records.save(KEY, {"step": "intent"})
    assert other.load(KEY) == {"step": "intent"}
    other.save(KEY, {"step": "submitted"})
    assert records.load(KEY) == {"step": "submitted"}


def test_a_record_is_created_once(records: PathStateStore) -> None:
    assert records.create(KEY, {"worker": 1})
    assert not records.create(KEY, {"worker": 2})
    assert records.load(KEY) == {"worker": 1}


def test_a_record_that_appears_after_the_look_is_not_replaced(
    store: Store, records: PathStateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.save(KEY, {"worker": 1})
    if store.remote:
        fs = ObjectStoragePath(store.uri("records")).fs
        monkeypatch.setattr(type(fs), "exists", lambda *args, **kwargs: False)
    assert not records.create(KEY, {"worker": 2})
    assert records.load(KEY) == {"worker": 1}


def test_of_many_workers_one_begins(store: Store) -> None:
    for turn in range(5):
        gate = threading.Barrier(WORKERS)

        def begin(worker: int, key: str = f"{KEY}-{turn}", gate: threading.Barrier = gate) -> bool:
            records = _open(store.uri("records"))
            gate.wait()
            return records.create(key, {"worker": worker})

        with ThreadPoolExecutor(WORKERS) as pool:
            began = list(pool.map(begin, range(WORKERS)))
        assert began.count(True) == 1
        assert _open(store.uri("records")).load(f"{KEY}-{turn}") == {"worker": began.index(True)}


def test_a_deleted_record_is_gone_and_may_be_deleted_again(store: Store, records: PathStateStore) -> None:
    records.save(KEY, {})
    records.delete(KEY)
    assert records.load(KEY) is None
    assert store.visible() == []
    records.delete(KEY)
    assert records.create(KEY, {"worker": 3})


@pytest.mark.parametrize("damage", [b"", b'{"job_id": "8f', b"[1]"], ids=["empty", "cut-short", "list"])
def test_a_damaged_record_is_an_error(store: Store, records: PathStateStore, damage: bytes) -> None:
    store.put(f"records/{KEY}.json", damage)
    with pytest.raises(StateError):
        records.load(KEY)
    assert not records.create(KEY, {})


@pytest.mark.parametrize("act", ["create", "save"])
def test_a_store_that_can_not_be_written_is_an_error(store: Store, act: str) -> None:
    arguments: tuple[Any, ...] = (KEY, {})
    with pytest.raises(StateError):
        getattr(_open(store.missing()), act)(*arguments)
