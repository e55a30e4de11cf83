"""
Which items a bulk action takes: a list, a file, or a selection by the API's own filters.

A file may change and a selection shrinks while a job works on it. What the first try found is therefore
kept, so that a new try cuts the same chunks and finds their records again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from stoq_provider.core.error_text import hide_queries, one_line
from stoq_provider.core.ids import NUMBERS, IdKind, IdList, check_ids, read_ids
from stoq_provider.core.notes import ListNote, PieceNote
from stoq_provider.core.validation import (
    IF_RENDERED,
    InvalidInput,
    check_text,
    listed,
    plain,
    read_mapping,
    read_text,
)
from stoq_provider.exceptions import ServiceUnavailable, StoqProviderError, ValidationRejected

if TYPE_CHECKING:
    from stoq_provider.jobs.client import ListClient
    from stoq_provider.jobs.submit import Submitter
    from stoq_provider.systems.stoq.bulk import Family

PIECE = 1000
"""Ids kept in one object of the store: 40 kilobytes of UUIDs."""


class Items:
    """
    The items of a task: a list of ids, or a file of them.

    :param given: a list of ids; the URL of a file; ``{"path": ..., "column": ...}``; or text of a list or of
        a mapping, as a template renders it.
    :param what: the parameter's name, for messages.
    :param resource: what the items are; names what is kept.
    :param most: ids taken at the most.
    :param kind: what ids look like.
    """

    def __init__(self, given: Any, *, what: str, resource: str, most: int, kind: IdKind = NUMBERS) -> None:
        self._raw = given
        self._resource = resource
        self._most = most
        self._kind = kind
        self.what = what

    @property
    def stable(self) -> bool:
        """
        Whether a new try surely finds the same items.

        :raises InvalidInput: where what was given as text can't be read.
        """
        return not isinstance(self._given, (str, Mapping))

    @cached_property
    def _given(self) -> Any:
        """What was given; text of a list or a mapping is read."""
        raw = self._raw
        start = raw.strip()[:1] if isinstance(raw, str) else ""
        # No path is taken for one that begins so; {"path": ...} can name such a file.
        if start not in ("[", "{"):
            return read_mapping(raw, self.what) if isinstance(raw, Mapping) else raw
        return read_text(
            raw,
            f"{self.what} given as text that begins with {start!r} must be a list or a mapping, as JSON or "
            "as Python writes it, and this text is neither",
        )

    def resolve(self) -> IdList:
        """
        Find the items now.

        :raises InvalidInput: where they are not what they must be.
        """
        given = self._given
        if isinstance(given, str):
            return self._from_file(given, None)
        if not isinstance(given, Mapping):
            return self._checked(given)
        if "path" in given:
            odd = [key for key in given if key not in ("path", "column")]
            if odd:
                raise InvalidInput(f"{self.what}: a file is given as {{'path', 'column'}}; unknown: {odd}")
            column = given.get("column")
            return self._from_file(
                check_text(given["path"], f"'path' in {self.what}"),
                None if column is None else check_text(column, f"'column' in {self.what}"),
            )
        return self._checked(self._from_list(given))

    def kept(self, submitter: Submitter) -> IdList:
        """Return the items that the first try found, and keep them if this is the first."""
        if self.stable:
            return self.resolve()
        key = self._key(submitter)
        found = _read_kept(submitter, key)
        if found is None:
            found = self.resolve()
            if found.ids:  # what is empty may be filled by the next try
                _keep(submitter, key, found)
        return found

    def note_keys(self, submitter: Submitter) -> list[str]:
        """Return the names under which the items are kept."""
        if self.stable:
            return []
        key = self._key(submitter)
        head = submitter.load_note(key, ListNote)
        return [key, *(f"{key}-{number}" for number in range(head.pieces if head else 0))]

    def _key(self, submitter: Submitter) -> str:
        given = json.dumps([self._resource, self._given], sort_keys=True, default=str)
        return submitter.name(f"items:{sha256(given.encode()).hexdigest()}")

    def _checked(self, ids: Any) -> IdList:
        return check_ids(ids, what=self.what, most=self._most, kind=self._kind)

    def _from_file(self, path: str, column: str | None) -> IdList:
        if "/" not in path:
            raise InvalidInput(
                f"{self.what} given as text must be the path of a file: {path[:80]!r}; a list stands in "
                f"brackets; {IF_RENDERED}"
            )
        if path.startswith("gid://"):
            raise InvalidInput(
                f"{self.what} must be a list of ids, not the id of one thing at Shopify ({path[:80]!r}), of "
                "which the number at the end is the id"
            )
        with _lines(path) as lines:
            what = f"the file {path}"
            return read_ids(lines, column=column, what=what, most=self._most, kind=self._kind)

    def _from_list(self, filters: Mapping[str, Any]) -> Iterator[Any]:
        raise InvalidInput(
            f"{self.what} is a list of ids, the path of a file, or {{'path', 'column'}}; unknown: "
            f"{sorted(map(str, filters))}"
        )


class Selection(Items):
    """
    The items of a task at STOQ, where the API's own filters can select them too.

    :param given: as for :class:`Items`; or filters of the list, as a mapping or text of one.
    """

    def __init__(self, client: ListClient, family: Family, given: Any, *, most: int) -> None:
        super().__init__(given, what=family.ids_key, resource=family.name, most=most)
        self._client = client
        self._family = family

    def _from_list(self, filters: Mapping[str, Any]) -> Iterator[int]:
        known = self._family.filters
        odd = [key for key in filters if key not in known]
        if odd or not filters:
            raise InvalidInput(
                f"{self.what} as a selection takes one or more of {', '.join(known)}; unknown: {odd}"
            )
        blank = [key for key, value in filters.items() if _is_blank(value)]
        if blank:
            raise InvalidInput(
                f"{self.what} as a selection: {', '.join(blank)} has no value, and without it the selection "
                "would be wider than it reads; leave it out if that is what is meant"
            )
        key = self._family.item_key
        rows = self._client.pages(self._family.list_path, self._family.resource, filters)
        for row in rows:
            if not isinstance(row.get(key), int):
                raise InvalidInput(f"a row of {self._family.list_path} has no whole number {key!r}")
            yield row[key]


def _is_blank(value: Any) -> bool:
    """A template or an XCom that has nothing to give renders as one of these."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return not value or any(map(_is_blank, value))
    return value is None or (isinstance(value, str) and value.strip() in ("", "None"))


