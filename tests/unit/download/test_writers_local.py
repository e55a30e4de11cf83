"""A local file appears whole under its name, and what was begun goes."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest

from stoq_provider.download.destination import Target
from stoq_provider.download.output import open_writer
from stoq_provider.download.writers import LocalWriter, open_part


def write(path):
    with LocalWriter(str(path)) as writer:
        writer.write(b"whole")
        writer.commit()


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_local_file_appears_with_its_commit_only(tmp_path):
    path = tmp_path / "new" / "x.csv"
    with open_writer(Target(f"file://{path}", "", str(path))) as writer:
        writer.write(b"abc")
        assert names(path.parent)[0].startswith(".stoq-")
        assert not path.exists()
        writer.commit()
    assert names(path.parent) == ["x.csv"]
    assert path.read_bytes() == b"abc"


def test_local_file_has_the_usual_permissions(tmp_path):
    old = os.umask(0o027)
    try:
        with LocalWriter(str(tmp_path / "x")) as writer:
            writer.commit()
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_local_file_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append("replace"), replace(a, b)))
    with LocalWriter(str(tmp_path / "x")) as writer:
        writer.write(b"abc")
        writer.commit()
    assert steps == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_local_commit_that_fails_leaves_the_old_file(tmp_path, monkeypatch, broken):
    def fail(*args):
        raise OSError(28, "No space left on device")

    (tmp_path / "x").write_bytes(b"old")
    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "x")
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


@pytest.mark.parametrize("links", [True, False])
def test_local_no_overwrite(tmp_path, monkeypatch, links):
    def no_links(*args):
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    for expected in (b"first", b"second"):
        try:
            with LocalWriter(str(tmp_path / "x"), overwrite=False) as writer:
                writer.write(expected)
                writer.commit()
        except FileExistsError:
            assert expected == b"second"
        else:
            assert expected == b"first"
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"first"


KILLED = """
import os, signal
from stoq_provider.download.writers import LocalWriter, open_part
writer = LocalWriter({path!r}, overwrite={overwrite})
writer.write(b"half of it" * 10_000)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("overwrite", [True, False])
def test_next_writer_removes_what_a_killed_one_left(tmp_path, start_program, overwrite):
    path = str(tmp_path / "x")
    assert start_program(KILLED.format(path=path, overwrite=overwrite)).wait() == -signal.SIGKILL
    (left,) = names(tmp_path)
    with LocalWriter(str(tmp_path / "other")) as other:
        assert (tmp_path / left).stat().st_size
        other.commit()
    with LocalWriter(path, overwrite=overwrite) as writer:
        assert names(tmp_path) == [left, "other"]
        assert not (tmp_path / left).stat().st_size
        writer.write(b"whole")
        writer.commit()
    assert names(tmp_path) == ["other", "x"]
    assert (tmp_path / "x").read_bytes() == b"whole"


def left_by_a_kill(path):
    part = open_part(str(path))
    part.close()
    return Path(part.name)


def test_next_writer_removes_what_several_left_at_a_time(tmp_path):
    with ExitStack() as at_once:
        for _ in range(4):
            at_once.enter_context(open_part(str(tmp_path / "x")))
    assert len(names(tmp_path)) == 4
    write(tmp_path / "x")
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "[x]*?.csv", "-", "10:30 %2F"])
def test_any_name_that_a_file_can_have(tmp_path, name):
    left_by_a_kill(tmp_path / name)
    write(tmp_path / name)
    assert names(tmp_path) == [name]


def test_folder_is_not_listed(tmp_path, monkeypatch):
    left_by_a_kill(tmp_path / "x")
    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, None)
    write(tmp_path / "x")
    monkeypatch.undo()
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("published", [True, False], ids=["published", "removed"])
def test_name_that_another_takes_while_it_is_looked_at(tmp_path, monkeypatch, published):
    left, flock, others = left_by_a_kill(tmp_path / "x"), fcntl.flock, []

    def late(file, how):
        if not others:
            others.append(None)
            if published:
                left.rename(tmp_path / "x")
            others.append(LocalWriter(str(tmp_path / "x")))
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with LocalWriter(str(tmp_path / "x")) as writer:
        _, other = others
        assert other._part == str(left)
        other.write(b"other")
        other.commit()
        writer.write(b"own")
        writer.commit()
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"own"


def test_writers_of_one_place_at_a_time_do_not_mix(tmp_path):
    path = tmp_path / "x"
    with LocalWriter(str(path)) as first, LocalWriter(str(path)) as second:
        first.write(b"first")
        second.write(b"second")
        second.commit()
        assert path.read_bytes() == b"second"
        with LocalWriter(str(path)):
            first.commit()
        assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["x"]


def no_locks(*args):
    raise OSError(errno.ENOLCK, "No locks available")


def test_where_there_are_no_locks_nothing_is_taken_from_others(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", no_locks)
    test_writers_of_one_place_at_a_time_do_not_mix(tmp_path)


def test_part_that_another_removes_before_it_is_locked(tmp_path, monkeypatch):
    flock, removed = fcntl.flock, []

    def too_late(file, how):
        if not removed:
            removed.append(Path(file.name).unlink())
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", too_late)
    write(tmp_path / "x")
    assert removed
    assert names(tmp_path) == ["x"]


def test_abort_twice_and_after_commit_is_harmless(tmp_path):
    writer = LocalWriter(str(tmp_path / "x"))
    writer.write(b"abc" * 500)
    writer.commit()
    writer.abort()
    writer.abort()
    assert names(tmp_path) == ["x"]
