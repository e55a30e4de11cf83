"""What is the same stays as it is; what differs is replaced whole, or not at all (``overwrite=False``)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from stoq_provider.exceptions import DownloadError, ValidationRejected
from tests.stores.bodies import KEY, STANDING, Body, check_whole, fetch, large, small
from tests.stores.choice import on_each_file_system
from tests.stores.origin import Origin
from tests.stores.running import STORES
from tests.stores.stores import Store

SIZES = [pytest.param(small, id="small"), pytest.param(large, id="large")]


@on_each_file_system
@pytest.mark.parametrize("make", SIZES)
def test_the_same_content_is_left_alone(store: Store, origin: Origin, make: Callable[[], Body]) -> None:
    body = make()
    store.put(KEY, body.content)
    before = store.version(KEY)
    stored = fetch(store, origin.serve(body.content), rows=body.rows, overwrite="if_different")
    check_whole(store, stored, body)
    assert not stored.written
    assert store.version(KEY) == before


@on_each_file_system
@pytest.mark.parametrize("make", SIZES)
def test_what_an_earlier_try_published_counts_as_done(
    store: Store, origin: Origin, make: Callable[[], Body]
) -> None:
    body = make()
    again = {"rows": body.rows, "overwrite": False, "retry": True}
    assert fetch(store, origin.serve(body.content), **again).written
    before = store.version(KEY)
    stored = fetch(store, origin.serve(body.content), **again)
    check_whole(store, stored, body)
    assert not stored.written
    assert store.version(KEY) == before


@on_each_file_system
@pytest.mark.parametrize("make", [small, large])
def test_a_retry_replaces_nothing_else(store: Store, origin: Origin, make: Callable[..., Body]) -> None:
    other = make(2).content
    store.put(KEY, other)
    before = store.version(KEY)
    with pytest.raises(ValidationRejected, match="holds something else"):
        fetch(store, origin.serve(make().content), overwrite=False, retry=True)
    assert (store.get(KEY), store.version(KEY), store.leftovers()) == (other, before, [])


@pytest.mark.parametrize(
    ("session_store", "make", "stood"),
    [
        pytest.param("file", small, lambda: small().content + b"\n", id="file-longer"),
        pytest.param("file", small, lambda: STANDING, id="file-shorter"),
        *(
            pytest.param(name, small, lambda: small(2).content, id=f"{name}-other-bytes")
            for name in ("file", "s3", "gs", "abfs")
        ),
        *(
            pytest.param(name, large, lambda: large(2).content, id=f"{name}-other-bytes-large")
            for name in STORES
        ),
    ],
    indirect=["session_store"],
)
def test_other_content_is_replaced(
    store: Store, origin: Origin, make: Callable[[], Body], stood: Callable[[], bytes]
) -> None:
    body = make()
    store.put(KEY, stood())
    before = store.version(KEY)
    stored = fetch(store, origin.serve(body.content), rows=body.rows, overwrite="if_different")
    check_whole(store, stored, body)
    assert stored.written
    assert store.version(KEY) != before


def test_the_other_bytes_are_of_the_same_length() -> None:
    assert len(small(2).content) == len(small().content)


@on_each_file_system
def test_without_an_object_the_file_is_stored(store: Store, origin: Origin) -> None:
    stored = fetch(store, origin.serve(small().content), rows=small().rows, overwrite="if_different")
    check_whole(store, stored, small())
    assert stored.written


@on_each_file_system
def test_what_changed_behind_our_back_is_seen(store: Store, origin: Origin) -> None:
    """File systems remember listings, which may be old."""
    store.put(KEY, STANDING)
    folder = ObjectStoragePath(store.uri(KEY)).parent
    assert [path.name for path in folder.iterdir()] == ["export.csv"]
    store.put(KEY, small().content)
    before = store.version(KEY)
    file = origin.serve(small().content)
    assert not fetch(store, file, overwrite="if_different").written
    assert store.version(KEY) == before
    store.delete(KEY)
    assert fetch(store, file, overwrite="if_different").written
    assert store.get(KEY) == small().content


@on_each_file_system
def test_true_writes_the_same_content_once_more(store: Store, origin: Origin) -> None:
    """Also the proof that a version tells one writing from another."""
    store.put(KEY, small().content)
    before = store.version(KEY)
    stored = fetch(store, origin.serve(small().content), overwrite=True)
    check_whole(store, stored, small())
    assert stored.written
    assert store.version(KEY) != before


@on_each_file_system
def test_a_file_that_does_not_fit_replaces_nothing(store: Store, origin: Origin) -> None:
    store.put(KEY, STANDING)
    before = store.version(KEY)
    with pytest.raises(DownloadError, match="announced 7 rows"):
        fetch(store, origin.serve(small().content), rows=7, overwrite="if_different")
    assert store.version(KEY) == before
    assert store.visible() == [KEY]
    assert store.leftovers() == []
