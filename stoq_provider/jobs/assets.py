"""What a stored file is to others: the events of Airflow's assets, and the lineage that a hook notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.providers.common.compat import sdk  # whole: its names are loaded when they are asked for
from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

from stoq_provider.download.destination import report_of

if TYPE_CHECKING:
    from stoq_provider.download.verification import StoredFile
    from stoq_provider.jobs.client import JobClient

_USUAL = {"s3a": "s3", "gcs": "gs", "abfss": "abfs"}
"""One spelling for each store, since assets are compared as texts."""

_KEPT = " !\"$%&'()*+,/:;<=>@[\\]^`{|}"
"""What an asset's URI may hold: of others, Airflow drops what follows ``#``, and sorts what follows ``?``."""


def parts_of(uri: str) -> tuple[str, str, str]:
    """Return scheme, bucket and key of a stored object, without Airflow's connection id."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    return _USUAL.get(scheme, scheme), bucket.rpartition("@")[2], key


def asset_uri(uri: str) -> str:
    """Return the URI of the asset that a stored object is."""
    scheme, bucket, key = parts_of(uri)
    return f"{scheme}://{bucket}/{quote(key, safe=_KEPT)}"


def sources_of(client: JobClient, files: Sequence[StoredFile]) -> list[tuple[str, str]]:
    """Return where files are from, each once: such as ``stoq://app.stoqapp.com`` and ``reports/revenue``."""
    kinds = dict.fromkeys(file.kind for file in files if file.kind)
    # For no files, no connection is looked up: OpenLineage asks in a fork of the task.
    shop = f"{client.system.name}://{urlsplit(client.settings.origin).netloc}" if kinds else ""
    return [(shop, f"reports/{report}" if (report := report_of(kind)) else kind) for kind in kinds]


def note_lineage(client: JobClient, files: Sequence[StoredFile]) -> None:
    """Note what was read and what was stored for hook lineage; trouble with that is only logged."""
    try:
        collector = get_hook_lineage_collector()
        for source in sources_of(client, files):
            collector.add_input_asset(context=client, uri="/".join(source))
        for file in files:
            collector.add_output_asset(context=client, uri=asset_uri(file.uri))
    except Exception as error:
        client.log.warning("Lineage was not noted: %s: %s", type(error).__name__, error)


def emit(
    client: JobClient,
    outlets: Sequence[Any],
    events: Any,
    files: Sequence[StoredFile],
    request: Mapping[str, Any] | None,
) -> None:
    """
    Write into the events of a task's outlets what was stored; trouble with that is only logged.

    An asset gets the files that its URI names: the object itself, else those in it as a folder, else all. An
    alias is resolved to an asset for each file.

    :param events: ``context["outlet_events"]``.
    :param request: ``{"report", "filters"}`` of an export.
    """
    for outlet in outlets:
        try:
            extras = [(asset_uri(file.uri), _extra_of(client.system.name, file, request)) for file in files]
            _emit_one(outlet, events, extras)
        except Exception as error:
            client.log.warning(
                "The files are stored, but the event of %r does not name them: %s: %s",
                outlet,
                type(error).__name__,
                error,
            )


def _emit_one(outlet: Any, events: Any, extras: Sequence[tuple[str, dict[str, Any]]]) -> None:
    if isinstance(outlet, sdk.AssetAlias):
        for uri, extra in extras:
            events[outlet].add(sdk.Asset(uri=uri), extra=extra)
    elif hasattr(outlet, "uri") or hasattr(outlet, "name"):  # a reference to an asset has one of them
        own = _named(getattr(outlet, "uri", ""), extras) or [extra for _, extra in extras]
        events[outlet].extra.update(own[0] if len(own) == 1 else {"files": own})


def _named(uri: str, extras: Sequence[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    if "://" not in uri:
        return []
    uri = asset_uri(uri).rstrip("/")
    same = [extra for of_file, extra in extras if of_file == uri]
    return same or [extra for of_file, extra in extras if of_file.startswith(f"{uri}/")]


def _extra_of(system: str, file: StoredFile, request: Mapping[str, Any] | None) -> dict[str, Any]:
    filters = (request or {}).get("filters", {})
    known = {
        "system": system,
        "kind": file.kind,
        "report": report_of(file.kind),
        "from": filters.get("from"),
        "to": filters.get("to"),
    }
    stored = {name: getattr(file, name) for name in ("uri", "rows", "bytes", "sha256")}
    return {**{name: value for name, value in known.items() if value is not None}, **stored}
