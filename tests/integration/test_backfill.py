"""A backfill of 100,000 variants: inside the points, flat in memory, small in XCom."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from stoq_provider.core.ids import check_ids
from stoq_provider.testing import Sandbox
from stoq_provider.testing.shop import ShopSize

from .conftest import MODES, Bench, connect

COUNT = 100_000
CHUNK = 5000
FIRST = 44_000_000_000_000
SMALL = 48_000


@pytest.fixture(scope="module")
def small_shop():
    with Sandbox(time_scale=0, size=ShopSize(orders=1, variants=8)) as running:
        yield running


@pytest.fixture
def shop(small_shop, clock, monkeypatch):
    small_shop.reset()
    clock.drives(small_shop, speed=1)
    small_shop.jobs("*", times=None, duration=120)
    connect(monkeypatch, small_shop)
    return small_shop


@pytest.fixture
def ids(tmp_path):
    def write(count):
        file = tmp_path / "variants.csv"
        file.write_text("sku,variant_id\n" + "".join(f"S{n},{FIRST + n * 37}\n" for n in range(count)))
        return {"path": f"file://{file}", "column": "variant_id"}

    return write


def check(shop, run, manifest, count):
    sent = [entry["ids"] for entry in shop.submissions]
    assert [len(chunk) for chunk in sent] == [CHUNK] * (count // CHUNK)
    assert [item for chunk in sent for item in chunk] == [FIRST + n * 37 for n in range(count)]
    assert manifest["totals"]["processed"] == count
    state = shop.state
    assert state["rate_limited"] == 0
    assert state["highest_points_in_window"] <= 0.8 * 360
    assert state["highest_points_rolling"] <= 360
    for name, value in (*run.ti.xcoms.items(), ("return_value", manifest)):
        assert len(json.dumps(value)) < SMALL, name
    for _, kwargs in run.triggers:
        assert len(json.dumps(kwargs)) < SMALL
    assert all(len(json.dumps(event)) < SMALL for event in run.events)


@pytest.mark.parametrize("mode", MODES)
def test_a_hundred_thousand_variants(shop, ids, mode):
    run = Bench(shop, None).bulk("sync_metafields", ids(COUNT), mode, poll_interval=60, timeout=7200)
    manifest = run.execute()
    check(shop, run, manifest, COUNT)
    assert run.retry()["jobs"] == manifest["jobs"]
    assert len(shop.submissions) == COUNT // CHUNK


def test_with_verification_the_list_of_unchanged_items_goes_to_a_file(shop, ids, tmp_path, monkeypatch):
    """No variant of the list exists, so every single one is looked for and found missing."""
    monkeypatch.setattr("stoq_provider.jobs.read_back._single", lambda *args: None)
    # Fewer, longer requests take less time.
    monkeypatch.setattr("stoq_provider.jobs.read_back.IDS_IN_A_QUERY", 500)
    count = 20_000
    assert len(json.dumps([FIRST] * count)) > 5 * SMALL, "else it would not have to"
    run = Bench(shop, None).bulk(
        "sync_metafields",
        ids(count),
        poll_interval=60,
        timeout=7200,
        verify="warn",
        destination=f"file://{tmp_path}/lake/",
    )
    manifest = run.execute()
    check(shop, run, manifest, count)
    assert manifest["totals"]["unchanged"] == count
    (file,) = (tmp_path / "lake").iterdir()
    assert len(file.read_text().splitlines()) == count


def test_memory_does_not_grow_by_the_number_of_submissions(shop, ids, monkeypatch):
    """
    All ids as numbers, once, and one chunk as JSON: that is what a task may hold.

    The sandbox lives in this process and keeps what was submitted, so POSTs are answered without it.
    """
    from stoq_provider.core.http import Response
    from stoq_provider.transport.sync import SyncTransport

    count = 50_000  # the figure is the same for 100,000, and each allocation is traced
    numbers, sizes = iter(range(count)), []

    async def take(transport, request):
        sizes.append(len(json.dumps(request.json)))
        job_id = f"job_{next(numbers)}"
        url = f"/api/v2/external/preorders/product_variants/jobs/{job_id}"
        return Response(200, body=json.dumps({"job_id": job_id, "status_url": url}).encode())

    monkeypatch.setattr(SyncTransport, "_exchange", take)
    # Else what a task loads would count, where this is the first one of a process.
    Bench(shop, None).bulk("sync_metafields", [FIRST], wait_for_completion=False).execute()
    task = Bench(shop, None).bulk("sync_metafields", ids(count), wait_for_completion=False)
    task.make()
    tracemalloc.start()
    try:
        held = check_ids(range(FIRST, FIRST + count), what="x", most=count)
        once, _ = tracemalloc.get_traced_memory()
        del held
        tracemalloc.reset_peak()
        handles = task.execute()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(handles) == count // CHUNK
    assert min(sizes[1:]) > 50_000
    assert len(json.dumps(handles)) < SMALL
    assert peak < 4.5 * once, f"{peak / 1e6:.1f} MB at the peak; the ids alone are {once / 1e6:.1f} MB"
