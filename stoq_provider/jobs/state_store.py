"""
Where the records of submissions live between two tries.

Airflow 3.3 and later keep them in the task state store; before that they lie as small JSON objects under
``[stoq] state_path``; without either they are not kept, and a warning says what is lost.

A store that cannot be read is not an empty store: then nothing is sent.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from stoq_provider.download.store_errors import says_exists
from stoq_provider.download.writers import LocalWriter
from stoq_provider.exceptions import StateError

T = TypeVar("T")

KEY_PREFIX = "airflow-provider-stoq/"


class _NoRecordError(Exception):
    """Something is there that is no JSON object."""


class StateStore:
    """
    A place for JSON objects by key; each call does its work whole or raises a :class:`StateError`.

    This one keeps nothing: a new try then starts anew, which the caller warns of. The others say where a JSON
    object is, by ``_read``, ``_write`` and ``_remove``.
    """

    durable = False
    """Whether another try will find what is saved."""

    place = "nowhere"
    """For messages."""

    def load(self, key: str) -> Mapping[str, Any] | None:
        """Return the object, or ``None`` where there surely is none."""

        def read() -> Mapping[str, Any] | None:
            value = self._read(key)
            if value is not None and not isinstance(value, Mapping):
                raise _NoRecordError
            return value

        return self._reach("read", key, read)

    def create(self, key: str, value: Mapping[str, Any]) -> bool:
        """Write the object unless there is one; return whether it was written."""

        def write() -> bool:
            try:
                self._write(key, value, new=True)
            except Exception as error:
                if says_exists(error):
                    return False
                raise
            return True

        return self._reach("written", key, write)

    def save(self, key: str, value: Mapping[str, Any]) -> None:
        """Write the object in one step: a record that is cut short would read as unreadable for ever."""
        self._reach("written", key, lambda: self._write(key, value, new=False))

    def delete(self, key: str) -> None:
        """Take the object away, if it is there."""
        self._reach("written", key, lambda: self._remove(key))

    def _reach(self, done: str, key: str, call: Callable[[], T]) -> T:
        again = "A retry looks again."
        try:
            return call()
        except _NoRecordError:
            cause = "what is there is damaged, or is none"
            again = (
                "A retry does not mend that: look in the remote system whether a job of this task was "
                "submitted, then take the record away, and the next try submits."
            )
        except Exception as error:
            cause = type(error).__name__
        raise StateError(
            f"The record of submissions {key} could not be {done} in {self.place} ({cause}). Without it a "
            f"job might be submitted twice, so nothing more was sent; jobs that were submitted go on. {again}"
        )

    def _read(self, key: str) -> Any:
        """Return what is there; ``None`` where there surely is nothing."""
        return None

    def _write(self, key: str, value: Mapping[str, Any], *, new: bool) -> None:
        """Put it into place; a ``new`` one raises ``FileExistsError``, or the store's own, where one is."""

    def _remove(self, key: str) -> None:
        """Take it away, if it is there."""


class TaskStateStore(StateStore):
    """The task state store of Airflow 3.3 and later, which is there on the worker only."""

    durable = True
    place = "Airflow's task state store"

    def __init__(self, accessor: Any) -> None:
        self._accessor = accessor

    def _read(self, key: str) -> Any:
        return self._accessor.get(KEY_PREFIX + key)

    def _write(self, key: str, value: Mapping[str, Any], *, new: bool) -> None:
        # To look and to write is not one step, and need not be: Airflow lets no two workers run one try, and
        # refuses what a worker of an earlier try still wants to write.
        if new and self._read(key) is not None:
            raise FileExistsError(key)
        self._accessor.set(KEY_PREFIX + key, dict(value))

    def _remove(self, key: str) -> None:
        self._accessor.delete(KEY_PREFIX + key)


class PathStateStore(StateStore):
    """
    JSON objects in a folder on object storage, or on a disk that all workers see.

    On a disk, a record is written as a download is: whole, durably, and with the permissions that the umask
    leaves. Workers that run as several users need a folder that all of them may write to.

    :param root: an ``ObjectStoragePath``.
    """

    durable = True

    def __init__(self, root: Any) -> None:
        self._root = root
        self.place = str(root)

    def _read(self, key: str) -> Any:
        path = self._path(key)
        try:
            # cat_file asks the store itself; exists() might read from a cached listing.
            data = path.fs.cat_file(path.path)
        except FileNotFoundError:
            return None
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            raise _NoRecordError from None
        if value is None:
            raise _NoRecordError  # something is there, so it is not "no record"
        return value

    def _write(self, key: str, value: Mapping[str, Any], *, new: bool) -> None:
        path = self._path(key)
        data = json.dumps(dict(value), sort_keys=True).encode()
        if path.protocol in ("", "file", "local"):
            with LocalWriter(path.path, overwrite=not new) as writer:
                writer.write(data)
                writer.commit()
        elif not new:
            path.fs.pipe_file(path.path, data)
        else:
            # The look serves the stores that do not know a conditional put; S3, GCS and Azure do.
            if path.fs.exists(path.path):
                raise FileExistsError(path.path)
            path.fs.pipe_file(path.path, data, mode="create")

    def _remove(self, key: str) -> None:
        path = self._path(key)
        with suppress(FileNotFoundError):
            path.fs.rm_file(path.path)

    def _path(self, key: str) -> Any:
        return self._root / f"{key}.json"


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
    return StateStore()
