"""Whether a place can be written to: asked before a job is submitted, and nothing of it stays."""

from __future__ import annotations

import logging
import os
from contextlib import suppress

from stoq_provider.download.destination import Target
from stoq_provider.download.options import destination_error
from stoq_provider.download.output import open_writer
from stoq_provider.download.store_errors import says_no

_log = logging.getLogger(__name__)


def check_access(target: Target) -> None:
    """
    Have the store begin an upload, and drop it; of a local path, look at its folder.

    A store that does not answer, or may not, is given the benefit of the doubt.

    :raises ValidationRejected: the store refuses for good.
    """
    try:
        if target.is_local:
            _check_folder(target.path)
        else:
            _begin(target)
    except Exception as error:
        problem = f"{target.uri} can't be written to: {type(error).__name__}: {error}"
        if says_no(error):
            raise destination_error(f"{problem.rstrip('.')}.") from error
        _log.warning("Whether %s can be written to was not found out: %s", target.uri, error)


def _begin(target: Target) -> None:
    writer = open_writer(target)
    try:
        writer.begin()
    finally:
        try:
            writer.abort()
        except Exception as error:
            _log.warning("An upload that was begun to try %s out could not be dropped: %s", target.uri, error)


def _check_folder(path: str) -> None:
    with suppress(FileNotFoundError):
        os.lstat(path)  # raises where it could never be made
    folder = os.path.dirname(path)  # noqa: PTH120
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)  # noqa: PTH120
    if not os.path.isdir(folder):  # noqa: PTH112
        raise NotADirectoryError(f"{folder} is no folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"no permission to write in {folder}")
