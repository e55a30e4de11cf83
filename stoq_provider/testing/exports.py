"""Actions on reports: the catalogue, nine reads and nine exports."""

from __future__ import annotations

from stoq_provider.testing.actions import Action, ApiError, Call, Handler, JsonObject, page_of
from stoq_provider.testing.bulk import export_status, handle, start_job
from stoq_provider.testing.content import Content, RepeatedTable, Table
from stoq_provider.testing.jobs import EXPORT_SECONDS, Job
from stoq_provider.testing.reports import METRICS, REPORTS, Filters, Report
from stoq_provider.testing.schemas import BOOLEAN, DATE, INTEGER, PAGE, STRING, UUID, Schema, array, params
from stoq_provider.testing.world import BASE_PATH

SCOPE = "/preorders/reports"
_COMMON: Schema = {"from": DATE, "to": DATE, "offer_id": UUID, "offer_ids": array(UUID), "currency": STRING}
_FILTERS: Schema = {
    "product_id": INTEGER,
    "variant_id": INTEGER,
    "market_id": INTEGER,
    "granularity": {"type": "string", "enum": ["day", "week", "month"]},
    "metrics": array({"type": "string", "enum": list(METRICS)}),
    "include_deposits": {**BOOLEAN, "default": True},
    "include_balances": {**BOOLEAN, "default": True},
    **PAGE,
}
_OFFER_NEEDED: Schema = {
    "anyOf": [{"required": ["offer_id"]}, {"required": ["offer_ids"]}],
    "errorMessage": {"anyOf": "offer_id or offer_ids[] is required"},
}
_A_FLAG_NEEDED: Schema = {
    "not": {
        "properties": {"include_deposits": {"const": False}, "include_balances": {"const": False}},
        "required": ["include_deposits", "include_balances"],
    },
    "errorMessage": {"not": "at least one of include_deposits, include_balances must be true"},
}
_RULES: dict[str, Schema] = {"by_variant": _OFFER_NEEDED, "revenue": _A_FLAG_NEEDED}


def _schema(report: Report) -> Schema:
    own = {name: _FILTERS[name] for name in report.filters}
    return params({**_COMMON, **own}, **_RULES.get(report.name, {}))


def _filters(call: Call) -> Filters:
    filters = Filters.parse(call.params)
    if filters.first > filters.last:
        raise ApiError(422, "from must not be after to")
    return filters


def _catalogue(call: Call) -> JsonObject:
    return {
        "reports": [
            {
                "name": report.name,
                "description": report.description,
                "aliases": list(report.aliases),
                "url": f"{BASE_PATH}{SCOPE}/{report.name}",
            }
            for report in REPORTS.values()
        ]
    }


def _reader(report: Report) -> Handler:
    def read(call: Call) -> JsonObject:
        filters = _filters(call)
        rows = report.rows(call.tenant.shop, filters)
        # Invented: shape of the responses; `window` and `totals` follow the one documented example.
        response: JsonObject = {
            "window": {"from": filters.first.isoformat(), "to": filters.last.isoformat()},
            "currency": filters.currency or "USD",
        }
        if report.name == "summary":
            return response | {"totals": rows[0]}
        if report.name == "customers":
            page, meta = page_of(rows, call.params)
            return response | {"customers": page, "meta": meta}
        return response | {"rows": rows}

    return read


def _exporter(report: Report) -> Handler:
    def submit(call: Call) -> JsonObject:
        filters = _filters(call)

        def finish(job: Job) -> None:
            columns, rows = report.table(call.tenant.shop, filters)
            count = job.settings.get("rows")
            content: Content = (
                Table(columns, rows) if count is None else RepeatedTable(columns, rows, int(count))
            )
            name = f"preorders_{report.name}_{filters.first}_{filters.last}.csv"
            # Invented: the path at the store, and that row_count leaves out the header line.
            job.file_name = job.settings.get("file_name", name)
            job.file_path = f"/stoq-exports/{job.job_id}/{name}"
            job.row_count = job.settings.get("row_count_lie", content.rows)
            call.world.files[job.file_path] = content

        names = (f"export:{report.name}",)
        job = start_job(
            call,
            "export",
            "exports",
            items=[],
            apply=bool,
            duration=EXPORT_SECONDS,
            prefix="exp",
            names=names,
            finish=finish,
        )
        return handle(job)

    return submit


def _actions() -> list[Action]:
    made = [
        Action("GET", SCOPE, "list", "Catalogue of reports", _catalogue, aliases=("index",)),
        Action("GET", f"{SCOPE}/exports/:job_id", "export_status", "Status of an export", export_status),
    ]
    for report in REPORTS.values():
        path, schema = f"{SCOPE}/{report.name}", _schema(report)
        note = "Invented by the sandbox." if report.invented else None
        made.append(
            Action(
                "GET", path, report.name, report.description, _reader(report), schema, report.aliases, note
            )
        )
        text = f"{report.description}, as a CSV file"
        made.append(Action("POST", f"{path}/export", "export", text, _exporter(report), schema, (), note))
    return made


ACTIONS = tuple(_actions())
