from __future__ import annotations

import gc

import pytest

from stoq_provider.download import download as module
from stoq_provider.download import output, writers
from stoq_provider.download.destination import Target
from stoq_provider.download.download import download_files
from stoq_provider.download.options import DownloadOptions
from stoq_provider.download.output import Output, open_writer
from stoq_provider.download.writers import LocalWriter
from stoq_provider.exceptions import DownloadError, ValidationRejected, VerificationError

from .conftest import BODY, serve, serve_when


class FakeFile:
    """Behaves as the file objects of s3fs do: closing completes, and so does the destructor."""

    def __init__(self, store, path, mode, block_size, autocommit=True):
        self.store, self.path, self.autocommit = store, path, autocommit
        self.parts: list[bytes] = []
        self.closed = False
        store.log.append(("open", mode, block_size, autocommit))

    def write(self, data):
        self.store.may_fail("write")
        self.parts.append(bytes(data))

    def close(self):
        if self.closed:
            return
        self.closed = True
        self.store.may_fail("close")
        self.store.log.append(("close",))
        if self.autocommit:
            self.store.objects[self.path] = b"".join(self.parts)

    def commit(self):
        self.store.may_fail("commit")
        self.store.log.append(("commit",))
        self.store.objects[self.path] = b"".join(self.parts)

    def discard(self):
        self.store.may_fail("discard")
        self.store.log.append(("discard",))
        self.parts = []

    def __del__(self):
        self.close()


class FakeAzureFile(FakeFile):
    """As adlfs: no regard for autocommit, and nothing to discard with."""

    def commit(self):
        raise AssertionError("adlfs commits on close")

    discard = None  # type: ignore[assignment]


class FakeStore:
    """An fsspec file system of which everything that reaches it can be looked at."""

    file_class = FakeFile

    def __init__(self):
        self.objects: dict[str, bytes] = {}
        self.log: list[tuple] = []
        self.failing: dict[str, BaseException] = {}
        self.transaction = type("T", (), {"files": []})()

    def may_fail(self, step):
        if step in self.failing:
            raise self.failing[step]

    def open(self, path, mode, block_size, **options):
        self.may_fail("open")
        file = self.file_class(self, path, mode, block_size, **options)
        if options.get("autocommit") is False:
            self.transaction.files.append(file)
        return file

    def pipe_file(self, path, data, **options):
        self.may_fail("pipe_file")
        self.log.append(("pipe_file", options))
        self.objects[path] = bytes(data)

    def exists(self, path):
        return path in self.objects

    def info(self, path):
        return {"size": len(self.objects[path])}

    def invalidate_cache(self):
        pass

    @property
    def steps(self):
        return [entry[0] for entry in self.log]


class FakeAzureStore(FakeStore):
    file_class = FakeAzureFile


@pytest.fixture
def store():
    return FakeStore()


