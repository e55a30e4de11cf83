"""Under which names a task records what it submits: those of earlier releases, whose jobs it has to find."""

from __future__ import annotations

import json
from datetime import date, datetime, timezone
from pathlib import Path
from uuid import UUID

import pytest

from stoq_provider.operators.actions import StoqActionOperator
from stoq_provider.operators.bulk import StoqBulkOrdersOperator
from stoq_provider.operators.medusa import MedusaBatchJobOperator
from stoq_provider.operators.printstudio import PrintStudioCreateOrdersOperator
from stoq_provider.operators.reports import StoqReportExportOperator
from stoq_provider.operators.surecart import SureCartBulkActionOperator
from tests.harness import Killed, TaskRun

from . import medusa_bench
from .conftest import kill_worker
from .others import connect_other

RECORDED = Path(__file__).parents[1] / "recordings" / "first_house" / "names.json"
IDS = [5500000154496, 5500000154368, 5500000154368]
UUIDS = [str(UUID(int=number, version=4)).upper() for number in range(10, 14)]
OFFER = UUID(int=1, version=4)
DAY = datetime(2026, 5, 27, tzinfo=timezone.utc), datetime(2026, 5, 28, tzinfo=timezone.utc)
MAIL = {"cls": StoqBulkOrdersOperator, "action": "send_payment_collection_url"}
ADD = "POST /preorders/offers/:id/products/add_variants"
EXPORT = {"cls": StoqReportExportOperator, "report": "revenue"}

TASKS = {
    "export": EXPORT,
    "export of dates": {**EXPORT, "filters": {"from": date(2026, 5, 1), "to": "2026-05-31"}},
    "export of text": {**EXPORT, "filters": "{'from': '2026-05-01', 'to': '2026-05-31'}"},
    "export of an interval": {**EXPORT, "window": "data_interval"},
    "export of the day before": {**EXPORT, "window": "previous_day", "timezone": "Europe/Berlin"},
    "export of offers": {**EXPORT, "report": "by_variant", "filters": {"offer_ids": (str(OFFER),)}},
    "export with more": {**EXPORT, "extra_query": {"x": (1, 2)}, "extra_body": {"y": None, "z": True}},
    "mail": {**MAIL, "order_ids": IDS},
    "mail to a tuple": {**MAIL, "order_ids": tuple(IDS)},
    "mail to text": {**MAIL, "order_ids": str(IDS)},
    "mail to a selection": {**MAIL, "order_ids": {"state": "placed", "from": date(2026, 5, 1)}},
    "tags": {**MAIL, "action": "set_tags", "order_ids": IDS, "body": {"tags": ("a", "b")}},
    "action": {
        "cls": StoqActionOperator,
        "action": ADD,
        "path_params": {"id": OFFER},
        "body": {"variant_ids": [1]},
    },
    "action of text": {
        "cls": StoqActionOperator,
        "action": ADD,
        "path_params": f"{{'id': '{OFFER}'}}",
        "query": {"a": (1, 2), "b": date(2026, 5, 1)},
        "body": '{"variant_ids": [1]}',
    },
    "deletion": {
        "cls": SureCartBulkActionOperator,
        "action_type": "delete_customers",
        "record_ids": UUIDS,
        "chunk_size": 2,
    },
    "Medusa's export": {
        "cls": MedusaBatchJobOperator,
        "job_type": "product-export",
        "context": {"filterable_fields": {"title": "a"}, "order": ("id", "title")},
    },
    "orders to print": {
        "cls": PrintStudioCreateOrdersOperator,
        "orders": [{"customerId": "c", "lineItems": ({"skuId": "s", "quantity": 1},), "due": "2026-05-01"}],
    },
}


@pytest.mark.large_shop
@pytest.mark.parametrize("name", TASKS)
def test_records_have_the_names_that_they_always_had(sandbox, monkeypatch, name):
    for system in ("surecart", "printstudio"):
        connect_other(monkeypatch, sandbox, system)
    medusa_bench.connect(monkeypatch, sandbox)
    kill_worker(monkeypatch, "before-the-post")
    given = dict(TASKS[name])
    cls = given.pop("cls")
    context = {"data_interval_start": DAY[0], "data_interval_end": DAY[1], "logical_date": DAY[0]}
    run = TaskRun(lambda: cls(task_id="t", **given), **context)
    with pytest.raises(Killed):
        run.execute()
    assert sorted(run.store.rows) == json.loads(RECORDED.read_text())[name]
