"""Downloads that end well, whatever happens on the way."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from stoq_provider.download.destination import Target
from stoq_provider.download.resume import CHUNK_BYTES
from stoq_provider.download.s3 import PART_BYTES
from stoq_provider.download.writers import BLOCK_BYTES, FIRST_BYTES
from stoq_provider.exceptions import DownloadError, ValidationRejected
from tests.stores.bodies import KEY, MIB, STANDING, Body, check_whole, fetch, large, small
from tests.stores.choice import on_disk, on_each_file_system
from tests.stores.origin import Break, Origin, Served
from tests.stores.running import STORES
from tests.stores.stores import LATE, Store

SIZES = [pytest.param(small, id="small"), pytest.param(large, id="large")]
SIZE = len(large().content)
OFFSETS = sorted(
    {
        0,
        1,
        # Around what is read at once, goes out in one request, and is a part of an upload.
        *(border + step for border in (2 * MIB, 8 * MIB, 16 * MIB) for step in (-1, 0, 1)),
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
    assert SIZE > LATE > max(FIRST_BYTES, BLOCK_BYTES, PART_BYTES)


# A large file where nothing stands is what all others below are.
@pytest.mark.parametrize(
    ("make", "standing"),
    [(small, None), (small, STANDING), (large, STANDING)],
    ids=["small", "small-over-an-old-one", "large-over-an-old-one"],
    indirect=["standing"],
)
def test_a_file_lands_whole(
    store: Store, origin: Origin, standing: bytes | None, make: Callable[[], Body]
) -> None:
    body = make()
    file = origin.serve(body.content)
    check_whole(store, fetch(store, file, rows=body.rows), body)
    assert len(file.asked) == 1


@on_disk
@pytest.mark.parametrize("offset", OFFSETS)
def test_a_reset_is_resumed(store: Store, origin: Origin, offset: int) -> None:
    file = origin.serve(large().content)
    file.breaks = [Break(offset)]
    check_whole(store, fetch(store, file, rows=large().rows), large())
    check_resumed(file, [offset])


def test_resets_at_all_offsets_are_resumed(store: Store, origin: Origin) -> None:
    """Each store's writer gets the bytes in pieces that end there."""
    file = origin.serve(large().content)
    file.breaks = [Break(offset) for offset in OFFSETS]
    check_whole(store, fetch(store, file, rows=large().rows, max_resumes=len(OFFSETS)), large())
    check_resumed(file, OFFSETS)


@on_disk
def test_many_resets_of_a_small_file_are_resumed(store: Store, origin: Origin) -> None:
    body = small()
    file = origin.serve(body.content)
    offsets = [len(body.content) * i // 4 for i in range(4)]
    file.breaks = [Break(offset) for offset in offsets]
    check_whole(store, fetch(store, file, rows=body.rows), body)
    check_resumed(file, offsets)


@on_disk
@pytest.mark.usefixtures("silence")
@pytest.mark.parametrize("make", SIZES)
def test_a_stalled_connection_is_left_and_resumed(
    store: Store, origin: Origin, make: Callable[[], Body]
) -> None:
    body = make()
    file = origin.serve(body.content)
    file.breaks = [Break(body.late, "stall")]
    check_whole(store, fetch(store, file, rows=body.rows), body)
    check_resumed(file, [body.late])


@on_disk
@pytest.mark.parametrize("make", SIZES)
def test_a_body_that_ends_early_is_resumed(store: Store, origin: Origin, make: Callable[[], Body]) -> None:
    body = make()
    file = origin.serve(body.content)
    file.breaks = [Break(body.late, "close")]
    check_whole(store, fetch(store, file, rows=body.rows), body)
    check_resumed(file, [body.late])


@on_disk
@pytest.mark.parametrize("make", SIZES)
def test_an_expired_url_is_replaced_by_a_fresh_one(
    store: Store, origin: Origin, make: Callable[[], Body]
) -> None:
    body = make()
    file = origin.serve(body.content)
    file.breaks = [Break(body.late, then=file.expire)]
    check_whole(store, fetch(store, file, rows=body.rows), body)
    assert [asked.status for asked in file.asked] == [200, 403, 206]


# The writer drops what it has: on every store where parts of it are there already.
@pytest.mark.parametrize(
    ("session_store", "make"),
    [("file", small), *((name, large) for name in STORES)],
    ids=["file-small", *(f"{name}-large" for name in STORES)],
    indirect=["session_store"],
)
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


@on_disk
@pytest.mark.parametrize("make", SIZES)
def test_a_server_that_can_not_resume_is_asked_for_the_whole(
    store: Store, origin: Origin, make: Callable[[], Body]
) -> None:
    body = make()
    file = origin.serve(body.content)
    file.resumable = False
    file.breaks = [Break(body.late)]
    check_whole(store, fetch(store, file, rows=body.rows), body)


@on_each_file_system
def test_an_object_that_must_not_be_replaced_is_not(store: Store, origin: Origin) -> None:
    store.put(KEY, b"kept")
    file = origin.serve(small().content)
    with pytest.raises(ValidationRejected, match="exists already"):
        fetch(store, file, overwrite=False)
    assert store.get(KEY) == b"kept"
    assert file.asked == []


@on_each_file_system
@pytest.mark.parametrize("make", SIZES)
def test_an_object_that_appears_meanwhile_is_not_replaced(
    store: Store, origin: Origin, make: Callable[[], Body]
) -> None:
    body = make()
    file = origin.serve(body.content)
    file.breaks = [Break(body.late, then=lambda: store.put(KEY, b"of somebody else"))]
    with pytest.raises(ValidationRejected, match="holds something else"):
        fetch(store, file, overwrite=False)
    assert store.get(KEY) == b"of somebody else"
    assert store.leftovers() == []


# Not on a disk: a link is made, which fails where the name is taken, so nobody looks. Nor a large one in
# ``gs``: the server ignores the condition at the end of a resumable upload.
@pytest.mark.parametrize(
    ("session_store", "make"),
    [("s3", small), ("s3", large), ("s3-fsspec", large), ("gs", small), ("abfs", small), ("abfs", large)],
    ids=["s3-small", "s3-large", "s3-fsspec-large", "gs-small", "abfs-small", "abfs-large"],
    indirect=["session_store"],
)
def test_an_object_that_appears_after_the_last_look_is_not_replaced(
    store: Store, origin: Origin, make: Callable[[], Body], monkeypatch: pytest.MonkeyPatch
) -> None:
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


@pytest.mark.parametrize(
    ("make", "key"),
    [
        *(
            (small, key)
            for key in ("#a.csv", "?a.csv", "a#b?c.csv", "a.../b..csv", "~root/a:1.csv", "a+b\u0308 ü")
        ),
        (small, "mail/a@b.example/x.csv"),
        (small, "100%2F/day=1/a&b;c,d'(e)![f].csv"),
        (large, "100%2F/~#?a@b=c +&[ü].csv"),
    ],
)
def test_the_key_is_the_one_that_was_given(
    store: Store, origin: Origin, make: Callable[[], Body], key: str
) -> None:
    body = make()
    stored = fetch(store, origin.serve(body.content), key=key)
    assert store.get(key) == body.content
    assert store.visible() == [key]
    assert stored.uri == store.uri(key)
    with pytest.raises(ValidationRejected, match="exists already"):
        fetch(store, origin.serve(body.content), key=key, overwrite=False)
