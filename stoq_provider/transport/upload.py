"""A file on its way to a server: streamed out of any store, as one part of a form."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from requests import exceptions
from requests_toolbelt import MultipartEncoder

from stoq_provider.core.http import Decoded, Problem, Request, read
from stoq_provider.transport.auth import LoginFailed
from stoq_provider.transport.session import KeyAuth, exchange

if TYPE_CHECKING:
    import requests

    from stoq_provider.transport.settings import ConnectionSettings


class FileBody:
    """A file as the encoder wants it: ``len`` bytes are left to be read, no fewer and no more."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.len = size

    def read(self, size: int = -1) -> bytes:
        """
        Read on.

        :raises ChunkedEncodingError: the file is longer or shorter; the request that it is in breaks off.
        """
        chunk = self._file.read(self.len if size < 0 else min(size, self.len))
        self.len -= len(chunk)
        if (self.len and not chunk) or (not self.len and self._file.read(1)):
            raise exceptions.ChunkedEncodingError("the file is not as long as its store says")
        return chunk


def upload(
    session: requests.Session, settings: ConnectionSettings, url: str, path: Any, *, field: str
) -> Decoded:
    """
    Send a file once; a token that has expired is renewed, and the file sent anew.

    :param path: an ``ObjectStoragePath``.
    :return: what the server answered; problems are values.
    :raises OSError: the file can't be read.
    """
    answer = _send(session, settings, url, path, field)
    auth = session.auth
    if isinstance(auth, KeyAuth) and auth.login.refused(answer, auth.login.token):
        answer = _send(session, settings, url, path, field)
    return answer


def _send(
    session: requests.Session, settings: ConnectionSettings, url: str, path: Any, field: str
) -> Decoded:
    try:
        with _opened(path) as body:
            form = MultipartEncoder({field: (path.name, body, "text/csv")})
            headers = {"Content-Type": form.content_type}
            result = exchange(session, Request("POST", url), settings.timeout, data=form, headers=headers)
    except LoginFailed as error:
        return error.answer
    if isinstance(result, Problem):
        return Decoded(problem=result)
    secrets = session.auth.login.secrets if isinstance(session.auth, KeyAuth) else (settings.key,)
    return read(result, now=time.time(), secrets=secrets)


@contextmanager
def _opened(path: Any) -> Iterator[FileBody]:
    size = path.stat().st_size
    with path.open("rb") as file:
        if isinstance(size, int) and size > 0:
            yield FileBody(file, size)
            return
        # The store does not know how long the file is, and the form has to say so.
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy)
            size = copy.tell()
            copy.seek(0)
            yield FileBody(copy, size)