@pytest.fixture(scope="module", autouse=True)
def nothing_else_to_collect() -> None:
    """Let the collections of this module look at nothing that other tests left."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(writers, "FIRST_BYTES", 1000)
    monkeypatch.setattr(writers, "BLOCK_BYTES", 1000)
    # The fake store stands for fsspec; uploads by boto3 have tests of their own.
    monkeypatch.setattr(output, "s3_client", lambda target: None)


def target(store, protocol="s3"):
    return Target(uri=f"{protocol}://conn@bucket/key", protocol=protocol, path="bucket/key", fs=store)


def fill(writer, size, chunk=300):
    data = bytes(i % 251 for i in range(size))
    for start in range(0, size, chunk):
        writer.write(data[start : start + chunk])
    return data


def publish(where, size):
    with open_writer(where) as writer:
        fill(writer, size)
        writer.commit()


@pytest.mark.parametrize("size", [0, 1, 999, 1000])
def test_small_object_is_one_put(store, size):
    with open_writer(target(store)) as writer:
        data = fill(writer, size)
        assert store.log == []
        writer.commit()
    assert store.log == [("pipe_file", {})]
    assert store.objects == {"bucket/key": data}


@pytest.mark.parametrize("protocol", ["s3", "gs"])
@pytest.mark.parametrize("size", [1001, 5000])
def test_large_object_is_committed_in_a_step_of_its_own(store, protocol, size):
    with open_writer(target(store, protocol)) as writer:
        data = fill(writer, size)
        assert store.objects == {}
        writer.commit()
    assert store.log == [("open", "wb", 1000, False), ("close",), ("commit",)]
    assert store.objects == {"bucket/key": data}
    assert store.transaction.files == []


@pytest.mark.parametrize(
    ("protocol", "size", "error"),
    [
        ("s3", 0, RuntimeError),
        ("s3", 999, KeyboardInterrupt),
        ("s3", 1001, SystemExit),
        ("s3", 5000, RuntimeError),
        ("gs", 999, SystemExit),
        ("gs", 1001, RuntimeError),
        ("gs", 5000, KeyboardInterrupt),
        ("abfs", 0, KeyboardInterrupt),
        ("abfs", 1001, RuntimeError),
        ("abfs", 5000, SystemExit),
    ],
)
def test_nothing_after_an_exception_and_garbage_collection(protocol, size, error):
    store = FakeAzureStore() if protocol == "abfs" else FakeStore()

    def interrupted():
        with open_writer(target(store, protocol)) as writer:
            fill(writer, size)
            raise error

    with pytest.raises(error):
        interrupted()
    gc.collect()
    assert store.objects == {}
    assert store.transaction.files == []
    if size > 1000 and protocol != "abfs":
        assert store.steps == ["open", "discard"]


def test_fake_file_would_publish_if_it_were_only_dropped(store):
    store.open("bucket/key", "wb", 1000).write(b"half")
    gc.collect()
    assert store.objects == {"bucket/key": b"half"}


@pytest.mark.parametrize("step", ["open", "write", "close", "commit"])
def test_nothing_after_a_failing_step(store, step):
    store.failing[step] = OSError("the store says no")
    with pytest.raises(OSError, match="says no"):
        publish(target(store), 5000)
    store.failing.clear()
    gc.collect()
    assert store.objects == {}
    assert step == "open" or "discard" in store.steps


def test_discard_that_fails_still_keeps_the_destructor_from_publishing():
    store = FakeAzureStore()
    store.file_class = FakeFile  # closes into place as if autocommit were ignored
    store.failing["discard"] = OSError("no discard either")
    with pytest.raises(OSError, match="no discard"), open_writer(target(store)) as writer:
        fill(writer, 5000)
    del writer
    store.failing.clear()
    gc.collect()
    assert store.objects == {}
    assert store.steps == ["open"]


def test_azure_commits_by_closing():
    store = FakeAzureStore()
    with open_writer(target(store, "abfs")) as writer:
        data = fill(writer, 5000)
        writer.commit()
    assert store.log == [("open", "wb", 1000, True), ("close",)]
    assert store.objects == {"bucket/key": data}


def test_no_overwrite_is_a_condition_of_the_put(store):
    for size in (10, 5000):
        with open_writer(target(store), overwrite=False) as writer:
            fill(writer, size)
            writer.commit()
        store.objects.clear()
    assert store.log[0] == ("pipe_file", {"mode": "create"})
    assert store.log[1] == ("open", "xb", 1000, False)


@pytest.mark.parametrize("protocol", ["s3", "abfs"])
def test_no_overwrite_of_what_came_in_between(store, protocol):
    made = Output(target(store, protocol), DownloadOptions(overwrite=False))
    fill(made, 5000)
    store.objects["bucket/key"] = b"theirs"
    with pytest.raises(ValidationRejected, match="holds something else"):
        made.finish(lambda: None)
    made.abort()
    del made
    gc.collect()
    assert store.objects == {"bucket/key": b"theirs"}


# --- through download ---------------------------------------------------------------------------------


@pytest.fixture
def to_store(server, options, store, monkeypatch):
    monkeypatch.setattr(module, "resolve_target", lambda *a, **k: target(store))
    monkeypatch.setattr(writers, "FIRST_BYTES", 100_000)

    def run(**given):
        return download_files(server.url, "s3://conn@bucket/key", file_name=None, options=options, **given)[0]

    return run


def test_download_to_a_store(to_store, server, store):
    server.plan = [serve(stop_after=300_000)]
    stored = to_store()
    assert store.objects == {"bucket/key": BODY}
    assert stored.uri == "s3://conn@bucket/key"
    assert store.steps == ["open", "close", "commit"]


def test_download_that_starts_over_discards_the_first_upload(to_store, server, store):
    server.etag = None
    server.plan = [serve(stop_after=300_000), serve_when(lambda: store.steps)]
    to_store()
    assert store.objects == {"bucket/key": BODY}
    assert store.steps == ["open", "discard", "open", "close", "commit"]


def test_mismatch_discards_the_upload(to_store, store):
    with pytest.raises(DownloadError, match="announced 1 rows"):
        to_store(expected_rows=1)
    gc.collect()
    assert store.objects == {}
    assert store.steps == ["open", "discard"]


@pytest.mark.parametrize(
    ("step", "says"),
    [("write", "Could not write .*Nothing was published"), ("commit", "not published or there as a whole")],
)
def test_trouble_of_the_store(to_store, store, step, says):
    store.failing[step] = PermissionError("Access Denied")
    with pytest.raises(DownloadError, match=f"Access Denied.*{says}|{says}") as caught:
        to_store()
    assert "submits nothing" in str(caught.value)
    store.failing.clear()
    gc.collect()
    assert store.objects == {}


def test_abort_twice_and_after_commit_is_harmless(store):
    writer = open_writer(target(store))
    writer.write(b"abc" * 500)
    writer.commit()
    writer.abort()
    writer.abort()
    assert list(store.objects) == ["bucket/key"]


def test_abort_that_fails_hides_nothing(server, options, tmp_path, monkeypatch, caplog):
    abort = LocalWriter.abort

    def fails(writer):
        abort(writer)
        raise OSError("no room")

    monkeypatch.setattr(LocalWriter, "abort", fails)
    with pytest.raises(VerificationError):
        download_files(server.url, f"{tmp_path}/", file_name="x.csv", expected_rows=5, options=options)
    assert "could not be cleaned up: no room" in caplog.text
