"""A file on its way to a server, as one part of a form."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO

from requests_toolbelt import MultipartEncoder

from stoq_provider.core.http import Request


@dataclass(frozen=True, slots=True)
class Upload(Request):
    """
    The call that sends a file.

    :param file: on this machine: the form has to say first how long it is, and no store breaks or stalls
        while the server waits for the rest.
    :param name: of the file.
    :param part: the name of the part.
    """

    file: BinaryIO = field(default_factory=BytesIO, repr=False)
    name: str = ""
    part: str = "file"

    def form(self) -> MultipartEncoder:
        """Return the body."""
        self.file.seek(0)
        return MultipartEncoder({self.part: (self.name, self.file, "text/csv")})
