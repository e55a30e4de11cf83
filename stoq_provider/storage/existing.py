"""What stands at a destination already: whether it is the same, and whether it was in the way."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from stoq_provider.storage.policy import Overwrite, destination_error
from stoq_provider.storage.target import Target, refuse_existing

_READ_BYTES = 8 * 1024 * 1024


def check_place(place: Target, csv: Target | None, *, overwrite: Overwrite) -> None:
    """
    Check where another form of a CSV goes, before anything is requested.

    :param csv: where the CSV goes; ``None``: it is not stored.
    :param overwrite: ``False``: refuse what exists.
    :raises ValidationRejected: the place is that of the CSV, a folder, or taken.
    """
    if csv is not None and place.path == csv.path:
        raise destination_error(f"{csv.uri} can't be both the CSV and another form of it.")
    if place.is_local and os.path.isdir(place.path):  # noqa: PTH112
        raise destination_error(f"{place.path} is a folder, and another form of the CSV goes there.")
    if not overwrite:
        refuse_existing(place)


def same_content(target: Target, size: int, sha256: str, check: Callable[[], None]) -> bool:
    """
    Return whether ``target`` holds exactly the content with that length and digest.

    The size decides first; only where it is equal, the object is read back and hashed as it comes. It says
    what was there while it was read. What can't be looked at does not count as the same.

    :param check: called now and then; what it raises ends the reading.
    """
    try:
        if _size(target) != size:
            return False
        with closing(_open(target)) as file:
            return _digest(file, check) == sha256
    except (FileNotFoundError, PermissionError):
        return False


def _size(target: Target) -> int | None:
    if target.is_local:
        return os.stat(target.path).st_size  # noqa: PTH116
    # What the file system remembers of a listing may be old.
    target.fs.invalidate_cache()
    return target.fs.info(target.path).get("size")  # type: ignore[no-any-return]


def _open(target: Target) -> Any:
    if target.is_local:
        return open(target.path, "rb")  # noqa: PTH123
    return target.fs.open(target.path, "rb", block_size=_READ_BYTES, cache_type="none")


def _digest(file: Any, check: Callable[[], None]) -> str:
    digest = hashlib.sha256()
    while block := file.read(_READ_BYTES):
        digest.update(block)
        check()
    return digest.hexdigest()


def says_exists(error: BaseException | None) -> bool:
    """
    Whether a store refused a conditional put because the object is there.

    s3fs takes only some servers' words for it; of others only the answer tells that it wraps (412, or 409
    while two put at a time).
    """
    while error is not None:
        answer = getattr(error, "response", None)
        code = answer.get("Error", {}).get("Code") if isinstance(answer, Mapping) else None
        if isinstance(error, FileExistsError) or code in ("PreconditionFailed", "ConditionalRequestConflict"):
            return True
        error = error.__cause__
    return False
