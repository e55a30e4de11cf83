"""A file on its way to a server: streamed out of any store, as one part of a form."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import uuid4

from requests import exceptions

from stoq_provider.core.http import Decoded, Response, read
from stoq_provider.transport.auth import LoginFailed
from stoq_provider.transport.log_filter import quietly
from stoq_provider.transport.session import KeyAuth, describe_failure

if TYPE_CHECKING:
    import requests

    from stoq_provider.transport.settings import ConnectionSettings

CHUNK = 256 * 1024
"""Bytes that are read and sent at a time."""


class FileForm:
    """
    The body of a ``multipart/form-data`` request with one file in it.

    It can be sent once. Its length is announced where the store knows that of the file.
    """

    def __init__(self, file: BinaryIO, *, field: str, name: str, size: int | None) -> None:
        boundary = uuid4().hex
        self._file = file
        self._head = (
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="{field}"; filename={_quoted(name)}\r\n'
            "Content-Type: text/csv\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._size = size
        self.content_type = f"multipart/form-data; boundary={boundary}"
        if size is not None:
            # requests announces a body's ``len``, and sends one without in HTTP chunks.
            self.len = len(self._head) + size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the parts; the file is read as they are asked for."""
        yield self._head
        sent = 0
        while chunk := self._file.read(CHUNK):
            sent += len(chunk)
            yield chunk
        if self._size is not None and sent != self._size:
            raise exceptions.ChunkedEncodingError("the file is not as long as its store says")
        yield self._tail


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
    secrets = session.auth.login.secrets if isinstance(session.auth, KeyAuth) else (settings.key,)
    try:
        with path.open("rb") as file:
            form = FileForm(file, field=field, name=path.name, size=_size(path))
            response = quietly(
                session.post,
                url,
                data=form,
                headers={"Content-Type": form.content_type},
                timeout=settings.timeout,
                allow_redirects=False,
            )
    except exceptions.RequestException as error:
        return Decoded(problem=describe_failure(error, settings.timeout))
    except LoginFailed as error:
        return error.answer
    headers = {name.lower(): value for name, value in response.headers.items()}
    return read(Response(response.status_code, headers, response.content), now=time.time(), secrets=secrets)


def _size(path: Any) -> int | None:
    size = path.stat().st_size
    return size if isinstance(size, int) and size >= 0 else None


def _quoted(name: str) -> str:
    """Quote a file name as JSON does: no quote or line break in it can end the header."""
    return json.dumps(name, ensure_ascii=False)
