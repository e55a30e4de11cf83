"""
How a response to a request for bytes is judged, and the words for where there is none.

Pure: status and headers in, a verdict out; an exception in, words without a URL out.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from stoq_provider.transport.causes import cause_of, chain_of

# More digits are no length; and int() refuses some thousands of them by a plain ValueError.
_DIGITS = re.compile(r"[0-9]{1,18}")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_TRANSIENT = (408, 425, 429)
_MAX_WAIT = 60
_GZIP = (["gzip"], ["x-gzip"])
# What uploads leave behind in this header although it encodes nothing.
_NO_CODINGS = ("", "identity", "none", "binary", "7bit", "8bit", "aws-chunked")
_CHARSET = re.compile(r"utf-?(8|16|32)(-?[bl]e)?|(us-)?ascii|iso-?8859-?\d+|latin-?1|(windows-|cp)125\d")


class Verdict(Enum):
    """What to do with a response."""

    TAKE = "read its body: it goes on where we are"
    ANEW = "throw away what we have and ask for the whole"
    FRESH_URL = "ask for a fresh URL"
    RETRY = "ask again after a pause"
    FAIL = "give up"


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    Where a transfer stands.

    :param offset: bytes received so far; 0: the whole body was asked for, without ``Range``.
    :param total: length of the whole body in bytes, where it is known.
    :param etag: strong validator of the body the received bytes belong to. Without one nothing can be
        continued: the whole is asked for again.
    :param gzipped: whether the received bytes are gzip. Offsets count the bytes as they are sent.
    """

    offset: int = 0
    total: int | None = None
    etag: str | None = None
    gzipped: bool = False

    def headers(self) -> dict[str, str]:
        """
        Return the request headers that ask for the rest.

        ``If-Match`` beside ``If-Range``: object stores in use respond to the first with 412 and ignore the
        second, other servers do it the other way round. Neither is trusted, see :func:`judge`.
        """
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        if self.offset and self.etag:
            headers |= {"Range": f"bytes={self.offset}-", "If-Range": self.etag, "If-Match": self.etag}
        return headers


def judge(status: int, headers: Mapping[str, str], wanted: Wanted) -> tuple[Verdict, str]:
    """
    Return what to do with a response, and the reason in words.

    :param headers: looked up in any letter case.
    """
    if status in (200, 206):
        codings = _codings(headers)
        if codings and codings not in _GZIP:
            named = ", ".join(codings)[:20]
            return Verdict.FAIL, f"the body is encoded ({named}), although identity was asked for"
        transfer = headers.get("Transfer-Encoding", "").strip().lower()
        if transfer not in ("", "identity", "chunked"):
            return Verdict.FAIL, f"the body comes in a form that cannot be read ({transfer[:20]})"
        return _judge_body(status, headers, wanted)
    if wanted.offset and status in (412, 416):
        return Verdict.ANEW, f"the file changed (HTTP {status})"
    if status in (400, 403) or (wanted.offset and status == 404):
        return Verdict.FRESH_URL, f"HTTP {status}"
    if status in _TRANSIENT or status >= 500:
        return Verdict.RETRY, f"HTTP {status}"
    return Verdict.FAIL, f"HTTP {status}"


def _judge_body(status: int, headers: Mapping[str, str], wanted: Wanted) -> tuple[Verdict, str]:
    content_range = headers.get("Content-Range")
    if not wanted.offset:
        if status == 206 or content_range is not None:
            return Verdict.FAIL, "a part came where the whole was asked for"
        return Verdict.TAKE, ""
    # Some servers send a part with 200: the header is the truth, not the status.
    if status == 200 and content_range is None:
        return Verdict.ANEW, "the whole file came again: the server cannot resume, or the file changed"
    if wanted.etag is None or strong_etag(headers) != wanted.etag:
        return Verdict.ANEW, "the file changed (another ETag)"
    if is_gzipped(headers) is not wanted.gzipped:
        return Verdict.ANEW, "the rest came in another encoding"
    part = content_part(headers)
    if part is None or body_length(headers) not in (None, part.end - part.first):
        return Verdict.ANEW, "the part came without a Content-Range that can be right"
    return _judge_part(part, wanted)


def _judge_part(part: Part, wanted: Wanted) -> tuple[Verdict, str]:
    if part.first != wanted.offset:
        other = f"another part came (from byte {part.first}) than was asked for ({wanted.offset})"
        return Verdict.ANEW, other
    if part.total is None and wanted.total is None:
        return Verdict.ANEW, "the part does not say how long the whole is"
    if None not in (part.total, wanted.total) and part.total != wanted.total:
        return Verdict.ANEW, f"the file changed (now {part.total} bytes)"
    return Verdict.TAKE, ""


@dataclass(frozen=True, slots=True)
class Part:
    """What a ``Content-Range`` says: from the byte ``first`` up to before ``end``, of ``total`` if known."""

    first: int
    end: int
    total: int | None


def content_part(headers: Mapping[str, str]) -> Part | None:
    """Return the part that a response announces; ``None`` where it is none that can be."""
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if match is None:
        return None
    part = Part(int(match[1]), int(match[2]) + 1, None if match[3] == "*" else int(match[3]))
    return part if part.first < part.end <= (part.total or part.end) else None


def _codings(headers: Mapping[str, str]) -> list[str]:
    """Return what the body is encoded by."""
    names = (name.strip().lower() for name in headers.get("Content-Encoding", "").split(","))
    return [name for name in names if name not in _NO_CODINGS and not _CHARSET.fullmatch(name)]


def is_gzipped(headers: Mapping[str, str]) -> bool:
    """Return whether the body is gzip as a form of transport, to be decoded for the file itself."""
    return _codings(headers) in _GZIP


def strong_etag(headers: Mapping[str, str]) -> str | None:
    """Return the ETag if bytes of two responses that share it are the same bytes; weak ones don't say so."""
    etag = headers.get("ETag", "").strip()
    return etag if etag.startswith('"') else None


def body_length(headers: Mapping[str, str]) -> int | None:
    """Return the announced length of a body in bytes, or ``None``."""
    # Repeated ones come joined; urllib3 refuses those that differ.
    text, *others = {text.strip() for text in headers.get("Content-Length", "").split(",")}
    if "Transfer-Encoding" in headers or others or not _DIGITS.fullmatch(text):
        return None
    return int(text)


def is_chunked(headers: Mapping[str, str]) -> bool:
    """Return whether the body has an end mark of its own."""
    return "chunked" in headers.get("Transfer-Encoding", "").lower()


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds the server asks us to wait, at most a minute; 0 where it does not."""
    text = headers.get("Retry-After", "").strip()
    return float(min(int(text), _MAX_WAIT)) if _DIGITS.fullmatch(text) else 0.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """
    Why there is no response.

    :param reason: in words, without the URL.
    :param final: the same request cannot fare better.
    """

    reason: str
    final: bool = False


def describe(error: BaseException) -> str:
    """Say what went wrong in words that hold no URL: an exception of the HTTP library quotes it."""
    return cause_of(error) or f"the connection broke ({type(error).__name__})"


def is_final(error: BaseException) -> bool:
    """Return whether asking again is pointless: a certificate does not get better, nor does a bad URL."""
    return any(isinstance(cause, (ssl.SSLCertVerificationError, ValueError)) for cause in chain_of(error))
