"""Parquet beside or instead of the CSV: published whole and after the check, or not at all."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

import pytest

from stoq_provider.download.download import download_files
from stoq_provider.download.options import DownloadOptions
from stoq_provider.download.verification import StoredFile
from stoq_provider.exceptions import DownloadError, VerificationError
from tests.stores.bodies import KEY, STANDING, Body, large, small
from tests.stores.choice import on_disk, on_each_file_system
from tests.stores.origin import Break, Origin, Served
from tests.stores.running import STORES
from tests.stores.stores import Store

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

PARQUET = KEY.removesuffix(".csv") + ".parquet"


def fetch(
    store: Store, file: Served, *, rows: int | None, keep_csv: bool = False, **options: Any
) -> list[StoredFile]:
    return download_files(
        file.url,
        store.uri(KEY),
        file_name=None,
        expected_rows=rows,
        options=DownloadOptions(
            format="parquet",
            keep_csv=keep_csv,
            column_types={"amount": "decimal(12, 2)"},
            allow_loopback=True,
            **options,
        ),
        job_id="8f14e45f",
    )


def check_parquet(store: Store, stored: StoredFile, body: Body) -> None:
    """The object is a whole Parquet file with the rows of the CSV, and what was returned describes it."""
    data = store.get(PARQUET)
    assert data is not None
    assert stored.uri == store.uri(PARQUET)
    assert stored.file_name == PARQUET.rpartition("/")[2]
    assert (stored.bytes, stored.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    table = pq.read_table(io.BytesIO(data))
    assert stored.rows == table.num_rows == body.rows
    assert table.column_names == ["id", "note", "amount", "state"]
    assert pa.types.is_decimal(table.schema.field("amount").type)
    last = body.rows - 1
    assert table["note"][last].as_py() == f"note 1\r\nof {last}"
    assert str(table["amount"][last].as_py()).encode() in body.content[-60:]


@pytest.fixture(params=[None, STANDING], ids=["new", "over-old-ones"])
def both(request: pytest.FixtureRequest, store: Store) -> bytes | None:
    """What lies under both keys before the download."""
    for key in (KEY, PARQUET) if request.param else ():
        store.put(key, request.param)
    return request.param  # type: ignore[no-any-return]


# Beside a large file, which is uploaded in parts, on every store.
@pytest.mark.parametrize(
    ("session_store", "make", "keep_csv"),
    [
        *((name, small, False) for name in ("file", "s3", "gs", "abfs")),
        ("file", small, True),
        *((name, large, True) for name in STORES),
    ],
    indirect=["session_store"],
)
def test_a_file_lands_whole(store: Store, origin: Origin, make: Callable[[], Body], keep_csv: bool) -> None:
    body = make()
    *csv, stored = fetch(store, origin.serve(body.content), rows=body.rows, keep_csv=keep_csv)
    check_parquet(store, stored, body)
    assert [(file.uri, file.sha256) for file in csv] == [(store.uri(KEY), body.sha256)] * keep_csv
    assert store.get(KEY) == (body.content if keep_csv else None)
    assert sorted(store.visible()) == [*[KEY] * keep_csv, PARQUET]
    assert store.leftovers() == []


@on_each_file_system
def test_old_files_are_replaced(store: Store, origin: Origin) -> None:
    body = small()
    for key in (KEY, PARQUET):
        store.put(key, STANDING)
    (stored,) = fetch(store, origin.serve(body.content), rows=body.rows)
    check_parquet(store, stored, body)
    assert store.get(KEY) == STANDING, "no CSV was wanted"
    fetch(store, origin.serve(body.content), rows=body.rows, keep_csv=True)
    assert store.get(KEY) == body.content


@on_disk
def test_a_reset_is_resumed(store: Store, origin: Origin) -> None:
    body = small()
    file = origin.serve(body.content)
    file.breaks = [Break(body.late)]
    (stored,) = fetch(store, file, rows=body.rows)
    check_parquet(store, stored, body)


def nothing_happened(store: Store, standing: bytes | None) -> None:
    for key in (KEY, PARQUET):
        assert store.get(key) == standing
    assert store.visible() == ([] if standing is None else sorted([KEY, PARQUET]))
    assert store.leftovers() == []


@pytest.mark.parametrize(
    ("session_store", "both", "make", "keep_csv"),
    [
        ("file", None, small, False),
        ("file", STANDING, small, True),
        *((name, STANDING, large, True) for name in STORES),
    ],
    indirect=["session_store", "both"],
)
def test_a_wrong_row_count_publishes_nothing(
    store: Store, origin: Origin, both: bytes | None, make: Callable[[], Body], keep_csv: bool
) -> None:
    body = make()
    file = origin.serve(body.content)
    with pytest.raises(VerificationError, match=f"announced {body.rows + 5} rows"):
        fetch(store, file, rows=body.rows + 5, keep_csv=keep_csv)
    nothing_happened(store, both)


@on_each_file_system
def test_a_value_that_does_not_fit_publishes_nothing(store: Store, origin: Origin) -> None:
    for key in (KEY, PARQUET):
        store.put(key, STANDING)
    content = large().content + b'0400000,"x",much,held\r\n'
    file = origin.serve(content)
    with pytest.raises(VerificationError, match="amount"):
        fetch(store, file, rows=None, keep_csv=True)
    nothing_happened(store, STANDING)


@on_disk
def test_a_transfer_that_never_ends_well_publishes_nothing(
    store: Store, origin: Origin, both: bytes | None
) -> None:
    file = origin.serve(small().content)
    file.breaks = [Break(small().late, times=None)]
    with pytest.raises(DownloadError, match="gave up"):
        fetch(store, file, rows=small().rows, keep_csv=True, max_resumes=0)
    nothing_happened(store, both)
