"""Which files the events of assets name, by outlet; what a hook notes for lineage: ``test_files_many``."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias

from stoq_provider.download.verification import StoredFile
from stoq_provider.jobs.assets import asset_uri, emit, note_lineage

REQUEST = {"report": "revenue", "filters": {"from": "2026-05-01", "to": "2026-05-31", "offer_id": 7}}
CSV = StoredFile("s3://aws_default@lake/stoq/a.csv", "a.csv", 100, 9, "c0", kind="export:revenue")
PARQUET = StoredFile("s3://aws_default@lake/stoq/a.parquet", "a.parquet", 60, 9, "d1", kind="export:revenue")
EXTRA = {
    "system": "stoq",
    "kind": "export:revenue",
    "report": "revenue",
    "from": "2026-05-01",
    "to": "2026-05-31",
    "uri": CSV.uri,
    "rows": 9,
    "bytes": 100,
    "sha256": "c0",
}


class Events(defaultdict):  # type: ignore[type-arg]
    """What a task fills in, by outlet."""

    def __init__(self) -> None:
        super().__init__(lambda: SimpleNamespace(extra={}, added=[]))

    def __getitem__(self, outlet: Any) -> Any:
        event = super().__getitem__(getattr(outlet, "uri", None) or outlet.name)
        event.add = lambda asset, extra: event.added.append((asset.uri, extra))
        return event


@pytest.fixture
def client():
    warnings: list[str] = []
    return SimpleNamespace(
        system=SimpleNamespace(name="stoq"),
        settings=SimpleNamespace(origin="https://shop.test"),
        log=SimpleNamespace(warning=lambda text, *values: warnings.append(text % values)),
        warnings=warnings,
    )


def events_of(client, *outlets, files=(CSV,), request=REQUEST):
    events = Events()
    emit(client, outlets, events, files, request)
    assert client.warnings == []
    return [events[outlet] for outlet in outlets]


@pytest.mark.parametrize(
    ("uri", "asset"),
    [
        ("s3://aws_default@lake/a/b.csv", "s3://lake/a/b.csv"),
        ("s3://lake@bucket/mail/me@home.csv", "s3://bucket/mail/me@home.csv"),
        ("s3a://lake/a.csv", "s3://lake/a.csv"),
        ("gcs://google@lake/a.csv", "gs://lake/a.csv"),
        ("abfss://azure@lake/a.csv", "abfs://lake/a.csv"),
        ("file:///data/day@2026/a b.csv", "file:///data/day@2026/a b.csv"),
        ("s3://lake/a%20b/no#1?.csv", "s3://lake/a%20b/no%231%3F.csv"),
        ("s3://lake/Umsätze.csv", "s3://lake/Ums%C3%A4tze.csv"),
        (
            "s3://x@arn:aws:s3:eu-west-1:1:accesspoint/n/a.csv",
            "s3://arn:aws:s3:eu-west-1:1:accesspoint/n/a.csv",
        ),
    ],
)
def test_asset_of_a_file_is_one_that_airflow_takes_as_it_is(uri, asset):
    assert asset_uri(uri) == asset
    assert Asset(uri=asset).uri == asset


def test_asset_gets_what_was_stored(client):
    (event,) = events_of(client, Asset("revenue"))
    assert event.extra == EXTRA


def test_what_is_not_known_is_left_out(client):
    file = StoredFile("gs://lake/p.csv", "p.csv", 1, 2, "c0", kind="product-export")
    client.system.name = "medusa"
    (event,) = events_of(client, Asset("products"), files=[file], request=None)
    assert event.extra == {
        "system": "medusa",
        "kind": "product-export",
        "uri": "gs://lake/p.csv",
        "rows": 2,
        "bytes": 1,
        "sha256": "c0",
    }


def test_extra_that_is_there_stays(client):
    events = Events()
    events[Asset("revenue")].extra["mine"] = 1
    emit(client, [Asset("revenue")], events, [CSV], None)
    assert events[Asset("revenue")].extra["mine"] == 1


def test_each_asset_gets_the_files_that_it_names(client):
    other = StoredFile("s3://lake/stoq-2/b.csv", "b.csv", 5, 1, "e2", kind="export:by_date")
    itself, folder, no_file, name = events_of(
        client,
        Asset("s3://lake/stoq/a.parquet"),
        Asset("s3://lake/stoq/"),
        Asset("s3://elsewhere/x"),
        Asset("reports"),
        files=[CSV, PARQUET, other],
    )
    assert itself.extra == {**EXTRA, "uri": PARQUET.uri, "bytes": 60, "sha256": "d1"}
    assert [file["uri"] for file in folder.extra["files"]] == [CSV.uri, PARQUET.uri]
    assert set(folder.extra) == {"files"}
    assert no_file.extra == name.extra
    assert [(file["uri"], file["report"]) for file in name.extra["files"]] == [
        (CSV.uri, "revenue"),
        (PARQUET.uri, "revenue"),
        (other.uri, "by_date"),
    ]


def test_an_asset_may_name_a_bucket(client):
    other = StoredFile("gs://lake/b.csv", "b.csv", 5, 1, "e2")
    (event,) = events_of(client, Asset("s3://lake"), files=[CSV, other])
    assert event.extra == EXTRA


def test_alias_is_resolved_to_an_asset_for_each_file(client):
    (event,) = events_of(client, AssetAlias("stoq"), files=[CSV, PARQUET])
    assert event.added == [
        ("s3://lake/stoq/a.csv", EXTRA),
        ("s3://lake/stoq/a.parquet", {**EXTRA, "uri": PARQUET.uri, "bytes": 60, "sha256": "d1"}),
    ]


def test_trouble_with_one_outlet_is_logged_and_the_next_gets_its_files(client):
    class Broken(Events):
        def __getitem__(self, outlet):
            if outlet.name == "broken":
                raise RuntimeError("no such asset")
            return super().__getitem__(outlet)

    events = Broken()
    emit(client, [AssetAlias("broken"), AssetAlias("whole"), object()], events, [CSV], None)
    (warning,) = client.warnings
    assert "The files are stored" in warning
    assert "RuntimeError: no such asset" in warning
    assert len(events[AssetAlias("whole")].added) == 1


def test_a_request_of_another_shape_fails_no_task(client):
    emit(client, [Asset("revenue")], Events(), [CSV], {"report": "revenue", "filters": None})
    (warning,) = client.warnings
    assert "The files are stored" in warning


def test_trouble_with_lineage_is_logged(client, monkeypatch):
    def broken():
        raise ValueError("no collector")

    monkeypatch.setattr("stoq_provider.jobs.assets.get_hook_lineage_collector", broken)
    note_lineage(client, [CSV])
    assert client.warnings == ["Lineage was not noted: ValueError: no collector"]
