"""Imports by operators: whole or not at all, once, and what is wrong in the server's words."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from stoq_provider.exceptions import FinalJobFailed, ValidationRejected
from tests.integration.conftest import fails
from tests.medusa.bench import MODES, Bench, Crew, Run, desk, job_of, new_handle
from tests.medusa.client import JOBS, Row, rows_of, table
from tests.medusa.proxy import Proxy
from tests.medusa.servers import Server

NOTHING = {"PRODUCT_CREATE": 0, "PRODUCT_UPDATE": 0, "VARIANT_CREATE": 0, "VARIANT_UPDATE": 0}
NOT_REPEATED = "not submitted again by itself"


class Scenes:
    """
    The imports of this module, all under way at once but for those that fail.

    A Medusa whose jobs fail at the same moment can hang on every request for a batch job (M).
    """

    def __init__(self, bench: Bench, crew: Crew) -> None:
        self.bench, self.crew = bench, crew
        self._failing = threading.Lock()
        self.handles: dict[str, str] = {}
        self.exported: list[Row] = []
        for mode in MODES:
            self._import(f"new {mode}", mode)
        self._import("taken", "deferred", after=self._after_new)
        columns = bench.imports("foo;bar;baz\r\n1;2;3\r\n4;5;6\r\n")
        crew.start("columns", columns, partial(self._alone, columns))
        self._import("again", after=self._exported)
        self._import(
            "no quantity", without="Variant Inventory Quantity", after=lambda _, run: self._alone(run)
        )
        crew.start("header", bench.imports(table(desk("x")).splitlines()[0] + "\r\n"))
        crew.start("nothing", bench.imports(""))
        crew.wait()
        self.shop = bench.rows(list(self.handles.values()))

    def _import(self, name: str, mode: str = "worker", *, after: Any = None, without: str = "") -> None:
        handle = self.handles[name] = new_handle()
        rows = [{key: value for key, value in row.items() if key != without} for row in desk(handle)]
        run = self.bench.imports(rows, mode)
        self.crew.start(name, run, None if after is None else lambda: after(handle, run))

    def _alone(self, run: Run) -> Any:
        """Run what will fail beside nothing else that fails."""
        with self._failing:
            return run.execute()

    def _after_new(self, handle: str, run: Run) -> Any:
        """One of its variants takes a SKU that the shop has by then."""
        self.crew.end("new worker")
        rows = desk(handle)
        rows[1]["Variant SKU"] = f"{self.handles['new worker']}-S"
        run.changes = {"source": self.bench.file(rows)}
        return self._alone(run)

    def _exported(self, handle: str, run: Run) -> Any:
        """Import it, export it, and import it once more with another title; the last is what counts."""
        self.bench.imports(desk(handle)).execute()
        export = self.bench.export(context={"filterable_fields": {"handle": handle}})
        (stored,) = export.execute()["files"]
        self.exported = rows_of(Path(unquote(urlsplit(stored["uri"]).path)).read_bytes())
        changed = [{**row, "Product Title": "Standing desk"} for row in self.exported]
        run.changes = {"source": self.bench.file(changed)}
        return run.execute()

    def rows(self, name: str) -> list[Row]:
        """What the shop has of a scene's product."""
        return self.shop[self.handles[name]]


@pytest.fixture(scope="module")
def scenes(bench: Bench, crew: Crew) -> Scenes:
    return Scenes(bench, crew)


@pytest.mark.parametrize("mode", MODES)
def test_a_new_product_is_imported(scenes: Scenes, bench: Bench, mode: str) -> None:
    job, run = job_of(scenes.crew.end(f"new {mode}")), scenes.crew.runs[f"new {mode}"]
    assert (job["outcome"], job["total"], job["processed"]) == ("succeeded", 3, 3)
    assert job["details"]["operations"] == {**NOTHING, "PRODUCT_CREATE": 1, "VARIANT_CREATE": 2}
    assert [row["Variant Title"] for row in scenes.rows(f"new {mode}")] == ["S", "M"]
    assert job_of(run.retry())["job_id"] == job["job_id"]
    assert len(bench.made(run)) == 1


def test_an_export_that_is_imported_again_is_an_update(scenes: Scenes) -> None:
    job = job_of(scenes.crew.end("again"))
    assert job["details"]["operations"] == {**NOTHING, "PRODUCT_UPDATE": 1, "VARIANT_UPDATE": 2}
    rows = scenes.rows("again")
    assert [row["Product Title"] for row in scenes.exported] == ["Desk", "Desk"]
    assert [row["Product Title"] for row in rows] == ["Standing desk", "Standing desk"]
    assert [row["Variant Id"] for row in rows] == [row["Variant Id"] for row in scenes.exported]


def test_a_sku_that_is_taken_fails_in_the_servers_words_and_imports_nothing(
    scenes: Scenes, bench: Bench
) -> None:
    run, taken = scenes.crew.runs["taken"], f"{scenes.handles['new worker']}-S"
    error = fails(lambda: scenes.crew.end("taken"), FinalJobFailed, taken, NOT_REPEATED, final=True)
    (message,) = error.server_messages
    assert f"(product handle: {scenes.handles['taken']})" in message
    assert f"(variant sku: {taken})" in message
    assert "duplicate key value violates unique constraint" in message
    assert scenes.rows("taken") == []
    fails(run.retry, FinalJobFailed, "repeating product-import is not safe", final=True)
    assert [job["status"] for job in bench.made(run)] == ["failed"]


def test_a_column_that_the_database_needs_fails_in_its_words_and_imports_nothing(scenes: Scenes) -> None:
    error = fails(lambda: scenes.crew.end("no quantity"), FinalJobFailed, NOT_REPEATED, final=True)
    assert 'null value in column "inventory_quantity"' in error.server_messages[0]
    assert scenes.rows("no quantity") == []


def test_columns_that_the_server_does_not_know_fail(scenes: Scenes) -> None:
    says = "Unable to treat column foo from the csv file"
    fails(lambda: scenes.crew.end("columns"), FinalJobFailed, says, NOT_REPEATED, final=True)


@pytest.mark.parametrize("name", ["header", "nothing"])
def test_an_empty_table_imports_nothing_and_is_a_success(scenes: Scenes, name: str) -> None:
    job = job_of(scenes.crew.end(name))
    assert (job["outcome"], job["total"]) == ("succeeded", 0)
    assert job["details"]["operations"] == NOTHING


def test_a_price_list_import_without_its_list_is_refused_before_anything_is_sent(
    bench: Bench, server: Server
) -> None:
    with Proxy(server.origin) as proxy:
        run = bench.batch(
            "price-list-import",
            source=bench.file("SKU;Price EUR\r\nx;1\r\n"),
            medusa_conn_id=bench.connect(proxy.origin),
        )
        fails(run.execute, ValidationRejected, "price_list_id", "Nothing was sent", final=True)
    assert proxy.seen == []


def test_a_price_list_that_is_not_there_is_refused_in_the_servers_words(bench: Bench, server: Server) -> None:
    source = bench.file("SKU;Price EUR\r\nx;1\r\n")
    with Proxy(server.origin) as proxy:
        run = bench.batch(
            "price-list-import",
            source=source,
            context={"price_list_id": "pl_nope"},
            medusa_conn_id=bench.connect(proxy.origin),
        )
        error = fails(run.execute, ValidationRejected, "pl_nope", "No remote job was started", final=True)
    assert error.http_status == 404
    assert proxy.count(f"^POST {JOBS}$") == 1
    assert bench.made(run) == []
