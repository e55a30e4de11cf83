"""What a server says in words: read from any body, shortened, and without what must not be shown."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

MESSAGE_LENGTH = 300
"""Characters that are kept of one message of the server."""


def sentences(*parts: str) -> str:
    """Join parts of a message, and end each with a full stop unless it has an end already."""
    return " ".join(part if part.endswith((".", "?", "!")) else f"{part}." for part in parts if part)


def messages_of(payload: Any) -> tuple[str, ...]:
    """
    Read the words of an error.

    ``errors`` (STOQ v2), ``error`` and ``message`` (STOQ v1 and its documented 429; Medusa; PrintStudio),
    ``validation_errors`` (SureCart), ``details`` beside an ``error`` (PrintStudio). Entries of a list are
    texts, or objects with a ``message``. Other fields are left alone: some of Medusa's objects hold an API
    token.
    """
    if not isinstance(payload, Mapping):
        return ()
    errors = payload.get("errors")
    if isinstance(errors, str) and errors:
        return (errors,)
    if isinstance(errors, list) and errors:
        return tuple(message_of(e) for e in errors)
    texts = [message_of(payload[key]) for key in ("error", "message") if payload.get(key)]
    listed = payload.get("validation_errors")
    texts += [_of_field(e) for e in listed] if isinstance(listed, list) else []
    texts += _of_details(payload.get("details")) if payload.get("error") else []
    return tuple(dict.fromkeys(texts))


def _of_field(error: Any) -> str:
    """Name the field as well, where the message does not: ``record_ids: can't be blank``."""
    text = message_of(error)
    field = error.get("attribute") if isinstance(error, Mapping) else None
    named = not isinstance(field, str) or field.replace("_", " ").lower() in text.lower()
    return text if named else f"{field}: {text}"


def _of_details(details: Any) -> list[str]:
    """Read ``{"index": 3, "skuId": "sku_1"}`` as ``index 3, skuId sku_1``."""
    found = details.items() if isinstance(details, Mapping) else ()
    text = ", ".join(f"{key} {value}" for key, value in found if isinstance(value, (str, int)))
    return [text] if text else []


def message_of(error: Any) -> str:
    """Return the text of one error, which is a text or an object with a ``message``."""
    if isinstance(error, Mapping):
        text = next((error[key] for key in ("message", "error", "code", "type") if error.get(key)), None)
        return str(text) if isinstance(text, (str, int)) else "an error without a message"
    return str(error)


def code_of(payload: Any) -> str:
    """Read the server's name of an error (Medusa and SureCart: ``type``; PrintStudio: ``code``)."""
    if not isinstance(payload, Mapping):
        return ""
    names = (payload.get(key) for key in ("type", "code"))
    return next((name[:80] for name in names if isinstance(name, str)), "")


def plain_text(body: bytes) -> str:
    """
    Return the text of a body that is no JSON, on one line and without markup.

    Of an error page of Express (M, Medusa 400, 404 and 413) only the message is kept: a stack trace follows.
    """
    text = body[: 20 * MESSAGE_LENGTH].decode("utf-8", "replace")
    text = re.sub(r"(?is)<(script|style)\b.*?</\1>", " ", text)
    message = re.search(r"(?is)<pre>(.*?)(?:<br>|</pre>|$)", text)
    text = message[1] if message and message[1].strip() else text
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


def one_line(text: str, length: int = MESSAGE_LENGTH) -> str:
    """Return the beginning of a text, with its white space made single, and NUL, which no database takes."""
    # So many words are long enough; a list of all those in a large body would take many times its memory.
    return " ".join(text.replace("\0", " ").split(maxsplit=length))[:length]


def hide_queries(text: str) -> str:
    """
    Strike the query and the login out of every URL in a text: in a pre-signed one the query is the secret.

    Signatures are struck by their names as well, should the URL before them be cut or written oddly.
    """
    text = _LOGIN.sub(r"\1***@", text)
    text = _QUERY.sub(lambda url: f"{url[1]}?***" if url[2] else url[0], text)
    return _SIGNATURE.sub(r"\1=***", text)


# Each takes what it has gone through, or ends soon: a server's text of megabytes, in which every URL is
# looked at from its beginning to the end of the text, would hold up a whole triggerer.
# JSON may write a slash with a backslash before it.
_URL = r"https?:\\?/\\?/"
_LOGIN = re.compile(rf"(?i)({_URL})[^\s/?#\"'<>@]+@")
_QUERY = re.compile(rf"(?i)({_URL}[^\s?\"'<>]+)(\?[^\s\"'<>]+)?")
_SIGNATURE = re.compile(
    r"(?i)\b(x-(?:amz|goog)-[a-z-]{1,60}|signature|sig|awsaccesskeyid|googleaccessid|token)=(?!\*)[^\s&\"'<>]+"
)
