"""Downloads that end well, whatever happens on the way."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from stoq_provider.exceptions import DownloadError, ValidationRejected
from stoq_provider.storage.body import CHUNK_BYTES
from stoq_provider.storage.target import Target
from tests.stores.bodies import KEY, MIB, Body, check_whole, fetch, large, small
from tests.stores.origin import Break, Origin, Served
from tests.stores.stores import Store

SIZES = [pytest.param(small, id="small"), pytest.param(large, id="large")]
SIZE = len(large().content)
OFFSETS = sorted(
    {
        0,
        1,
        # Around what is read at once, goes out in one request, and is a part of an upload.
        *(border + step for border in (MIB, 8 * MIB, 16 * MIB) for step in (-1, 0, 1)),
        *random.Random(5).sample(range(2, SIZE - 2), 7),  # always the same ones
        SIZE - 2,
        SIZE - 1,
    }
)


def check_resumed(file: Served, offsets: list[int]) -> None:
    """Only what had not come was asked for again, except for the read that broke."""
    assert len(file.asked) == 1 + len(offsets)
    for asked, offset in zip(file.asked[1:], offsets, strict=True):
        assert offset - CHUNK_BYTES < asked.first <= offset


def test_the_offsets_are_twenty_and_the_large_file_needs_several_parts() -> None:
    assert len(OFFSETS) == 20
    assert SIZE > 20_000_000


@pytest.mark.parametrize("make", SIZES)
def test_a_file_lands_whole(
    store: Store, origin: Origin, standing: bytes | None, make: Callable[[], Body]
) -> None:
    body = make()
    file = origin.serve(body.content)
    check_whole(store, fetch(store, file, rows=body.rows), body)
    assert len(file.asked) == 1


@pytest.mark.parametrize("session_store", ["file", "s3", "gs", "abfs"], indirect=True)
@pytest.mark.parametrize("offset", OFFSETS)
def test_a_reset_is_resumed(store: Store, origin: Origin, offset: int) -> None:
    file = origin.serve(large().content)
    file.breaks = [Break(offset)]
    check_whole(store, fetch(store, file, rows=large().rows), large())
    check_resumed(file, [offset])


@pytest.mark.parametrize("make", SIZES)
def test_many_resets_are_resumed(store: Store, origin: Origin, make: Callable[[], Body]) -> None:
    body = make()
    file = origin.serve(body.content)
    offsets = [len(body.content) * i // 4 for i in range(4)]
    file.breaks = [Break(offset) for offset in offsets]
    check_whole(store, fetch(store, file, rows=body.rows), body)
    check_resumed(file, offsets)


@pytest.mark.parametrize("make", SIZES)
def test_a_stalled_connection_is_left_and_resumed(
    store: Store, origin: Origin, make: Callable[[], Body]
) -> None:
    body = make()
    file = origin.serve(body.content)
    file.breaks = [Break(body.late, "stall")]
    check_whole(store, fetch(store, file, rows=body.rows, stall_timeout=1.0), body)
    check_resumed(file, [body.late])


@pytest.mark.parametrize("make", SIZES)
def test_a_body_that_ends_early_is_resumed(store: Store, origin: Origin, make: Callable[[], Body]) -> None:
    body = make()
    file = origin.serve(body.content)
    file.breaks = [Break(body.late, "close")]
    check_whole(store, fetch(store, file, rows=body.rows), body)
    check_resumed(file, [body.late])


@pytest.mark.parametrize("make", SIZES)
def test_an_expired_url_is_replaced_by_a_fresh_one(
    store: Store, origin: Origin, make: Callable[[], Body]
) -> None:
    body = make()
    file = origin.serve(body.content)
    file.breaks = [Break(body.late, then=file.expire)]
    check_whole(store, fetch(store, file, rows=body.rows), body)
    assert [asked.status for asked in file.asked] == [200, 403, 206]


@pytest.mark.parametrize("make", [small, large], ids=["small", "large"])
def test_a_file_that_changed_is_downloaded_from_the_start(
    store: Store, origin: Origin, make: Callable[[int], Body]
) -> None:
    before, after = make(1), make(2)
    file = origin.serve(before.content)

    def change() -> None:
        file.body = after.content

    file.breaks = [Break(before.late, then=change)]
    check_whole(store, fetch(store, file, rows=after.rows), after)
    assert file.asked[0].first == file.asked[-1].first == 0


@pytest.mark.parametrize("make", SIZES)
def test_a_server_that_can_not_resume_is_asked_for_the_whole(
    store: Store, origin: Origin, make: Callable[[], Body]
) -> None:
    body = make()
    file = origin.serve(body.content)
    file.resumable = False
    file.breaks = [Break(body.late)]
    check_whole(store, fetch(store, file, rows=body.rows), body)


def test_an_object_that_must_not_be_replaced_is_not(store: Store, origin: Origin) -> None:
    store.put(KEY, b"kept")
    file = origin.serve(small().content)
    with pytest.raises(ValidationRejected, match="exists already"):
        fetch(store, file, overwrite=False)
    assert store.get(KEY) == b"kept"
    assert file.asked == []


@pytest.mark.parametrize("make", SIZES)
def test_an_object_that_appears_meanwhile_is_not_replaced(
    store: Store, origin: Origin, make: Callable[[], Body]
) -> None:
    body = make()
    file = origin.serve(body.content)
    file.breaks = [Break(body.late, then=lambda: store.put(KEY, b"of somebody else"))]
    with pytest.raises(DownloadError, match="come into being"):
        fetch(store, file, overwrite=False)
    assert store.get(KEY) == b"of somebody else"
    assert store.leftovers() == []


@pytest.mark.parametrize("make", SIZES)
def test_an_object_that_appears_after_the_last_look_is_not_replaced(
    store: Store, origin: Origin, make: Callable[[], Body], monkeypatch: pytest.MonkeyPatch
) -> None:
    if store.name == "file":
        pytest.skip("a link is made, which fails where the name is taken: nobody looks")
    if store.name == "gs" and make is large:
        pytest.skip("the server ignores the condition at the end of a resumable upload")
    looks: list[bool] = []

    def exists(target: Target) -> bool:
        looks.append(look(target))
        if len(looks) == 2:  # the first one is before the download
            store.put(KEY, b"of somebody else")
        return looks[-1]

    look = Target.exists
    monkeypatch.setattr(Target, "exists", exists)
    body = make()
    with pytest.raises(DownloadError, match="come into being"):
        fetch(store, origin.serve(body.content), overwrite=False)
    assert len(looks) == 2
    assert store.get(KEY) == b"of somebody else"
