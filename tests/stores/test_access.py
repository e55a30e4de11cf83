"""A destination is tried out before a job is submitted, and nothing of it stays."""

from __future__ import annotations

import json

import pytest

from stoq_provider.download.download import check_download
from stoq_provider.download.options import DownloadOptions
from stoq_provider.exceptions import ValidationRejected
from tests.harness import recorded_logs
from tests.stores.bodies import KEY
from tests.stores.choice import on
from tests.stores.stores import Store


def check(destination: str) -> None:
    """Check a destination as an operator does."""
    with recorded_logs() as logs:
        check_download(DownloadOptions(), destination, system="stoq", kind="export:revenue")
    assert logs.warnings("found out") + logs.warnings("dropped") == []


@pytest.mark.parametrize("key", [KEY, "", "new/{job_id}/", "{report}.csv"])
def test_nothing_of_the_check_stays(store: Store, standing: bytes | None, key: str) -> None:
    before = store.visible()
    check(store.uri(key))
    assert store.visible() == before
    assert store.get(KEY) == standing
    assert store.leftovers() == []


def test_a_place_that_is_not_there_is_refused(store: Store) -> None:
    with pytest.raises(ValidationRejected, match="can't be written to"):
        check(store.missing())


# Azurite has other words than Azure for a key that it does not know.
@on("s3", "s3-fsspec")
def test_credentials_that_the_store_does_not_know_are_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((name, value),) = store.connections.items()
    monkeypatch.setenv(f"{name}_WRONG", json.dumps({**json.loads(value), "password": "wrong"}))
    conn_id = name.removeprefix("AIRFLOW_CONN_").lower()
    with pytest.raises(ValidationRejected, match="can't be written to"):
        check(store.uri(KEY).replace(conn_id, f"{conn_id}_wrong"))
    assert store.leftovers() == []
