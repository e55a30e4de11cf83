"""Uploads, downloads and imports of the sandbox's Medusa, beyond what the tests of both servers ask."""

from __future__ import annotations

import csv
import io

import pytest
import requests

from .conftest import PATIENCE


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=";"))


def written(rows):
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), delimiter=";", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


@pytest.fixture
def exported(medusa):
    """The rows of the whole catalogue."""
    return rows_of(medusa.download(medusa.finished()).content.decode())


@pytest.fixture
def new_rows(exported):
    """Two products with three variants that are not there yet."""
    rows = [dict(row) for row in exported[:3]]
    for row in rows:
        row |= {"Product Id": "", "Variant Id": ""}
        row["Product Handle"] += "-new"
        row["Variant SKU"] += "-NEW"
    return rows


def test_a_dry_run_counts_and_changes_nothing(medusa, new_rows):
    job = medusa.create("product-import", dry_run=True, fileKey=medusa.upload(written(new_rows)))
    medusa.sandbox.advance(10)
    waiting = medusa.job(job)
    assert waiting["status"] == "pre_processed"
    assert waiting["result"]["operations"] == {
        "PRODUCT_CREATE": 2,
        "PRODUCT_UPDATE": 0,
        "VARIANT_CREATE": 3,
        "VARIANT_UPDATE": 0,
    }
    assert (medusa.state["products"], medusa.state["variants"]) == (36, 72)
    medusa.post(f"/admin/batch-jobs/{job['id']}/confirm")
    medusa.sandbox.advance(10)
    assert medusa.job(job)["status"] == "completed"
    assert (medusa.state["products"], medusa.state["variants"]) == (38, 75)


def test_the_unchanged_export_comes_back_as_updates(medusa, exported):
    job = medusa.finished("product-import", fileKey=medusa.upload(written(exported)))
    assert job["status"] == "completed"
    assert job["result"]["operations"] == {
        "PRODUCT_CREATE": 0,
        "PRODUCT_UPDATE": 36,
        "VARIANT_CREATE": 0,
        "VARIANT_UPDATE": 72,
    }
    assert rows_of(medusa.download(medusa.finished()).content.decode()) == exported


def test_imported_changes_are_exported(medusa, exported):
    exported[0] |= {"Variant Title": "Night", "Price EUR": "12.5"}
    medusa.finished("product-import", fileKey=medusa.upload(written(exported[:1])))
    again = rows_of(medusa.download(medusa.finished()).content.decode())
    assert (again[0]["Variant Title"], again[0]["Price EUR"]) == ("Night", "12.5")
    assert again[1:] == exported[1:]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Variant SKU": "LAB-09-BLACK"}, "duplicate key value violates unique constraint"),
        ({"Product Handle": "lab-product-09"}, "duplicate key value violates unique constraint"),
        ({"Product Id": "prod_nobody"}, "Product with id: prod_nobody was not found"),
        ({"Variant Id": "variant_nobody"}, "Variant with id: variant_nobody was not found"),
    ],
)
def test_a_bad_row_rolls_everything_back(medusa, new_rows, change, reason):
    new_rows[-1] |= change
    job = medusa.finished("product-import", fileKey=medusa.upload(written(new_rows)))
    assert job["status"] == "failed"
    (error,) = job["result"]["errors"]
    assert error.startswith("Error while processing row with\n")
    assert reason in error
    assert job["result"]["advancement_count"] == 0
    assert (medusa.state["products"], medusa.state["variants"]) == (36, 72)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("Product Handle;Product Title;Weather\na;b;c\n", "Unable to treat column Weather from the csv file"),
        ("Product Title;Variant SKU;Variant Title\na;b;c\n", 'Missing column(s) "Product Handle"'),
        (
            "Product Handle;Variant SKU;Variant Title\n;b;c\n",
            'No value found for target column "Product Handle"',
        ),
    ],
)
def test_columns_are_checked_before_anything_is_done(medusa, content, reason):
    job = medusa.finished("product-import", fileKey=medusa.upload(content))
    assert (job["status"], job["pre_processed_at"]) == ("failed", None)
    assert reason in job["result"]["errors"][0]


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("Product Title", 'null value in column "title" of relation "product" '),
        (
            "Variant Inventory Quantity",
            'null value in column "inventory_quantity" of relation "product_variant" ',
        ),
        ("Option 1 Value", "Variant with title Black with provided options already exists"),
    ],
)
def test_what_the_tables_need_is_noticed_when_it_is_done(medusa, new_rows, column, reason):
    for row in new_rows:
        row[column] = ""
    job = medusa.finished("product-import", fileKey=medusa.upload(written(new_rows)))
    assert (job["status"], job["pre_processed_at"] is None) == ("failed", False)
    assert reason in job["result"]["errors"][0]


