"""
Requests, responses, and what a response means.

STOQ reports success with a bare payload and errors with ``{"errors": [...]}``; its rate-limit page shows
``{"error", "message", "retry_after"}`` for 429 (documented: getting-started, rate-limits). Proxies and
crashed servers send whatever they like, so every other body is read as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from stoq_provider.core.error_text import code_of, hide_queries, messages_of, one_line, plain_text

LONGEST_WAIT = 3600.0
"""Most seconds that a server may make us wait: a broken figure must not stop a shop for good."""

MESSAGES = 5
"""Messages that are kept of one response."""

MOST_DEPTH = 100
"""
Objects within objects that a payload may have. What goes through them takes a few calls for each, of the
thousand that Python allows, and answers in use have some ten.
"""


class MalformedResponse(ValueError):
    """The server's JSON lacks a field, or a field has the wrong kind."""


@dataclass(frozen=True, slots=True)
class Request:
    """
    One call. ``url`` is absolute; ``params`` become the query string, ``json`` the body.

    :param safe: whether it only reads although its method is not one for reads.
    """

    method: str
    url: str
    params: Mapping[str, Any] | None = None
    json: Any = None
    safe: bool = False

    @property
    def target(self) -> str:
        """Method and path, for messages: a query may hold what does not belong in a log."""
        return f"{self.method} {urlsplit(self.url).path}"

    @property
    def reads_only(self) -> bool:
        """Whether sending it twice changes nothing."""
        return self.safe or self.method in ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Response:
    """
    One whole response; header names in lower case.

    :param flaw: why there is no body, although one came.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """
    What the headers say of the shop's points.

    ``limit`` and ``remaining`` in points, ``reset_in`` and ``retry_after`` in seconds from the response.
    Each is ``None`` where the server did not say.
    """

    limit: int | None = None
    remaining: int | None = None
    reset_in: float | None = None
    retry_after: float | None = None


class ProblemKind(str, Enum):
    """What kind of refusal or nonsense a response is."""

    AUTHENTICATION = "authentication"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    VALIDATION = "validation"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    PROTOCOL = "protocol"
    NOT_SENT = "not_sent"
    LOST_CONNECTION = "lost_connection"


@dataclass(frozen=True, slots=True)
class Problem:
    """
    Why there is no payload.

    ``maybe_processed`` tells whether the server may have acted on the request: no after a refusal
    (4xx, 429, connection refused), perhaps after a time-out, a reset, a 5xx, or a 2xx that can't be read.

    :param code: the server's own name of the error, such as ``not_allowed``; empty where it has none.
    """

    kind: ProblemKind
    messages: tuple[str, ...] = ()
    http_status: int | None = None
    code: str = ""

    @property
    def maybe_processed(self) -> bool:
        """Whether the server may have acted on the request."""
        return self.kind in (ProblemKind.UNAVAILABLE, ProblemKind.PROTOCOL, ProblemKind.LOST_CONNECTION)

    @property
    def text(self) -> str:
        """The server's words, or ours where it had none, on one line."""
        text = "; ".join(self.messages) or self.kind.value.replace("_", " ")
        return f"HTTP {self.http_status}: {text}" if self.http_status else text


@dataclass(frozen=True, slots=True)
class Decoded:
    """A payload or a problem, and the rate limit of the headers."""

    payload: Any = None
    problem: Problem | None = None
    rate_limit: RateLimit = RateLimit()


_KINDS = {
    400: ProblemKind.VALIDATION,
    401: ProblemKind.AUTHENTICATION,
    403: ProblemKind.AUTHENTICATION,
    404: ProblemKind.NOT_FOUND,
    408: ProblemKind.UNAVAILABLE,
    409: ProblemKind.CONFLICT,
    410: ProblemKind.NOT_FOUND,
    422: ProblemKind.VALIDATION,
    425: ProblemKind.UNAVAILABLE,
    429: ProblemKind.RATE_LIMITED,
}


def read(response: Response | Problem, *, now: float, secrets: Sequence[str] = ()) -> Decoded:
    """
    Decode a response, or take over the problem that there is none.

    :param now: Unix seconds, used where the server sent no ``Date`` of its own.
    :param secrets: strings that are struck out of payload and messages, should the server echo them.
    """
    if isinstance(response, Problem):
        return Decoded(problem=response)
    response = _without(secrets, response)
    payload, is_json = None, False
    try:
        payload, is_json = _sendable(json.loads(response.body), secrets), True
    except RecursionError:
        flaw = f"the JSON holds more than {MOST_DEPTH} objects within each other"
        response = replace(response, body=b"", flaw=flaw)
    except ValueError:
        pass
    rate_limit = read_rate_limit(response, payload, now)
    if 200 <= response.status < 300:
        if is_json:
            return Decoded(payload=payload, rate_limit=rate_limit)
        kind = ProblemKind.PROTOCOL
        messages: tuple[str, ...] = (_describe_body(response),)
    else:
        kind = _kind_of(response.status)
        messages = _messages(response, payload)
    messages = tuple(one_line(hide_queries(_strike_out(m, secrets))) for m in messages[:MESSAGES])
    return Decoded(problem=Problem(kind, messages, response.status, code_of(payload)), rate_limit=rate_limit)


