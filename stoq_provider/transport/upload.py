"""A file on its way to a server, as one part of a form."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from requests_toolbelt import MultipartEncoder

from stoq_provider.core.http import Request


@dataclass(frozen=True, slots=True)
class Upload(Request):
    """
    The call that sends a file.

    :param path: an ``ObjectStoragePath``.
    :param field: the name of the part.
    """

    path: Any = None
    field: str = "file"

    @contextmanager
    def form(self) -> Iterator[MultipartEncoder]:
        """
        Lend the body.

        Out of a copy on the disk: not every store knows how long a file is, which the form has to say first,
        and no store breaks or stalls while the server waits for the rest.

        :raises OSError: the file can't be read.
        """
        with tempfile.TemporaryFile() as copy:
            with self.path.open("rb") as file:
                shutil.copyfileobj(file, copy)
            copy.seek(0)
            yield MultipartEncoder({self.field: (self.path.name, copy, "text/csv")})
