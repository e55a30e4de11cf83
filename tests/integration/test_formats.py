"""Files in another form than the server's, through whole tasks."""

from __future__ import annotations

import csv

import pytest

from stoq_provider.exceptions import ValidationRejected, VerificationError

from .conftest import MODES, SENSOR_MODES, fails

pq = pytest.importorskip("pyarrow.parquet")


def check(bench, manifest, *, keep_csv):
    *kept, stored = manifest["files"]
    table = pq.read_table(bench.folder / stored["file_name"])
    assert stored["file_name"].endswith(".parquet")
    assert stored["rows"] == table.num_rows > 0
    assert bench.files() == sorted(file["file_name"] for file in manifest["files"])
    assert len(kept) == keep_csv
    assert manifest["totals"]["rows"] == stored["rows"], "a result counts once"
    return table


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("keep_csv", [False, True])
def test_an_export_as_parquet(bench, mode, keep_csv):
    options = {"keep_csv": keep_csv, "column_types": {"rev*": "decimal(18, 2)"}}
    run = bench.export(mode, format="parquet", download_options=options)
    manifest = run.execute()
    table = check(bench, manifest, keep_csv=keep_csv)
    assert [str(table.schema.field(name).type) for name in ("date", "revenue")] == [
        "string",
        "decimal128(18, 2)",
    ]
    if keep_csv:
        with (bench.folder / manifest["files"][0]["file_name"]).open(newline="") as text:
            rows = list(csv.DictReader(text))
        assert [str(row) for row in table.column(0).to_pylist()] == [
            row[table.column_names[0]] for row in rows
        ]
    assert bench.submissions == 1


@pytest.mark.parametrize("mode", SENSOR_MODES)
def test_a_sensor_stores_parquet_too(bench, mode):
    check(bench, bench.sensor(mode, bench.submitted(), format="parquet").execute(), keep_csv=False)


def test_a_type_that_does_not_fit_publishes_nothing(bench):
    options = {"keep_csv": True, "column_types": {"no_such_column": "string"}}
    run = bench.export("worker", format="parquet", download_options=options)
    fails(run.execute, VerificationError, "no_such_column", "submits nothing")
    assert bench.files() == []
    assert bench.submissions == 1


def test_a_misspelt_option_is_found_before_anything_is_sent(bench):
    with pytest.raises(ValidationRejected, match="min_rows"):
        bench.export("worker", download_options={"min_row": 1})
    assert bench.submissions == 0


@pytest.mark.parametrize("keep_csv", [False, True])
def test_the_same_parquet_stays_untouched(bench, keep_csv):
    options = {"format": "parquet", "overwrite": "if_different", "download_options": {"keep_csv": keep_csv}}
    jobs = bench.submitted()
    first = bench.sensor("poke", jobs, **options).execute()
    before = {path.name: path.stat().st_ino for path in bench.folder.iterdir()}
    assert bench.sensor("poke", jobs, **options).execute()["files"] == first["files"]
    assert {path.name: path.stat().st_ino for path in bench.folder.iterdir()} == before


@pytest.mark.parametrize("keep_csv", [False, True])
def test_parquet_in_the_way_is_found_before_anything_is_sent(bench, keep_csv):
    bench.folder.mkdir()
    (bench.folder / "r.parquet").touch()
    run = bench.export(
        "worker",
        format="parquet",
        overwrite=False,
        destination=f"{bench.folder}/r.csv",
        download_options={"keep_csv": keep_csv},
    )
    fails(run.execute, ValidationRejected, "r.parquet exists already", final=True)
    assert (bench.files(), bench.submissions) == (["r.parquet"], 0)