def _sendable(value: Any, secrets: Sequence[str], depth: int = 0) -> Any:
    """
    Return a payload that can go anywhere: what can't would end Airflow's whole triggerer in an event.

    Secrets are struck out here again, since JSON may write the characters of a text in several ways.
    Half of an emoji, which is what JavaScript leaves where it cuts one, is no UTF-8, and is replaced. NUL,
    which PostgreSQL can't hold, is left out. A number that takes more than 64 bits, as MessagePack has them,
    becomes a text. NaN, or a number that is too large for a float, becomes null, as JavaScript writes it.

    :raises RecursionError: where it is nested deeper than :data:`MOST_DEPTH`.
    """
    if isinstance(value, str):
        return _strike_out(value.encode("utf-8", "replace").decode().replace("\0", ""), secrets)
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, float):
        return value if isfinite(value) else None
    if depth >= MOST_DEPTH and value:
        raise RecursionError
    if isinstance(value, list):
        return [_sendable(item, secrets, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_sendable(key, secrets): _sendable(item, secrets, depth + 1) for key, item in value.items()}
    return value


def _kind_of(status: int) -> ProblemKind:
    if status >= 500:
        return ProblemKind.UNAVAILABLE
    if status < 400:
        return ProblemKind.PROTOCOL
    return _KINDS.get(status, ProblemKind.VALIDATION)


def _messages(response: Response, payload: Any) -> tuple[str, ...]:
    text = response.flaw or plain_text(response.body)
    if not text and 300 <= response.status < 400:
        text = "redirects are not followed, because the key would go along"
    return messages_of(payload) or ((text,) if text else ())


def _describe_body(response: Response) -> str:
    if response.flaw:
        return response.flaw
    if not response.body.strip():
        return "the body is empty where JSON was expected"
    content_type = response.headers.get("content-type", "no content type")
    start = plain_text(response.body)[:80]
    return f"the body is not JSON ({content_type}, {len(response.body)} bytes): {start}"


def _without(secrets: Sequence[str], response: Response) -> Response:
    """Strike secrets out of the whole body: half of one, left by a later cut, would not be found."""
    body = response.body
    for secret in filter(None, secrets):
        body = body.replace(secret.encode(), b"***")
    return replace(response, body=body)


def _strike_out(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


def read_rate_limit(response: Response, payload: Any, now: float) -> RateLimit:
    """
    Read ``X-RateLimit-*`` and ``Retry-After`` (documented: rate-limits).

    The reset is given in Unix seconds of the server's clock. It is compared with the response's own
    ``Date``, so that a wrong clock on either side does no harm. For a 429 the order is: ``Retry-After``,
    ``retry_after`` of the body, the reset (inferred; v2's own 429 is not documented).
    """
    headers = response.headers
    server_now = _http_date(headers.get("date")) or now
    reset = _number(headers.get("x-ratelimit-reset"))
    reset_in = max(0.0, reset - server_now) if reset is not None else None
    retry_after = _retry_after(headers.get("retry-after"), server_now)
    if retry_after is None and response.status == 429:
        body_says = payload.get("retry_after") if isinstance(payload, Mapping) else None
        retry_after = _number(body_says)
        retry_after = reset_in if retry_after is None else max(0.0, retry_after)
    if retry_after is not None:
        retry_after = min(retry_after, LONGEST_WAIT)
    return RateLimit(
        limit=_whole(headers.get("x-ratelimit-limit")),
        remaining=_whole(headers.get("x-ratelimit-remaining")),
        reset_in=reset_in,
        retry_after=retry_after,
    )


def _retry_after(value: str | None, server_now: float) -> float | None:
    seconds = _number(value)
    if seconds is None:
        date = _http_date(value)
        seconds = None if date is None else date - server_now
    return None if seconds is None else max(0.0, seconds)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < 1e12 else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None or number < 0 else int(number)


def _http_date(value: str | None) -> float | None:
    if not value:
        return None
    try:
        date = parsedate_to_datetime(value)
        return (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
