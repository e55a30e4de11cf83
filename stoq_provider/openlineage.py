"""
The lineage of a task for OpenLineage: its jobs, what they read, and the files with rows, bytes and columns.

Imported only when Airflow's OpenLineage provider asks for it, so that provider may be missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow.providers.common.compat.openlineage.facet import (
    Dataset,
    ExternalQueryRunFacet,
    OutputDataset,
    OutputStatisticsOutputDatasetFacet,
    SchemaDatasetFacet,
    SchemaDatasetFacetFields,
)
from airflow.providers.openlineage.extractors import OperatorLineage

from stoq_provider.jobs.assets import parts_of, sources_of

if TYPE_CHECKING:
    from stoq_provider.core.models import JobHandle
    from stoq_provider.download.verification import StoredFile
    from stoq_provider.jobs.client import JobClient


def lineage(client: JobClient, jobs: Sequence[JobHandle], files: Sequence[StoredFile]) -> OperatorLineage:
    """
    Return what is known of a task.

    :param jobs: their ids go into one ``externalQuery`` facet, separated by commas.
    :param files: what the task stored; only then it has read something, and its connection is known.
    """
    facets = {}
    if jobs:
        ids = ",".join(job.job_id for job in jobs)
        facets["externalQuery"] = ExternalQueryRunFacet(externalQueryId=ids, source=client.system.name)
    sources = sources_of(client, files)
    return OperatorLineage(
        inputs=[Dataset(namespace=namespace, name=name) for namespace, name in sources],
        outputs=[_output(file) for file in files],
        run_facets=facets,
    )


def _output(file: StoredFile) -> OutputDataset:
    namespace, name = dataset_name(file)
    columns = [SchemaDatasetFacetFields(name=name, type=kind) for name, kind in file.columns]
    statistics = OutputStatisticsOutputDatasetFacet(rowCount=file.rows, size=file.bytes)
    return OutputDataset(
        namespace=namespace,
        name=name,
        facets={"schema": SchemaDatasetFacet(fields=columns)} if columns else {},
        outputFacets={"outputStatistics": statistics},
    )


def dataset_name(file: StoredFile) -> tuple[str, str]:
    """Return namespace and name of a file by the conventions of OpenLineage."""
    scheme, bucket, key = parts_of(file.uri)
    if scheme == "file":
        return "file", f"/{key}"
    if scheme == "abfs":
        return f"abfss://{bucket}" + (f"@{file.account}.dfs.core.windows.net" if file.account else ""), key
    return f"{scheme}://{bucket}", key
