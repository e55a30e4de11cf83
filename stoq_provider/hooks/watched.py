"""Which print jobs or orders a sensor is given."""

from __future__ import annotations

import json
from ast import literal_eval
from collections.abc import Iterable, Mapping
from typing import Any

from stoq_provider.core.validation import InvalidInput
from stoq_provider.exceptions import ValidationRejected


def watched_ids(given: Any) -> list[str]:
    """
    Read ids: a list of them, of objects with an ``id``, a manifest with ``orders``, or JSON of these.

    Lists in lists, as mapped tasks return them, are taken apart.

    :raises InvalidInput: where it is none of these.
    """
    if isinstance(given, str):
        text = given.strip()
        if text[:1] not in ("{", "["):
            return [text]
        given = _loads(text)
    if isinstance(given, Mapping):
        return _of_object(given)
    if not isinstance(given, Iterable):
        raise InvalidInput(f"ids are given as a list, not as {type(given).__name__}")
    return [item_id for item in given for item_id in watched_ids(item)]


def _loads(text: str) -> Any:
    # The second is what a template renders of a Python object, where templates are not native.
    for read in (json.loads, literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError):
            continue
    raise InvalidInput(f"the ids given as text are no JSON: {text[:80]!r}")


def _of_object(given: Mapping[str, Any]) -> list[str]:
    if "orders_uri" in given:
        return _stored(str(given["orders_uri"]))
    if "orders" in given:
        return watched_ids(given["orders"])
    if given.get("id") is None:
        raise InvalidInput(f"an object without an 'id': its keys are {sorted(map(str, given))[:10]}")
    return [str(given["id"])]


def _stored(uri: str) -> list[str]:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    try:
        text = ObjectStoragePath(uri).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = ValidationRejected(f"The ids could not be read from {uri} ({type(error).__name__}).")
    else:
        return [line.strip() for line in text.splitlines() if line.strip()]
    raise problem
