"""How files are named for OpenLineage; all that it is told: ``tests/integration/test_lineage.py``."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stoq_provider.download.verification import StoredFile

pytest.importorskip("airflow.providers.openlineage")
from stoq_provider.openlineage import dataset_name, lineage


@pytest.mark.parametrize(
    ("uri", "account", "namespace", "name"),
    [
        ("s3://aws_default@lake/a b/no#1.csv", None, "s3://lake", "a b/no#1.csv"),
        ("gcs://lake/a.csv", None, "gs://lake", "a.csv"),
        ("abfs://azure@lake/a/b.csv", "acme", "abfss://lake@acme.dfs.core.windows.net", "a/b.csv"),
        ("abfs://lake/a.csv", None, "abfss://lake", "a.csv"),
        ("file:///data/a.csv", None, "file", "/data/a.csv"),
    ],
)
def test_files_are_named_by_the_conventions_of_openlineage(uri, account, namespace, name):
    file = StoredFile(uri, "a.csv", 1, 1, "c0", account=account)
    assert dataset_name(file) == (namespace, name)


def test_what_is_not_known_is_left_out():
    client = SimpleNamespace(system=SimpleNamespace(name="stoq"))  # no connection can be looked up
    metadata = lineage(client, [], [StoredFile("s3://lake/a.csv", "a.csv", 1, 1, "c0")])
    assert (metadata.run_facets, metadata.inputs, metadata.outputs[0].facets) == ({}, [], {})