def test_commas_are_understood_too(medusa):
    content = (
        "Product Handle,Product Title,Variant Title,Variant SKU,Variant Inventory Quantity\na,A,One,SKU-A,5\n"
    )
    job = medusa.finished("product-import", fileKey=medusa.upload(content))
    assert job["status"] == "completed"
    assert medusa.state["products"] == 37


def test_a_price_list_import_needs_its_list(medusa):
    body = {"type": "price-list-import", "context": {"fileKey": "x"}}
    answer = medusa.post("/admin/batch-jobs", body)
    assert (answer.status_code, answer.json()["type"]) == (400, "invalid_data")
    body["context"]["price_list_id"] = "pl_nothing"
    assert medusa.post("/admin/batch-jobs", body).status_code == 404


def test_a_price_list_import_counts_its_prices(medusa):
    key = medusa.upload("SKU;Price EUR;Price USD\nLAB-01-BLACK;9;10\nLAB-02-BLACK;8;9\n")
    (list_id,) = medusa.state["price_lists"]
    job = medusa.finished("price-list-import", fileKey=key, price_list_id=list_id)
    assert job["status"] == "completed"
    assert job["result"]["operations"] == {"PRICE_LIST_PRICE_CREATE": 2}
    assert medusa.state["price_lists"][list_id] == 2


def test_a_price_for_nothing_fails_the_job(medusa):
    (list_id,) = medusa.state["price_lists"]
    key = medusa.upload("SKU;Price EUR;Price USD\nLAB-77-BLACK;9;10\n")
    job = medusa.finished("price-list-import", fileKey=key, price_list_id=list_id)
    assert job["status"] == "failed"
    assert "LAB-77-BLACK" in job["result"]["errors"][0]


def test_an_interrupted_download_goes_on_where_it_broke(medusa):
    whole = medusa.download(medusa.finished())
    half = len(whole.content) // 2
    tag = whole.headers["ETag"]
    rest = requests.get(whole.url, headers={"Range": f"bytes={half}-", "If-Range": tag}, timeout=PATIENCE)
    assert rest.status_code == 206
    assert whole.content[:half] + rest.content == whole.content


@pytest.mark.parametrize(
    ("fault", "status"),
    [("expired_url", 403), ("ignore_range", 200), ("changed_etag", 200), ("truncated", None)],
)
def test_download_faults_work_here_too(medusa, fault, status):
    whole = medusa.download(medusa.finished())
    medusa.sandbox.arm(fault, origin="medusa", path="^/uploads/")
    headers = {"Range": "bytes=100-", "If-Range": whole.headers["ETag"]}
    if status is None:
        with pytest.raises(requests.RequestException):
            requests.get(whole.url, timeout=PATIENCE)
        return
    assert requests.get(whole.url, headers=headers, timeout=PATIENCE).status_code == status


def test_a_range_beyond_the_file_is_refused(medusa):
    whole = medusa.download(medusa.finished())
    answer = requests.get(whole.url, headers={"Range": "bytes=999999-"}, timeout=PATIENCE)
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(whole.content)}"


def test_head_tells_the_size_only(medusa):
    whole = medusa.download(medusa.finished())
    answer = requests.head(whole.url, timeout=PATIENCE)
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, str(len(whole.content)))
    assert answer.content == b""


def test_links_are_below_the_configured_address(medusa):
    medusa.do("backend_url", url="https://files.example.test")
    body = {"file_key": "exports/a.csv"}
    answer = medusa.post("/admin/uploads/download-url", body).json()
    assert answer == {"download_url": "https://files.example.test/uploads/exports/a.csv"}


def test_downloads_are_logged_with_the_question_whether_a_key_was_sent(medusa):
    whole = medusa.download(medusa.finished())
    requests.get(whole.url, headers=medusa.headers, timeout=PATIENCE)
    assert [entry["keyed"] for entry in medusa.state["downloads"]] == [False, True]
    assert {entry["bytes"] for entry in medusa.state["downloads"]} == {len(whole.content)}


def test_a_large_upload_arrives_whole(medusa):
    content = b"0123456789abcde\n" * 200_000
    key = medusa.upload(content)
    assert medusa.get(f"/uploads/{key}").content == content
