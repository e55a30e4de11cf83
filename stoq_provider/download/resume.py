"""
The bytes of a remote file, taken up again where the connection broke.

:class:`Source` hands out chunks from byte zero on. What cannot be continued safely, because the file
changed or the server does not resume, is begun again: :class:`StartOver` tells the consumer to throw away
what it has and to call :meth:`Source.chunks` once more. Bytes of two versions are never joined.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, Any

from stoq_provider.download import responses
from stoq_provider.download.options import DownloadOptions, download_error
from stoq_provider.download.responses import Trouble, Verdict, Wanted, describe
from stoq_provider.download.ssrf import SignedUrl, parse_url

if TYPE_CHECKING:
    import requests

    from stoq_provider.exceptions import DownloadError

CHUNK_BYTES = 1024 * 1024
"""Size of a chunk: large ones are what makes a transfer in Python as fast as in C."""

_SMALL_BYTES = 16 * 1024
_GATHER_SECONDS = 0.5
_BACKOFF_SECONDS = 0.5
_MAX_BACKOFF_SECONDS = 30.0
_NAP_SECONDS = 0.25
_ERROR_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")


class StartOver(Exception):
    """What was handed out so far must be thrown away; :meth:`Source.chunks` begins again at byte zero."""


class Source:
    """
    Reads one remote file in one thread; close it after use.

    :param get_url: returns a fresh pre-signed URL. Called before the first request, and again after the
        server refused a URL (400 and 403, on a resumed request also 404: stores say it differently).
    :param should_stop: asked between chunks and while waiting.

    ``host``: for messages. ``received``: bytes of this pass. ``total``: announced length in bytes, or
    ``None``. ``framed``: whether HTTP itself tells the end of the body, by a length or by chunks; if not,
    a cut connection looks like the end, over TLS as well: many servers leave its ``close_notify`` out.
    ``gzipped``: whether the bytes are gzip, known once the first of
    them are there. ``resumes``: broken tries so far.
    """

    def __init__(
        self,
        get_url: Callable[[], str],
        options: DownloadOptions,
        *,
        should_stop: Callable[[], bool],
        log: logging.Logger,
    ) -> None:
        from stoq_provider.download.session import GuardedSession  # loads requests

        self.host = "the file's host"
        self.received = 0
        self.total: int | None = None
        self.framed = False
        self.gzipped = False
        self.resumes = 0
        self._end: int | None = None  # of what the response announces
        self._get_url = get_url
        self._options = options
        self._should_stop = should_stop
        self._log = log
        self._session = GuardedSession(options, self.check)
        self._url: SignedUrl | None = None
        self._etag: str | None = None
        self._refused = False
        self._failures = 0  # in a row, without a byte in between
        self._closed = False
        self._started = time.monotonic()

    def close(self) -> None:
        """
        Drop the connection; from another thread as well, which ends a read that waits for bytes.

        It counts as a stop: the end that is put to a read looks like that of the body.
        """
        self._closed = True
        self._session.close()

    def chunks(self) -> Generator[bytes, None, None]:
        """
        Yield the file from byte zero to its end, about a mebibyte at a time.

        Ends normally only if as many bytes came as were announced. Without an announced length
        (:attr:`total` is ``None``) the end of the connection has to count as the end of the file.

        :raises StartOver: throw away what came and call again.
        :raises DownloadError: given up.
        """
        self.received, self.total, self._etag = 0, None, None
        self.gzipped = self._refused = False
        while True:
            response = self._response()
            with closing(response):
                trouble = yield from self._read(response)
            surplus = self._end is not None and self.received > self._end
            if not trouble and not surplus and self.total in (None, self.received):
                self._session.close()
                return
            if surplus:
                trouble = "more bytes came than were announced"
            trouble = trouble or "the body ended early"
            self._again(trouble)
            if surplus or (self.received and self._etag is None):
                raise StartOver(trouble)

    # --- asking -----------------------------------------------------------------------------------

    def _response(self) -> requests.Response:
        """Return a response whose body goes on at :attr:`received`."""
        response = self._request()
        if self.received == 0:
            self.total = self._end = responses.body_length(response.headers)
            self.framed = self.total is not None or responses.is_chunked(response.headers)
            self._etag = responses.strong_etag(response.headers)
            self.gzipped = responses.is_gzipped(response.headers)
        elif part := responses.content_part(response.headers):
            self.total, self._end, self.framed = part.total or self.total, part.end, True
        return response

    def _request(self) -> requests.Response:
        while True:
            self.check()
            wanted = Wanted(self.received, self.total, self._etag, self.gzipped)
            got = self._session.get(self._current_url(), wanted.headers())
            if not isinstance(got, Trouble):
                response = self._use(got, wanted)
                if response is not None:
                    return response
            elif got.final:
                raise self._error(f"{got.reason}.")
            else:
                self._again(got.reason)

    def _use(self, response: requests.Response, wanted: Wanted) -> requests.Response | None:
        """Return the response if its body is what was asked for, or ``None`` to ask once more."""
        verdict, reason = responses.judge(response.status_code, response.headers, wanted)
        if verdict is Verdict.TAKE:
            self._refused = False
            return response
        if response.status_code >= 400:
            body, _, _ = _next_chunk(response.raw, self._session.waiting())
            # The rest of a store's response may quote the signature.
            code = _ERROR_CODE.search(body)
            reason += f" {code[1].decode()}" if code else ""
        response.close()
        self._session.close()
        if verdict is Verdict.ANEW:
            raise StartOver(reason)
        if verdict is Verdict.RETRY:
            self._again(reason, responses.retry_after(response.headers))
            return None
        if verdict is Verdict.FRESH_URL and not self._refused:
            self._refused = True
            self._url = None
            self._log.info("%s refused the download URL (%s): asking for a fresh one", self.host, reason)
            return None
        fresh = ", with a fresh URL as well" if self._refused else ""
        raise self._error(f"{reason}{fresh}.", response.status_code)

    def _current_url(self) -> SignedUrl:
        if self._url is None:
            url = parse_url(self._get_url())
            if isinstance(url, Trouble):
                raise self._error(f"{url.reason}.")
            self._url, self.host = url, url.host
        return self._url

    # --- reading ----------------------------------------------------------------------------------

    def _read(self, response: requests.Response) -> Generator[bytes, None, str]:
        """Yield the chunks of one response; return why it broke off, or ``""`` at its end."""
        while True:
            chunk, trouble, ended = _next_chunk(response.raw, self._session.waiting())
            self.check()
            if chunk:
                self.received += len(chunk)
                self._failures = 0
                yield chunk
            if trouble or ended:
                return trouble

    # --- going on and giving up -------------------------------------------------------------------

    def _again(self, reason: str, wait: float = 0.0) -> None:
        """Count a broken try and wait before the next; raise if there is none."""
        self._session.close()
        self.check()
        if self.resumes >= self._options.max_resumes:
            raise self._error(f"{reason}; gave up after {self.resumes + 1} tries.")
        self.resumes += 1
        self._failures += 1
        self._log.warning(
            "Download from %s broke at byte %s of %s (%s): going on, %s of %s",
            self.host,
            self.received,
            "unknown" if self.total is None else self.total,
            reason,
            self.resumes,
            self._options.max_resumes,
        )
        self._sleep(max(wait, _backoff(self._failures)))

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, _NAP_SECONDS))

    def check(self) -> None:
        """
        Ask whether the download is still wanted.

        :raises DownloadError: the task was stopped, or the deadline has passed.
        """
        if self._closed or self._should_stop():
            raise self._error("the task was stopped.")
        limit = self._options.deadline
        if limit is not None and time.monotonic() - self._started > limit:
            raise self._error(f"not done within the deadline of {limit:g} s.")

    def _error(self, reason: str, http_status: int | None = None) -> DownloadError:
        total = "" if self.total is None else f" of {self.total}"
        return download_error(
            f"The result could not be downloaded from {self.host}: {reason} "
            f"{self.received}{total} bytes had arrived.",
            http_status=http_status,
        )


def _next_chunk(raw: Any, limit: AbstractContextManager[None]) -> tuple[bytes, str, bool]:
    """
    Return the next bytes as sent, why the connection broke (or ``""``), and whether this was the end.

    On a slow line it returns with what has come, so that stops and deadlines are heard in between.

    :param raw: urllib3's response.
    :param limit: raises where a byte does not come in time.
    """
    from urllib3.exceptions import HTTPError  # loads urllib3, which importing this module must not

    # urllib3 1.26 has nothing that returns with what is there; waiting for a little takes no long time.
    read, most = (raw.read1, CHUNK_BYTES) if hasattr(raw, "read1") else (raw.read, _SMALL_BYTES)
    parts: list[bytes] = []
    missing, until = CHUNK_BYTES, time.monotonic() + _GATHER_SECONDS
    trouble, ended = "", False
    try:
        with limit:
            while missing and not ended and time.monotonic() < until:
                part = read(min(missing, most), decode_content=False) or b""
                parts.append(part)
                missing -= len(part)
                ended = not part
    except (HTTPError, OSError, ValueError) as error:
        # What came before is good: only the read that broke is lost, and will be fetched again.
        trouble = describe(error)
    return b"".join(parts), trouble, ended


def _backoff(failures: int) -> float:
    """Return seconds to wait, doubled with every failure in a row, with jitter."""
    doubled = _BACKOFF_SECONDS * 2.0 ** min(failures - 1, 16)
    return min(_MAX_BACKOFF_SECONDS, doubled + random.uniform(0, _BACKOFF_SECONDS))  # noqa: S311 - jitter