AGAIN = "; a retry reads them again."
_UNREADABLE = (
    ValueError,
    ImportError,
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
)
"""What a retry would meet again: no such file or store, no package for it, no text. The rest may pass."""


@contextmanager
def _lines(path: str) -> Iterator[Iterator[str]]:
    """
    Open a file of ids; give its lines.

    :raises StoqProviderError: where it can't be read.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath  # parsing a DAG needs no fsspec

    try:
        with ObjectStoragePath(path).open("r", encoding="utf-8-sig") as file:
            # Airflow 2.11 wraps the file in an object that can't be iterated.
            yield iter(file.readline, "")
            return
    except (InvalidInput, StoqProviderError):  # of what reads the lines
        raise
    except Exception as error:  # whatever the library of the store raises
        final = isinstance(error, _UNREADABLE)
        cls = ValidationRejected if final else ServiceUnavailable
        problem = cls(
            f"The ids could not be read from {hide_queries(path)!r:.300} ({type(error).__name__}: "
            f"{one_line(hide_queries(str(error)))}). Nothing was sent{'.' if final else AGAIN}",
            job_started=False,
        )
    raise problem from None


def _keep(submitter: Submitter, key: str, items: IdList) -> None:
    """Write the pieces, then the head: without a head there is nothing kept."""
    pieces = [items.ids[at : at + PIECE] for at in range(0, len(items.ids), PIECE)]
    for number, piece in enumerate(pieces):
        submitter.save_note(f"{key}-{number}", PieceNote(piece))
    submitter.save_note(key, ListNote(len(pieces), len(items.ids), items.duplicates))


def _read_kept(submitter: Submitter, key: str) -> IdList | None:
    head = submitter.load_note(key, ListNote)
    if head is None:
        return None
    ids: list[Any] = []
    for number in range(head.pieces):
        piece = submitter.load_note(f"{key}-{number}", PieceNote)
        ids.extend(piece.ids if piece else ())
    if len(ids) != head.count:
        raise ValidationRejected(
            "The list of items that an earlier try kept is no longer whole. Nothing was sent now; jobs that "
            "were submitted go on. Look what was done, then clear the task to begin anew."
        )
    return IdList(tuple(ids), head.duplicates)


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
        given = read_text(text, f"the ids given as text are no JSON: {text[:80]!r}")
    if isinstance(given, Mapping):
        return _of_object(given)
    return [item_id for item in listed(given, "what to wait for", "ids") for item_id in watched_ids(item)]


def _of_object(given: Mapping[str, Any]) -> list[str]:
    if "orders_uri" in given:
        with _lines(str(given["orders_uri"])) as lines:
            return [line.strip() for line in lines if line.strip()]
    if "orders" in given:
        return watched_ids(given["orders"])
    if given.get("id") is None:
        raise InvalidInput(f"an object without an 'id': its keys are {sorted(map(str, given))[:10]}")
    found = plain(given["id"], "the 'id' of an object")
    return [check_text(str(found) if isinstance(found, int) else found, "the 'id' of an object")]
