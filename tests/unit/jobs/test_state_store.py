"""Where records live: what is there, what surely is not, and what can't be known."""

from __future__ import annotations

import errno
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from stoq_provider.download.writers import open_part
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


@pytest.mark.parametrize("call", ["create", "save"])
def test_what_a_killed_worker_left_is_removed_by_the_next_one(tmp_path: Path, call: str) -> None:
    with open_part(str(tmp_path / "a.json")) as left:
        left.write(b'{"n"')
    getattr(PathStateStore(ObjectStoragePath(tmp_path.as_uri())), call)("a", {"n": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.fixture(params=[errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK], ids=errno.errorcode.get)
def no_hard_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param is None:
        return

    def link(*_: Any) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr("os.link", link)


@pytest.mark.usefixtures("no_hard_links")
def test_a_file_system_without_hard_links_lets_one_worker_begin_too(tmp_path: Path) -> None:
    test_of_many_workers_one_begins(tmp_path)
    store = PathStateStore(ObjectStoragePath(tmp_path.as_uri()))
    store.delete("a")
    assert store.create("a", {"n": 2})
    assert store.load("a") == {"n": 2}


@pytest.mark.usefixtures("no_hard_links")
def test_the_name_is_taken_there_before_the_record_is_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To look, and to put it there then, would replace what another worker wrote in between."""
    replace, seen = os.replace, []

    def watched(source: str, target: str) -> None:
        seen.append(Path(target).read_bytes())
        replace(source, target)

    monkeypatch.setattr("os.replace", watched)
    assert PathStateStore(ObjectStoragePath(tmp_path.as_uri())).create("a", {"n": 1})
    assert seen == [b""]


@pytest.mark.usefixtures("no_hard_links")
def test_a_record_that_fails_there_leaves_no_name_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = PathStateStore(ObjectStoragePath(tmp_path.as_uri()))
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", replace)
        with pytest.raises(StateError, match="could not be written"):
            store.create("a", {"n": 1})
    assert list(tmp_path.iterdir()) == []
    assert store.create("a", {"n": 1})


@pytest.mark.parametrize("no_hard_links", [None, errno.EPERM], ids=["links", "no links"], indirect=True)
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_a_record_may_be_read_by_whom_the_umask_lets(tmp_path: Path, no_hard_links: None, umask: int) -> None:
    before = os.umask(umask)
    try:
        store = PathStateStore(ObjectStoragePath((tmp_path / "new").as_uri()))
        store.create("a", {})
        store.save("b", {})
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()} == {0o666 & ~umask}


@pytest.mark.parametrize("call", ["create", "save"])
def test_a_record_is_on_the_disk_before_the_call_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The file before its name, then the folder, and every folder that had to be made before it."""
    synced: list[str] = []

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append(path.name if path.is_dir() else f"{path.stat().st_size} bytes, {len(named())} named")

    def named() -> list[Path]:
        return list(tmp_path.rglob("*.json"))

    monkeypatch.setattr("os.fsync", fsync)
    store = PathStateStore(ObjectStoragePath((tmp_path / "new" / "newer").as_uri()))
    getattr(store, call)("a", {"n": 1})
    assert synced == [tmp_path.name, "new", "8 bytes, 0 named", "newer"]
    synced.clear()
    store.save("a", {"n": 22})
    assert synced == ["9 bytes, 1 named", "newer"]


DAMAGED = {
    "empty": b"",
    "cut short": b'{"clears": 0, "intent_a',
    "a list": b"[1]",
    "a number": b"7",
    "null": b"null",
    "a text": b'"x"',
    "binary": b"\x80\x00\xff\xfe{",
    "zeros": bytes(512),
    "too deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_what_is_no_record_is_not_nothing_and_it_is_said_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    store = PathStateStore(ObjectStoragePath(tmp_path.as_uri()))
    with pytest.raises(
        StateError, match=r"record of submissions a could not be read.*damaged.*take the record"
    ):
        store.load("a")
    assert not store.create("a", {"n": 1})
    store.delete("a")
    assert store.create("a", {"n": 1})


@pytest.mark.parametrize("value", [[1], 7, "x", True], ids=repr)
def test_what_is_no_record_in_the_task_state_store_is_not_nothing_either(value: Any) -> None:
    memory = MemoryStateStore()
    memory.set(f"{KEY_PREFIX}a", value)
    with pytest.raises(StateError, match=r"damaged.*take the record away"):
        TaskStateStore(memory).load("a")


def test_a_folder_in_place_of_a_record_is_not_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    store = PathStateStore(ObjectStoragePath(tmp_path.as_uri()))
    with pytest.raises(StateError, match=r"could not be read.*IsADirectoryError"):
        store.load("a")
    with pytest.raises(StateError, match="could not be written"):
        store.save("a", {"n": 1})
    assert not store.create("a", {"n": 1})


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
