"""
Where the records of submissions live between two tries.

Airflow 3.3 and later keep them in the task state store; before that they lie as small JSON objects under
``[stoq] state_path``; without either they are not kept, and a warning says what is lost.

A store that cannot be read is not an empty store: then nothing is sent.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from stoq_provider.download.writers import says_exists
from stoq_provider.exceptions import StoqProviderError

KEY_PREFIX = "airflow-provider-stoq/"


class StateError(StoqProviderError):
    """The store of records can't be read or written."""


class StateStore(Protocol):
    """A place for JSON objects by key."""

    durable: bool
    """Whether another try will find what is saved."""

    def load(self, key: str) -> Mapping[str, Any] | None:
        """Return the object, or ``None`` where there surely is none."""

    def create(self, key: str, value: Mapping[str, Any]) -> bool:
        """Write the object unless there is one; return whether it was written."""

    def save(self, key: str, value: Mapping[str, Any]) -> None:
        """Write the object, whole or not at all."""

    def delete(self, key: str) -> None:
        """Take the object away, if it is there."""


class TaskStateStore:
    """The task state store of Airflow 3.3 and later, which is there on the worker only."""

    durable = True

    def __init__(self, accessor: Any) -> None:
        self._accessor = accessor

    def load(self, key: str) -> Mapping[str, Any] | None:
        """Read through the supervisor."""
        try:
            value = self._accessor.get(KEY_PREFIX + key)
        except Exception as error:
            problem = _cannot("read", "Airflow's task state store", error)
        else:
            return _checked(value, "Airflow's task state store")
        raise problem

    def create(self, key: str, value: Mapping[str, Any]) -> bool:
        """
        Look, then write through the supervisor.

        That is not one step, and need not be: Airflow lets no two workers run one try, and refuses what a
        worker of an earlier try still wants to write.
        """
        if self.load(key) is not None:
            return False
        self.save(key, value)
        return True

    def save(self, key: str, value: Mapping[str, Any]) -> None:
        """Write through the supervisor."""
        try:
            self._accessor.set(KEY_PREFIX + key, dict(value))
            return
        except Exception as error:
            problem = _cannot("write", "Airflow's task state store", error)
        raise problem

    def delete(self, key: str) -> None:
        """Delete through the supervisor."""
        try:
            self._accessor.delete(KEY_PREFIX + key)
            return
        except Exception as error:
            problem = _cannot("write", "Airflow's task state store", error)
        raise problem


class PathStateStore:
    """
    JSON objects in a folder on object storage.

    :param root: an ``ObjectStoragePath``.
    """

    durable = True

    def __init__(self, root: Any) -> None:
        self._root = root

    def load(self, key: str) -> Mapping[str, Any] | None:
        """Read the object; only "not found" means that there is none."""
        path = self._path(key)
        try:
            # cat_file asks the store itself; exists() might answer from a cached listing.
            data = path.fs.cat_file(path.path)
        except FileNotFoundError:
            return None
        except Exception as error:
            problem = _cannot("read", str(self._root), error)
        else:
            return _decoded(data, str(self._root))
        raise problem

    def create(self, key: str, value: Mapping[str, Any]) -> bool:
        """Write the object only if there is none: two workers can't both begin."""
        try:
            self._write(key, value, new=True)
            return True
        except Exception as error:
            if says_exists(error):
                return False
            problem = _cannot("write", str(self._root), error)
        raise problem

    def save(self, key: str, value: Mapping[str, Any]) -> None:
        """Write the object in one step: a record that is cut short would read as unreadable for ever."""
        try:
            self._write(key, value, new=False)
            return
        except Exception as error:
            problem = _cannot("write", str(self._root), error)
        raise problem

    def _write(self, key: str, value: Mapping[str, Any], *, new: bool) -> None:
        path = self._path(key)
        data = json.dumps(dict(value), sort_keys=True).encode()
        if _is_local(path):
            _put(Path(path.path), data, new=new)
        elif not new:
            path.fs.pipe_file(path.path, data)
        else:
            # The look serves the stores that do not know a conditional put; S3, GCS and Azure do.
            if path.fs.exists(path.path):
                raise FileExistsError(path.path)
            path.fs.pipe_file(path.path, data, mode="create")

    def delete(self, key: str) -> None:
        """Delete the object."""
        path = self._path(key)
        try:
            path.fs.rm_file(path.path)
            return
        except FileNotFoundError:
            return
        except Exception as error:
            problem = _cannot("write", str(self._root), error)
        raise problem

    def _path(self, key: str) -> Any:
        return self._root / f"{key}.json"


class NoStateStore:
    """Keeps nothing. A new try then starts anew, which the caller warns of."""

    durable = False

    def load(self, key: str) -> Mapping[str, Any] | None:
        """Find nothing."""
        return None

    def create(self, key: str, value: Mapping[str, Any]) -> bool:
        """Keep nothing, and let the caller begin."""
        return True

    def save(self, key: str, value: Mapping[str, Any]) -> None:
        """Keep nothing."""

    def delete(self, key: str) -> None:
        """Keep nothing."""


def open_store(context: Mapping[str, Any], state_path: str, log: logging.Logger | None) -> StateStore:
    """
    Choose the store for a task.

    :param context: the task's context.
    :param state_path: ``[stoq] state_path``; empty where it is not set.
    :param log: gets the warning; ``None`` where this try has given it already.
    """
    accessor = context.get("task_state_store")
    if accessor is not None:
        return TaskStateStore(accessor)
    if state_path:
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        return PathStateStore(ObjectStoragePath(state_path))
    if log is not None:
        log.warning(
            "No record of the submission can be kept: this Airflow has no task state store (3.3 and later "
            "have), and [stoq] state_path is not set. If this try is lost after it submitted, the next try "
            "does not know of the job and submits another one."
        )
    return NoStateStore()


def _cannot(verb: str, place: str, error: Exception) -> StateError:
    return StateError(
        f"The record of submissions could not be {'read' if verb == 'read' else 'written'} in {place} "
        f"({type(error).__name__}). Without it a job might be submitted twice, so nothing more was sent; "
        "jobs that were submitted go on. A retry looks again."
    )


def _decoded(data: bytes, place: str) -> Mapping[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        problem = _cannot("read", place, error)
    else:
        checked = _checked(value, place)
        assert checked is not None
        return checked
    raise problem


def _checked(value: Any, place: str) -> Mapping[str, Any] | None:
    if value is None or isinstance(value, Mapping):
        return value
    raise _cannot("read", place, TypeError(type(value).__name__))


def _is_local(path: Any) -> bool:
    return path.protocol in ("", "file", "local")


def _put(path: Path, data: bytes, *, new: bool) -> None:
    """Put a file into place whole; as a ``new`` one only where there is none."""
    if path.parent.exists() and not path.parent.is_dir():
        # mkdir would say FileExistsError, which here means that the record is there.
        raise NotADirectoryError(str(path.parent))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if new:
            _link(temporary, path)
        else:
            Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _link(temporary: str, path: Path) -> None:
    """
    Give a file its name if nothing has it yet.

    A file system without hard links (buckets that are mounted, some network shares) has the name taken by an
    empty file first, which is replaced at once.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            Path(temporary).replace(path)
        except OSError:
            path.unlink(missing_ok=True)
            raise
