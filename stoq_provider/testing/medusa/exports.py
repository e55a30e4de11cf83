"""Exports of products and orders to a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from stoq_provider.testing.medusa.basics import millis
from stoq_provider.testing.medusa.catalogue import CREATED, Catalogue, Row, chosen
from stoq_provider.testing.medusa.jobs import BatchJob
from stoq_provider.testing.medusa.storage import Storage


class Export:
    """
    `product-export` and `order-export`. Any context is taken (M).

    :param noun: `Product` or `Order`
    :param columns: those that the file always has; the first is the id
    """

    def __init__(self, noun: str, columns: Sequence[str], catalogue: Catalogue, storage: Storage) -> None:
        self._noun = noun
        self._columns = columns
        self._catalogue = catalogue
        self._storage = storage

    def pre_process(self, job: BatchJob) -> None:
        """Count."""
        count, noun = self._count(self._found(job)), self._noun.lower()
        described = {
            "key": f"{noun}-export-count",
            "name": f"{self._noun} count to export",
            "message": f"There will be {count} {noun}s exported by this action",
        }
        job.put(stat_descriptors=[described])

    def process(self, job: BatchJob, now: float) -> None:
        """Write the file. An export of nothing has no counts (M)."""
        found, noun = self._found(job), self._noun.lower()
        data = self._encode(found)
        key = self._storage.put(f"exports/{noun}s/", f"{noun}-export-{millis(now)}.csv", data, now)
        job.put(file_key=key, file_size=len(data))
        if found:
            count = self._count(found)
            job.put(count=count, advancement_count=count, progress=1)

    def _found(self, job: BatchJob) -> list[Row]:
        rows = self._catalogue.products if self._noun == "Product" else self._catalogue.orders
        return chosen(rows, job.context, self._noun)

    def _count(self, rows: list[Row]) -> int:
        return len({row[self._columns[0]] for row in rows})

    def _encode(self, rows: list[Row]) -> bytes:
        """M: semicolons, CRLF, UTF-8 without a BOM, quotes where needed."""
        names = dict.fromkeys([*self._columns, *(name for row in rows for name in row if name != CREATED)])
        buffer = io.StringIO()
        writer = csv.DictWriter(
            buffer, list(names), "", extrasaction="ignore", delimiter=";", lineterminator="\r\n"
        )
        writer.writeheader()
        writer.writerows(rows)
        return buffer.getvalue().encode()
