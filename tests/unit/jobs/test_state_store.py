"""Where records live: what is there, what surely is not, and what can't be known."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from stoq_provider.exceptions import StateError
from stoq_provider.jobs.state_store import KEY_PREFIX, PathStateStore, StateStore, TaskStateStore, open_store
from tests.harness import MemoryStateStore

LOG = logging.getLogger(__name__)


@pytest.fixture(params=["task state store", "path"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StateStore:
    if request.param == "path":
        return PathStateStore(ObjectStoragePath(tmp_path.as_uri()))
    return TaskStateStore(MemoryStateStore())


def test_what_is_saved_is_loaded(store: StateStore) -> None:
    assert store.load("a") is None
    store.save("a", {"n": 1})
    store.save("a", {"n": 2})
    assert store.load("a") == {"n": 2}
    assert store.load("b") is None
    assert store.durable


def test_what_is_there_is_not_created_again(store: StateStore) -> None:
    assert store.create("a", {"n": 1})
    assert not store.create("a", {"n": 2})
    assert store.load("a") == {"n": 1}


def test_what_is_deleted_is_gone_and_may_be_deleted_again(store: StateStore) -> None:
    store.save("a", {"n": 1})
    store.delete("a")
    store.delete("a")
    assert store.load("a") is None
    assert store.create("a", {"n": 3})


def test_of_many_workers_one_begins(tmp_path: Path) -> None:
    store = PathStateStore(ObjectStoragePath(tmp_path.as_uri()))
    with ThreadPoolExecutor(8) as pool:
        began = list(pool.map(lambda number: store.create("a", {"worker": number}), range(40)))
    assert began.count(True) == 1
    assert store.load("a") == {"worker": began.index(True)}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.fixture
def no_hard_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", link)


@pytest.mark.usefixtures("no_hard_links")
def test_a_file_system_without_hard_links_lets_one_worker_begin_too(tmp_path: Path) -> None:
    test_of_many_workers_one_begins(tmp_path)
    (record,) = tmp_path.iterdir()
    assert record.stat().st_mode & 0o777 == 0o600
    store = PathStateStore(ObjectStoragePath(tmp_path.as_uri()))
    store.delete("a")
    assert store.create("a", {"n": 2})
    assert store.load("a") == {"n": 2}


@pytest.mark.usefixtures("no_hard_links")
def test_a_record_that_fails_there_leaves_no_name_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    store = PathStateStore(ObjectStoragePath(tmp_path.as_uri()))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(StateError, match="could not be written"):
            store.create("a", {"n": 1})
    assert list(tmp_path.iterdir()) == []
    assert store.create("a", {"n": 1})


@pytest.mark.parametrize("content", ["", "{", "[1]", "7", "null"])
def test_what_can_not_be_read_is_not_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(StateError, match="could not be read"):
        PathStateStore(ObjectStoragePath(tmp_path.as_uri())).load("a")


@pytest.mark.parametrize("call", ["load", "save", "create", "delete"])
def test_a_store_that_does_not_answer_is_an_error_that_says_so(call: str) -> None:
    memory = MemoryStateStore()
    memory.broken = True
    arguments: dict[str, tuple[Any, ...]] = {"save": ("a", {}), "create": ("a", {})}
    with pytest.raises(StateError, match="nothing more was sent") as caught:
        getattr(TaskStateStore(memory), call)(*arguments.get(call, ("a",)))
    assert caught.value.__context__ is None


def test_a_folder_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = PathStateStore(ObjectStoragePath((tmp_path / "file").as_uri()))
    with pytest.raises(StateError, match="could not be written"):
        store.save("a", {"n": 1})
    with pytest.raises(StateError, match="could not be written"):
        store.create("a", {"n": 1})


def test_keys_are_our_own_in_the_task_state_store() -> None:
    memory = MemoryStateStore()
    TaskStateStore(memory).save("a", {"n": 1})
    assert list(memory.rows) == [f"{KEY_PREFIX}a"]


def test_the_store_of_airflow_comes_before_the_folder(tmp_path: Path) -> None:
    context = {"task_state_store": MemoryStateStore()}
    assert isinstance(open_store(context, tmp_path.as_uri(), LOG), TaskStateStore)
    assert isinstance(open_store({}, tmp_path.as_uri(), LOG), PathStateStore)


def test_without_either_nothing_is_kept_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    store = open_store({}, "", LOG)
    assert "state_path" in caplog.text
    store.save("a", {"n": 1})
    assert store.load("a") is None
    assert store.create("a", {"n": 1})
    assert not store.durable
